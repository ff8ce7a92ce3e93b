// SPDX-License-Identifier: Apache-2.0

// Package api is how tools talk to the daemon: HTTP and JSON on a unix socket. It holds the shapes that outside
// tools rely on (fields may be added, never renamed), the server, and a client with the same methods as the edge
// itself. docs/openapi.yaml describes it for others.
package api

import (
	"context"
	"io"
	"iter"
	"net/netip"
	"strings"

	"parry/pkg/attack"
	"parry/pkg/blocklist"
	"parry/pkg/event"
	"parry/pkg/history"
)

// DefaultSocket is where the daemon listens unless its configuration says otherwise.
const DefaultSocket = "/run/parry/parry.sock"

// MaxBatch is the most entries that one call of Add or Del may carry.
const MaxBatch = 65536

// MaxGate is the most bytes that a compiled gate may have.
const MaxGate = 1 << 20

// Kind names one of the two lists of sources.
type Kind string

// The lists: allow wins over block.
const (
	Block Kind = "block"
	Allow Kind = "allow"
)

// plural is the kind's name in a path.
func (k Kind) plural() string { return string(k) + "s" }

// Lists are the block and the allow list, of a running edge or of the maps that an edge left pinned.
type Lists interface {
	// Entries yields all entries of a list in no particular order; an error ends it.
	Entries(ctx context.Context, kind Kind) iter.Seq2[blocklist.Entry, error]
	// Add writes up to MaxBatch entries over what is there under the same keys. They are enforced when it returns.
	// A full list is ErrFull; entries before the one that didn't fit stay. An entry that has expired may be skipped.
	Add(ctx context.Context, kind Kind, entries []blocklist.Entry) error
	// Del removes up to MaxBatch entries and says how many there were.
	Del(ctx context.Context, kind Kind, keys []blocklist.Key) (int, error)
	// ServiceNames are the services that an entry may name.
	ServiceNames(ctx context.Context) ([]string, error)
}

// Edge is what the server asks for: a running edge. The Client is one too.
type Edge interface {
	Lists
	Status(ctx context.Context) (Status, error)
	// PickSessions yields what the filter matches, at most filter.Limit of it, in no particular order; an error ends it.
	PickSessions(ctx context.Context, filter Filter) iter.Seq2[Session, error]
	// EndSessions ends what the filter matches, at most filter.Limit of it, and says how many.
	EndSessions(ctx context.Context, filter Filter) (int, error)
	// History yields records of sessions that ended, those that ended last first, at most filter.Limit; an error ends it.
	History(ctx context.Context, filter history.Filter) iter.Seq2[history.Record, error]
	Servers(ctx context.Context) ([]Server, error)
	// Who finds the session that a server sees as addr (udp or tcp); ErrNotFound where there is none.
	Who(ctx context.Context, protocol string, addr netip.AddrPort) (Session, error)
	// Reload reads the configuration again, all or nothing; ErrConfig when it can't be used.
	Reload(ctx context.Context) error
	// Gates lists the gates that services may name.
	Gates(ctx context.Context) ([]Gate, error)
	// LoadGate adds a compiled gate of at most MaxGate bytes, or replaces the operator's of that name; ErrInvalid when it can't be used.
	LoadGate(ctx context.Context, object []byte) (Gate, error)
	// UnloadGate forgets an operator's gate; ErrBusy while a service uses it, ErrNotFound where there is none.
	UnloadGate(ctx context.Context, name string) error
	// Confirm keeps an edge that is on trial; ErrNotFound where none is, ErrBusy when it is being undone.
	Confirm(ctx context.Context) (Confirmed, error)
	// Rules lists the operator's rules in the order in which they judge, and what each did.
	Rules(ctx context.Context) ([]Rule, error)
	// AddRule adds one behind the others; ErrInvalid when it can't be used, or drops every packet of a service and n.Force isn't set.
	// It judges packets when it returns.
	AddRule(ctx context.Context, n NewRule) (Rule, error)
	// DelRule removes one; ErrNotFound where there is none of that number.
	DelRule(ctx context.Context, id uint32) error
	// Events yields what happens, until ctx or the daemon ends; ReadEvents does it for an event.Log.
	Events(ctx context.Context, query EventQuery) iter.Seq2[event.Event, error]
	// Attacks are those that are remembered, the newest first.
	Attacks(ctx context.Context, filter AttackFilter) ([]attack.Record, error)
	// Shadow is what policy would have dropped where it only watches, of one service or (empty) all.
	Shadow(ctx context.Context, service string) (ShadowReport, error)
	// Promote switches something on that only watches by the configuration, for good or on trial: until the configuration itself says
	// so, or it is rolled back. ErrNotFound where there is no such thing, ErrInvalid where it can't be switched on alone.
	Promote(ctx context.Context, p ShadowPromotion) (ShadowThing, error)
	// RollBack has it only watch again; ErrNotFound where it was not promoted.
	RollBack(ctx context.Context, what string) error
	// Players are those who play, and those who did lately, at most filter.Limit of each.
	Players(ctx context.Context, filter PlayerFilter) ([]Player, error)
	// Player is what is known of one, by the name that the protocol tells or by address; ErrNotFound where nothing is.
	Player(ctx context.Context, who string) (PlayerPage, error)
	// Past says what was so of an address or player at another time, as far as records tell.
	Past(ctx context.Context, query PastQuery) (Past, error)
	// Explain says what becomes of an address, and why.
	Explain(ctx context.Context, query ExplainQuery) (Explanation, error)
	// ExplainBlock says why an address is blocked, or was, or how far it is from it.
	ExplainBlock(ctx context.Context, a netip.Addr) (BlockExplanation, error)
	// Capture writes a capture (pcapng) to out as packets come, until a bound of the query is reached, ctx ends or out fails. ErrBusy
	// when as many go on as can; ErrNotFound where what it names isn't there.
	Capture(ctx context.Context, query CaptureQuery, out io.Writer) error
}

// Collect gathers what a sequence yields until its end or its error.
func Collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for v, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}

// Filter picks sessions; a zero field matches all.
type Filter struct {
	ID      string
	Service string
	Client  netip.Prefix
	Server  string // a server's name, address or address:port
	Player  string // whole, in whatever case
	Limit   int    // at most so many; 0 = all
}

// Match says if a session is picked, the limit aside.
func (f Filter) Match(s *Session) bool {
	return (f.ID == "" || f.ID == s.ID) &&
		(f.Service == "" || f.Service == s.Service) &&
		(!f.Client.IsValid() || f.Client.Contains(s.Client.Addr())) &&
		(f.Server == "" || strings.EqualFold(f.Server, s.ServerName) ||
			f.Server == s.Server.Addr().String() || f.Server == s.Server.String()) &&
		(f.Player == "" || s.Player != nil && strings.EqualFold(f.Player, *s.Player))
}

// empty says that the filter picks everything.
func (f Filter) empty() bool {
	return f.ID == "" && f.Service == "" && !f.Client.IsValid() && f.Server == "" && f.Player == ""
}

// EntryFilter picks entries of a list; a zero field matches all.
type EntryFilter struct {
	Service string       // entries of this service only, not those of all services
	Prefix  netip.Prefix // entries that hold it, or that it holds
}

// Apply yields the entries that the filter picks.
func (f EntryFilter) Apply(seq iter.Seq2[blocklist.Entry, error]) iter.Seq2[blocklist.Entry, error] {
	if f == (EntryFilter{}) {
		return seq
	}
	return func(yield func(blocklist.Entry, error) bool) {
		for e, err := range seq {
			if err == nil && !f.match(&e) {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (f EntryFilter) match(e *blocklist.Entry) bool {
	return (f.Service == "" || f.Service == e.Service) && (!f.Prefix.IsValid() || f.Prefix.Overlaps(e.Prefix))
}
