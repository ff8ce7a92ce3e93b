// SPDX-License-Identifier: Apache-2.0

// Package health says of watched sessions when play is no fun any more, and when it is again: by the gaps, jitter and loss of each
// direction, held against the bounds of its game's class. It is told figures by whoever sweeps them, and knows no clock and no kernel.
package health

import (
	"iter"
	"net/netip"
	"slices"
	"time"
)

// Bounds are what the packets of one direction may show; 0 = that is not looked at.
type Bounds struct {
	Gap    time.Duration
	Jitter time.Duration // beyond the game's own rhythm
	Loss   float64       // share of 0 to 1
}

// Way is what one direction of a session has shown since it is watched.
type Way struct {
	Packets uint64
	Last    uint64        // CLOCK_MONOTONIC, ns: its last packet
	Jitter  time.Duration // RFC 3550
	Gap     time.Duration // the longest of the last half minute
	Numbers uint32        // that could be read; 0 = none can
	Lost    uint32        // and that are missing among them
}

// Session is a watched session.
type Session struct {
	ID      string
	Client  netip.AddrPort
	Service string
	Game    string
	Class   string
	Bounds  Bounds
	Up      *Way // nil: not watched
	Down    *Way
}

// Kind is what an Event tells of.
type Kind uint8

// The kinds.
const (
	Bad  Kind = iota // a session has passed a bound
	Good             // it is well again
	Many             // so many more of both than are told one by one
)

// Sign is by what a session fares badly.
type Sign string

// The signs.
const (
	Gap    Sign = "gap"
	Jitter Sign = "jitter"
	Loss   Sign = "loss"
)

// Event is something to be told.
type Event struct {
	Kind    Kind
	Session Session // but for Many
	Down    bool    // the direction that shows it
	Sign    Sign
	Value   float64 // milliseconds, of Loss a share
	Bound   float64
	Lasted  time.Duration // Good: since it was told to be bad

	Bad, Good int            // Many: how many
	Services  map[string]int // Many: of those by service
}

const (
	plays       = 10               // packets a second: less is no play, and no silence in it means anything
	pause       = 10 * time.Second // a longer silence is none in the midst of play
	thousand    = 1000             // numbers that a share of losses is of
	jitterLooks = 2                // in a row that jitter must be over its bound
	goodLooks   = 3                // in a row that all must be well
	idleLooks   = 6                // after so many without play it is forgotten that a session was bad
	usualOf     = 8                // sessions that make what is usual at their service
	creep       = 720              // a look moves what is calm for a session up by that part of the difference: games change their rhythm

	lookMost = time.Minute // between two looks; after more nothing is known of what was between them

	burst     = 20 // events one by one
	refill    = 6 * time.Second
	manyEvery = time.Minute
)

// Judge judges sessions. It is one goroutine's.
type Judge struct {
	most   int
	known  map[string]*state
	look   uint64 // number of the look
	at     uint64 // ns: when it was
	usual  map[place]time.Duration
	tokens float64
	many   Event
	manyAt uint64

	unknown int
	carried uint64 // packets between the last two looks
	rate    float64
}

// place is where something is usual.
type place struct {
	service string
	down    bool
}

type state struct {
	look  uint64 // in which it was seen last
	ways  [2]way
	bad   bool
	since uint64
	was   Event // as it was told to be bad
	good  int   // looks in a row
	idle  int
}

type way struct {
	packets uint64
	calm    time.Duration // its jitter when nothing disturbs
	over    int           // looks in a row at which jitter was
	numbers uint32        // and lost: when the thousand began that is being counted
	lost    uint32
	share   float64 // of the thousand before, or of this one where that is worse already
}

// New makes a judge of at most so many sessions at a time.
func New(most int) *Judge {
	return &Judge{most: most, known: map[string]*state{}, usual: map[place]time.Duration{}, tokens: burst}
}

// Unknown is how many sessions of the last look were more than it has room for.
func (j *Judge) Unknown() int { return j.unknown }

// IsBad is how many sessions are bad now.
func (j *Judge) IsBad() int {
	n := 0
	for _, s := range j.known {
		if s.bad {
			n++
		}
	}
	return n
}

// Rate is how many packets a second the sessions had between the last two looks.
func (j *Judge) Rate() float64 { return j.rate }

// Look judges all that are watched at a moment, in ns of CLOCK_MONOTONIC, and returns what is to be told. Whoever is not among them
// any more is forgotten.
func (j *Judge) Look(now uint64, sessions iter.Seq[*Session]) []Event {
	passed := time.Duration(now - j.at)
	sound := j.look > 0 && now > j.at && passed <= lookMost
	if sound {
		j.tokens = min(burst, j.tokens+passed.Seconds()/refill.Seconds())
	}
	j.look++
	j.at = now
	j.unknown, j.carried, j.rate = 0, 0, 0
	var all []Event
	rhythm := map[place][]time.Duration{}
	for s := range sessions {
		st := j.known[s.ID]
		if st == nil {
			if len(j.known) >= j.most {
				j.unknown++
				continue
			}
			st = &state{}
			j.known[s.ID] = st
			j.begin(st, s)
		}
		st.look = j.look
		for _, e := range j.judge(st, s, passed, sound, rhythm) {
			all = j.tell(all, e)
		}
	}
	for id, st := range j.known {
		if st.look != j.look {
			delete(j.known, id)
		}
	}
	j.learn(rhythm)
	if sound {
		j.rate = float64(j.carried) / passed.Seconds()
	}
	return j.tellMany(all, now)
}

// begin notes where a session's counters stand as it is seen first.
func (j *Judge) begin(st *state, s *Session) {
	for i, w := range []*Way{s.Up, s.Down} {
		if w == nil {
			continue
		}
		st.ways[i] = way{packets: w.Packets, numbers: w.Numbers, lost: w.Lost, calm: w.Jitter}
	}
}

// finding is what one direction shows by one sign.
type finding struct {
	down         bool
	sign         Sign
	value, bound float64
	over, under  bool // its bound; neither: in between, where what was holds
}

func (j *Judge) judge(st *state, s *Session, passed time.Duration, sound bool, rhythm map[place][]time.Duration) []Event {
	var found []finding
	playing := false
	for i, w := range []*Way{s.Up, s.Down} {
		x := &st.ways[i]
		if w == nil {
			*x = way{}
			continue
		}
		if w.Packets < x.packets || w.Numbers < x.numbers { // another watch of it
			*x = way{packets: w.Packets, numbers: w.Numbers, lost: w.Lost, calm: w.Jitter}
			continue
		}
		came := w.Packets - x.packets
		x.packets = w.Packets
		j.carried += came
		if !sound {
			continue
		}
		if float64(came) >= plays*passed.Seconds() {
			playing = true
			found = append(found, j.rhythm(x, w, s, i == 1, rhythm)...)
		}
		found = append(found, x.loss(w, s, i == 1)...)
	}
	if !sound {
		return nil
	}
	return j.weigh(st, s, found, playing)
}

// rhythm looks at when packets came.
func (j *Judge) rhythm(x *way, w *Way, s *Session, down bool, rhythm map[place][]time.Duration) (found []finding) {
	gap := w.Gap
	if gap > pause {
		gap = 0
	}
	if b := s.Bounds.Gap; b > 0 {
		found = append(found, finding{down, Gap, milliseconds(gap), milliseconds(b), gap > b, gap <= b})
	}
	at := place{s.Service, down}
	rhythm[at] = append(rhythm[at], w.Jitter)
	x.calm = min(x.calm+max(w.Jitter-x.calm, 0)/creep, w.Jitter)
	if usual, ok := j.usual[at]; ok {
		x.calm = min(x.calm, usual)
	}
	excess := w.Jitter - x.calm
	if b := s.Bounds.Jitter; b > 0 {
		if x.over++; excess <= b {
			x.over = 0
		}
		found = append(found, finding{down, Jitter, milliseconds(excess), milliseconds(b), x.over >= jitterLooks, excess <= b*4/5})
	}
	return found
}

// loss looks at how many did not come of each thousand. Where more are missing than a whole thousand may lack, it need not be over.
func (x *way) loss(w *Way, s *Session, down bool) []finding {
	b := s.Bounds.Loss
	if b <= 0 || w.Numbers == 0 {
		return nil
	}
	came, lost := w.Numbers-x.numbers, max(w.Lost, x.lost)-x.lost // what was late lowers the count
	sent := came + lost
	if sent >= thousand {
		x.share = float64(lost) / float64(sent)
		x.numbers, x.lost = w.Numbers, w.Lost
	} else {
		x.share = max(x.share, float64(lost)/thousand)
	}
	return []finding{{down, Loss, x.share, b, x.share > b, x.share <= b/2}}
}

// weigh makes of what both directions show what is to be told of their session.
func (j *Judge) weigh(st *state, s *Session, found []finding, playing bool) []Event {
	if st.idle++; playing {
		st.idle = 0
	}
	worst := -1
	well := true
	for i, f := range found {
		well = well && f.under
		if f.over && (worst < 0 || f.value/f.bound > found[worst].value/found[worst].bound) {
			worst = i
		}
	}
	switch {
	case !st.bad && worst >= 0:
		f := found[worst]
		st.bad, st.since, st.good = true, j.at, 0
		st.was = Event{Kind: Bad, Session: *s, Down: f.down, Sign: f.sign, Value: f.value, Bound: f.bound}
		return []Event{st.was}
	case !st.bad:
	case st.idle >= idleLooks: // who doesn't play is neither well nor unwell
		st.bad = false
	case !well || !playing:
		st.good = 0
	default:
		if st.good++; st.good >= goodLooks {
			st.bad = false
			e := st.was
			e.Kind, e.Session, e.Lasted = Good, *s, time.Duration(j.at-st.since)
			return []Event{e}
		}
	}
	return nil
}

// learn takes from this look what is usual in the next: what three quarters of a service's sessions exceed is the game's own doing.
func (j *Judge) learn(rhythm map[place][]time.Duration) {
	clear(j.usual)
	for at, all := range rhythm {
		if len(all) >= usualOf {
			slices.Sort(all)
			j.usual[at] = all[len(all)/4]
		}
	}
}

// tell adds an event, or only counts it.
func (j *Judge) tell(all []Event, e Event) []Event {
	if j.tokens >= 1 {
		j.tokens--
		return append(all, e)
	}
	if j.many.Services == nil {
		j.many = Event{Kind: Many, Services: map[string]int{}}
	}
	j.many.Services[e.Session.Service]++
	if e.Kind == Bad {
		j.many.Bad++
	} else {
		j.many.Good++
	}
	return all
}

func (j *Judge) tellMany(all []Event, now uint64) []Event {
	if j.many.Services == nil || now > j.manyAt && time.Duration(now-j.manyAt) < manyEvery {
		return all
	}
	all = append(all, j.many)
	j.many, j.manyAt = Event{}, now
	return all
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
