// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"

	"parry/test/need"
)

// answerPlan has two services of a pool of two servers, of 1 and 3 ports, one whose servers' answers aren't cached, and two
// local ones.
func answerPlan() *Plan {
	p := featurePlan(true, false, true, true, true, false, false, false, false, false)
	local := p.Services[2]
	local.Name = "plain"
	p.Services = append(p.Services, local)
	p.Services[0].Answers = true
	p.Services[1].Answers = true
	p.Services[1].Fronts[0].Last += 2
	p.Services[2].Answers = true
	p.Pools[0].Servers[1] = p.Pools[0].Servers[0]
	p.Pools[0].Servers[1].Name = "b"
	other := p.Pools[0]
	other.Name = "q"
	p.Pools = append(p.Pools, other)
	unasked := p.Services[0]
	unasked.Name, unasked.Pool, unasked.Answers, unasked.Fronts = "unasked", "q", false, nil
	p.Services = append(p.Services, unasked)
	return p
}

func answerEdge(t *testing.T, p *Plan) *Edge {
	t.Helper()
	need.Root(t)
	e, err := Open(Options{Sizes: smallSizes(), Injected: true, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	g, err := e.Prepare(p)
	must(t, err)
	must(t, e.Use(g))
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Each port of each server that is asked has cells of its own, and the services and servers say which.
func TestServersHaveCellsForTheirAnswers(t *testing.T) {
	e := answerEdge(t, answerPlan())
	want := []AnswerCell{
		{"p", "a", 0}, {"p", "a", 1}, {"p", "a", 2}, {"p", "b", 0}, {"p", "b", 1}, {"p", "b", 2}, {"", "local", 0},
	}
	if diff := cmp.Diff(want, e.gen.cells); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	services := map[string]uint32{"nat": 0, "transparent": 0, "local": 6 * gateKinds, "plain": noServer, "unasked": noServer}
	for name, first := range services {
		var s bpfService
		must(t, e.gen.coll.Maps[bpfMapService].Lookup(uint32(e.gen.services[name]), &s))
		if s.Answers != first {
			t.Errorf("service %s: %d, want %d", name, s.Answers, first)
		}
	}
	for i, first := range []uint32{0, 3 * gateKinds, noServer, noServer} {
		var s bpfServer
		must(t, e.gen.coll.Maps[bpfMapServer].Lookup(uint32(i), &s))
		if s.Answers != first {
			t.Errorf("server %d: %d, want %d", i, s.Answers, first)
		}
	}
}

// answerAt is the copy of an answer that holds; nil = none.
func answerAt(t *testing.T, e *Edge, cell uint32) (*bpfGateAnswer, uint32) {
	t.Helper()
	var at uint32
	must(t, e.gen.coll.Maps[bpfMapGateAnswerAt].Lookup(cell, &at))
	if at == noServer {
		return nil, at
	}
	var a bpfGateAnswer
	must(t, e.gen.coll.Maps[bpfMapGateAnswer].Lookup(at, &a))
	return &a, at
}

func TestAnswersAreWrittenBesideTheOneThatHolds(t *testing.T) {
	e := answerEdge(t, answerPlan())
	c := AnswerCell{"p", "b", 1}
	const cell = 4*gateKinds + 2
	for i := range uint32(7 * gateKinds) {
		if a, _ := answerAt(t, e, i); a != nil {
			t.Fatalf("cell %d begins with %d bytes", i, a.Length)
		}
	}
	last := noServer
	for i, payload := range [][]byte{[]byte("one"), []byte("another"), bytes.Repeat([]byte{0xff}, answerMax), nil} {
		must(t, e.SetAnswer(c, 2, payload, payload == nil, uint64(i)+100))
		a, at := answerAt(t, e, cell)
		if a == nil || at/2 != cell || at == last {
			t.Fatalf("answer %d is at %d, the one before at %d", i, at, last)
		}
		last = at
		if !bytes.Equal(a.Data[:a.Length], payload) || a.Until != uint64(i)+100 || a.Several != flag(payload == nil) {
			t.Errorf("answer %d: %d bytes, until %d, several %d", i, a.Length, a.Until, a.Several)
		}
	}
	for i := range uint32(7 * gateKinds) {
		if a, _ := answerAt(t, e, i); a != nil && i != cell {
			t.Errorf("cell %d has %d bytes", i, a.Length)
		}
	}
	if err := e.SetAnswer(c, 2, make([]byte, answerMax+1), false, 1); err == nil {
		t.Error("too long, and written")
	}
	if err := e.SetAnswer(c, gateKinds, nil, false, 1); err == nil {
		t.Error("of no kind, and written")
	}
	must(t, e.SetAnswer(AnswerCell{"p", "b", 3}, 0, []byte("nobody's"), false, 1)) // nothing, without a word
}

// The sum is the one that bpf_csum_diff makes of the same bytes: the checksum's own words, in memory order.
func TestSumsAreThoseOfTheFastPath(t *testing.T) {
	for _, b := range [][]byte{nil, {1}, {1, 2}, {0xff, 0xff, 1}, bytes.Repeat([]byte{0xab, 0xcd, 0xef}, 400)} {
		var want uint64
		padded := append(bytes.Clone(b), make([]byte, 4)...)
		for i := 0; i < len(b); i += 4 {
			want += uint64(binary.NativeEndian.Uint32(padded[i:]))
		}
		for want>>16 != 0 {
			want = want&0xffff + want>>16
		}
		if got := onesSum(b); uint64(got) != want {
			t.Errorf("%d bytes: %#x, want %#x", len(b), got, want)
		}
	}
}

// ask has a program leave a record in the ring, as a gate's verdict does.
func ask(t *testing.T, e *Edge, a bpfGateAsk) {
	t.Helper()
	raw, err := binary.Append(nil, binary.NativeEndian, a)
	must(t, err)
	var code asm.Instructions
	for i := 0; i < len(raw); i += 4 {
		code = append(code, asm.StoreImm(asm.RFP, int16(i-len(raw)), int64(int32(binary.NativeEndian.Uint32(raw[i:]))), asm.Word))
	}
	code = append(code,
		asm.LoadMapPtr(asm.R1, e.state[bpfMapAsks].FD()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(-len(raw))),
		asm.Mov.Imm(asm.R3, int32(len(raw))), asm.Mov.Imm(asm.R4, 0), asm.FnRingbufOutput.Call(), asm.Mov.Imm(asm.R0, 1), asm.Return())
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: code, License: "Dual BSD/GPL"})
	must(t, err)
	defer prog.Close()
	_, err = prog.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	must(t, err)
}

func TestAsksAreHandedOn(t *testing.T) {
	e := answerEdge(t, answerPlan())
	number := func(service string) uint16 { return e.gen.services[service] }
	six := func(s string) [16]byte { return netip.MustParseAddr(s).As16() }
	four := [16]byte{192, 0, 2, 1}
	vip := [16]byte{203, 0, 113, 10}
	for _, a := range []bpfGateAsk{
		{Src: four, Dst: vip, Sport: be16(4000), Dport: be16(1004), Service: number("transparent"), Family: 4, Kind: 2, Answers: 5 * gateKinds},
		{Src: four, Dst: vip, Service: number("local"), Family: 4, Answers: 5 * gateKinds}, // another service's
		{Src: four, Dst: vip, Service: number("nat"), Family: 4, Answers: 6 * gateKinds},   // likewise
		{Src: four, Dst: vip, Service: number("unasked"), Family: 4, Answers: 0},           // nobody asks its servers
		{Src: four, Dst: vip, Service: number("nat"), Family: 4, Answers: noServer},        // no cell
		{Src: four, Dst: vip, Service: 1000, Family: 4, Answers: 0},                        // no service
		{Src: six("2001:db8::1"), Dst: six("2001:db8::10"), Service: number("local"), Family: 6, Answers: 6 * gateKinds, Sport: be16(1), Dport: be16(2)},
	} {
		ask(t, e, a)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var got []Ask
	must(t, e.Asks(ctx, func(a Ask) {
		if got = append(got, a); a.Client.Addr().Is6() {
			stop() // it is the last
		}
	}))
	want := []Ask{
		{netip.MustParseAddrPort("192.0.2.1:4000"), netip.MustParseAddrPort("203.0.113.10:1004"), AnswerCell{"p", "b", 2}, 2},
		{netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::10]:2"), AnswerCell{"", "local", 0}, 0},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("asks (-want +got):\n%s", diff)
	}
}
