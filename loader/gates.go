// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
)

// loadedGate is a gate of a generation, in the kernel.
type loadedGate struct {
	name string
	coll *ebpf.Collection
}

// loadedGates are those of one generation. They live as long as something holds the table: its programs don't keep what is in
// it, so that the table is pinned with them.
type loadedGates []loadedGate

// Close lets go of the gates; what is in a pinned table goes on.
func (l loadedGates) Close() error {
	for _, g := range l {
		g.coll.Close()
	}
	return nil
}

// pin shows the gates to bpftool.
func (l loadedGates) pin(dir string) error {
	for _, g := range l {
		if err := g.coll.Programs[gateProgram].Pin(filepath.Join(dir, "gate_"+g.name)); err != nil {
			return fmt.Errorf("pin gate %s: %w", g.name, err)
		}
	}
	return nil
}

// loadGates loads a plan's gates against the core's maps, and puts them into its table: the first is number 1, for 0 is none.
func (e *Edge) loadGates(p *Plan, coll *ebpf.Collection) (_ loadedGates, err error) {
	table := coll.Maps[bpfMapGates]
	if uint32(len(p.Gates)) >= table.MaxEntries() {
		return nil, fmt.Errorf("%d gates are in use: at most %d", len(p.Gates), table.MaxEntries()-1)
	}
	for i := range p.Services {
		name := p.Services[i].Gate
		if name != "" && !slices.ContainsFunc(p.Gates, func(g Gate) bool { return g.Name == name }) {
			return nil, fmt.Errorf("service %s: there is no gate %s", p.Services[i].Name, name)
		}
	}
	var loaded loadedGates
	defer func() {
		if err != nil {
			err = errors.Join(err, loaded.Close())
		}
	}()
	for i, g := range p.Gates {
		c, err := loadGate(g.Object, coll.Maps, p.Frags)
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, loadedGate{g.Name, c})
		if err := table.Put(uint32(i+1), c.Programs[gateProgram]); err != nil {
			return nil, fmt.Errorf("put gate %s into its place: %w", g.Name, err)
		}
	}
	return loaded, nil
}

// loadGate loads an object. core are the maps that it shares; nil = it gets ones of its own, to see if it loads. frags says
// whether the core takes frames in several buffers: the kernel mixes no programs that do and don't.
func loadGate(object []byte, core map[string]*ebpf.Map, frags bool) (*ebpf.Collection, error) {
	g, err := ReadGate(object)
	if err != nil {
		return nil, err
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		return nil, &gateError{g.Name, err} // ReadGate could
	}
	p := spec.Programs[gateProgram]
	p.Name = "gate_" + g.Name
	p.Flags &^= xdpHasFrags
	if frags {
		p.Flags |= xdpHasFrags
	}
	shared, err := shareMaps(spec, core)
	if err != nil {
		return nil, &gateError{g.Name, err}
	}
	// The verifier's whole way through a program that loops is hundreds of megabytes: first only what it ends with.
	opts := ebpf.CollectionOptions{MapReplacements: shared, Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}}
	c, err := ebpf.NewCollectionWithOptions(spec, opts)
	if err == nil {
		return c, nil
	}
	v, ok := errors.AsType[*ebpf.VerifierError](err)
	if !ok || len(v.Log) == 0 {
		if errors.Is(err, os.ErrPermission) {
			return nil, explainLoad(err)
		}
		return nil, &gateError{g.Name, fmt.Errorf("this kernel refuses it: %w", err)}
	}
	if walked(v) <= maxWalkShown {
		opts.Programs.LogLevel = ebpf.LogLevelBranch
		if c, again := ebpf.NewCollectionWithOptions(spec, opts); again == nil {
			c.Close()
		} else if shown, ok := errors.AsType[*ebpf.VerifierError](again); ok {
			v = shown
		}
	}
	return nil, &gateError{g.Name, refusalOf(v, p.Instructions)}
}

// shareMaps says which of a gate's maps are to be the core's, and makes the gate agree with their sizes.
func shareMaps(spec *ebpf.CollectionSpec, core map[string]*ebpf.Map) (map[string]*ebpf.Map, error) {
	use := map[string]*ebpf.Map{}
	if core == nil {
		return use, nil
	}
	for name := range sharedGateMaps() {
		m := spec.Maps[name]
		if m == nil {
			continue // it doesn't use it, and the compiler left it out
		}
		c := core[name]
		if c == nil {
			return nil, fmt.Errorf("this build of the fast path has no map %s", name)
		}
		if m.Type != c.Type() || m.KeySize != c.KeySize() || m.ValueSize != c.ValueSize() {
			return nil, fmt.Errorf("map %s: %s of %d and %d bytes here, %s of %d and %d in the fast path: build it with the parry_gate.h of this parry",
				name, m.Type, m.KeySize, m.ValueSize, c.Type(), c.KeySize(), c.ValueSize())
		}
		m.MaxEntries, m.Flags = c.MaxEntries(), c.Flags()
		use[name] = c
	}
	return use, nil
}

// GateCost is what the kernel made of a gate.
type GateCost struct {
	Verified    uint32 // instructions that the verifier went through
	MachineCode uint32 // bytes
}

// TryGate sees if this kernel takes a gate, and changes nothing. What it refuses is an ErrGate.
func TryGate(object []byte) (Gate, GateCost, error) {
	g, err := ReadGate(object)
	if err != nil {
		return g, GateCost{}, err
	}
	c, err := loadGate(object, nil, false)
	if err != nil {
		return g, GateCost{}, err
	}
	defer c.Close()
	info, err := c.Programs[gateProgram].Info()
	if err != nil {
		return g, GateCost{}, fmt.Errorf("gate %s: ask the kernel about it: %w", g.Name, err)
	}
	var cost GateCost
	cost.Verified, _ = info.VerifiedInstructions() // where the kernel doesn't tell: 0
	cost.MachineCode, _ = info.JitedSize()
	return g, cost, nil
}

// ForgetGates empties the running generation's table of gates: what then becomes of packets is for tests to see.
func (e *Edge) ForgetGates() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for i := range e.gen.gates {
		if err := e.gen.coll.Maps[bpfMapGates].Delete(uint32(i + 1)); err != nil {
			return fmt.Errorf("forget gate %d: %w", i+1, err)
		}
	}
	return nil
}
