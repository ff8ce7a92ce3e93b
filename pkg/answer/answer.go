// SPDX-License-Identifier: Apache-2.0

// Package answer keeps what game servers tell anybody ready for the fast path, which answers queries in their place: a Keeper asks
// each server again and again and hands on what it said, a Responder sends the answers that the fast path can't, those of several packets above all. It knows neither
// BPF nor configuration.
package answer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"parry/pkg/query"
)

// Cell names the cache of one server's answers. It keeps its name while the configuration changes.
type Cell struct {
	Pool   string // "" = of a local service
	Server string // its name in the pool; the local service's
	Offset uint16 // which of its ports, counted from the service's lowest
}

// Target is one server as it is asked.
type Target struct {
	Cell
	Addr   netip.AddrPort
	Family string // of games: source, quake3 or raknet
}

// Store is where the fast path finds answers.
type Store interface {
	// SetAnswer writes one: payload is a UDP payload that is sent as it is; several says instead that the answer takes several packets.
	// until is when it is stale, in ns of the edge's clock.
	SetAnswer(c Cell, kind int, payload []byte, several bool, until uint64) error
}

// Longest is the longest payload that the fast path sends, in bytes.
const Longest = 1400

// How answers are kept. What a server said holds for three times the interval, so that a lost packet or two are no reason to
// bother it with everybody's queries, and at least for `least`.
const (
	askTimeout  = time.Second
	least       = 5 * time.Second
	longestWait = 15 * time.Second // between two attempts at a server that doesn't answer
	mostAtOnce  = 256              // questions under way, over all servers
)

// kind is one of a family's answers. Its index is the kind's number in the fast path (bpf/gate).
type kind struct {
	question query.Question
	every    time.Duration // on the average; a quarter more or less each time
}

// kindsOf are the questions to a family's servers, nil if there are none. Servers bound what one address may ask, and behind NAT the
// players' own questions come from the address that these do: ioquake3 takes one a second (getchallenge, too), Source three packets
// (sv_max_queries_sec), of which a question takes two. About half is left to the players.
func kindsOf(family string) []kind {
	switch family {
	case "source":
		return []kind{{query.SourceInfo, 2 * time.Second}, {query.SourcePlayers, 4 * time.Second}, {query.SourceRules, 10 * time.Second}}
	case "quake3":
		return []kind{{query.Quake3Info, 4 * time.Second}, {query.Quake3Status, 4 * time.Second}}
	case "raknet":
		return []kind{{query.RakNetPing, 1500 * time.Millisecond}}
	}
	return nil
}

// Family tells whether servers of a family of games are asked.
func Family(family string) bool { return kindsOf(family) != nil }

func (k kind) life() time.Duration { return max(3*k.every, least) }

// Asker asks a server one question; query.Ask is one.
type Asker func(ctx context.Context, server netip.AddrPort, q query.Question) (*query.Reply, error)

// errTooLong says that an answer can't be served: it is one datagram that is longer than a frame.
var errTooLong = errors.New("too long to be answered by the edge")

// held is an answer as it is kept.
type held struct {
	packets    [][]byte // none = there was none yet
	several    bool
	got, until uint64 // ns of the edge's clock
}

// heldOf makes an answer of a reply.
func heldOf(r *query.Reply, q query.Question) (held, error) {
	h := held{packets: r.Packets, several: len(r.Packets) > 1}
	for _, p := range r.Packets {
		if len(p) > Longest {
			return h, fmt.Errorf("%v: a packet of %d bytes: %w", q, len(p), errTooLong)
		}
	}
	return h, nil
}

func (h *held) store(s Store, c Cell, kind int) error {
	if h.several {
		return s.SetAnswer(c, kind, nil, true, h.until)
	}
	return s.SetAnswer(c, kind, h.packets[0], false, h.until)
}

func (h *held) fresh(now uint64) bool { return len(h.packets) > 0 && int64(h.until-now) > 0 }

func (c Cell) compare(o Cell) int {
	return cmp.Or(cmp.Compare(c.Pool, o.Pool), cmp.Compare(c.Server, o.Server), cmp.Compare(c.Offset, o.Offset))
}

func (s State) compare(o State) int {
	return cmp.Or(s.Cell.compare(o.Cell), cmp.Compare(s.Kind, o.Kind))
}
