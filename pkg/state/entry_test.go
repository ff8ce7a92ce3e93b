// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// block is a detector's of an hour; with changes these tests say what they are about.
func block(key, edge string, made time.Duration, change ...func(*Entry)) Entry {
	e := Entry{Kind: Block, Key: key, Author: Detector, Edge: edge, Made: noon.Add(made), Expires: noon.Add(made + time.Hour), Value: json.RawMessage(`{"reason":"flood"}`)}
	for _, c := range change {
		c(&e)
	}
	return e
}

func byPerson(e *Entry) { e.Author = Person }
func asLift(e *Entry)   { e.Lift, e.Value = true, nil }
func asAllow(e *Entry)  { e.Kind = Allow }
func forever(e *Entry)  { e.Expires = time.Time{} }
func ends(d time.Duration) func(*Entry) {
	return func(e *Entry) { e.Expires = noon.Add(d) }
}

// merged is what an edge knows that heard entries in this order.
func merged(all ...*Entry) registers {
	var r registers
	for _, e := range all {
		r.merge(e)
	}
	return r
}

// randomEntry draws from few values, so that ties of every kind come up.
func randomEntry(r *rand.Rand) *Entry {
	e := block("a", fmt.Sprintf("edge-%d", r.IntN(3)), time.Duration(r.IntN(4))*time.Minute)
	e.Expires = e.Made.Add(time.Duration(r.IntN(4)) * time.Minute)
	if r.IntN(2) == 0 {
		e.Author = Person
		if r.IntN(4) == 0 {
			e.Expires = time.Time{}
		}
	}
	if e.Lift = r.IntN(3) == 0; e.Lift && e.Expires.IsZero() {
		e.Expires = e.Made
	}
	e.Value = json.RawMessage(fmt.Sprint(r.IntN(2)))
	return &e
}

// Edges that heard the same entries know the same, whatever the order, however often, and by whatever way.
func TestMergingIsCommutativeAssociativeIdempotent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		all := make([]*Entry, 1+r.IntN(6))
		for i := range all {
			all[i] = randomEntry(r)
		}
		want := merged(all...)
		again := make([]*Entry, 0, 2*len(all))
		for _, i := range r.Perm(len(all)) {
			again = append(again, all[i])
		}
		for range len(all) {
			again = append(again, all[r.IntN(len(all))])
		}
		if diff := cmp.Diff(want, merged(again...), cmp.AllowUnexported(registers{})); diff != "" {
			t.Fatalf("another order of the same (-want +got):\n%s", diff)
		}
		cut := r.IntN(len(all) + 1) // two edges that each heard a part, and then each other
		left, right := merged(all[:cut]...), merged(all[cut:]...)
		for _, e := range []*Entry{right.person, right.detector} {
			if e != nil {
				left.merge(e)
			}
		}
		if diff := cmp.Diff(want, left, cmp.AllowUnexported(registers{})); diff != "" {
			t.Fatalf("two halves (-want +got):\n%s", diff)
		}
	}
}

func TestWhoWins(t *testing.T) {
	for _, row := range []struct {
		name string
		a, b Entry
		want string // a or b
	}{
		{"the later detector", block("k", "x", 0), block("k", "y", time.Second), "b"},
		{"a person over a later detector", block("k", "x", 0, byPerson), block("k", "y", time.Second), "a"},
		{"a person's lift over a later detector", block("k", "x", 0, byPerson, asLift), block("k", "y", time.Minute), "a"},
		{"a detector, once a person's lift is over", block("k", "x", 0, byPerson, asLift, ends(time.Minute)), block("k", "y", 2*time.Minute), "b"},
		{"not a detector of before that", block("k", "x", 0, byPerson, asLift, ends(3*time.Minute)), block("k", "y", 2*time.Minute), "a"},
		{"the later person", block("k", "x", 0, byPerson, forever), block("k", "y", time.Second, byPerson, asLift), "b"},
		{"the later person blocks again", block("k", "x", 0, byPerson, asLift), block("k", "y", time.Second, byPerson, forever), "b"},
		{"a lift of the same time: it lets more in", block("k", "x", 0, byPerson), block("k", "a", 0, byPerson, asLift), "b"},
		{"an allow of the same time as its lift", block("k", "x", 0, byPerson, asAllow, asLift), block("k", "a", 0, byPerson, asAllow), "b"},
		{"the longer of two of one time", block("k", "x", 0), block("k", "a", 0, ends(2*time.Hour)), "b"},
		{"one without an end", block("k", "x", 0, byPerson), block("k", "a", 0, byPerson, forever), "b"},
		{"names decide at last", block("k", "x", 0), block("k", "y", 0), "b"},
	} {
		t.Run(row.name, func(t *testing.T) {
			want := &row.a
			if row.want == "b" {
				want = &row.b
			}
			for _, r := range []registers{merged(&row.a, &row.b), merged(&row.b, &row.a)} {
				if got := r.winner(); got != want {
					t.Errorf("%+v wins", got)
				}
			}
		})
	}
}

func TestEntriesComeBackAsTheyWere(t *testing.T) {
	for _, e := range []Entry{
		block("arena/198.51.100.7/32", "fra-1", 0), block("=/2001:db8::/64", "fra-1", 0, byPerson, forever), block("k", "fra.1", 0, byPerson, asLift),
	} {
		if err := e.normalise(); err != nil {
			t.Fatal(err)
		}
		doc, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeEntry(doc)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&e, back); diff != "" {
			t.Errorf("(-sent +read):\n%s", diff)
		}
		if subject := e.register().subject(sharedPrefix); strings.Count(subject, ".") != 4 {
			t.Errorf("subject %q has a key of several tokens", subject)
		}
	}
}

// What an edge may tell is bounded; all else is refused, in words.
func TestHostileEntriesAreRefused(t *testing.T) {
	good := block("k", "fra-1", 0)
	with := func(key string, value any) string {
		doc, err := json.Marshal(good)
		must(t, err)
		var all map[string]any
		must(t, json.Unmarshal(doc, &all))
		all[key] = value
		doc, err = json.Marshal(all)
		must(t, err)
		return string(doc)
	}
	for _, row := range []struct{ name, doc, say string }{
		{"nothing", "", "no entry"}, {"no JSON", "{", "no entry"}, {"a list", "[]", "no entry"}, {"null", "null", "no kind"},
		{"bytes", "\xff\xfe", "UTF-8"}, {"too much", with("value", strings.Repeat("v", maxWire)), "at most"},
		{"a large value", with("value", strings.Repeat("v", MaxShared)), "at most"},
		{"kind", with("kind", "flood"), "no kind"}, {"author", with("author", "root"), "no author"},
		{"edge", with("edge", "a b"), "no edge's name"}, {"a long edge", with("edge", strings.Repeat("e", 65)), "no edge's name"},
		{"key", with("key", "a.>"), "no key"}, {"a wildcard", with("key", "*"), "no key"}, {"no key", with("key", ""), "no key"}, {"a long key", with("key", strings.Repeat("k", 201)), "no key"},
		{"long ago", with("made", "0001-01-01T00:00:00Z"), "year"}, {"no time", with("made", "noon"), "no entry"}, {"far ahead", with("made", "9999-01-01T00:00:00Z"), "year"},
		{"over before", with("expires", "2026-01-31T11:00:00Z"), "expires before"},
		{"a detector's without end", with("expires", "0001-01-01T00:00:00Z"), "at most"}, {"a detector's of a year", with("expires", "2027-01-31T11:00:00Z"), "at most"},
		{"a lift without end", strings.Replace(with("lift", true), `"detector"`, `"person"`, 1), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := decodeEntry([]byte(row.doc))
			if row.say == "" && err != nil || row.say != "" && (err == nil || !strings.Contains(err.Error(), row.say)) {
				t.Errorf("%v, want %q", err, row.say)
			}
		})
	}
}

func FuzzDecodeEntry(f *testing.F) {
	for _, e := range []Entry{block("k", "fra-1", 0), block("a/1.2.3.4/32", "b", 0, byPerson, asLift), block("x", "c", 0, asAllow, byPerson, forever)} {
		doc, err := e.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Add([]byte(`{"kind":"block","key":"k","author":"person","edge":"e","made":"2026-01-31T12:00:00+23:59","value":{"a":"<\u2028>"}}`))
	f.Add([]byte(`{"kind":"block","kind":"allow","value":null}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		e, err := decodeEntry(doc)
		if err != nil {
			return
		}
		if len(e.Value) > MaxShared || len(e.Key) > MaxKey || strings.ContainsAny(e.register().subject(""), " *>\r\n\t") {
			t.Fatalf("%+v was taken", e)
		}
		again, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeEntry(again)
		if err != nil {
			t.Fatalf("what was taken is refused the second time: %v", err)
		}
		if order(e, back) != 0 {
			t.Fatalf("%+v came back as %+v", e, back)
		}
	})
}
