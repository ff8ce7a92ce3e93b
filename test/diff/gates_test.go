// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"parry/loader/gates"
	"parry/test/model"
	"parry/test/need"
	"parry/test/packet"
)

const quickFirsts = 4000 // packets for each gate at least

// Each of parry's gates says of any first packet what the model says, and makes the same of it. PARRY_FUZZ says for how long.
func TestGates(t *testing.T) {
	need.Root(t)
	all := model.Gates()
	each := duration(t) / time.Duration(4*len(all))
	for name, object := range gates.Objects() {
		want := all[name]
		if want == nil {
			t.Errorf("the model has no gate %s", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := openGate(t, object)
			seed := firstSeed(t)
			said := map[model.Word]int{}
			packets := 0
			for end := time.Now().Add(each); packets < quickFirsts || time.Now().Before(end); seed++ {
				f := firsts{rand.New(rand.NewPCG(seed, 7))}
				g := f.first(name)
				w := want(g)
				said[w.Word]++
				packets++
				if err := r.compare(g, w); err != nil {
					t.Fatalf("seed %d: %v\nparams %v, cached %v, watch %v, cookies %v, protocol %d\n%x", seed, err, g.Params, g.Cached, g.Watch, g.Cookies,
						g.Proto, g.Payload)
				}
			}
			t.Logf("%d packets, 0 differences: refused %d, admitted %d, queries %d, answered %d, asked %d", packets, said[model.Refuse],
				said[model.Admit], said[model.Query], said[model.Reply], said[model.Ask])
		})
	}
}

// first is somebody's first packet to a service of a gate, and all that a gate is told.
func (r firsts) first(gate string) *model.First {
	g := &model.First{
		Now: 1e15 + r.Uint64N(1e12), Service: 1 + r.IntN(3), Proto: packet.UDP, State: model.State(r.IntN(3)), Watch: r.one(8), Cookies: r.one(2),
		Regular: r.one(8), Secret: [2]uint64{1, uint64(r.IntN(2))},
		From: netip.MustParseAddrPort("192.0.2.1:40000"), To: netip.MustParseAddrPort("203.0.113.10:27015"),
	}
	if r.one(3) {
		g.From, g.To = netip.MustParseAddrPort("[2001:db8:c::1]:40001"), netip.MustParseAddrPort("[2001:db8::10]:27015")
	}
	if gate == "minecraft_java" || gate == "mumble" && r.one(2) || gate == "shape" && r.one(3) || r.one(30) {
		g.Proto = packet.TCP
	}
	if gate == "shape" || r.one(4) {
		g.Params = r.params(gate)
	}
	if g.Cached = !r.one(4); g.Cached {
		for kind := range g.Answers {
			if !r.one(4) {
				g.Answers[kind] = r.answer(gate, kind, g.Now)
			}
		}
	}
	g.Payload = r.payload(gate, g)
	return g
}

func (r firsts) params(gate string) (p [6]uint64) {
	switch gate {
	case "source", "raknet":
		p[0], p[1], p[2] = uint64(r.IntN(2)), choose[uint64](r, 0, 1<<7, 1<<63), choose[uint64](r, 0, 1200, 1400)
	case "shape":
		if !r.one(20) {
			p = r.windows()
		}
	case "enet":
		p[0] = uint64(r.IntN(4))
	case "minecraft_java":
		p[0], p[1] = choose[uint64](r, 0, 47, 765), choose[uint64](r, 0, 340, 772)
	case "quic":
		p[r.IntN(6)] = 0xff00001d
	case "unreal":
		p[0], p[1], p[2] = choose[uint64](r, 0, 4, 32, 9), r.Uint64(), choose[uint64](r, 4, 5, 5, 0)
		p[1] &= 1<<p[0] - 1
		p[3], p[4] = choose[uint64](r, 0, 3, 1), choose[uint64](r, 0, 4, 8)
	}
	return p
}

// gateRun is one gate, and the maps that it shares with the fast path.
type gateRun struct {
	prog *ebpf.Program
	maps map[string]*ebpf.Map
}

func openGate(t *testing.T, object []byte) *gateRun {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(c.Close)
	return &gateRun{c.Programs["gate"], c.Maps}
}

// box is struct gate of parry_gate.h.
func box(g *model.First, payload int) []byte {
	ne := binary.NativeEndian
	b := ne.AppendUint64(nil, g.Now)
	b = ne.AppendUint16(b, uint16(g.Service))
	b = ne.AppendUint16(b, uint16(payload))
	b = ne.AppendUint16(b, uint16(len(g.Payload)))
	family := byte(4)
	if g.From.Addr().Is6() {
		family = 6
	}
	b = append(b, family, g.Proto)
	for _, a := range []netip.AddrPort{g.From, g.To} {
		raw := a.Addr().AsSlice()
		b = append(append(b, raw...), make([]byte, 16-len(raw))...)
	}
	b = binary.BigEndian.AppendUint16(b, g.From.Port())
	b = binary.BigEndian.AppendUint16(b, g.To.Port())
	flags := byte(0)
	for bit, set := range map[byte]bool{2: g.Watch, 4: g.Regular, 8: g.Cookies} {
		if set {
			flags |= bit
		}
	}
	b = append(b, byte(g.State), flags, 0, 0)
	cells := ^uint32(0)
	if g.Cached {
		cells = 0
	}
	b = ne.AppendUint32(ne.AppendUint32(b, cells), 0)
	for _, p := range g.Params {
		b = ne.AppendUint64(b, p)
	}
	return append(b, make([]byte, 8)...)
}

// memorySum is the one's-complement sum of bytes as a machine of this byte order reads them.
func memorySum(b []byte) uint32 {
	sum := uint64(0)
	for ; len(b) > 1; b = b[2:] {
		sum += uint64(binary.NativeEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint64(binary.NativeEndian.Uint16([]byte{b[0], 0}))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint32(sum)
}

const answerRoom = 1400

// cached is struct gate_answer of parry_gate.h.
func cached(a *model.Answer) []byte {
	ne := binary.NativeEndian
	b := ne.AppendUint64(nil, a.Until)
	b = ne.AppendUint32(b, memorySum(a.Data))
	b = ne.AppendUint16(b, uint16(len(a.Data)))
	several := byte(0)
	if a.Several {
		several = 1
	}
	b = append(append(b, several, 0), a.Data...)
	return append(b, make([]byte, answerRoom-len(a.Data))...)
}

func (r *gateRun) prepare(g *model.First, payload int) error {
	for kind, a := range g.Answers {
		at := ^uint32(0)
		if a != nil {
			at = uint32(2*kind + 1)
			if err := r.maps["gate_answer"].Put(at, cached(a)); err != nil {
				return err
			}
		}
		if err := r.maps["gate_answer_at"].Put(uint32(kind), at); err != nil {
			return err
		}
	}
	if m := r.maps["gate_secret"]; m != nil {
		if err := m.Put(uint32(0), g.Secret[:]); err != nil {
			return err
		}
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	boxes := make([][]byte, cpus)
	for i := range boxes {
		boxes[i] = box(g, payload)
	}
	return r.maps["gate_box"].Put(uint32(0), boxes)
}

// compare runs the gate on a packet.
func (r *gateRun) compare(g *model.First, want model.Said) error {
	p := packet.NewUDP(g.From, g.To, string(g.Payload))
	p.Proto = g.Proto
	frame := p.Bytes()
	at := len(frame) - len(g.Payload)
	if err := r.prepare(g, at); err != nil {
		return err
	}
	out := make([]byte, 4096)
	opts := &ebpf.RunOptions{Data: frame, DataOut: out}
	code, err := r.prog.Run(opts)
	if err != nil {
		return err
	}
	if model.Word(code) != want.Word {
		return fmt.Errorf("word %d, not %d", code, want.Word)
	}
	if want.Word == model.Refuse {
		return nil
	}
	var boxes [][]byte
	if err := r.maps["gate_box"].Lookup(uint32(0), &boxes); err != nil {
		return err
	}
	was := box(g, at)
	for _, is := range boxes {
		if !bytes.Equal(is, was) {
			return agree(is, opts.DataOut[at:], g, want)
		}
	}
	return agree(was, opts.DataOut[at:], g, want)
}

// agree compares what a gate wrote to its box, and the payload that it left.
func agree(is, payload []byte, g *model.First, want model.Said) error {
	ne := binary.NativeEndian
	length, flags, proof, kind, sum := ne.Uint16(is[12:]), is[53], is[112], is[113], ne.Uint32(is[116:])
	wanted := g.Payload
	if want.Payload != nil {
		wanted = want.Payload
	}
	modified := want.Word != model.Reply && want.Payload != nil
	switch {
	case model.Proof(proof) != want.Proof:
		return fmt.Errorf("proof %d, not %d", proof, want.Proof)
	case want.Word == model.Ask && int(kind) != want.Kind:
		return fmt.Errorf("kind %d, not %d", kind, want.Kind)
	case flags&1 != 0 != modified:
		return fmt.Errorf("modified: %v", flags&1 != 0)
	case int(length) != len(wanted) || !bytes.Equal(payload, wanted):
		return fmt.Errorf("the payload (%d bytes)\n%x, not (%d)\n%x", length, payload, len(wanted), wanted)
	case want.Payload != nil && !sameSum(sum, memorySum(wanted)):
		return fmt.Errorf("the sum of the payload is %#x, not %#x", sum, memorySum(wanted))
	}
	return nil
}

// sameSum: of sums that differ by what folding takes away, and of the two zeros.
func sameSum(a, b uint32) bool { return a%65535 == b%65535 }
