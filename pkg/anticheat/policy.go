// SPDX-License-Identifier: Apache-2.0

package anticheat

import (
	"errors"
	"fmt"
	"strings"

	"parry/pkg/game"
)

// Action is what a service does about findings.
type Action string

// The actions, the mildest first.
const (
	ActObserve Action = "observe" // findings are shown and logged, nothing else
	ActFlag    Action = "flag"    // and the player is flagged: watched whatever the share
	ActLimit   Action = "limit"   // and above ActAbove the session's packets are limited
	ActDrop    Action = "drop"    // or dropped
)

// Actions returns all of them, the mildest first.
func Actions() []Action { return []Action{ActObserve, ActFlag, ActLimit, ActDrop} }

// For is what is to be done about one finding where a is the service's action: only severity above ActAbove acts, what is below flags, and what
// is only to be observed does neither.
func (a Action) For(f *Finding) Action {
	switch {
	case f.Observe || a == ActObserve || a == "":
		return ActObserve
	case f.Severity > ActAbove:
		return a
	}
	return ActFlag
}

// Sizes bound memory.
type Sizes struct {
	Sessions int // that are followed at a time, in 30 KiB each at most
	Players  int // with earlier findings that are remembered
}

// Rate are packets a second of a client: from Flag on it is flagged (severity 0.6), from Act on acted upon (0.9).
type Rate struct{ Flag, Act float64 }

// Bounds are an operator's own for a game; zero fields leave what its profile says.
type Bounds struct {
	Rate       Rate
	MaxPayload int // bytes
}

// Policy says how to judge.
type Policy struct {
	Sizes Sizes
	// Generic is the rate of games whose profile says none.
	Generic Rate
	// Games are an operator's own bounds, by the name that About.Game has. A game that is here is judged in earnest, whatever its family.
	Games map[string]Bounds
	// Seed makes the trees of anomalies; 0 = others each time.
	Seed uint64
	// Signatures is nil where there are none.
	Signatures Matcher
}

// Matcher finds signatures in a payload.
type Matcher interface {
	// Match calls found with each rule that a payload of a game's matches.
	Match(head []byte, length int, down bool, game string, found func(name string, severity float64))
}

// Default is the policy of the specification.
func Default() Policy {
	return Policy{Sizes: Sizes{Sessions: 8192, Players: 16384}, Generic: Rate{Flag: 50, Act: 100}}
}

// Check says what is wrong with it.
func (p *Policy) Check() error {
	var all []string
	if p.Sizes.Sessions < 1 || p.Sizes.Sessions > 1<<20 {
		all = append(all, fmt.Sprintf("room for %d sessions: want 1 to %d", p.Sizes.Sessions, 1<<20))
	}
	if p.Sizes.Players < 1 || p.Sizes.Players > 1<<24 {
		all = append(all, fmt.Sprintf("room for %d players: want 1 to %d", p.Sizes.Players, 1<<24))
	}
	if why := p.Generic.fault(); why != "" {
		all = append(all, "the generic rate: "+why)
	}
	for name, b := range p.Games {
		if b.Rate != (Rate{}) && b.Rate.fault() != "" {
			all = append(all, fmt.Sprintf("the rate of %s: %s", name, b.Rate.fault()))
		}
		if b.MaxPayload < 0 {
			all = append(all, fmt.Sprintf("the payload of %s: %d bytes", name, b.MaxPayload))
		}
	}
	if len(all) > 0 {
		return errors.New(strings.Join(all, "; "))
	}
	return nil
}

func (r Rate) fault() string {
	if !(r.Flag > 0 && r.Act >= r.Flag) { // NaN is no rate either
		return fmt.Sprintf("%g and %g packets a second: want 0 < flag <= act", r.Flag, r.Act)
	}
	return ""
}

// What is legitimate is exceeded a little by clocks and queues: a client that sends its game's most is no finding.
const (
	flagOver = 1.1
	actOver  = 1.25
)

// bounds are what a session's packets are held against.
type bounds struct {
	name    string // as About.Game has it
	family  string
	rate    Rate
	payload int // 0: not known
	numbers numbers
	open    bool // findings are only observed
}

// boundsOf looks up a game, once.
func (a *Analyser) boundsOf(name string) *bounds {
	if b := a.games[name]; b != nil {
		return b
	}
	if len(a.games) >= gamesMost {
		name = ""
	}
	p, known := game.Lookup(name)
	b := &bounds{name: name, family: p.Family, rate: a.p.Generic, payload: int(p.MaxPayload), open: !known || p.Open()}
	if p.Rate > 0 {
		b.rate = Rate{float64(p.Rate) * flagOver, float64(p.Rate) * actOver}
	}
	b.numbers = numbersOf(p.Family)
	if own, is := a.p.Games[name]; is {
		b.open = false
		if own.Rate != (Rate{}) {
			b.rate = own.Rate
		}
		if own.MaxPayload > 0 {
			b.payload = own.MaxPayload
		}
	}
	a.games[name] = b
	return b
}

// gamesMost is how many names of games are told apart: what is beyond is judged as any game.
const gamesMost = 1024
