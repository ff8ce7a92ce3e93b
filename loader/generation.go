// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
)

// Generation is one configuration's programs and maps, built whole before any packet sees it.
type Generation struct {
	number   int
	coll     *ebpf.Collection
	gates    loadedGates
	rules    *ruleSet
	frags    bool              // loaded for frames in several buffers
	services map[string]uint16 // by name; retired ones too
	names    []string          // by number
	dir      string            // where it is pinned; "" = nowhere
	cells    []AnswerCell      // whose answers are cached, by number
	answers  map[AnswerCell]uint32
	caches   []AnswerCell         // by service (see cachesOf)
	servers  map[[2]string]uint32 // by pool and name: their places in the map server
}

// Close lets go of the generation; what is pinned or attached goes on.
func (g *Generation) Close() error {
	if g == nil || g.coll == nil {
		return nil
	}
	g.coll.Close()
	return errors.Join(g.gates.Close(), g.rules.close())
}

// ServiceName of a number; "" for the host's own traffic and for numbers not given out.
func (g *Generation) ServiceName(n uint16) string {
	if int(n) >= len(g.names) {
		return ""
	}
	return g.names[n]
}

const generationPrefix = "gen-"

// generations are the numbers of those that are pinned, ascending.
func generations(pin string) ([]int, error) {
	entries, err := os.ReadDir(pin)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the pin folder: %w", err)
	}
	var all []int
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), generationPrefix)); err == nil && strings.HasPrefix(e.Name(), generationPrefix) {
			all = append(all, n)
		}
	}
	sort.Ints(all)
	return all, nil
}

// stagePrograms by their place in the map stages (STAGE_* of bpf/abi.h).
var stagePrograms = []string{bpfProgParryStranger, bpfProgParryAdmit, bpfProgParryAgain, bpfProgParryBrief, bpfProgParryNote, bpfProgParryRuled,
	bpfProgParrySyn, bpfProgParrySynBrief, bpfProgParryTcp}

// Prepare builds a generation. Nothing that runs is touched but NAT's rings, which may gain addresses.
func (e *Edge) Prepare(p *Plan) (_ *Generation, err error) {
	numbers, err := e.number(p)
	if err != nil {
		return nil, err
	}
	np, err := e.planNAT(p)
	if err != nil {
		return nil, err
	}
	b, err := newBuilder(p, np, numbers, e.opts.Sizes)
	if err != nil {
		return nil, err
	}
	spec := e.generationSpec(p, b)
	use := e.stateFor(spec)
	places, err := e.useGeo(p, spec, use)
	if err != nil {
		return nil, err
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: use})
	if err = errors.Join(err, e.keepGeo(places)); err != nil {
		return nil, explainLoad(err)
	}
	g := &Generation{
		coll: coll, services: numbers.byName, names: numbers.names,
		frags: p.Frags, cells: b.cells, answers: answersOf(b.cells), caches: cachesOf(p, numbers), servers: serverNumbers(p),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	if err = b.fill(coll); err != nil {
		return nil, err
	}
	for at, name := range stagePrograms {
		if coll.Programs[name] == nil { // no packet is sent there
			continue
		}
		if err = coll.Maps[bpfMapStages].Put(uint32(at), coll.Programs[name]); err != nil {
			return nil, fmt.Errorf("enter %s into the table of stages: %w", name, err)
		}
	}
	if g.gates, err = e.loadGates(p, coll); err != nil {
		return nil, err
	}
	if g.rules, err = loadRules(p.Rules, g.names, coll.Maps, p.Frags, nil); err != nil {
		return nil, err
	}
	if err = g.rules.put(coll.Maps[bpfMapRules], nil); err != nil {
		return nil, err
	}
	return g, e.pinGeneration(g)
}

// stateFor are the state maps that a spec refers to.
func (e *Edge) stateFor(spec *ebpf.CollectionSpec) map[string]*ebpf.Map {
	use := map[string]*ebpf.Map{}
	for name, m := range e.state {
		if spec.Maps[name] != nil {
			use[name] = m
		}
	}
	return use
}

func (e *Edge) generationSpec(p *Plan, b *builder) *ebpf.CollectionSpec {
	spec := e.spec.Copy()
	delete(spec.Maps, ".bss") // holds nothing but the types that bpf2go is to see
	delete(spec.Variables, bpfVarExported)
	delete(spec.Programs, bpfProgReadClocks)
	delete(spec.Maps, bpfMapClocks)
	if !b.local() {
		delete(spec.Programs, bpfProgParryLocal)
	}
	if !b.proxied() {
		for _, name := range []string{bpfProgParryShake, bpfProgParrySyn, bpfProgParrySynBrief, bpfProgParryTcp} {
			delete(spec.Programs, name)
		}
	}
	if p.Frags {
		for _, name := range append([]string{bpfProgParry}, stagePrograms...) { // a table holds programs of one kind
			if prog := spec.Programs[name]; prog != nil {
				prog.Flags |= xdpHasFrags
			}
		}
	}
	for name, n := range b.sizes() {
		spec.Maps[name].MaxEntries = max(uint32(n), 1)
	}
	cfg := b.cfg(e.clock)
	cfg.DenialShift = uint8(bits.LeadingZeros32(e.state[bpfMapDenial].MaxEntries()) + 1) // 32 bits of hash to the number of a far line
	if e.opts.Sizes.Unproven > 0 {
		cfg.Unproven = e.state[bpfMapUnproven4].MaxEntries()
	}
	cfg.SampleSeed = e.sampleSeed()
	cfg.Greylist = e.state[bpfMapGreylist].MaxEntries()
	cfg.ProxiedCells = e.state[bpfMapProxiedCell].MaxEntries()
	cfg.WatchCells = e.state[bpfMapWatch].MaxEntries()
	cfg.Injected, cfg.Traced = flag(e.opts.Injected), flag(e.opts.Traced)
	cfg.Ordered = flag(runtime.GOARCH == "amd64")
	for name, value := range map[string]any{bpfVarCfg: cfg, bpfVarNatPorts: b.nat.ports, bpfVarOwnBits: b.ownBits()} {
		if err := spec.Variables[name].Set(value); err != nil {
			panic(err) // the type was generated from the same object
		}
	}
	return spec
}

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// explainLoad puts what a refused program needs to say into a sentence; the verifier's log stays reachable by %+v.
func explainLoad(err error) error {
	var v *ebpf.VerifierError
	if errors.As(err, &v) {
		return fmt.Errorf("this kernel's verifier refuses the fast path: %w (parry needs Linux 6.1 or newer)", err)
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("not allowed to load BPF programs: run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: %w", err)
	}
	return fmt.Errorf("load the fast path: %w", err)
}

// number gives each service of the plan its number: the one it had, or a new one. Services that went keep theirs:
// their sessions play on, and their list entries mean nobody else.
func (e *Edge) number(p *Plan) (*numbering, error) {
	old, err := e.previousServices()
	if err != nil {
		return nil, err
	}
	n := &numbering{byName: map[string]uint16{}, names: []string{""}, old: old}
	for i := 1; i < len(old); i++ {
		name := text(old[i].Name[:])
		n.names = append(n.names, name)
		n.byName[name] = uint16(i)
	}
	for _, s := range p.Services {
		if _, ok := n.byName[s.Name]; ok {
			continue
		}
		if uint32(len(n.names)) >= e.state[bpfMapServiceCount].MaxEntries() {
			return nil, fmt.Errorf("service %s: no number is left of %d, those of services that went included; `parry detach` and a new start free them",
				s.Name, e.state[bpfMapServiceCount].MaxEntries()-1)
		}
		n.byName[s.Name] = uint16(len(n.names))
		n.names = append(n.names, s.Name)
	}
	return n, nil
}

type numbering struct {
	byName map[string]uint16
	names  []string     // by number
	old    []bpfService // of the generation before, by number
}

// previousServices reads what the running or pinned generation says of its services.
func (e *Edge) previousServices() ([]bpfService, error) {
	switch {
	case e.gen != nil:
		return readServices(e.gen.coll.Maps[bpfMapService])
	case e.opts.Pin != "":
		return pinnedServices(e.opts.Pin)
	}
	return nil, nil
}

// pinnedServices reads those of the newest generation. A daemon that died while it pinned one left it without any: then
// nothing ran it yet, and the one before says.
func pinnedServices(pin string) ([]bpfService, error) {
	all, err := generations(pin)
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(all) {
		path := filepath.Join(pin, generationPrefix+strconv.Itoa(n), bpfMapService)
		m, err := ebpf.LoadPinnedMap(path, nil)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		services, err := readServices(m)
		return services, errors.Join(err, m.Close())
	}
	return nil, nil
}

func readServices(m *ebpf.Map) ([]bpfService, error) {
	var all []bpfService
	for i := range m.MaxEntries() {
		raw, err := m.LookupBytes(i)
		if err != nil {
			return nil, fmt.Errorf("read map service: %w", err)
		}
		var s bpfService
		raw = append(raw, make([]byte, binary.Size(s))...) // an older parry's struct is shorter (bpf/abi.h)
		if _, err := binary.Decode(raw, binary.NativeEndian, &s); err != nil {
			return nil, fmt.Errorf("read map service: %w", err)
		}
		if i > 0 && s.Name[0] == 0 {
			break
		}
		all = append(all, s)
	}
	return all, nil
}

// pinGeneration pins what people look at with bpftool, and what the next daemon reads.
func (e *Edge) pinGeneration(g *Generation) error {
	if e.opts.Pin == "" {
		return nil
	}
	all, err := generations(e.opts.Pin)
	if err != nil {
		return err
	}
	g.number = 1
	if len(all) > 0 {
		g.number = all[len(all)-1] + 1
	}
	g.dir = e.dir(generationPrefix + strconv.Itoa(g.number))
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		return fmt.Errorf("make the generation's folder: %w", err)
	}
	for _, name := range generationMaps {
		if err := g.coll.Maps[name].Pin(filepath.Join(g.dir, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	for name, prog := range g.coll.Programs {
		if err := prog.Pin(filepath.Join(g.dir, "prog_"+name)); err != nil {
			return fmt.Errorf("pin program %s: %w", name, err)
		}
	}
	return g.gates.pin(g.dir)
}

// removeGenerations unpins all but the one that is kept.
func (e *Edge) removeGenerations(keep int) error {
	all, err := generations(e.opts.Pin)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range all {
		if n != keep {
			errs = append(errs, os.RemoveAll(e.dir(generationPrefix+strconv.Itoa(n))))
		}
	}
	return errors.Join(errs...)
}

// hostAddrs joins the addresses that NAT uses and services listen on.
func hostAddrs(p *Plan, np *natPlan) map[netip.Addr]struct{} {
	own := map[netip.Addr]struct{}{}
	for a := range np.addrs {
		own[a] = struct{}{}
	}
	for _, s := range p.Services {
		for _, f := range s.Fronts {
			own[f.Addr] = struct{}{}
		}
	}
	return own
}
