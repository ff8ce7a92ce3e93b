// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/cilium/ebpf/ringbuf"
)

// AnswerCell names the cache of one server's answers.
type AnswerCell struct {
	Pool   string // "" = of a local service
	Server string // its name in the pool; the local service's
	Offset uint16 // which of its ports, counted from the service's lowest
}

const (
	gateKinds = 4    // GATE_KINDS of gate/parry_gate.h
	answerMax = 1400 // GATE_ANSWER_MAX
)

// AnswerPriority is the SO_PRIORITY by which packets that the daemon sends in a service's name are known.
const AnswerPriority = 0x70617272

// addAnswers gives the servers of a service whose answers are cached their cells, one for each port that services of the pool have.
func (b *builder) addAnswers(s *Service, number uint16) {
	if !s.Answers {
		return
	}
	if s.Forward == Local {
		b.services[number].Answers = b.addCells(AnswerCell{Server: s.Name}, s.ports())
		return
	}
	b.services[number].Answers = 0 // its servers' say
	ports := 0
	for i := range b.plan.Services {
		if o := &b.plan.Services[i]; o.Pool == s.Pool && o.Answers {
			ports = max(ports, o.ports())
		}
	}
	at := 0
	for _, pool := range b.plan.Pools {
		for _, srv := range pool.Servers {
			if pool.Name == s.Pool && b.servers[at].Answers == noServer {
				b.servers[at].Answers = b.addCells(AnswerCell{Pool: pool.Name, Server: srv.Name}, ports)
			}
			at++
		}
	}
}

// addCells returns where the first of them begins in gate_answer_at.
func (b *builder) addCells(c AnswerCell, ports int) uint32 {
	first := uint32(len(b.cells) * gateKinds)
	for i := range ports {
		c.Offset = uint16(i)
		b.cells = append(b.cells, c)
	}
	return first
}

// ports are how many there are from the service's lowest to its highest, gaps included.
func (s *Service) ports() int {
	n := 0
	for _, f := range s.Fronts {
		n = max(n, int(f.Offset)+int(f.Last)-int(f.First)+1)
	}
	return n
}

// noAnswers is what gate_answer_at begins with: none is there yet.
func (b *builder) noAnswers() []uint32 {
	all := make([]uint32, len(b.cells)*gateKinds)
	for i := range all {
		all[i] = noServer
	}
	return all
}

// SetAnswer writes what a server answers to questions of a kind: a UDP payload of at most 1400 bytes, or that the answer takes
// several packets. It is served until then, in ns of CLOCK_MONOTONIC. To a generation that doesn't cache the server's answers it is
// nothing. It is one caller's at a time for each cell, and may be used beside packets: they see the answer before or the new one.
func (g *Generation) SetAnswer(c AnswerCell, kind int, payload []byte, several bool, until uint64) error {
	first, ok := g.answers[c]
	if !ok {
		return nil
	}
	if kind < 0 || kind >= gateKinds || len(payload) > answerMax {
		return fmt.Errorf("an answer of kind %d of %d bytes", kind, len(payload))
	}
	cell, now := first+uint32(kind), uint32(0)
	if err := g.coll.Maps[bpfMapGateAnswerAt].Lookup(cell, &now); err != nil {
		return fmt.Errorf("read map gate_answer_at: %w", err)
	}
	next := 2 * cell // of the two copies, the one that is not read now
	if now == next {
		next++
	}
	a := bpfGateAnswer{Until: until, Sum: onesSum(payload), Length: uint16(len(payload)), Several: flag(several)}
	copy(a.Data[:], payload)
	if err := g.coll.Maps[bpfMapGateAnswer].Put(next, &a); err != nil {
		return fmt.Errorf("write map gate_answer: %w", err)
	}
	if err := g.coll.Maps[bpfMapGateAnswerAt].Put(cell, next); err != nil {
		return fmt.Errorf("write map gate_answer_at: %w", err)
	}
	return nil
}

// SetAnswer is that of the generation that runs.
func (e *Edge) SetAnswer(c AnswerCell, kind int, payload []byte, several bool, until uint64) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.gen == nil {
		return nil
	}
	return e.gen.SetAnswer(c, kind, payload, several, until)
}

// onesSum is the Internet's sum of bytes as they lie in memory, as bpf_csum_diff has it, folded.
func onesSum(b []byte) uint32 {
	var n uint64
	for ; len(b) >= 2; b = b[2:] {
		n += uint64(binary.NativeEndian.Uint16(b))
	}
	if len(b) == 1 {
		n += uint64(binary.NativeEndian.Uint16([]byte{b[0], 0}))
	}
	for n>>16 != 0 {
		n = n&0xffff + n>>16
	}
	return uint32(n)
}

// Ask is a query whose answer takes several packets: the fast path leaves it to the daemon. Its client has proven its address.
type Ask struct {
	Client, Front netip.AddrPort
	Cell          AnswerCell
	Kind          int
}

// Asks hands queries to fn until ctx ends. One that no cache has now (a reload was quicker) is passed over.
func (e *Edge) Asks(ctx context.Context, fn func(Ask)) error {
	r, err := ringbuf.NewReader(e.state[bpfMapAsks])
	if err != nil {
		return fmt.Errorf("read map asks: %w", err)
	}
	defer r.Close()
	defer context.AfterFunc(ctx, func() { r.Close() })()
	var rec ringbuf.Record
	for {
		err := r.ReadInto(&rec)
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read map asks: %w", err)
		}
		var raw bpfGateAsk
		if _, err := binary.Decode(rec.RawSample, binary.NativeEndian, &raw); err != nil {
			return fmt.Errorf("read map asks: %w", err)
		}
		if a, ok := e.askOf(&raw); ok {
			fn(a)
		}
	}
}

func (e *Edge) askOf(raw *bpfGateAsk) (Ask, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	at := int(raw.Answers / gateKinds)
	if e.gen == nil || at >= len(e.gen.cells) || int(raw.Service) >= len(e.gen.caches) {
		return Ask{}, false
	}
	c, of := e.gen.cells[at], e.gen.caches[raw.Service]
	if c.Pool != of.Pool || c.Pool == "" && c.Server != of.Server {
		return Ask{}, false // the number is of the generation before
	}
	v4 := raw.Family == 4
	return Ask{
		Client: netip.AddrPortFrom(addrOf(raw.Src, v4), be16(raw.Sport)), Front: netip.AddrPortFrom(addrOf(raw.Dst, v4), be16(raw.Dport)),
		Cell: c, Kind: int(raw.Kind),
	}, true
}

// cachesOf are where the answers of each service's servers are, by its number: a pool, or (local) a server of its own name.
func cachesOf(p *Plan, n *numbering) []AnswerCell {
	all := make([]AnswerCell, len(n.names))
	for i := range p.Services {
		s := &p.Services[i]
		switch {
		case s.Answers && s.Forward == Local:
			all[n.byName[s.Name]] = AnswerCell{Server: s.Name}
		case s.Answers:
			all[n.byName[s.Name]] = AnswerCell{Pool: s.Pool}
		}
	}
	return all
}

// answersOf are the first cells of each cache.
func answersOf(cells []AnswerCell) map[AnswerCell]uint32 {
	all := map[AnswerCell]uint32{}
	for i, c := range cells {
		all[c] = uint32(i * gateKinds)
	}
	return all
}
