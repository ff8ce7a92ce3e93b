// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/pkg/sample"
	"parry/test/packet"
)

// stepsOf are the steps among samples: of whom, and which.
func stepsOf(all []sample.Sample) []string {
	var lines []string
	for i := range all {
		p := all[i].Packet()
		if p.Step&^sample.StepCalled == 0 {
			continue
		}
		text := fmt.Sprintf("%s %v >%s", [...]string{"drop", "first", "turn", "step", "begin"}[p.Kind], p.Client, stepped(&p))
		if p.Down {
			text += " down"
		}
		lines = append(lines, text)
	}
	return lines
}

// A session's steps are told with its first packets, and where these are used up by themselves: without a frame, but with all ends.
func TestStepsOfASession(t *testing.T) {
	t.Parallel()
	for _, rate := range []uint32{1000, 0} {
		kind := map[uint32]string{1000: "first", 0: "step"}[rate]
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, toldPlan())
			must(t, w.edge.SetSampleRate(loader.SampleFirst, rate))
			for _, player := range []netip.AddrPort{player4, player6} {
				for _, port := range []uint16{natPort, openPort} {
					w.quietly(t, packet.NewTCP(player, vip(player, port), packet.SYN, "").Bytes())
					s := w.session(t, player)
					w.quietly(t, packet.NewTCP(s.Server, s.Face, packet.SYN|packet.ACK, "").Bytes())
					w.quietly(t, packet.NewTCP(player, vip(player, port), packet.ACK, "").Bytes())
					w.quietly(t, packet.NewTCP(s.Server, s.Face, packet.ACK, "hello").Bytes())
					w.quietly(t, packet.NewTCP(s.Server, s.Face, packet.ACK, "hello").Bytes())
					got := w.samples(t)
					want := []string{fmt.Sprintf("%s %v > began", map[string]string{"step": "begin", "first": "first"}[kind], player), fmt.Sprintf("%s %v > strong down", kind, player)}
					if diff := cmp.Diff(want, stepsOf(got)); diff != "" {
						t.Errorf("port %d: %s", port, diff)
					}
					for i := range got {
						p := got[i].Packet()
						if p.Front != vip(player, port) || p.Proto != packet.TCP || w.edge.ServiceNames()[p.Service] == "" || (rate == 0 && len(got[i].Frame) > 0) {
							t.Errorf("port %d: told %+v with %d bytes", port, p, len(got[i].Frame))
						}
					}
					w.clear(t)
				}
			}
		})
	}
}

// That a session has come to last is a step; afterwards its turns say so.
func TestStepsOfOneThatLasts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, toldPlan())
	for range 4 {
		w.talk(t, player4, natPort, 8)
		w.pass(t, 11*time.Second)
	}
	w.talk(t, player4, natPort, 2)
	want := []string{fmt.Sprintf("first %v > began", player4), fmt.Sprintf("turn %v > lasting", player4), fmt.Sprintf("turn %v > lasts", player4)}
	if diff := cmp.Diff(want, stepsOf(w.samples(t))); diff != "" {
		t.Error(diff)
	}
}

// Attempts that their source's own limit refuses are told some 60 times a second; those that other reasons refuse are no steps.
func TestStepsOfRefusedAttempts(t *testing.T) {
	t.Parallel()
	plan := toldPlan()
	for i := range plan.Services {
		plan.Services[i].Limits.NewSessions, plan.Services[i].Limits.Window = 3, time.Minute
	}
	w := newWorld(t, plan)
	must(t, w.edge.SetSampleRate(loader.SampleFirst, 0))
	w.pass(t, (1<<24)-w.env.Now%(1<<24))
	say := func(port uint16) { w.quietly(t, hello(netip.AddrPortFrom(player4.Addr(), port), natPort).Bytes()) }
	for i := range uint16(8) {
		say(40000 + i)
	}
	w.pass(t, 1<<24)
	say(40008)
	say(40009)
	began := func(i int) string {
		return fmt.Sprintf("begin %v > began", netip.AddrPortFrom(player4.Addr(), uint16(40000+i)))
	}
	got := w.samples(t)
	want := []string{began(0), began(1), began(2), fmt.Sprintf("step %v > refused", netip.AddrPortFrom(player4.Addr(), 40003)),
		fmt.Sprintf("step %v > refused", netip.AddrPortFrom(player4.Addr(), 40008))}
	if diff := cmp.Diff(want, stepsOf(got)); diff != "" {
		t.Error(diff)
	}
	i := slices.IndexFunc(got, func(s sample.Sample) bool { return s.Step == sample.StepRefused })
	if i < 0 || !got[i].Packet().First || w.edge.Names().Reasons[got[i].Reason] != "rate_sessions" {
		t.Errorf("a refused attempt is told as %+v", got)
	}
	w.list(t, deny("192.0.2.0/24"))
	w.quietly(t, hello(at(netip.MustParseAddr("192.0.2.77"), 40000), natPort).Bytes())
	if got := stepsOf(w.samples(t)); len(got) != 0 {
		t.Errorf("who is denied is told as %v", got)
	}
}

// Beyond their rate steps are passed over, and counted.
func TestStepsHaveARate(t *testing.T) {
	t.Parallel()
	oneCPU(t)
	w := newWorld(t, toldPlan())
	must(t, w.edge.SetSampleRate(loader.SampleFirst, 0))
	must(t, w.edge.SetSampleRate(loader.SampleBegin, 3))
	w.pass(t, (1<<30)-w.env.Now%(1<<30))
	for i := range 5 {
		w.quietly(t, packet.NewUDP(client(i), vip4Port(openPort), "up").Bytes())
	}
	if got := stepsOf(w.samples(t)); len(got) != 3 {
		t.Errorf("told %v", got)
	}
	n, err := w.edge.SampleCounts()
	must(t, err)
	if k := n[loader.SampleSlots+int(loader.SampleBegin)]; k.Taken != 3 || k.Over != 2 {
		t.Errorf("counted %+v", k)
	}
	// What nobody can forge has a rate of its own.
	w.quietly(t, syn(player4, openPort).Bytes())
	s := w.session(t, player4)
	w.quietly(t, packet.NewTCP(s.Server, s.Face, packet.SYN|packet.ACK, "").Bytes())
	w.quietly(t, packet.NewTCP(player4, vip4Port(openPort), packet.ACK, "").Bytes())
	w.quietly(t, packet.NewTCP(s.Server, s.Face, packet.ACK, "hello").Bytes())
	want := []string{fmt.Sprintf("step %v > strong down", player4)}
	if diff := cmp.Diff(want, stepsOf(w.samples(t))); diff != "" {
		t.Error(diff)
	}
}
