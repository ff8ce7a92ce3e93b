// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/pkg/sample"
	"parry/test/packet"
)

// samplePlan is limitPlan at a level of samples.
func samplePlan(level loader.SampleLevel) *loader.Plan {
	p := limitPlan()
	p.Samples = level
	return p
}

// samples are the samples that wait in the ring.
func (w *world) samples(t *testing.T) []sample.Sample {
	t.Helper()
	var all []sample.Sample
	ctx, stop := context.WithCancel(t.Context())
	stop() // what is there is handed on, and nothing is waited for
	must(t, w.edge.Samples(ctx, func(record []byte) bool {
		var s sample.Sample
		must(t, s.Decode(bytes.Clone(record)))
		all = append(all, s)
		return false
	}, func() {}))
	return all
}

// line says the most of a sample.
func (w *world) line(s *sample.Sample) string {
	n := w.edge.Names()
	text := fmt.Sprintf("%s %s %v %s", n.Verdicts[s.Verdict], w.edge.ServiceNames()[s.Service], s.Client, sample.Describe(s.Frame))
	if s.Reason|s.Shadow != 0 {
		text += fmt.Sprintf(" for %s%s", n.Reasons[s.Reason], n.Reasons[s.Shadow])
	}
	for flag, name := range map[uint8]string{sample.Down: " down", sample.First: " first", sample.Regular: " regular", sample.Out: " out"} {
		if s.Flags&flag != 0 {
			text += name
		}
	}
	return text
}

// Of what is dropped one packet a second and source is told, whatever flood there is beside it; nothing of what passes.
func TestSamplesAlways(t *testing.T) {
	t.Parallel()
	w := newWorld(t, samplePlan(loader.SamplesAlways))
	c, vip := player4, netip.AddrPortFrom(vip4, packetsPort)
	w.spend(t, packet.NewUDP(c, vip, "x"), 100) // 50 pass
	w.spend(t, packet.NewUDP(netip.AddrPortFrom(c.Addr().Next(), 40000), vip, "y"), 100)
	got := w.samples(t)
	if len(got) != 2 {
		t.Fatalf("%d samples, want one of each source", len(got))
	}
	if want := fmt.Sprintf("drop packets %v udp %v > %v for rate_packetsnone regular", c.Addr(), c, vip); w.line(&got[0]) != want {
		t.Errorf("told %q, want %q", w.line(&got[0]), want)
	}
	if want := packet.NewUDP(c, vip, "x").Bytes(); !bytes.Equal(got[0].Frame, want) || int(got[0].Length) != len(want) {
		t.Errorf("frame %x of %d bytes, want %x", got[0].Frame, got[0].Length, want)
	}
	w.pass(t, 1100*time.Millisecond)
	w.spend(t, packet.NewUDP(c, vip, "z"), 200)
	if got := w.samples(t); len(got) != 1 {
		t.Errorf("%d samples in the next second, want one", len(got))
	}
	n, err := w.edge.SampleCounts()
	must(t, err)
	if want := (loader.SampleCount{Taken: 3}); n[loader.SampleSlots] != want {
		t.Errorf("counted %+v", n)
	}
}

// What is told at all, to whom, and as what: each filter alone.
func TestSampleFilters(t *testing.T) {
	t.Parallel()
	for _, level := range []loader.SampleLevel{loader.SamplesNone, loader.SamplesDrops, loader.SamplesAll} {
		w := newWorld(t, samplePlan(level))
		c, other, vip := player4, netip.AddrPortFrom(player4.Addr().Next(), 40000), netip.AddrPortFrom(vip4, packetsPort)
		send := func() {
			w.spend(t, packet.NewUDP(c, vip, "x"), 60)
			w.spend(t, packet.NewUDP(other, vip, "y"), 60)
			s := w.session(t, c)
			w.spend(t, packet.NewUDP(s.Server, s.Face, "down"), 2)
		}
		send()
		s := w.session(t, c)
		service, no := s.Service, uint16(0)
		reason := uint8(slices.Index(w.edge.Names().Reasons, "rate_packets"))
		rows := []struct {
			name         string
			f            loader.SampleFilter
			drops, pass  int // at SamplesAll
			sometimesAll bool
		}{
			{"all", loader.SampleFilter{Drops: true, Passes: true}, 20, 102, false},
			{"drops", loader.SampleFilter{Drops: true}, 20, 0, false},
			{"passes", loader.SampleFilter{Passes: true}, 0, 102, false},
			{"an address", loader.SampleFilter{Drops: true, Passes: true, Address: netip.PrefixFrom(c.Addr(), 32)}, 10, 52, false},
			{"a prefix", loader.SampleFilter{Drops: true, Passes: true, Address: netip.PrefixFrom(c.Addr(), 24)}, 20, 102, false},
			{"nobody's address", loader.SampleFilter{Drops: true, Passes: true, Address: netip.MustParsePrefix("192.0.2.77/32")}, 0, 0, false},
			{"a session", loader.SampleFilter{Drops: true, Passes: true, Session: &s}, 10, 52, false},
			{"its service", loader.SampleFilter{Drops: true, Passes: true, Service: &service}, 20, 102, false},
			{"no service", loader.SampleFilter{Drops: true, Passes: true, Service: &no}, 0, 0, false},
			{"a reason", loader.SampleFilter{Drops: true, Passes: true, Reason: reason}, 20, 0, false},
			{"another", loader.SampleFilter{Drops: true, Passes: true, Reason: reason + 1}, 0, 0, false},
			{"one in ten", loader.SampleFilter{Drops: true, Passes: true, Every: 10}, -12, 0, false},
			{"a rate", loader.SampleFilter{Drops: true, Passes: true, Rate: 7}, -7, 0, false},
		}
		for _, x := range rows {
			t.Run(fmt.Sprintf("level %d/%s", level, x.name), func(t *testing.T) {
				oneCPU(t) // rates and turns are each CPU's
				w.pass(t, 10*time.Second)
				w.samples(t)
				if x.f.Snap = 60; x.f.Rate == 0 {
					x.f.Rate = 1000
				}
				must(t, w.edge.SetSample(1, &x.f))
				defer func() { must(t, w.edge.SetSample(1, nil)) }()
				send()
				drops, pass := 0, 0
				for _, s := range w.samples(t) {
					switch {
					case s.Slots != 2:
						continue
					case s.Dropped():
						drops++
					default:
						pass++
					}
					if len(s.Frame) > 60 || s.Time == 0 {
						t.Errorf("%d bytes, time %d", len(s.Frame), s.Time)
					}
				}
				want := [2]int{x.drops, x.pass}
				switch {
				case level == loader.SamplesNone:
					want = [2]int{}
				case x.drops < 0 && level == loader.SamplesAll: // of both together
					drops, want[0], pass = drops+pass, -x.drops, 0
				case x.drops < 0:
					want[0] = map[bool]int{true: 2, false: 7}[x.f.Every > 1]
				case level == loader.SamplesDrops:
					want[1] = 0
				}
				if diff := cmp.Diff(want, [2]int{drops, pass}); diff != "" {
					t.Errorf("drops and passes: %s", diff)
				}
			})
		}
	}
}

// A packet that passes is told as it came in, not as it leaves; its session's first is marked.
func TestSampleIsAsItCame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, samplePlan(loader.SamplesAll))
	must(t, w.edge.SetSample(0, &loader.SampleFilter{Passes: true, Rate: 100, Snap: loader.SampleMax}))
	in := packet.NewUDP(player4, netip.AddrPortFrom(vip4, natPort), "hello").Bytes()
	w.quietly(t, in)
	s := w.session(t, player4)
	back := packet.NewUDP(s.Server, s.Face, "welcome").Bytes()
	w.quietly(t, back)
	got := w.samples(t)
	if len(got) != 2 {
		t.Fatalf("%d samples", len(got))
	}
	for i, want := range [][]byte{in, back} {
		if !bytes.Equal(got[i].Frame, want) {
			t.Errorf("packet %d: %x, want %x", i, got[i].Frame, want)
		}
		if got[i].Client != player4.Addr() {
			t.Errorf("packet %d is %v's", i, got[i].Client)
		}
	}
	if got[0].Flags != sample.First || got[1].Flags != sample.Down {
		t.Errorf("flags %#x and %#x", got[0].Flags, got[1].Flags)
	}
}

// What the ring has no room for is counted, and no packet fares otherwise.
func TestSamplesThatDoNotFit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, samplePlan(loader.SamplesAll))
	must(t, w.edge.SetSample(0, &loader.SampleFilter{Drops: true, Passes: true, Rate: 1 << 20, Snap: loader.SampleMax}))
	p := packet.NewUDP(player4, netip.AddrPortFrom(vip4, natPort), string(make([]byte, 1300)))
	const n = 200 // of some 1400 bytes: the ring has 64 KiB
	w.spend(t, p, n)
	all, err := w.edge.SampleCounts()
	must(t, err)
	got := w.samples(t)
	if c := all[0]; c.Taken+c.Full != n || c.Full == 0 || int(c.Taken) != len(got) {
		t.Errorf("%d samples in the ring, counted %+v", len(got), c)
	}
}

// The estimate of sources is within four times its standard error, and a packet that goes on is nobody's loss.
func TestShadowBooksCountSources(t *testing.T) {
	t.Parallel()
	p := samplePlan(loader.SamplesNone)
	for i := range p.Services {
		p.Services[i].EnforceLimits = false
		p.Services[i].Limits.PacketBurst = 1
	}
	w := newWorld(t, p)
	vip := netip.AddrPortFrom(vip4, packetsPort)
	for _, sources := range []int{1, 10, 100, 1000} {
		for i := range sources {
			c := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(2 + i/250), byte(1 + i%250)}), 40000)
			w.spend(t, packet.NewUDP(c, vip, "x"), 4)
		}
		books, err := w.edge.Books()
		must(t, err)
		i := slices.IndexFunc(books, func(b loader.Book) bool { return b.Reason == "rate_packets" })
		if i < 0 {
			t.Fatalf("nothing is booked: %+v", books)
		}
		if got := books[i].Sources; math.Abs(got-float64(sources)) > max(4*loader.SketchError*float64(sources), 0.5) {
			t.Errorf("%.1f of %d sources", got, sources)
		}
		if books[i].Players != 0 || books[i].Hit != 0 {
			t.Errorf("players: %+v", books[i])
		}
	}
}
