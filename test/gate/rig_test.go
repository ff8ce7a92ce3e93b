// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"parry/loader/gates"
	"parry/test/need"
)

// Verdicts, proofs, flags: bpf/gate/parry_gate.h.
const (
	refuse = iota
	pass
	query
	answer
	ask
)

const (
	none = iota
	weak
	strong
)

const (
	modified = 1 << iota
	watch
	_
	cookies
)

const (
	tcp = 6
	udp = 17

	kinds     = 4
	answerMax = 1400
	noCache   = ^uint32(0)

	// payloadAt is where payloads begin: behind Ethernet, IPv6 and UDP, say.
	payloadAt = 14 + 40 + 8

	// padding is what a short frame may have behind its packet; it is not the gate's to see.
	padding = 9
)

// box is struct gate.
type box struct {
	Now                      uint64
	Service, Payload, Length uint16
	Family, Proto            uint8
	Src, Dst                 [16]byte
	Sport, Dport             [2]byte // big-endian
	State, Flags             uint8
	_                        [2]byte
	Answers                  uint32
	_                        uint32
	Params                   [6]uint64
	Proof, Kind              uint8
	_                        [2]byte
	Sum                      uint32
}

// cell is struct gate_answer.
type cell struct {
	Until   uint64
	Sum     uint32
	Length  uint16
	Several uint8
	_       uint8
	Data    [answerMax]byte
}

// card is struct parry_gate, what a gate says of itself.
type card struct {
	ABI, Proof uint32
	Name       [24]byte
	About      [96]byte
}

// key is what cookies are made with in these tests.
var key = [2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}

// now is some time in an even step of cookies.
const now = 1000 << 34

// rig is a gate with its maps.
type rig struct {
	t    testing.TB
	coll *ebpf.Collection
	card card
	box  box // as each packet finds it
	cpus int
}

func newRig(t testing.TB, name string) *rig {
	t.Helper()
	need.Root(t)
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(gates.Objects()[name]))
	must(t, err)
	coll, err := ebpf.NewCollection(spec)
	var v *ebpf.VerifierError
	if errors.As(err, &v) {
		t.Fatalf("%s: %+v", name, v)
	}
	must(t, err)
	t.Cleanup(coll.Close)
	r := &rig{t: t, coll: coll, cpus: ebpf.MustPossibleCPU(), box: box{
		Now: now, Service: 3, Payload: payloadAt, Family: 4, Proto: udp, Answers: noCache,
		Sport: [2]byte{0x69, 0x7d}, Dport: [2]byte{0x69, 0x87},
	}}
	if name == "minecraft_java" {
		r.box.Proto = tcp
	}
	r.from("192.0.2.7", "203.0.113.10")
	must(t, coll.Maps[".rodata.parry_gate"].Lookup(uint32(0), &r.card))
	must(t, coll.Maps["gate_secret"].Put(uint32(0), key))
	for i := range uint32(kinds) {
		must(t, coll.Maps["gate_answer_at"].Put(i, noCache))
	}
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// from changes whose packets come, and to whom.
func (r *rig) from(src, dst string) {
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	r.box.Src, r.box.Dst, r.box.Family = [16]byte{}, [16]byte{}, 6
	if s.Is4() {
		r.box.Family = 4
	}
	copy(r.box.Src[:], s.AsSlice())
	copy(r.box.Dst[:], d.AsSlice())
}

// cache has the server's cache hold an answer of a kind until that time.
func (r *rig) cache(kind uint32, payload []byte, until uint64) {
	r.t.Helper()
	c := cell{Until: until, Sum: uint32(sum(payload)), Length: uint16(len(payload))}
	copy(c.Data[:], payload)
	r.put(kind, c)
}

// several has it hold one of several packets.
func (r *rig) several(kind uint32, until uint64) {
	r.t.Helper()
	r.put(kind, cell{Until: until, Several: 1})
}

func (r *rig) put(kind uint32, c cell) {
	r.t.Helper()
	r.box.Answers = 0
	must(r.t, r.coll.Maps["gate_answer"].Put(2*kind+1, &c))
	must(r.t, r.coll.Maps["gate_answer_at"].Put(kind, 2*kind+1))
}

// result is what a gate made of a packet.
type result struct {
	verdict int
	proof   int
	kind    int
	payload []byte
	changed bool // by GATE_MODIFIED
}

// run shows the gate a payload. What holds of every gate is checked here: a payload is changed by an answer or under
// GATE_MODIFIED alone, its sum is then right, headers are never touched, proof is no better than announced, and bytes
// behind the packet make no difference.
func (r *rig) run(payload []byte) result {
	r.t.Helper()
	r.box.Length = uint16(len(payload))
	frame := make([]byte, payloadAt, payloadAt+len(payload)+padding)
	for i := range frame {
		frame[i] = byte(i * 7)
	}
	frame = append(frame, payload...)
	verdict, after, out := r.drive(frame)
	padded, withPadding, long := r.drive(append(frame, bytes.Repeat([]byte{0x77}, padding)...))
	if verdict == answer || verdict != refuse && len(long) < len(frame)+padding {
		if !bytes.Equal(out, long) {
			r.t.Fatalf("with padding behind it: %x, without: %x", long[payloadAt:], out[payloadAt:])
		}
	} else if padded != verdict || withPadding != after {
		r.t.Fatalf("with padding behind it: verdict %d, %+v; without: %d, %+v", padded, withPadding, verdict, after)
	}
	got := result{verdict: verdict, proof: int(after.Proof), kind: int(after.Kind), payload: out[payloadAt:],
		changed: after.Flags&modified != 0}
	switch {
	case !bytes.Equal(out[:payloadAt], frame[:payloadAt]):
		r.t.Fatalf("headers changed to %x", out[:payloadAt])
	case len(got.payload) != int(after.Length):
		r.t.Fatalf("a payload of %d bytes, said to have %d", len(got.payload), after.Length)
	case verdict == answer || got.changed:
		if want := sum(got.payload); fold(uint64(after.Sum)) != want && fold(uint64(after.Sum))^want != 0xffff {
			r.t.Fatalf("sum %#x, want %#x of %x", fold(uint64(after.Sum)), want, got.payload)
		}
	case verdict != refuse && !bytes.Equal(got.payload, payload):
		r.t.Fatalf("payload changed without a word to %x", got.payload)
	}
	if got.proof > int(r.card.Proof) {
		r.t.Fatalf("proof %d, announced %d at most", got.proof, r.card.Proof)
	}
	return got
}

// drive runs the program once. The box is this CPU's: the thread stays on it.
func (r *rig) drive(frame []byte) (verdict int, after box, out []byte) {
	r.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var was, one unix.CPUSet
	must(r.t, unix.SchedGetaffinity(0, &was))
	cpu := 0
	for !was.IsSet(cpu) {
		cpu++
	}
	one.Set(cpu)
	must(r.t, unix.SchedSetaffinity(0, &one))
	defer func() { must(r.t, unix.SchedSetaffinity(0, &was)) }()
	boxes := make([]box, r.cpus)
	boxes[cpu] = r.box
	must(r.t, r.coll.Maps["gate_box"].Put(uint32(0), boxes))
	opts := ebpf.RunOptions{Data: frame, DataOut: make([]byte, 4096), Repeat: 1}
	ret, err := r.coll.Programs["gate"].Run(&opts)
	must(r.t, err)
	must(r.t, r.coll.Maps["gate_box"].Lookup(uint32(0), &boxes))
	return int(ret), boxes[cpu], opts.DataOut
}

// sum is the folded one's-complement sum of bytes, as they lie in memory.
func sum(b []byte) uint16 {
	s := uint64(0)
	for len(b) >= 2 {
		s += uint64(binary.NativeEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(binary.NativeEndian.Uint16([]byte{b[0], 0}))
	}
	return fold(s)
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
