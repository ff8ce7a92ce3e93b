// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"parry/loader"
	"parry/pkg/netns"
	"parry/test/packet"
)

// bench is a fast path in a namespace of its own whose every route leads out again by the interface that test runs
// come in by, and the floors.
type bench struct {
	host  *netns.Host
	out   *netns.Interface
	edge  *loader.Edge
	pin   string
	floor floorObjects // IPv4
	six   floorObjects
}

func newBench(t *testing.T, name string) *bench {
	t.Helper()
	w, err := netns.NewWorld(t.Context(), name, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	b := &bench{}
	b.host, err = w.Host("edge")
	must(t, err)
	far, err := w.Host("far")
	must(t, err)
	via4, via6 := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")
	near, peer, err := w.Link(
		netns.End{Host: b.host, Name: "out0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}},
		netns.End{Host: far, Name: "in0"}, netns.LinkOptions{})
	must(t, err)
	must(t, near.Neighbour(via4, peer.MAC), near.Neighbour(via6, peer.MAC), b.host.DefaultRoute(via4), b.host.DefaultRoute(via6))
	fs, err := w.MountBPF("bpf")
	must(t, err)
	b.out, b.pin = near, filepath.Join(fs, "parry")
	b.open(t)
	t.Cleanup(func() { must(t, b.close()) })
	return b
}

// open makes a new fast path, without sessions.
func (b *bench) open(t *testing.T) {
	t.Helper()
	must(t, b.host.Do(func() (err error) {
		b.edge, err = loader.Open(loader.Options{Pin: b.pin, Log: slog.New(slog.DiscardHandler), Sizes: loader.Sizes{
			Sessions: 262144, Blocks: 1048576, Prefixes: 131072, Sources: 262144, Fragments: 8192, Services: 256, NAT4: 4, NAT6: 2,
		}})
		return err
	}))
	// Test runs come in by lo: what leaves by it is a TX.
	must(t, b.edge.SetLink(loader.LinkInfo{Ifindex: b.out.Index, Phys: 1, MTU: 1500, MAC: [6]byte(b.out.MAC)}))
}

func (b *bench) close() error { return errors.Join(b.edge.Close(), os.RemoveAll(b.pin)) }

// loadFloors loads the floors twice: the wrapper `again` is for one family at a time.
func (b *bench) loadFloors(t *testing.T, newSource bool) {
	t.Helper()
	for _, f := range []struct {
		objects *floorObjects
		six     uint8
	}{{&b.floor, 0}, {&b.six, 1}} {
		spec, err := loadFloor()
		must(t, err)
		must(t, spec.Variables[floorVarFloorIs6].Set(f.six))
		if newSource {
			must(t, spec.Variables[floorVarFloorNewSource].Set(uint8(1)))
		}
		must(t, spec.LoadAndAssign(f.objects, nil))
		t.Cleanup(func() { must(t, f.objects.Close()) })
	}
}

// program is the newest generation's.
func (b *bench) program(t *testing.T) *ebpf.Program {
	t.Helper()
	newest := 0
	paths, err := filepath.Glob(filepath.Join(b.pin, "gen-*"))
	must(t, err)
	for _, p := range paths {
		n, err := strconv.Atoi(filepath.Base(p)[len("gen-"):])
		must(t, err)
		newest = max(newest, n)
	}
	p, err := ebpf.LoadPinnedProgram(filepath.Join(b.pin, fmt.Sprint("gen-", newest), "prog_parry"), nil)
	must(t, err)
	return p
}

func (b *bench) use(t *testing.T, p *loader.Plan) {
	t.Helper()
	g, err := b.edge.Prepare(p)
	must(t, err, b.edge.Use(g))
}

// costLimits are limits that are on, and that no test run reaches.
func costLimits() loader.Limits {
	return loader.Limits{
		Packets: costLimit, PacketBurst: 8_000_000, NewSessions: 1_000_000_000, Window: time.Second, Sessions: 1 << 30, Prefix4: 32, Prefix6: 64,
	}
}

// costPlan has a service at each vip, which leads to the server and faces it with one address.
func costPlan(pairs ...pair) *loader.Plan {
	p := &loader.Plan{Enforce: true, NATPorts: [2]uint16{costPort, costPort + 2*costPairs - 1}}
	for _, x := range pairs {
		pool := loader.Pool{Name: x.vip.String(), Servers: []loader.Server{{
			Name: "s", Addr: x.server.Addr(), Port: x.server.Port(), NAT: []netip.Addr{x.face.Addr()},
		}}}
		table := make([]uint32, loader.MaglevSize)
		if x.server.Addr().Is4() {
			pool.Table4 = table
		} else {
			pool.Table6 = table
		}
		s := limitedPlan(costLimits()).Services[0]
		s.Name, s.Pool, s.Fronts = x.vip.String(), pool.Name, nil
		for _, proto := range []uint8{loader.ProtoUDP, loader.ProtoTCP} {
			s.Fronts = append(s.Fronts, loader.Front{Addr: x.vip.Addr(), Proto: proto, First: x.vip.Port(), Last: x.vip.Port()})
		}
		p.Pools, p.Services = append(p.Pools, pool), append(p.Services, s)
	}
	return p
}

// establish makes the sessions of the pairs and those after them, proven ones of UDP and TCP. A session's source must be
// no address of the edge's own when it begins: each begins under a plan without the other's.
func (b *bench) establish(t *testing.T, pairs ...pair) {
	t.Helper()
	for _, second := range []bool{false, true} {
		var now []pair
		for _, x := range pairs {
			if second {
				x = x.back()
			}
			now = append(now, x)
		}
		b.use(t, costPlan(now...))
		for _, x := range now {
			for i := range 2 * costPairs {
				x := x.nth(i)
				first, answer := udp(x.player, x.vip), udp(x.server, x.face)
				if x.isTCP() {
					first, answer = tcp(x.player, x.vip, packet.SYN), tcp(x.server, x.face, packet.SYN|packet.ACK)
				}
				for _, frame := range [][]byte{first, answer, x.frame()} {
					b.send(t, frame)
				}
			}
		}
	}
	var both []pair
	for _, x := range pairs {
		both = append(both, x, x.back())
	}
	b.use(t, costPlan(both...))
	must(t, b.edge.Sessions(func(s *loader.Session) bool {
		if s.State != loader.Proven {
			t.Errorf("session of %v is %s", s.Client, s.State)
		}
		return true
	}))
}

func (b *bench) send(t *testing.T, frame []byte) {
	t.Helper()
	must(t, b.host.Do(func() error {
		r, err := b.edge.Process(frame)
		if err == nil && r.Code != loader.XDPTX {
			err = fmt.Errorf("XDP code %d, reason %s", r.Code, r.Reason)
		}
		return err
	}))
}
