// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// State is how the store fares in which an edge remembers, and how it stands with the others.
type State struct {
	Open    bool // there is one on disk
	Entries int
	Waiting int               // entries that the disk has not yet
	Counts  map[string]uint64 // put, taken, applied, written, write_failed, forgotten
	Refused map[string]uint64 // by why
	Links   map[string]StateLink
}

// StateLink is how it stands with another edge, or the cluster.
type StateLink struct {
	Connected bool
	Heard     uint64 // messages
	Behind    uint64 // messages that are still to be read
}

// stateDescs are the metrics about it.
type stateDescs struct{ open, entries, waiting, total, refused, connected, heard, behind *prometheus.Desc }

func newStateDescs(d func(name, help string, labels ...string) *prometheus.Desc) stateDescs {
	return stateDescs{
		open:      d("state_open", "1 while the store is on disk; else what is decided holds, and is forgotten at a restart."),
		entries:   d("state_entries", "Blocks, allows, lifts and what else edges agree upon that this edge knows."),
		waiting:   d("state_waiting_entries", "Entries that are not on disk yet."),
		total:     d("state_entries_total", "Entries by what became of them: put (decided here), taken (told by another edge, and new), applied (to the lists), written, write_failed, forgotten (long over).", "what"),
		refused:   d("state_refused_total", "What other edges told, or tried, and was not taken, by why.", "reason"),
		connected: d("state_link_connected", "1 while this edge hears what another (or the cluster) tells.", "edge"),
		heard:     d("state_link_heard_total", "Messages that another edge (or the cluster) told.", "edge"),
		behind:    d("state_link_behind", "Messages of another edge (or the cluster) that are still to be read, when the last one came.", "edge"),
	}
}

func (s *stateDescs) all() []*prometheus.Desc {
	return []*prometheus.Desc{s.open, s.entries, s.waiting, s.total, s.refused, s.connected, s.heard, s.behind}
}

func (e emitter) remembered(s *State) {
	d := &e.d.remembered
	e.gauge(d.open, bit(s.Open))
	e.gauge(d.entries, float64(s.Entries))
	e.gauge(d.waiting, float64(s.Waiting))
	e.counters(d.total, s.Counts)
	e.counters(d.refused, s.Refused)
	for _, name := range slices.Sorted(maps.Keys(s.Links)) {
		l := s.Links[name]
		e.gauge(d.connected, bit(l.Connected), name)
		e.counter(d.heard, l.Heard, name)
		e.gauge(d.behind, float64(l.Behind), name)
	}
}
