// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// Env is what an edge opened with Options.Injected takes for the world: what time it is, what chance gives next,
// and where every route leads.
type Env struct {
	Now    time.Duration // since boot
	Chance uint64
	Hop    HopKey // Ifindex 0 = there is no route
}

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
	}, nil
}

// SetEnv sets the injected world.
func (e *Edge) SetEnv(v Env) error {
	if e.gen == nil {
		return errors.New("no generation is installed")
	}
	raw := bpfEnv{Now: uint64(v.Now), Chance: v.Chance}
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
	old := e.gen
	e.gen = g
	return old.Close()
}

// Process runs one frame through the fast path as if it had come in by the loopback interface.
func (e *Edge) Process(frame []byte) (Result, error) {
	out := make([]byte, len(frame)+256)
	opts := ebpf.RunOptions{Data: frame, DataOut: out}
	code, err := e.gen.coll.Programs[bpfProgParry].Run(&opts)
	if err != nil {
		return Result{}, fmt.Errorf("run the fast path: %w", err)
	}
	r := Result{Code: code, Out: opts.DataOut}
	var t bpfTrace
	if err := e.gen.coll.Maps[bpfMapTrace].Lookup(uint32(0), &t); err != nil {
		return r, fmt.Errorf("read map trace: %w", err)
	}
	r.Verdict, r.Reason, r.Shadow = e.names.Verdicts[t.Verdict], nameOf(e.names.Reasons, t.Reason), nameOf(e.names.Reasons, t.Shadow)
	r.Service = uint16(t.Service)
	return r, nil
}

func nameOf(names []string, i uint32) string {
	if i == 0 || int(i) >= len(names) {
		return ""
	}
	return names[i]
}
