// SPDX-License-Identifier: Apache-2.0

// Package naming tells which game a session plays, and how sure that is, from the bytes of its first packets.
// The daemon feeds it what is sampled of live sessions, `parry classify` what a capture holds; both ways it is a
// Flow that is fed packets in the order in which they came.
//
// Rules are predicates on bytes that the protocol itself fixes, each with the page or RFC that says so. A rule of one game
// and a rule of another never hold of one packet: tests show it of captures and of made-up packets. Ports name nothing;
// where a port counts at all, it settles between protocols that look alike, and the rule says so.
//
// Where a comment says "seen in captures", nobody has published the layout: such rules ask for more bytes, and are
// trusted less.
package naming

import "parry/pkg/game"

// Budget is how many bytes of a session are read for naming, both directions together.
const Budget = 1024

// Name is what a session is taken for.
type Name struct {
	Game       Label
	Class      string      // latency class: fps, moba, rts or mmorpg; "" of what is no game
	First      game.Bounds // of a stranger's first payload, as the game's gate has them; zero where there is none
	MaxPayload uint16      // longest payload over UDP that a client of the game sends; 0: not known
	Confidence float64     // above 0, to 1; 0 of what is not known
	Reason     string      // for people
}

// profile fills in what the table of games knows of a label.
func (n *Name) profile() {
	if !n.Game.Plays() {
		return
	}
	n.Class = game.ClassMMORPG // the default
	if p, ok := game.Lookup(n.Game.String()); ok {
		n.Class, n.First, n.MaxPayload = p.Class, p.First, p.MaxPayload
	}
}
