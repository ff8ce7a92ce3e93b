// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/cilium/ebpf"
)

const (
	answerBurst    = 1472 // bytes: one full packet can always be saved for
	admissionShare = 512  // a prefix gets this part of a service's admissions: so that hundreds of them leave the others theirs
)

// SketchWindow is what the sketch counts a stranger's packets over: SKETCH_SHIFT of bpf/stage/sketch.h.
const SketchWindow = 1 << 29 * time.Nanosecond

// put writes the bounds into a service.
func (s Strangers) put(out *bpfService, t Timeouts) {
	perSecond := func(n uint64) bpfRate { return rateOf(n, time.Second, n) }
	out.Strangers = perSecond(s.Sessions)
	out.Admissions = perSecond(s.Admissions)
	out.AdmissionsPrefix = perSecond((s.Admissions + admissionShare - 1) / admissionShare)
	out.Queries = perSecond(s.Queries)
	out.StrangerPackets = uint32((uint64(s.Packets)*uint64(SketchWindow) + 1e9 - 1) / 1e9)
	out.Unanswered = s.Unanswered
	out.WeakSessions, out.WeakPrefix, out.WeakGain = s.Weak, s.WeakPrefix, s.WeakGain
	if t.Weak > 0 {
		out.TimeoutWeak = ticks(t.Weak)
	}
	if t.Silent > 0 {
		out.TimeoutSilent = ticks(t.Silent)
	}
}

// State is how a service fares: what the fast path asks of strangers follows it.
type State uint32

// The states (spec 2.3).
const (
	StateNormal State = iota
	StateElevated
	StateAttack
)

func (s State) String() string {
	switch s {
	case StateElevated:
		return "elevated"
	case StateAttack:
		return "attack"
	}
	return "normal"
}

// SetState tells the fast path how a service fares.
func (e *Edge) SetState(service uint16, s State) error {
	return e.setMode(service, func(w *bpfServiceMode) { w.State = uint32(s) })
}

// State reads it: it outlives the daemon.
func (e *Edge) State(service uint16) (State, error) {
	w, err := e.mode(service)
	return State(w.State), err
}

// SetGrace lets sessions that are older than the edge pass a service's gate for as long as d from now.
func (e *Edge) SetGrace(service uint16, d time.Duration) error {
	now, err := e.time()
	if err != nil {
		return err
	}
	return e.setMode(service, func(w *bpfServiceMode) { w.GraceUntil = now + uint64(d) })
}

func (e *Edge) mode(service uint16) (w bpfServiceMode, err error) {
	if err = e.state[bpfMapServiceMode].Lookup(uint32(service), &w); err != nil {
		err = fmt.Errorf("read the mode of service %d: %w", service, err)
	}
	return w, err
}

func (e *Edge) setMode(service uint16, change func(*bpfServiceMode)) error {
	e.modes.Lock()
	defer e.modes.Unlock()
	w, err := e.mode(service)
	if err != nil {
		return err
	}
	change(&w)
	if err := e.state[bpfMapServiceMode].Put(uint32(service), w); err != nil {
		return fmt.Errorf("write the mode of service %d: %w", service, err)
	}
	return nil
}

// StrangerCount is what strangers tried with one service, and what became of it.
type StrangerCount struct {
	Strangers    uint64 // packets of no session
	Believed     uint64 // by the gate, or there is none
	Greylisted   uint64
	Returned     uint64                  // came again in time
	Admitted     uint64                  // sessions, unproven and proven
	Strong       uint64                  // proven by an echoed secret, TCP's handshake, or in play
	Weak         uint64                  // proven by a two-way exchange
	Answered     uint64                  // by the edge
	Asked        uint64                  // of the daemon
	Evicted      uint64                  // unproven sessions that newer ones pushed out
	Lost         uint64                  // packets of proven sessions that the edge dropped, and not for their own source's doing
	Reflected    [len(Reflectors)]uint64 // packets of reflections, by whose answers they are
	WeakSessions uint32                  // weakly proven sessions at this moment
}

// Reflectors are the names of those whose answers reflections are made of, as enum reflector (bpf/abi.h) numbers them.
var Reflectors = [...]string{
	"", "dns", "ntp", "cldap", "snmp", "ssdp", "memcached", "chargen", "portmap", "netbios", "rip", "ard", "ws-discovery", "coap", "dvr", "bacnet", "game",
}

// StrangerCounts reads them for each service, by number.
func (e *Edge) StrangerCounts() ([]StrangerCount, error) {
	all := make([]StrangerCount, len(e.ServiceNames()))
	perCPU := make([]bpfStrangerCount, ebpf.MustPossibleCPU())
	for i := range all {
		if err := e.state[bpfMapStrangerCount].Lookup(uint32(i), &perCPU); err != nil {
			return nil, fmt.Errorf("read map stranger_count: %w", err)
		}
		for _, c := range perCPU {
			all[i].add(&c)
		}
		var s bpfServiceState
		if err := e.state[bpfMapServiceState].Lookup(uint32(i), &s); err != nil {
			return nil, fmt.Errorf("read map service_state: %w", err)
		}
		all[i].WeakSessions = s.Weak
	}
	return all, nil
}

func (s *StrangerCount) add(c *bpfStrangerCount) {
	s.Strangers += c.Strangers
	s.Believed += c.Believed
	s.Greylisted += c.Greylisted
	s.Returned += c.Returned
	s.Admitted += c.Admitted
	s.Strong += c.Strong
	s.Weak += c.Weak
	s.Answered += c.Answered
	s.Asked += c.Asked
	s.Evicted += c.Evicted
	s.Lost += c.Lost
	for i := range s.Reflected {
		s.Reflected[i] += c.Reflected[i]
	}
}

// StrangerLoad is how full what remembers strangers is.
type StrangerLoad struct {
	Greylist float64 // share of the current and last generation's bits that are set; above 0.5 many pass at first sight
	Sketch   float64 // packets that a counter holds of this window or the last, on the average: the noise of the sketch
	Unproven uint32  // slots
}

const loadSamples = 512 // lines of each: within 2 % of the whole

// StrangerLoad samples them.
func (e *Edge) StrangerLoad() (StrangerLoad, error) {
	l := StrangerLoad{Unproven: e.state[bpfMapUnproven4].MaxEntries()}
	now, err := e.time()
	if err != nil {
		return l, err
	}
	set, of, generation := 0, 0, greyGeneration(now)
	if err := sample(e.state[bpfMapGreylist], func(g *bpfGreyLine) {
		of += 2 * 192
		if g.Generation == generation {
			for i := range 3 {
				set += bits.OnesCount64(g.Now[i]) + bits.OnesCount64(g.Before[i])
			}
		} else if g.Generation+1 == generation {
			for i := range 3 {
				set += bits.OnesCount64(g.Now[i])
			}
		}
	}); err != nil {
		return l, err
	}
	l.Greylist = float64(set) / float64(max(of, 1))
	window, sum, cells := uint32(now/uint64(SketchWindow)), 0, 0
	err = sample(e.state[bpfMapSketch], func(s *bpfSketchLine) {
		for _, c := range s.Cell {
			cells++
			if c>>24 == window&0xff || c>>24 == (window-1)&0xff { // nobody came by since: it holds the last one's
				sum += int(c & 0xffffff)
			}
		}
	})
	l.Sketch = float64(sum) / float64(max(cells, 1))
	return l, err
}

// greyGeneration is the generation of the greylist at a time, as stage/greylist.h counts them.
func greyGeneration(now uint64) uint32 { return uint32(now>>29) / 3 }

// sample reads lines that lie evenly over an array.
func sample[T any](m *ebpf.Map, fn func(*T)) error {
	step := max(m.MaxEntries()/loadSamples, 1)
	for i := uint32(0); i < m.MaxEntries(); i += step {
		var line T
		if err := m.Lookup(i, &line); err != nil {
			return fmt.Errorf("sample a map of strangers: %w", err)
		}
		fn(&line)
	}
	return nil
}

// gate is the number of a gate in the table, 0 = none; and whether its sessions are looked through for the proof that is in their play.
func (b *builder) gate(name string) (number, netchan uint8) {
	for i, g := range b.plan.Gates {
		if g.Name == name {
			return uint8(i + 1), flag(g.Proof == gateProofNetchan)
		}
	}
	return 0, 0
}

const greyPerLine = 8 // GREYLIST_PER_LINE
