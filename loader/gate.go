// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Bounds of a gate. It is asked for each packet of a flood, and all gates are verified anew with each generation.
const (
	MaxGateObject  = 1 << 20 // bytes of its object file
	maxGateInsns   = 16384   // instructions, as compiled
	maxGateMemory  = 64 << 20
	maxGateMaps    = 16 // of its own
	gateABI        = 1  // PARRY_GATE_ABI
	gateProgram    = "gate"
	gateAboutBytes = 128 // struct parry_gate
)

// ErrGate says that a gate can't be used; its text says why.
var ErrGate = errors.New("the gate is refused")

// GateProof is how sure a gate can be of a source's address.
type GateProof uint8

const gateProofNetchan GateProof = 3 // GATE_PROOF_NETCHAN: what proves its sessions is in their play

func (p GateProof) String() string {
	switch p {
	case 0:
		return "none"
	case 1:
		return "weak"
	case 2:
		return "strong"
	case gateProofNetchan:
		return "netchan"
	}
	return "unknown"
}

// Gate is one gate: its object, and what that says of itself.
type Gate struct {
	Name         string
	About        string
	ABI          uint32
	Proof        GateProof // the strongest that it can give
	Instructions int       // as compiled
	Object       []byte    // ELF
}

var gateName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,22}$`)

// GateName tells whether a gate may be called that: what a C name and a file's can be, 23 bytes at most.
func GateName(s string) bool { return gateName.MatchString(s) && s != "auto" && s != "off" }

// gateError is an ErrGate of a gate.
type gateError struct {
	name string // "" = not known yet
	err  error
}

func (e *gateError) Error() string {
	if e.name == "" {
		return "no gate: " + e.err.Error()
	}
	return "gate " + e.name + ": " + e.err.Error()
}
func (e *gateError) Is(target error) bool { return target == ErrGate }
func (e *gateError) Unwrap() error        { return e.err }

// ReadGate checks an object as far as that goes without the kernel. What it refuses is an ErrGate.
func ReadGate(object []byte) (Gate, error) {
	g, spec, err := readGate(object)
	if err == nil {
		err = checkGate(spec)
	}
	if err != nil {
		return Gate{}, &gateError{g.Name, err}
	}
	for _, ins := range spec.Programs[gateProgram].Instructions {
		g.Instructions += int(ins.Width())
	}
	if g.Instructions > maxGateInsns {
		return Gate{}, &gateError{g.Name, fmt.Errorf("it has %d instructions: a gate is asked for each packet of a flood, so at most %d", g.Instructions, maxGateInsns)}
	}
	return g, nil
}

// readGate reads what an object says of itself. The name is there as soon as it is known to be good.
func readGate(object []byte) (g Gate, spec *ebpf.CollectionSpec, err error) {
	if len(object) > MaxGateObject {
		return g, nil, fmt.Errorf("an object of %d bytes is too large: at most %d", len(object), MaxGateObject)
	}
	if err = sectionsFit(object); err == nil {
		spec, err = ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	}
	if err != nil {
		return g, nil, fmt.Errorf("not an object that clang makes for BPF, or a damaged one: %w", err)
	}
	about := spec.Variables["parry_gate"]
	if about == nil || about.SectionName != ".rodata.parry_gate" || len(about.Value) < gateAboutBytes {
		return g, nil, errors.New("it doesn't say what it is: a gate is built from parry_gate.h and begins with PARRY_GATE(name, proof, about)")
	}
	raw := about.Value
	name := text(raw[8:32])
	if !GateName(name) {
		return g, nil, fmt.Errorf("%q can't be a gate's name: want a letter, then at most 22 of a-z 0-9 _ (and neither auto nor off)", clean(name))
	}
	g = Gate{
		Name: name, About: clean(text(raw[32:128])), ABI: binary.LittleEndian.Uint32(raw), Object: object,
		Proof: GateProof(min(binary.LittleEndian.Uint32(raw[4:]), 255)),
	}
	if g.ABI != gateABI {
		return g, nil, fmt.Errorf("it was built for gate ABI %d, this parry speaks %d: build it again from its source (parry gate build)", g.ABI, gateABI)
	}
	if g.Proof.String() == "unknown" {
		return g, nil, fmt.Errorf("it claims proof %d: GATE_PROOF_NONE, _WEAK, _STRONG or _NETCHAN", g.Proof)
	}
	return g, spec, nil
}

// sectionsFit refuses an object that would need far more memory than it has bytes: zeros take none in a file.
func sectionsFit(object []byte) (err error) {
	defer func() {
		if p := recover(); p != nil { // debug/elf promises nothing about hostile files
			err = fmt.Errorf("no ELF: %v", p)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return err
	}
	for _, s := range f.Sections {
		if s.Size > maxGateMemory {
			return fmt.Errorf("section %s has %d bytes, at most %d MiB", clean(s.Name), s.Size, maxGateMemory>>20)
		}
	}
	return nil
}

// clean is what may be printed of a text that somebody else wrote.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// checkGate holds programs and maps of a gate against what a gate may have.
func checkGate(spec *ebpf.CollectionSpec) error {
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		if p := spec.Programs[name]; name != gateProgram {
			return fmt.Errorf("program %s in section %q is no business of a gate: an object holds one gate, and static functions that it calls", name, p.SectionName)
		}
	}
	p := spec.Programs[gateProgram]
	if p == nil {
		return errors.New(`no program "gate" in it: PARRY_GATE(name, proof, about) { ... } makes it`)
	}
	if p.Type != ebpf.XDP || p.AttachType != ebpf.AttachXDP {
		return fmt.Errorf(`its program is in section %q: a gate is SEC("xdp")`, p.SectionName)
	}
	for _, ins := range p.Instructions {
		if words, ok := coresBusiness()[asm.BuiltinFunc(ins.Constant)]; ok && ins.IsBuiltinCall() {
			return fmt.Errorf("it calls bpf_%s: a gate judges a payload and may answer with another; where packets go is the core's business", words)
		}
	}
	own, memory := 0, uint64(0)
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		m := spec.Maps[name]
		if err := checkGateMap(name, m); err != nil {
			return err
		}
		if _, shared := sharedGateMaps()[name]; !shared {
			own++
			memory += mapMemory(m)
		}
	}
	if own > maxGateMaps || memory > maxGateMemory {
		return fmt.Errorf("its own maps are too many or too large: at most %d, with %d MiB together", maxGateMaps, maxGateMemory>>20)
	}
	return nil
}

// coresBusiness are the kernel's functions that no gate calls, by the names that BPF programs know them by.
func coresBusiness() map[asm.BuiltinFunc]string {
	return map[asm.BuiltinFunc]string{
		asm.FnXdpAdjustHead: "xdp_adjust_head", asm.FnXdpAdjustMeta: "xdp_adjust_meta", asm.FnRedirect: "redirect", asm.FnRedirectMap: "redirect_map",
		asm.FnTailCall: "tail_call",
	}
}

// sharedGateMaps are the core's, which a gate names by including parry_gate.h.
func sharedGateMaps() map[string]ebpf.MapType {
	return map[string]ebpf.MapType{
		bpfMapGateBox: ebpf.PerCPUArray, bpfMapGateAnswerAt: ebpf.Array, bpfMapGateAnswer: ebpf.Array, bpfMapGateSecret: ebpf.Array,
	}
}

// checkGateMap refuses what hands packets on, calls programs or reaches into others' state: a gate judges, the core acts.
func checkGateMap(name string, m *ebpf.MapSpec) error {
	if want, shared := sharedGateMaps()[name]; shared && m.Type != want {
		return fmt.Errorf("map %s is parry's own, of type %s: here it is %s", name, want, m.Type)
	}
	if m.Pinning != ebpf.PinNone {
		return fmt.Errorf("map %s wants to be pinned: a gate's maps live as long as its generation", name)
	}
	switch m.Type {
	case ebpf.Array, ebpf.PerCPUArray, ebpf.Hash, ebpf.PerCPUHash, ebpf.LRUHash, ebpf.LRUCPUHash, ebpf.LPMTrie:
		return nil
	}
	return fmt.Errorf("map %s is of type %s: a gate may have arrays, hashes and tries, each of any CPU's or all", name, m.Type)
}

// mapMemory is what a map takes, in bytes; more than maxGateMemory is told as one more than that.
func mapMemory(m *ebpf.MapSpec) uint64 {
	over, size := bits.Mul64(uint64(m.KeySize)+uint64(m.ValueSize), uint64(m.MaxEntries))
	if over > 0 || size > maxGateMemory {
		return maxGateMemory + 1
	}
	switch m.Type {
	case ebpf.PerCPUArray, ebpf.PerCPUHash:
		if n, err := ebpf.PossibleCPU(); err == nil {
			size *= uint64(n)
		}
	}
	return min(size, maxGateMemory+1)
}
