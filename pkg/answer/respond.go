// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
)

// Asked is a query that the fast path can't answer: by several packets, or by one that is longer than the query's buffer. Its
// client has proven its address.
type Asked struct {
	Client netip.AddrPort
	Front  netip.AddrPort // that it asked
	Cell   Cell
	Kind   int
}

// Sender sends a UDP payload from an address and port that need not be this host's.
type Sender interface {
	Send(from, to netip.AddrPort, payload []byte) error
}

// Holder has answers; Keeper is one. Their packets are not to be written to.
type Holder interface {
	Packets(c Cell, kind int) [][]byte
}

// Responder answers within a budget. Answer is one goroutine's at a time.
type Responder struct {
	holder Holder
	sender Sender
	budget *budget
	counts struct{ answered, packets, refused, stale, failed atomic.Uint64 }
}

// NewResponder makes one.
func NewResponder(h Holder, s Sender) *Responder {
	return &Responder{holder: h, sender: s, budget: newBudget()}
}

// Counts of a Responder.
type Counts struct {
	Answered uint64 // queries, in full
	Packets  uint64 // sent
	Refused  uint64 // queries: the budget was used up
	Stale    uint64 // queries whose answer was there no more
	Failed   uint64 // queries whose answer could not be sent
}

// Counts may be read at any time.
func (r *Responder) Counts() Counts {
	c := &r.counts
	return Counts{c.answered.Load(), c.packets.Load(), c.refused.Load(), c.stale.Load(), c.failed.Load()}
}

// Answer sends the very packets that the server sent; a split reply as a new one, with a number of its own.
func (r *Responder) Answer(a Asked) error {
	packets := r.holder.Packets(a.Cell, a.Kind)
	if len(packets) == 0 {
		r.counts.stale.Add(1)
		return nil
	}
	if !r.budget.take(a.Client.Addr(), len(packets)) {
		r.counts.refused.Add(1)
		return nil
	}
	id := rand.Uint32()
	for _, p := range packets {
		if err := r.sender.Send(a.Front, a.Client, renumbered(p, id)); err != nil {
			r.counts.failed.Add(1)
			return err
		}
		r.counts.packets.Add(1)
	}
	r.counts.answered.Add(1)
	return nil
}

// renumbered is a part of a split A2S reply with another number, whose highest bit says that the reply is packed. What is no
// part has none.
func renumbered(p []byte, id uint32) []byte {
	const part, at, packed = "\xfe\xff\xff\xff", 4, 1 << 31
	if len(p) < at+4 || string(p[:at]) != part {
		return p
	}
	out := bytes.Clone(p)
	id = id&^packed | binary.LittleEndian.Uint32(p[at:])&packed
	binary.LittleEndian.PutUint32(out[at:], id)
	return out
}
