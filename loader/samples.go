// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// SampleLevel is what a generation's programs tell of packets; each includes the one before.
type SampleLevel uint8

// The levels. What a level doesn't tell costs nothing; SamplesAll takes the established path's short cut away.
const (
	SamplesNone   = SampleLevel(bpfSampleLevelSAMPLES_NONE)
	SamplesAlways = SampleLevel(bpfSampleLevelSAMPLES_ALWAYS) // of what is dropped, one a source and second
	SamplesDrops  = SampleLevel(bpfSampleLevelSAMPLES_DROPS)  // all that is dropped, as slots ask for it
	SamplesAll    = SampleLevel(bpfSampleLevelSAMPLES_ALL)    // all
)

const (
	// SampleSlots is how many may ask for packets at a time.
	SampleSlots = 4
	// SampleMax is the most bytes of a frame that are kept.
	SampleMax = 2048

	// SamplePayload is how much of a frame that is told for the sake of what it says is kept.
	SamplePayload = 1024
	// SampleFirsts is how many of a session's first packets are told, each way.
	SampleFirsts = 4

	sampleHeaders = 128
	ringMin       = 1 << 16
	sampleLook    = 50 * time.Millisecond  // between two looks at the ring while somebody captures
	sampleIdly    = 500 * time.Millisecond // 20 looks a second cost an idle daemon 0.4 % of a core
	sampleSoon    = 15 * time.Millisecond  // after one that the fast path wakes its reader for: it does not for the next
	sampleBatch   = 8192                   // that a look takes at most
)

// SampleKind is why a packet is told that no capture asked for.
type SampleKind uint8

// The kinds. Each has a rate of its own.
const (
	SampleDrop  = SampleKind(bpfSampleKindSAMPLE_KIND_DROP)  // its source's drop of the second
	SampleFirst = SampleKind(bpfSampleKindSAMPLE_KIND_FIRST) // of its session's first packets
	SampleTurn  = SampleKind(bpfSampleKindSAMPLE_KIND_TURN)  // one of those at which its session is judged again
	SampleStep  = SampleKind(bpfSampleKindSAMPLE_KIND_STEP)  // what attacks are found by and nobody can forge, told for nothing else
	SampleBegin = SampleKind(bpfSampleKindSAMPLE_KIND_BEGIN) // a stranger's session began, likewise
	SampleKinds = int(bpfSampleKindSAMPLE_KINDS)
)

// Of all CPUs together, a second: what one goroutine has the time for, in a quarter of a CPU's.
const (
	sampleSteps  = 100_000
	sampleBegins = 50_000
)

// sampleRates are samples of each kind, a second and CPU. First ones: of some 256 sessions.
func sampleRates() [SampleKinds]uint32 {
	cpus := uint32(runtime.NumCPU())
	return [SampleKinds]uint32{SampleDrop: 256, SampleFirst: 2048, SampleTurn: 512, SampleStep: sampleSteps / cpus, SampleBegin: sampleBegins / cpus}
}

// SampleFilter is what one slot asks for; a zero field asks for all.
type SampleFilter struct {
	Drops, Passes bool         // what policy would have dropped counts as dropped
	Address       netip.Prefix // of the client, or of either end
	Session       *Session     // both of its ways
	Service       *uint16
	Reason        uint8  // number of a drop reason
	Rate          uint32 // packets a second, of each CPU
	Every         uint32 // one in so many; 0 = each
	Snap          uint16 // bytes of each frame, at most SampleMax
}

func (f *SampleFilter) raw() bpfSampleSlot {
	s := bpfSampleSlot{Rate: f.Rate, Every: f.Every, Snap: min(f.Snap, SampleMax), Reason: f.Reason}
	if f.Drops {
		s.Want |= uint8(bpfSampleWantSAMPLE_WANT_DROPS)
	}
	if f.Passes {
		s.Want |= uint8(bpfSampleWantSAMPLE_WANT_PASSES)
	}
	if f.Service != nil {
		s.ByService, s.Service = 1, *f.Service
	}
	if f.Address.IsValid() {
		s.Addr, s.Family = addr16(f.Address.Masked().Addr()), familyOf(f.Address.Addr())
		var mask [16]byte
		for i := range f.Address.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		s.Mask = [2]uint64{binary.NativeEndian.Uint64(mask[:8]), binary.NativeEndian.Uint64(mask[8:])}
	}
	if f.Session != nil {
		s.Way[0] = tupleOf(f.Session.Client, f.Session.Front, f.Session.Proto)
		s.Way[1] = tupleOf(f.Session.Server, f.Session.Face, f.Session.Proto)
	}
	return s
}

func familyOf(a netip.Addr) uint8 {
	if a.Unmap().Is4() {
		return 4
	}
	return 6
}

func tupleOf(src, dst netip.AddrPort, proto uint8) bpfSampleTuple {
	return bpfSampleTuple{
		Src: addr16(src.Addr()), Dst: addr16(dst.Addr()), Sport: be16(src.Port()), Dport: be16(dst.Port()), Proto: proto, Family: familyOf(src.Addr()),
	}
}

// SetSample has a slot ask for packets; nil frees it. The generation that runs must tell of them (Plan.Samples). One caller at a time.
func (e *Edge) SetSample(slot int, f *SampleFilter) error {
	var s bpfSampler
	if err := e.state[bpfMapSampler].Lookup(uint32(0), &s); err != nil {
		return fmt.Errorf("read map sampler: %w", err)
	}
	s.Slot[slot] = bpfSampleSlot{}
	if f != nil {
		s.Slot[slot] = f.raw()
	}
	return e.putSampler(s)
}

// ResetSamples frees all slots: who asked is gone with the daemon before.
func (e *Edge) ResetSamples() error { return e.putSampler(bpfSampler{Rate: sampleRates()}) }

// SetSampleRate bounds samples of a kind, a second and CPU. One caller at a time, SetSample's.
func (e *Edge) SetSampleRate(k SampleKind, rate uint32) error {
	var s bpfSampler
	if err := e.state[bpfMapSampler].Lookup(uint32(0), &s); err != nil {
		return fmt.Errorf("read map sampler: %w", err)
	}
	s.Rate[k] = rate
	return e.putSampler(s)
}

func (e *Edge) putSampler(s bpfSampler) error {
	s.Snap = 0
	asked := false
	for i := range s.Slot {
		asked = asked || s.Slot[i].Want != 0
		s.Snap = max(s.Snap, uint32(s.Slot[i].Snap))
	}
	if s.Snap > 0 { // those that are taken always have their headers from the same copy
		s.Snap = max(s.Snap, sampleHeaders)
	}
	if err := e.state[bpfMapSampler].Put(uint32(0), s); err != nil {
		return fmt.Errorf("write map sampler: %w", err)
	}
	e.asked.Store(asked)
	return nil
}

// SampleCount is what became of samples, since the maps were made.
type SampleCount struct {
	Taken uint64
	Full  uint64 // lost: the ring had no room
	Over  uint64 // passed over: more than the rate
}

// SampleCounts reads them by slot; behind those are the kinds.
func (e *Edge) SampleCounts() ([SampleSlots + SampleKinds]SampleCount, error) {
	var all [SampleSlots + SampleKinds]SampleCount
	perCPU := make([]bpfSampleCount, ebpf.MustPossibleCPU())
	for i := range all {
		if err := e.state[bpfMapSampleCount].Lookup(uint32(i), &perCPU); err != nil {
			return all, fmt.Errorf("read map sample_count: %w", err)
		}
		for _, c := range perCPU {
			all[i].Taken += c.Taken
			all[i].Full += c.Full
			all[i].Over += c.Over
		}
	}
	return all, nil
}

// Samples hands records of the ring to fn until ctx ends, as package sample decodes them; they are valid until fn returns, which says
// whether it was a step (SampleStep). While nobody captures, they wait for up to half a second, but for steps, which are handed on at once, or
// 15 ms after another. After each look at the ring looked is called: all that was there when it began is handed on, or sampleBatch
// records of it.
func (e *Edge) Samples(ctx context.Context, fn func(record []byte) (step bool), looked func()) error {
	r, err := ringbuf.NewReader(e.state[bpfMapSamples])
	if err != nil {
		return fmt.Errorf("read map samples: %w", err)
	}
	defer r.Close()
	defer context.AfterFunc(ctx, func() { r.Flush() })()
	var rec ringbuf.Record
	for {
		wait := sampleIdly
		if e.asked.Load() {
			wait = sampleLook
		}
		if err := look(r, &rec, wait, fn); err != nil {
			return err
		}
		looked()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// look hands on what is in the ring, waits, and does so once more. After a step it waits no longer than until the next may have come.
func look(r *ringbuf.Reader, rec *ringbuf.Record, wait time.Duration, fn func([]byte) bool) error {
	deadline := time.Now().Add(wait)
	r.SetDeadline(deadline)
	hurried := wait <= sampleSoon
	for range sampleBatch { // of a ring that fills as fast as it is read, too
		err := r.ReadInto(rec)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read map samples: %w", err)
		}
		if !fn(rec.RawSample) || hurried {
			continue
		}
		hurried = true
		if soon := time.Now().Add(sampleSoon); soon.Before(deadline) {
			r.SetDeadline(soon)
		}
	}
	return nil
}

// sampleSeed keeps others from choosing sources that share a player's samples.
func (e *Edge) sampleSeed() uint32 {
	if e.opts.Injected {
		return 0
	}
	return rand.Uint32()
}

// ringBytes is the size of a ring: a power of two, and whole pages.
func ringBytes(n uint32) uint32 { return max(powerOfTwo(n), ringMin) }
