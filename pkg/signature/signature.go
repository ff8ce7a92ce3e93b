// SPDX-License-Identifier: Apache-2.0

// Package signature finds an operator's signatures in payloads: bytes that a cheat is known by, where they stand, how long the payload is, which
// way it goes, which game it is of. All rules are looked for in one pass, by an automaton over the longest run of known bytes of
// each (github.com/coregx/ahocorasick); where that is found the whole rule is held against the payload.
package signature

import (
	"errors"
	"fmt"

	"github.com/coregx/ahocorasick"

	"parry/pkg/game"
)

// Bounds of a Set: the automaton takes a KiB for each byte of it at most.
const (
	MaxRules   = 1024
	MaxContent = 128     // bytes of one rule
	MaxBytes   = 1 << 14 // of all runs together
	MinRun     = 3       // known bytes in a row: fewer are in every other packet by accident
)

// Direction is which way a payload goes.
type Direction string

// The directions.
const (
	Up   Direction = "up"   // from the client
	Down Direction = "down" // from the server
	Both Direction = "both"
)

// Anywhere is the Offset of content that may stand at any place.
const Anywhere = -1

// Rule is one signature.
type Rule struct {
	Name      string
	Game      string       // a family or title; "": any
	Direction Direction    // "": Up
	Offset    int          // where Content begins; Anywhere
	Content   game.Pattern // its bytes; game.Any for one that may be anything
	Length    game.Bounds  // of the payload; a most of 0 is none
	Severity  float64      // 0 to 1; 0: 0.9
}

const severity = 0.9 // of the specification

// Fault says why a rule can't be; "": it can.
func (r *Rule) Fault() string {
	from, to := r.run()
	switch {
	case len(r.Content) == 0:
		return "it says no bytes: length alone is no signature"
	case len(r.Content) > MaxContent:
		return fmt.Sprintf("%d bytes: at most %d", len(r.Content), MaxContent)
	case to-from < MinRun:
		return fmt.Sprintf("%d known bytes in a row: want %d at least, or it is found in every other packet by accident", to-from, MinRun)
	case r.Offset < Anywhere || r.Offset > 65535:
		return fmt.Sprintf("offset %d: want 0 to 65535", r.Offset)
	case r.Length.Max != 0 && max(r.Offset, 0)+len(r.Content) > int(r.Length.Max):
		return fmt.Sprintf("its bytes end at %d, and its length is %d at most", max(r.Offset, 0)+len(r.Content), r.Length.Max)
	case !(r.Severity >= 0 && r.Severity <= 1):
		return fmt.Sprintf("severity %g: want 0 to 1", r.Severity)
	}
	return ""
}

// run is the longest run of known bytes of the content.
func (r *Rule) run() (from, to int) {
	begin := 0
	for i := 0; i <= len(r.Content); i++ {
		if i < len(r.Content) && r.Content[i] != game.Any {
			continue
		}
		if i-begin > to-from {
			from, to = begin, i
		}
		begin = i + 1
	}
	return from, to
}

// Set is rules, compiled. It may be used by any number of goroutines.
type Set struct {
	rules     []Rule
	starts    []int    // of each rule's run
	families  []string // of each rule's game, "" = any
	patterns  [][]int  // rules by the automaton's pattern
	automaton *ahocorasick.Automaton
}

// Compile makes a set of rules that have no Fault.
func Compile(rules []Rule) (*Set, error) {
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("%d signatures: at most %d", len(rules), MaxRules)
	}
	s := &Set{rules: rules, starts: make([]int, len(rules)), families: make([]string, len(rules))}
	var texts [][]byte
	known, bytes := map[string]int{}, 0
	for i := range rules {
		r := &rules[i]
		if why := r.Fault(); why != "" {
			return nil, fmt.Errorf("signature %s: %s", r.Name, why)
		}
		if r.Game != "" {
			p, ok := game.Lookup(r.Game)
			if !ok {
				return nil, fmt.Errorf("signature %s: nobody knows the game %q", r.Name, r.Game)
			}
			s.families[i] = p.Family
		}
		from, to := r.run()
		text := make([]byte, 0, to-from)
		for _, v := range r.Content[from:to] {
			text = append(text, byte(v))
		}
		s.starts[i] = from
		n, is := known[string(text)]
		if !is {
			n = len(texts)
			known[string(text)] = n
			texts, s.patterns = append(texts, text), append(s.patterns, nil)
			bytes += len(text)
		}
		s.patterns[n] = append(s.patterns[n], i)
	}
	if bytes > MaxBytes {
		return nil, fmt.Errorf("the longest runs of known bytes of all signatures are %d bytes: at most %d", bytes, MaxBytes)
	}
	if len(texts) == 0 {
		return nil, errors.New("there are no signatures")
	}
	var err error
	// Without classes of bytes: those of v0.3.1 overflow where all 256 values occur, and it panics (TestRefusals sees it).
	if s.automaton, err = ahocorasick.NewBuilder().SetByteClasses(false).AddPatterns(texts).Build(); err != nil {
		return nil, fmt.Errorf("compile signatures: %w", err)
	}
	return s, nil
}

// Len is how many rules there are.
func (s *Set) Len() int { return len(s.rules) }

// Match calls found with each rule that a payload matches, once for each place that it matches at. head is as much as was kept of it, length how
// long it was. The game is a family's name, or a title's; of a payload whose game nobody knows ("") only rules for all games match.
func (s *Set) Match(head []byte, length int, down bool, family string, found func(name string, severity float64)) {
	if !s.automaton.IsMatch(head) {
		return
	}
	for _, m := range s.automaton.FindAllOverlapping(head) {
		for _, i := range s.patterns[m.PatternID] {
			if r := &s.rules[i]; s.fits(i, m.Start-s.starts[i], head, length, down, family) {
				v := r.Severity
				if v == 0 {
					v = severity
				}
				found(r.Name, v)
			}
		}
	}
}

// fits holds a whole rule against a payload in which its content would begin at a place.
func (s *Set) fits(i, at int, head []byte, length int, down bool, family string) bool {
	r := &s.rules[i]
	switch {
	case at < 0 || at+len(r.Content) > len(head), r.Offset != Anywhere && at != r.Offset:
		return false
	case down && (r.Direction == Up || r.Direction == ""), !down && r.Direction == Down:
		return false
	case length < int(r.Length.Min), r.Length.Max != 0 && length > int(r.Length.Max):
		return false
	case s.families[i] != "" && s.families[i] != family:
		return false
	}
	for k, v := range r.Content {
		if v != game.Any && int16(head[at+k]) != v {
			return false
		}
	}
	return true
}
