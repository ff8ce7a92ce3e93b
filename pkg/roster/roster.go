// SPDX-License-Identifier: Apache-2.0

// Package roster keeps what live sessions are named, and what their players call themselves, from what is sampled of them: their first
// packets, and (for the game's name) later ones of those that were there before. Its memory is bounded whatever comes; what it forgets is named anew by the session's next samples.
package roster

import (
	"net/netip"
	"sync"

	"parry/pkg/naming"
	"parry/pkg/sample"
)

// unnamedMost is how many sessions are being named at a time, in 200 bytes each: some 16 seconds of the most that samples tell of.
const unnamedMost = 1 << 13

// Key is a session's outer tuple.
type Key struct {
	Client, Front netip.AddrPort
	Proto         uint8
}

// name is what is kept of one that has a name.
type name struct {
	label  naming.Label
	conf   float64
	reason string
}

// Roster is told of sessions by one goroutine, as a sample.Analyser; anybody may ask for names meanwhile.
type Roster struct {
	namer   naming.Namer // by the one who tells
	unnamed generations[naming.Flow]
	logins  generations[naming.Login] // of those that are about to say who they are

	mu      sync.RWMutex // guards what follows
	named   generations[name]
	players generations[string]
}

// New makes one for at most so many sessions with a name; of more, those that were sampled least lately are forgotten.
func New(sessions int) *Roster {
	return &Roster{
		unnamed: newGenerations[naming.Flow](unnamedMost), logins: newGenerations[naming.Login](unnamedMost),
		named: newGenerations[name](sessions), players: newGenerations[string](sessions),
	}
}

// Packet reads a sampled packet of a session. What was refused is nobody's session.
func (r *Roster) Packet(p *sample.Packet) {
	proto := naming.Proto(p.Proto)
	if p.Reason != 0 && !p.Shadow || len(p.Payload) == 0 || proto != naming.UDP && proto != naming.TCP || !p.Front.IsValid() {
		return
	}
	k := Key{Client: p.Client, Front: p.Front, Proto: p.Proto}
	if p.First {
		r.forget(k) // another session of the same tuple
	}
	if p.Kind == sample.KindFirst && !p.Down {
		r.login(k, p)
	}
	if r.sure(k) {
		return
	}
	f, ok := r.unnamed.get(k)
	if !ok {
		f = naming.Begin(proto, p.Front.Port(), p.First)
	}
	r.namer.Feed(&f, !p.Down, p.Payload, p.Length)
	r.unnamed.put(k, f)
	if n := f.Name(); n.Confidence > 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.named.put(k, name{label: n.Game, conf: n.Confidence, reason: n.Reason})
	}
}

// login reads who a session's player is.
func (r *Roster) login(k Key, p *sample.Packet) {
	l, _ := r.logins.get(k)
	who := l.Feed(naming.Proto(p.Proto), p.Payload)
	if l.Awaited() {
		r.logins.put(k, l)
	} else {
		r.logins.drop(k)
	}
	if who != "" {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.players.put(k, who)
	}
}

// sure tells whether nothing is to be found out about a session any more; it is kept then.
func (r *Roster) sure(k Key) bool {
	f, ok := r.unnamed.get(k)
	if ok && !f.Done() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, named := r.named.get(k)
	r.players.get(k)
	return ok || named
}

// Ended forgets a session.
func (r *Roster) Ended(e *sample.End) {
	r.forget(Key{Client: e.Client, Front: e.Front, Proto: e.Proto})
}

func (r *Roster) forget(k Key) {
	r.unnamed.drop(k)
	r.logins.drop(k)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.named.drop(k)
	r.players.drop(k)
}

// Named is what a session is taken for; false: nobody knows.
func (r *Roster) Named(k Key) (n naming.Name, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	v, ok := r.named.peek(k)
	return naming.Name{Game: v.label, Confidence: v.conf, Reason: v.reason}, ok
}

// Player is what a session's player calls himself, fit to be shown; false: nobody knows.
func (r *Roster) Player(k Key) (who string, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.players.peek(k)
}
