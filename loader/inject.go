// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

// Env is what an edge opened with Options.Injected takes for the world: what time it is, what chance gives next,
// and where every route leads.
type Env struct {
	Now    time.Duration // since boot
	Chance uint64
	Hop    HopKey // Ifindex 0 = there is no route

	Dst, Src [6]byte // link addresses that the kernel knows for it; zero = none

	CPU uint32 // that handles the packets
}

// RealCPU as Env.CPU: the CPU that runs the program, whichever it is.
const RealCPU = ^uint32(0)

// Env reads the injected world.
func (e *Edge) Env() (Env, error) {
	var v bpfEnv
	if e.gen == nil {
		return Env{}, errors.New("no generation is installed")
	}
	if err := e.gen.coll.Maps[bpfMapEnv].Lookup(uint32(0), &v); err != nil {
		return Env{}, fmt.Errorf("read map env: %w", err)
	}
	return Env{
		Now: time.Duration(v.Now), Chance: v.Chance,
		Hop: HopKey{Ifindex: int(v.Hop.Ifindex), Gateway: addrOf(v.Hop.Gateway, v.Hop.Family == 4)},
		Dst: v.Dst, Src: v.Src, CPU: v.Cpu,
	}, nil
}

// SetEnv sets the injected world.
func (e *Edge) SetEnv(v Env) error {
	if e.gen == nil {
		return errors.New("no generation is installed")
	}
	raw := bpfEnv{Now: uint64(v.Now), Chance: v.Chance, Dst: v.Dst, Src: v.Src, Cpu: v.CPU}
	if v.Hop.Ifindex != 0 {
		raw.Hop = v.Hop.raw()
	}
	if err := e.gen.coll.Maps[bpfMapEnv].Put(uint32(0), raw); err != nil {
		return fmt.Errorf("write map env: %w", err)
	}
	return nil
}

// Result is what became of one packet.
type Result struct {
	Verdict string
	Reason  string // "" = none
	Shadow  string // what policy would have dropped it for
	Service uint16
	Out     []byte // the frame as it leaves
	Code    uint32 // XDP_*
}

// Use makes a generation the one that Process runs, without attaching it to anything.
func (e *Edge) Use(g *Generation) error {
	return errors.Join(e.swap(g).Close(), e.setRuleModes(g.rules.modes, false))
}

// Process runs one frame through the fast path as if it had come in by the loopback interface.
func (e *Edge) Process(frame []byte) (Result, error) {
	out := make([]byte, max(len(frame), answerMax)+256)
	opts := ebpf.RunOptions{Data: frame, DataOut: out}
	code, err := e.gen.coll.Programs[bpfProgParry].Run(&opts)
	if err != nil {
		return Result{}, fmt.Errorf("run the fast path: %w", err)
	}
	return e.traced(Result{Code: code, Out: opts.DataOut})
}

// traced says what became of the packet that ran last.
func (e *Edge) traced(r Result) (Result, error) {
	var t bpfTrace
	if err := e.gen.coll.Maps[bpfMapTrace].Lookup(uint32(0), &t); err != nil {
		return r, fmt.Errorf("read map trace: %w", err)
	}
	r.Verdict, r.Reason, r.Shadow = e.names.Verdicts[t.Verdict], nameOf(e.names.Reasons, t.Reason), nameOf(e.names.Reasons, t.Shadow)
	r.Service = uint16(t.Service)
	return r, nil
}

// XDP and TC codes that Process and Reply return.
const (
	XDPAborted  = 0
	XDPDrop     = 1
	XDPPass     = 2
	XDPTX       = 3
	XDPRedirect = 4

	TCNext     = ^uint32(0) // on to whoever is next
	TCShot     = 2
	TCRedirect = 7
)

// skb is the part of struct __sk_buff that a test run may set.
type skb struct {
	_       [164]byte
	GSOSegs uint32
	_       [24]byte
}

// Reply runs one frame through the egress program of local services, as if this host sent it. segments is what the NIC
// is to make of it (1 = it is sent as it is).
func (e *Edge) Reply(frame []byte, segments int) (uint32, error) {
	prog := e.gen.coll.Programs[bpfProgParryLocal]
	if prog == nil {
		return 0, errors.New("no service is local")
	}
	opts := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: skb{GSOSegs: uint32(segments)}}
	code, err := prog.Run(&opts)
	if err != nil {
		return 0, fmt.Errorf("run the egress program: %w", err)
	}
	return code, nil
}

// Told runs one frame through the egress program as Reply does, and says what became of it: it passes, of no service, where that is
// none of a local service's.
func (e *Edge) Told(frame []byte) (Result, error) {
	pass := slices.Index(e.names.Verdicts, "pass")
	if err := e.gen.coll.Maps[bpfMapTrace].Put(uint32(0), bpfTrace{Verdict: uint32(max(pass, 0))}); err != nil {
		return Result{}, fmt.Errorf("write map trace: %w", err)
	}
	code, err := e.Reply(frame, 1)
	if err != nil {
		return Result{}, err
	}
	return e.traced(Result{Code: code, Out: frame})
}

// Shaken is what becomes of a server's answer to the SYN proxy behind Process, which passes it up: two packets.
type Shaken struct {
	Code           uint32 // TC code
	Server, Client []byte // the frames to both; nil where Code is not TCRedirect
}

// Shake runs one frame through the ingress program, as if XDP had passed it up. The frame to the server really leaves, by the interface
// that its hop names.
func (e *Edge) Shake(frame []byte) (Shaken, error) {
	prog := e.gen.coll.Programs[bpfProgParryShake]
	if prog == nil {
		return Shaken{}, errors.New("no service has a SYN proxy")
	}
	rooms := e.gen.coll.Maps[bpfMapShakeRoom]
	for i := range uint32(2) {
		if err := rooms.Put(i, make([]bpfShakeRoom, ebpf.MustPossibleCPU())); err != nil {
			return Shaken{}, fmt.Errorf("write map shake_room: %w", err)
		}
	}
	opts := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256)}
	code, err := prog.Run(&opts)
	if err != nil {
		return Shaken{}, fmt.Errorf("run the ingress program: %w", err)
	}
	s := Shaken{Code: code, Client: opts.DataOut}
	all := make([]bpfShakeRoom, ebpf.MustPossibleCPU())
	if err := rooms.Lookup(uint32(0), &all); err != nil {
		return Shaken{}, fmt.Errorf("read map shake_room: %w", err)
	}
	for i := range all {
		if all[i].L3[0] != 0 {
			s.Server = all[i].frame()
		}
	}
	return s, nil
}

// frame is the packet that the room was made into.
func (r *bpfShakeRoom) frame() []byte {
	l3, l4 := 20, int(r.L4[12]>>4)*4
	if r.L3[0]>>4 == 6 {
		l3 = 40
	}
	f := append(append([]byte{}, r.Link[:14]...), r.L3[:l3]...)
	return append(append(f, r.L4[:l4]...), r.Header[:r.S.Header]...)
}

// Peek reads a state map's value as bpftool does: bytes in, bytes out.
func (e *Edge) Peek(name string, key []byte) ([]byte, error) {
	m, ok := e.state[name]
	if !ok {
		return nil, fmt.Errorf("no state map %s", name)
	}
	return m.LookupBytes(key)
}

// Poke writes a state map's value as bpftool does.
func (e *Edge) Poke(name string, key, value []byte) error {
	m, ok := e.state[name]
	if !ok {
		return fmt.Errorf("no state map %s", name)
	}
	return m.Put(key, value)
}

func nameOf(names []string, i uint32) string {
	if i == 0 || int(i) >= len(names) {
		return ""
	}
	return names[i]
}

// Programs are the fast path of the generation in use and, where a service is local, its egress program: for who
// measures them. They are gone with the generation.
func (e *Edge) Programs() (in, out *ebpf.Program) {
	return e.gen.coll.Programs[bpfProgParry], e.gen.coll.Programs[bpfProgParryLocal]
}
