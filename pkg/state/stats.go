// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Stats is how a store fares.
type Stats struct {
	Entries       int               `json:"entries"`        // in memory, those that are over included
	Bytes         int               `json:"bytes"`          // of their keys and values
	Put           uint64            `json:"put"`            // decided here
	Taken         uint64            `json:"taken"`          // told by others, and new
	Applied       uint64            `json:"applied"`        // winners given to who enforces them
	Refused       map[string]uint64 `json:"refused"`        // by reason
	Forgotten     uint64            `json:"forgotten"`      // long over
	Waiting       int               `json:"waiting"`        // to be written
	Written       uint64            `json:"written"`        //
	WriteFailures uint64            `json:"write_failures"` //
	ToldCluster   uint64            `json:"told_cluster"`   // messages
	Failing       string            `json:"failing"`        // why the last write failed; "" when it did not
	Opens         uint64            `json:"opens"`          // of the store on disk
	Closed        string            `json:"closed"`         // why there is none now; "" while there is
	SetAside      string            `json:"set_aside"`      // where a damaged one went, and why
	Listening     string            `json:"listening"`      // where others reach this edge; "": nowhere now
	Links         []Link            `json:"links"`          // to the other edges
}

// Link is how it stands with another edge, or the cluster.
type Link struct {
	Name      string    `json:"name"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`  // it is connected, or not
	Heard     uint64    `json:"heard"`  // messages
	At        uint64    `json:"at"`     // the last one's number in its stream
	Behind    uint64    `json:"behind"` // messages that are still to be read, as of the last one
	Why       string    `json:"why"`    // it is not connected
	Stream    time.Time `json:"stream"` // was made then: a new one is read from its beginning
}

// Stats is how the store fares now.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Entries, s.Bytes, s.Waiting = h.count, h.bytes, len(h.unwritten)
	s.Refused = maps.Clone(h.stats.Refused)
	if h.disk == nil && h.why != nil {
		s.Closed = h.why.Error()
	}
	for _, l := range h.links {
		s.Links = append(s.Links, *l)
	}
	slices.SortFunc(s.Links, func(a, b Link) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// lately bounds what is said of one thing.
type lately struct {
	at     time.Time
	unsaid int
}

const sayEvery = 10 * time.Second

// tell says what could not be done: of one thing at most once in sayEvery.
func (h *Hub) tell(what string, err error) {
	if unsaid, say := h.mayTell(what); say {
		h.o.Log.Error("state: could not "+what, "err", err, "not_said_before", unsaid)
	}
}

// mayTell tells whether something is to be said now, and how often it was not said before.
func (h *Hub) mayTell(what string) (unsaid int, say bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.told[what]
	if l == nil {
		l = &lately{}
		h.told[what] = l
	}
	if time.Since(l.at) < sayEvery {
		l.unsaid++
		return 0, false
	}
	unsaid, l.at, l.unsaid = l.unsaid, time.Now(), 0
	return unsaid, true
}

// refuse counts what another edge told, or tried, and is not taken, and says the first of it. h.mu is not held: a log may be slow.
func (h *Hub) refuse(from, reason string, errs ...error) {
	h.mu.Lock()
	h.stats.Refused[reason] += uint64(len(errs))
	h.mu.Unlock()
	if unsaid, say := h.mayTell("refused: " + reason); say {
		h.o.Log.Warn("state: what another edge told is refused", "edge", from, "why", errs[0], "not_said_before", unsaid)
	}
}
