// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Record is one attack on one service, from when the service's state became attack until it no longer was. Null is unknown,
// not 0. Counters are of what came meanwhile.
type Record struct {
	ID          string     `json:"id"`
	Service     string     `json:"service"` // "": on several, see services
	Start       time.Time  `json:"start"`
	End         *time.Time `json:"end"`          // when it was last over the threshold; null: it goes on
	Kinds       []string   `json:"kinds"`        // what it was made of, the most first
	PeakPPS     uint64     `json:"peak_pps"`     // packets a second: refused, answered or let in, of strangers
	PeakBPS     uint64     `json:"peak_bps"`     // bits a second of refused packets
	Sources     *uint64    `json:"sources"`      // at least so many different ones; see sources_how
	LinkShare   *float64   `json:"link_share"`   // peak_bps of what the link carries; null where that is not known
	PlayersLost *uint64    `json:"players_lost"` // packets of proven sessions that were dropped, and not for their own source's doing

	Prefix   string   `json:"prefix,omitempty"`      // of a carpet: the prefix that it is spread over
	Sourced  bool     `json:"from_prefix,omitempty"` // that prefix is its sources'
	Services []string `json:"services,omitempty"`    // of a carpet: those that it is on

	SourcesHow string            `json:"sources_how,omitempty"` // how sources was found
	Reason     string            `json:"reason"`                // why the service came to be under attack
	Last       time.Time         `json:"last"`                  // when it was last over the threshold
	Usual      float64           `json:"usual_strangers_per_second"`
	Strangers  uint64            `json:"strangers"` // packets of no session
	Greylisted uint64            `json:"greylisted"`
	Returned   uint64            `json:"returned"` // that came again, as they had to
	Admitted   uint64            `json:"admitted"` // sessions that began
	Proven     uint64            `json:"proven"`   // of them
	Answered   uint64            `json:"answered"` // queries that the edge answered
	Drops      map[string]uint64 `json:"drops"`    // packets by reason
	WouldDrop  map[string]uint64 `json:"would_drop"`
	Reflectors map[string]uint64 `json:"reflectors,omitempty"` // packets of reflections, by whose answers they are
	Measures   []Measure         `json:"measures"`             // what was done, what stopped the most first
	Timeline   []Moment          `json:"timeline"`             // at most maxMoments
}

// Measure is something that was done against an attack.
type Measure struct {
	Name    string `json:"name"`
	Packets uint64 `json:"packets"` // that it stopped; of `would_drop`, would have stopped
}

// Moment is something that happened during an attack.
type Moment struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

const (
	maxMoments = 64
	kindShare  = 0.1 // a kind is said if it is at least such a part of what tells of an attack
)

const sourcesHow = "different address and port pairs among first packets, as the greylist held them at one time (about 3 s): over the whole attack there may be more"

// clone is a copy that shares nothing that is written to.
func (r *Record) clone() Record {
	c := *r
	c.Drops, c.WouldDrop, c.Reflectors = maps.Clone(r.Drops), maps.Clone(r.WouldDrop), maps.Clone(r.Reflectors)
	c.Services = slices.Clone(r.Services)
	c.Kinds, c.Measures, c.Timeline = slices.Clone(r.Kinds), slices.Clone(r.Measures), slices.Clone(r.Timeline)
	return c
}

// say notes a moment; the first ones and the last one are kept.
func (r *Record) say(at time.Time, text string) {
	if len(r.Timeline) == maxMoments {
		r.Timeline = r.Timeline[:maxMoments-1]
	}
	r.Timeline = append(r.Timeline, Moment{Time: at.UTC(), Text: text})
}

// take adds what happened between two samples.
func (r *Record) take(o *observed, s *Sample, about *Service) {
	n := &o.rates
	r.Strangers += n.strangers
	r.Greylisted += n.greylisted
	r.Returned += n.returned
	r.Admitted += n.admitted
	r.Proven += n.proven
	r.Answered += n.answered
	for name, c := range n.drops {
		r.Drops[name] += c.Packets
	}
	for name, c := range n.would {
		r.WouldDrop[name] += c.Packets
	}
	if r.Reflectors == nil && n.reflectors != nil {
		r.Reflectors = map[string]uint64{}
	}
	for name, c := range n.reflectors {
		r.Reflectors[name] += c
	}
	r.PeakPPS = max(r.PeakPPS, whole(n.per(n.packets())))
	r.PeakBPS = max(r.PeakBPS, whole(8*n.per(n.refused.Bytes)))
	if about.LinkBPS > 0 {
		share := float64(r.PeakBPS) / float64(about.LinkBPS)
		r.LinkShare = &share
	}
	if s.Load.Sources != nil && *s.Load.Sources > 0 && (r.Sources == nil || *r.Sources < *s.Load.Sources) {
		r.Sources, r.SourcesHow = s.Load.Sources, sourcesHow
	}
	if n.loss != nil {
		sum := *n.loss
		if r.PlayersLost != nil {
			sum += *r.PlayersLost
		}
		r.PlayersLost = &sum
	}
	if o.loud {
		r.Last = s.Time.UTC()
	}
	r.name(s.Time, about)
}

// name finds kinds and measures anew, and notes a kind that is new.
func (r *Record) name(at time.Time, about *Service) {
	kinds, measures := map[string]uint64{}, map[string]uint64{}
	for _, m := range []map[string]uint64{r.Drops, r.WouldDrop} {
		for reason, n := range m {
			if means := meanings[reason]; means.kind != "" {
				kinds[means.kind] += n
				measures[means.measure] += n
			}
		}
	}
	kinds[randomSources] += r.Admitted
	kinds[queryFlood] += r.Answered
	r.split(kinds)
	var total uint64
	for _, n := range kinds {
		total += n
	}
	old := r.Kinds
	r.Kinds, r.Measures = []string{}, []Measure{}
	if r.Prefix != "" {
		r.Kinds = append(r.Kinds, carpet)
	}
	for _, k := range byMost(kinds) {
		if n := kinds[k]; n > 0 && float64(n) >= kindShare*float64(total) {
			r.Kinds = append(r.Kinds, about.detailed(k))
		}
	}
	for _, k := range r.Kinds {
		if !slices.Contains(old, k) && len(old) > 0 {
			r.say(at, "also "+k)
		}
	}
	for _, m := range byMost(measures) {
		r.Measures = append(r.Measures, Measure{Name: m, Packets: measures[m]})
	}
}

// split says of reflections whose answers they are, as far as that is known.
func (r *Record) split(kinds map[string]uint64) {
	for _, name := range byMost(r.Reflectors) {
		n := min(r.Reflectors[name], kinds[reflection])
		kinds[reflection] -= n
		kinds[reflection+" "+name] = n
	}
}

// detailed adds to a kind what is known of it.
func (s *Service) detailed(kind string) string {
	if kind == randomSources && len(s.Protocols) == 1 {
		return kind + " " + s.Protocols[0]
	}
	return kind
}

func byMost(m map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), strings.Compare(a, b))
	})
}
