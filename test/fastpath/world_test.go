// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/test/need"
	"parry/test/packet"
)

// world is an edge without a network: one program, its maps, and an injected clock, chance and way out.
type world struct {
	edge  *loader.Edge
	env   loader.Env
	ports [2]uint16 // that NAT gives out
	nets  bool      // prefixes were listed
	lists *loader.Lists

	strangers uint16 // that there were: see stranger
}

// wire is the next hop by which everything leaves until a test says otherwise: back out by the interface that
// BPF_PROG_RUN has every frame come in by, which is the loopback.
var wire = loader.Hop{
	HopKey: loader.HopKey{Ifindex: 1, Gateway: netip.MustParseAddr("203.0.113.1")}, Phys: 1, MTU: 1500,
	Dst: [6]byte{2, 0, 0, 0, 0, 0x01}, Src: packet.EdgeSide, Valid: true,
}

func smallSizes() loader.Sizes {
	return loader.Sizes{Sessions: 4096, Blocks: 1024, Allows: 1024, Prefixes: 1024, Sources: 4096, Fragments: 64, Services: 16, NAT4: 2, NAT6: 1}
}

func newWorld(t *testing.T, plan *loader.Plan) *world {
	t.Helper()
	return newWorldOf(t, plan, smallSizes())
}

func newWorldOf(t *testing.T, plan *loader.Plan, sizes loader.Sizes) *world {
	t.Helper()
	return openWorld(t, plan, sizes, "")
}

func openWorld(t *testing.T, plan *loader.Plan, sizes loader.Sizes, pin string) *world {
	t.Helper()
	need.Root(t)
	e, err := loader.Open(loader.Options{Pin: pin, Sizes: sizes, Log: slog.New(slog.DiscardHandler), Injected: true, Traced: true})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{edge: e, ports: plan.NATPorts, env: loader.Env{Now: time.Duration(loader.Monotonic()), Chance: 1, Hop: wire.HopKey}, lists: e.Lists()}
	w.load(t, plan)
	w.hop(t, wire)
	must(t, e.SetLink(loader.LinkInfo{Ifindex: 1, Phys: 1, MTU: 1500, MAC: packet.EdgeSide}))
	return w
}

// load makes the plan the one that packets meet. State stays.
func (w *world) load(t *testing.T, plan *loader.Plan) {
	t.Helper()
	g, err := w.edge.Prepare(plan)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	must(t, w.edge.Use(g))
	must(t, w.edge.SetEnv(w.env))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hop makes a next hop known.
func (w *world) hop(t *testing.T, h loader.Hop) {
	t.Helper()
	_, err := w.edge.SetHop(h)
	must(t, err)
}

// leadTo has every route question from now on answered with the hop's key.
func (w *world) leadTo(t *testing.T, k loader.HopKey) {
	t.Helper()
	env, err := w.edge.Env() // chance went on
	must(t, err)
	env.Hop = k
	w.env = env
	must(t, w.edge.SetEnv(env))
}

// pass lets time pass.
func (w *world) pass(t *testing.T, d time.Duration) {
	t.Helper()
	env, err := w.edge.Env()
	must(t, err)
	env.Now += d
	w.env = env
	must(t, w.edge.SetEnv(env))
}

func (w *world) sweep(t *testing.T) loader.Swept {
	t.Helper()
	s, err := w.edge.Sweep(nil)
	must(t, err)
	return s
}

// sessions are all there are.
func (w *world) sessions(t *testing.T) []loader.Session {
	t.Helper()
	var all []loader.Session
	must(t, w.edge.Sessions(func(s *loader.Session) bool { all = append(all, *s); return true }))
	return all
}

// session is the client's only one.
func (w *world) session(t *testing.T, client netip.AddrPort) loader.Session {
	t.Helper()
	for _, s := range w.sessions(t) {
		if s.Client == client {
			return s
		}
	}
	t.Fatalf("%v is in no session", client)
	return loader.Session{}
}

// text says what a session is and has carried.
func (w *world) text(s loader.Session) string {
	out := fmt.Sprintf("%s %s up %d/%d down %d/%d", w.edge.ServiceNames()[s.Service], s.State,
		s.Up.Packets, s.Up.Bytes, s.Down.Packets, s.Down.Bytes)
	if s.ServerStarted {
		out += " server-started"
	}
	return out
}

func (w *world) wantSession(t *testing.T, client netip.AddrPort, want string) {
	t.Helper()
	if got := w.text(w.session(t, client)); got != want {
		t.Errorf("the session of %v: %s\nwant: %s", client, got, want)
	}
}

func (w *world) wantSessions(t *testing.T, n int) {
	t.Helper()
	if all := w.sessions(t); len(all) != n {
		t.Errorf("%d sessions, not %d", len(all), n)
	}
}

// clear ends all sessions, lets ports and sources rest until they are free again, and fails if any is not.
func (w *world) clear(t *testing.T) {
	t.Helper()
	w.leadTo(t, wire.HopKey)
	_, err := w.edge.EndSessions(w.sessions(t))
	must(t, err)
	for range 3 { // delete; mark sources; delete sources
		w.pass(t, 100*time.Second)
		w.sweep(t)
	}
	w.wantSessions(t, 0)
	w.wantPorts(t)
	if n := w.sources(t); n != 0 {
		t.Errorf("%d sources are left", n)
	}
}

func (w *world) sources(t *testing.T) int {
	t.Helper()
	all, err := w.edge.Fills()
	must(t, err)
	for _, f := range all {
		if f.Name == "source" {
			return int(f.Entries)
		}
	}
	t.Fatal("nobody counts the sources")
	return 0
}

// wantPorts fails unless each port of each NAT address is in one place: free, or used.
func (w *world) wantPorts(t *testing.T) {
	t.Helper()
	all, err := w.edge.Ports()
	must(t, err)
	for _, a := range all {
		seen := map[uint16]int{}
		for _, p := range append(a.Free, a.Used...) {
			seen[p]++
		}
		for p := w.ports[0]; p <= w.ports[1]; p++ {
			if seen[p] != 1 {
				t.Errorf("port %d of %v is in %d places", p, a.Addr, seen[p])
			}
		}
	}
}

// counts is every counter that there is, by the service's name ("" = the host's own traffic).
type counts struct {
	Services map[string]loader.ServiceCount
	Faults   map[string]uint64
}

func (w *world) counts(t *testing.T) counts {
	t.Helper()
	all, err := w.edge.Counters()
	must(t, err)
	c := counts{Services: map[string]loader.ServiceCount{}}
	for i, name := range w.edge.ServiceNames() {
		c.Services[name] = all[i]
	}
	c.Faults, err = w.edge.Faults()
	must(t, err)
	return c
}

// since is what moved; what did not is left out.
func (c counts) since(before counts) counts {
	moved := counts{Services: map[string]loader.ServiceCount{}, Faults: map[string]uint64{}}
	for name, now := range c.Services {
		b := before.Services[name]
		d := loader.ServiceCount{
			Up: less(now.Up, b.Up), Down: less(now.Down, b.Down), Pass: now.Pass - b.Pass, Drop: now.Drop - b.Drop,
			TX: now.TX - b.TX, Redirect: now.Redirect - b.Redirect,
		}
		for r, n := range now.Reasons {
			o := b.Reasons[r]
			if n != o {
				if d.Reasons == nil {
					d.Reasons = map[string]loader.ReasonCount{}
				}
				d.Reasons[r] = loader.ReasonCount{Packets: n.Packets - o.Packets, Bytes: n.Bytes - o.Bytes,
					ShadowPackets: n.ShadowPackets - o.ShadowPackets, ShadowBytes: n.ShadowBytes - o.ShadowBytes}
			}
		}
		if !cmp.Equal(d, loader.ServiceCount{}) {
			moved.Services[name] = d
		}
	}
	for name, n := range c.Faults {
		if n != before.Faults[name] {
			moved.Faults[name] = n - before.Faults[name]
		}
	}
	return moved
}

func less(a, b loader.Direction) loader.Direction {
	return loader.Direction{Packets: a.Packets - b.Packets, Bytes: a.Bytes - b.Bytes}
}

// outcome is what is to become of one packet. It says which counters move, and that no other does.
type outcome struct {
	verdict string // pass, drop, tx, redirect, abort
	reason  string
	shadow  string // what policy would have dropped it for
	service string // "" = the host's own traffic
	down    bool   // from server to client
	bytes   int    // that are counted; 0 = what its IP header says
	fault   string
	faults  uint64 // how many; 0 = one
	packets uint64 // that are counted, of a buffer that the NIC is yet to cut; 0 = one
}

func (o outcome) counts(frame []byte) counts {
	n := uint64(o.bytes)
	if n == 0 {
		n = uint64(packet.Length(frame))
	}
	var c loader.ServiceCount
	packets := max(o.packets, 1)
	if o.down {
		c.Down = loader.Direction{Packets: packets, Bytes: n}
	} else {
		c.Up = loader.Direction{Packets: packets, Bytes: n}
	}
	switch o.verdict {
	case "pass":
		c.Pass = packets
	case "tx":
		c.TX = packets
	case "redirect":
		c.Redirect = packets
	default:
		c.Drop = packets
	}
	for reason, r := range map[string]loader.ReasonCount{o.reason: {Packets: 1, Bytes: n}, o.shadow: {ShadowPackets: 1, ShadowBytes: n}} {
		if reason != "" {
			if c.Reasons == nil {
				c.Reasons = map[string]loader.ReasonCount{}
			}
			c.Reasons[reason] = r
		}
	}
	moved := counts{Services: map[string]loader.ServiceCount{o.service: c}, Faults: map[string]uint64{}}
	if o.fault != "" {
		moved.Faults[o.fault] = max(o.faults, 1)
	}
	return moved
}

var codes = map[string]uint32{
	"pass": loader.XDPPass, "drop": loader.XDPDrop, "tx": loader.XDPTX, "redirect": loader.XDPRedirect, "abort": loader.XDPAborted,
}

// send runs one packet and fails unless exactly the wanted happens. out = the frame that is to leave; nil where the
// packet does not leave. What is passed up must be as it came.
func (w *world) send(t *testing.T, in []byte, want outcome, out []byte) loader.Result {
	t.Helper()
	before := w.counts(t)
	r, err := w.edge.Process(in)
	must(t, err)
	got := outcome{verdict: r.Verdict, reason: r.Reason, shadow: r.Shadow, service: w.edge.ServiceNames()[r.Service],
		down: want.down, bytes: want.bytes, fault: want.fault, faults: want.faults, packets: want.packets}
	if got != want || r.Code != codes[want.verdict] {
		t.Errorf("got  %+v, XDP code %d\nwant %+v", got, r.Code, want)
	}
	if diff := cmp.Diff(want.counts(in), w.counts(t).since(before)); diff != "" {
		t.Errorf("counters that moved (-want +got):\n%s", diff)
	}
	switch {
	case want.verdict == "pass":
		out = in
	case out == nil:
		return r
	}
	if diff := cmp.Diff(hex.Dump(out), hex.Dump(r.Out)); diff != "" {
		t.Errorf("the frame that leaves (-want +got):\n%s", diff)
	}
	if want.verdict != "pass" {
		if err := packet.Check(r.Out); err != nil {
			t.Errorf("the frame that leaves: %v", err)
		}
	}
	return r
}

// answer has this host send a frame, which the NIC is to cut into segments, and fails unless exactly the wanted happens.
func (w *world) answer(t *testing.T, frame []byte, segments int, want outcome) {
	t.Helper()
	before := w.counts(t)
	code, err := w.edge.Reply(frame, segments)
	must(t, err)
	if wanted := map[string]uint32{"": loader.TCNext, "pass": loader.TCNext, "drop": loader.TCShot}[want.verdict]; code != wanted {
		t.Errorf("TC code %d, not %d", int32(code), int32(wanted))
	}
	moved := want.counts(frame)
	if want.verdict == "" { // none of ours
		moved.Services = map[string]loader.ServiceCount{}
	}
	if diff := cmp.Diff(moved, w.counts(t).since(before)); diff != "" {
		t.Errorf("counters that moved (-want +got):\n%s", diff)
	}
}

// quietly runs packets whose counters the test does not look at, and returns the last one's result.
func (w *world) quietly(t *testing.T, frames ...[]byte) (r loader.Result) {
	t.Helper()
	for _, f := range frames {
		var err error
		r, err = w.edge.Process(f)
		must(t, err)
	}
	return r
}
