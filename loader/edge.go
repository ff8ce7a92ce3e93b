// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Options of Open.
type Options struct {
	Pin   string // folder on a bpffs; "" = nothing is pinned and all ends with the Edge (tests, replay)
	Sizes Sizes
	Log   *slog.Logger

	Injected bool // time, chance and routes come from SetEnv
	Traced   bool // Trace tells of the last packet

	Object io.ReaderAt // another build of the fast path than the one that is built in: for tests of tests; nil = that
}

// Edge is the fast path's state: the maps that outlive programs and the daemon, and the generation of programs that
// works on them. What reads it, sweeps it or ends sessions may be called beside anything; what makes and installs
// generations, attaches, or writes hops and links is one caller's at a time.
type Edge struct {
	opts    Options
	log     *slog.Logger
	spec    *ebpf.CollectionSpec
	state   map[string]*ebpf.Map
	names   *Names
	clock   clock
	mu      sync.RWMutex // guards gen; held for reading while a generation's programs and maps are in use
	gen     *Generation
	geo     *geoMaps   // of the last generation that was made; nil = it had none
	reaping sync.Mutex // guards the reapers' boxes; taken after mu
	modes   sync.Mutex // held while an element of service_mode is read and written back
	links   attachments
	adopted bool
	asked   atomic.Bool // some slot asks for samples
	lock    *os.File    // held for as long as this process owns what is pinned

	unallowed atomic.Uint64 // allowed hosts of IPv4 that sweeps took off
}

// Open adopts what is pinned, or makes it. It attaches nothing.
func Open(o Options) (_ *Edge, err error) {
	spec, err := o.object()
	if err != nil {
		return nil, err
	}
	e := &Edge{opts: o, log: o.Log, spec: spec, state: map[string]*ebpf.Map{}}
	if e.names, err = namesOf(spec); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if o.Pin != "" {
		if err = os.MkdirAll(e.dir("maps"), 0o700); err != nil {
			return nil, fmt.Errorf("make the pin folder: %w", err)
		}
		if e.lock, err = lockPin(o.Pin); err != nil {
			return nil, err
		}
	}
	if o.Pin != "" {
		if e.adopted, err = checkLayout(o.Pin); err != nil {
			return nil, err
		}
	}
	o.Sizes.apply(spec)
	var wg sync.WaitGroup
	var failed error
	if !o.Injected { // it waits for jiffies to pass, the maps for memory
		wg.Go(func() { e.clock, failed = measureClock(spec) })
	}
	err = e.openState()
	wg.Wait()
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	return e, e.begin()
}

func (o Options) object() (*ebpf.CollectionSpec, error) {
	if o.Object != nil {
		spec, err := ebpf.LoadCollectionSpecFromReader(o.Object)
		if err != nil {
			return nil, fmt.Errorf("read another object: %w", err)
		}
		return spec, layWords(spec)
	}
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("read the built-in object: %w", err)
	}
	return spec, layWords(spec)
}

func (e *Edge) dir(parts ...string) string {
	return filepath.Join(append([]string{e.opts.Pin}, parts...)...)
}

// Adopted tells whether the state was there already: sessions play on.
func (e *Edge) Adopted() bool { return e.adopted }

// Names of reasons, verdicts and faults.
func (e *Edge) Names() *Names { return e.names }

func (e *Edge) openState() error {
	names := slices.Clone(fixedState)
	for name := range e.opts.Sizes.entries() {
		names = append(names, name)
	}
	slices.Sort(names)
	opened, errs := make([]*ebpf.Map, len(names)), make([]error, len(names))
	var wg sync.WaitGroup
	for first := range openers { // the kernel clears their memory as it makes them: hundreds of MiB
		wg.Go(func() {
			for i := first; i < len(names); i += openers {
				opened[i], errs[i] = e.openMap(e.spec.Maps[names[i]])
			}
		})
	}
	wg.Wait()
	for i, m := range opened {
		if m != nil {
			e.state[names[i]] = m
			e.spec.Maps[names[i]].MaxEntries = m.MaxEntries() // generations must agree with what is pinned
		}
	}
	return errors.Join(errs...)
}

const openers = 4 // how many maps are made at once

// openMap keeps a pinned map at the size it has: it holds live state. A larger wish is said, and comes with detach.
func (e *Edge) openMap(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	if e.opts.Pin == "" {
		m, err := ebpf.NewMap(spec)
		if err != nil {
			return nil, fmt.Errorf("make map %s of %d entries: %w", spec.Name, spec.MaxEntries, err)
		}
		return m, nil
	}
	path := e.dir("maps", spec.Name)
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err == nil {
		return e.adoptMap(spec, m)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if m, err = ebpf.NewMap(spec); err != nil {
		return nil, fmt.Errorf("make map %s of %d entries: %w", spec.Name, spec.MaxEntries, err)
	}
	if err = m.Pin(path); err != nil {
		return nil, errors.Join(fmt.Errorf("pin map %s: %w", spec.Name, err), m.Close())
	}
	return m, nil
}

func (e *Edge) adoptMap(spec *ebpf.MapSpec, m *ebpf.Map) (*ebpf.Map, error) {
	if m.Type() != spec.Type || m.KeySize() != spec.KeySize || (spec.ValueSize != 0 && m.ValueSize() != spec.ValueSize) {
		return nil, errors.Join(fmt.Errorf("%w: map %s is not what this parry makes: end it with `parry detach --pin %s`",
			ErrLayout, spec.Name, e.opts.Pin), m.Close())
	}
	if m.MaxEntries() != spec.MaxEntries {
		e.log.Warn("a pinned map keeps its size while it holds state; `parry detach` and a new start apply the new one",
			"map", spec.Name, "entries", m.MaxEntries(), "wanted", spec.MaxEntries)
	}
	return m, nil
}

// begin writes what a new edge begins with.
func (e *Edge) begin() error {
	if err := errors.Join(e.ResetSamples(), empty(e.state[bpfMapWatchFlag])); err != nil || e.adopted {
		return err // who asked for those is gone with the daemon before
	}
	var s bpfSecret
	if !e.opts.Injected {
		var b [16]byte
		rand.Read(b[:]) // never fails (crypto/rand)
		s.Key = [2]uint64{binary.NativeEndian.Uint64(b[:8]), binary.NativeEndian.Uint64(b[8:])}
	}
	if err := e.state[bpfMapSecret].Put(uint32(0), s); err != nil {
		return fmt.Errorf("write the secret: %w", err)
	}
	var cookies bpfGateSecret
	if !e.opts.Injected {
		var b [16]byte
		rand.Read(b[:])
		cookies.Key = [2]uint64{binary.NativeEndian.Uint64(b[:8]), binary.NativeEndian.Uint64(b[8:])}
	}
	if err := e.state[bpfMapGateSecret].Put(uint32(0), cookies); err != nil {
		return fmt.Errorf("write the secret of cookies: %w", err)
	}
	w := bpfEdge{Layout: layoutVersion}
	if !e.opts.Injected {
		var err error
		if w.LoForwarding, err = switchOnForwarding(); err != nil {
			return err
		}
	}
	if err := e.state[bpfMapEdge].Put(uint32(0), w); err != nil {
		return fmt.Errorf("write the layout version: %w", err)
	}
	return nil
}

// Close lets go of everything and changes nothing: what is pinned goes on without us. Of an edge that is not pinned nothing
// goes on.
func (e *Edge) Close() error {
	var errs []error
	if m := e.state[bpfMapEdge]; m != nil && e.opts.Pin == "" {
		var w bpfEdge
		errs = append(errs, m.Lookup(uint32(0), &w), switchOffForwarding(w.LoForwarding))
	}
	if e.gen != nil {
		errs = append(errs, e.gen.Close())
	}
	errs = append(errs, e.links.close(), e.geo.close())
	for _, m := range e.state {
		errs = append(errs, m.Close())
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Close())
	}
	return errors.Join(errs...)
}

// ErrInUse says that a running daemon owns what is pinned.
var ErrInUse = errors.New("a running parry owns what is pinned")

// lockPin takes the lock that dies with its process: one daemon a pin folder.
func lockPin(pin string) (*os.File, error) {
	f, err := os.Open(pin)
	if err != nil {
		return nil, fmt.Errorf("open the pin folder: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w under %s: stop it first, or give this one a `pin:` of its own", ErrInUse, pin)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
