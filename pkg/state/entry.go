// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind says what an entry is about.
type Kind string

// What edges tell each other.
const (
	Block    Kind = "block"    // a source that is refused
	Allow    Kind = "allow"    // a source that is let in; the fast path has it win over any block
	Rule     Kind = "rule"     // an operator's rule
	Flag     Kind = "flag"     // a player who is watched
	Regular  Kind = "regular"  // who has played before
	Baseline Kind = "baseline" // what is usual
)

// Author says who made an entry.
type Author string

// A person's entry beats a detector's.
const (
	Person   Author = "person"
	Detector Author = "detector"
)

// Bounds of what is shared. What an edge tells beyond them is refused.
const (
	MaxShared    = 16 << 10            // bytes of an entry's value
	maxWire      = MaxShared + 2<<10   // bytes of an entry as it is sent
	maxEdge      = 64                  // bytes of an edge's name
	LongestBlock = 30 * 24 * time.Hour // that a detector's entry holds
	MaxAhead     = time.Minute         // that another edge's clock may be ahead
)

// Entry is one thing that edges agree upon. It holds from Made until Expires. A lift is an entry like any other: it takes back what was
// made before it and, as a person's, keeps detectors away until it expires.
type Entry struct {
	Kind    Kind            `json:"kind"`
	Key     string          `json:"key"`             // what it is about; of one kind there is one of a key
	Value   json.RawMessage `json:"value,omitempty"` // one JSON document, at most MaxShared bytes
	Author  Author          `json:"author"`
	Edge    string          `json:"edge"` // where it was made
	Made    time.Time       `json:"made"`
	Expires time.Time       `json:"expires,omitzero"` // zero: it holds until it is lifted
	Lift    bool            `json:"lift,omitempty"`
}

// ref names what entries are about.
type ref struct {
	kind Kind
	key  string
}

// register names one place of memory: persons' and detectors' entries about one thing have one each.
type register struct {
	ref
	author Author
}

func (e *Entry) ref() ref           { return ref{e.Kind, e.Key} }
func (e *Entry) register() register { return register{e.ref(), e.Author} }

// Holds tells whether e is in force at a time of the wall clock: expiry is in what an entry says, never in how long somebody had it.
func (e *Entry) Holds(now time.Time) bool {
	return !e.Lift && (e.Expires.IsZero() || now.Before(e.Expires))
}

// order is the one order of all entries of one register: the later wins; of two of one time the one that lets more in, then what is left
// to tell them apart. It asks nothing but what entries say, so that all edges agree whatever they hear first.
func order(a, b *Entry) int {
	return cmp.Or(
		a.Made.Compare(b.Made), openness(a)-openness(b), until(a).Compare(until(b)), cmp.Compare(a.Edge, b.Edge), bytes.Compare(a.Value, b.Value),
	)
}

func openness(e *Entry) int {
	if e.Lift != (e.Kind == Allow) {
		return 1
	}
	return 0
}

// until is when e is over. One without an end outlasts all.
func until(e *Entry) time.Time {
	if e.Expires.IsZero() {
		return time.Unix(1<<40, 0)
	}
	return e.Expires
}

// registers is what is known of one thing: the last word of a person and that of a detector. Each is the greatest in one order, so that
// merging is commutative, associative and idempotent, and edges that have heard the same know the same, in whatever order they heard it.
type registers struct{ person, detector *Entry }

func (r *registers) of(a Author) **Entry {
	if a == Person {
		return &r.person
	}
	return &r.detector
}

// merge takes e in, and tells whether anything is new by it.
func (r *registers) merge(e *Entry) bool {
	place := r.of(e.Author)
	if *place != nil && order(e, *place) <= 0 {
		return false
	}
	*place = e
	return true
}

// winner is the entry that counts: a person's, unless it was over when the detector's was made. One that is beaten stays beaten when its
// better expires, and so nothing comes back by itself.
func (r *registers) winner() *Entry {
	if r.person == nil || r.detector != nil && r.detector.Made.After(until(r.person)) {
		return r.detector
	}
	return r.person
}

var kinds = map[Kind]bool{Block: true, Allow: true, Rule: true, Flag: true, Regular: true, Baseline: true}

var edgeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// check holds e against the bounds. It says nothing of clocks, nor whether the value is JSON.
func (e *Entry) check() error {
	switch {
	case !kinds[e.Kind]:
		return fmt.Errorf("%.40q is no kind of entry", string(e.Kind))
	case e.Author != Person && e.Author != Detector:
		return fmt.Errorf("%.40q is no author: person or detector", string(e.Author))
	case len(e.Edge) > maxEdge || !edgeForm.MatchString(e.Edge):
		return fmt.Errorf("%.80q is no edge's name", e.Edge)
	case len(e.Value) > MaxShared:
		return fmt.Errorf("the value has %d bytes: at most %d", len(e.Value), MaxShared)
	case !utf8.Valid(e.Value):
		return errors.New("the value is no UTF-8")
	case e.Made.Year() < 2000 || e.Made.Year() > 2200:
		return fmt.Errorf("it was made in the year %d", e.Made.Year())
	case !e.Expires.IsZero() && (e.Expires.Before(e.Made) || e.Expires.Year() > 2200):
		return errors.New("it expires before it was made, or in centuries")
	case e.Lift && e.Expires.IsZero():
		return errors.New("a lift has an end")
	case e.Author == Detector && (e.Expires.IsZero() || e.Expires.Sub(e.Made) > LongestBlock):
		return fmt.Errorf("a detector's entry holds for at most %v", LongestBlock)
	}
	return checkKey(e.Key)
}

// encode is e as it is kept and sent: JSON of at most maxWire bytes.
func (e *Entry) encode() ([]byte, error) {
	doc, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode an entry: %w", err)
	}
	return doc, nil
}

// decode reads what encode wrote, or what a stranger says is such a thing.
func decodeEntry(doc []byte) (*Entry, error) {
	if len(doc) > maxWire {
		return nil, fmt.Errorf("it has %d bytes: at most %d", len(doc), maxWire)
	}
	if !utf8.Valid(doc) {
		return nil, errors.New("it is no UTF-8")
	}
	var e Entry
	if err := json.Unmarshal(doc, &e); err != nil {
		return nil, fmt.Errorf("it is no entry: %w", err)
	}
	if err := e.normalise(); err != nil {
		return nil, err
	}
	return &e, e.check()
}

// normalise brings e into the one form that equal entries have on all edges.
func (e *Entry) normalise() error {
	e.Made, e.Expires = e.Made.UTC().Round(0), e.Expires.UTC().Round(0)
	if e.Value == nil {
		return nil
	}
	if !bytes.ContainsAny(e.Value, " \t\r\n<>&\u2028\u2029") {
		return nil // it is in that form, if it is JSON at all
	}
	doc, err := json.Marshal(e.Value)
	if err != nil {
		return fmt.Errorf("the value is no JSON document: %w", err)
	}
	e.Value = doc
	return nil
}

// Subjects: PREFIX.KIND.AUTHOR.KEY. Dots divide subjects, so that a key's are written as ~, which no key has.
const (
	sharedPrefix = "parry.shared."
	localPrefix  = "parry.local."
)

func subjectKey(key string) string { return strings.ReplaceAll(key, ".", "~") }

func (r register) subject(prefix string) string {
	return prefix + string(r.kind) + "." + string(r.author) + "." + subjectKey(r.key)
}
