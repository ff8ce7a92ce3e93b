// SPDX-License-Identifier: Apache-2.0

package mix

import (
	"time"

	"parry/pkg/detect"
)

// Session is one that began.
type Session struct {
	w      *World
	a      *Actor
	s      *Service
	client uint16
	began  time.Duration
	lasted bool
	over   bool
	strong bool
	then   func(detect.EndedBy)
}

// Plan is what becomes of an attempt.
type Plan struct {
	Stay    time.Duration
	Plays   bool                 // enough packets both ways to last, if it stays so long
	By      detect.EndedBy       // who ends it, after Stay
	Then    func(detect.EndedBy) // afterwards; nil = nothing
	Refused func(reason string)  // in place of all that; nil = nothing
	Client  uint16               // 0 = a new one
}

// Query asks a service something.
func (w *World) Query(a *Actor, s *Service) {
	if s.Proto == TCP {
		a.port++
		w.Tell(a, s, detect.Observation{Kind: detect.SYN, Client: a.port, Length: 60})
		w.Tell(a, s, detect.Observation{Kind: detect.Handshake, Client: a.port, Proof: detect.Strong})
	}
	w.Tell(a, s, detect.Observation{Kind: detect.Query, Client: a.port, Length: 53})
}

// Connect attempts a session.
func (w *World) Connect(a *Actor, s *Service, p Plan) {
	if a.First < 0 {
		a.First = w.Now
	}
	a.Tries++
	client := p.Client
	if client == 0 {
		a.port = max(a.port+1, 1024)
		client = a.port
	}
	proof := detect.None
	if s.Proto == Cookie || s.Proto == Proxy {
		proof = detect.Strong
	}
	length := uint16(60 + w.Rand.IntN(40))
	if s.Proto == TCP || s.Proto == Proxy {
		w.Tell(a, s, detect.Observation{Kind: detect.SYN, Client: client, Length: 60})
		length = 60
	}
	refuse := func(reason string) {
		w.Tell(a, s, detect.Observation{Kind: detect.Refused, Client: client, Proof: proof, Reason: reason, Length: length})
		if p.Refused != nil {
			p.Refused(reason)
		}
	}
	switch {
	case w.Denied != nil && w.Denied(a.Addr):
		a.Refused++
		if a.Blocked == 0 { // his network was blocked before he came
			a.Blocked = max(w.Now, 1)
		}
		proof = detect.None // lists are asked first
		refuse("denied")
	case !a.admit(s, w.Now):
		refuse("rate_sessions")
	case s.Down:
		refuse("no_server")
	default:
		w.Tell(a, s, detect.Observation{Kind: detect.Attempt, Client: client, Proof: proof, Length: length})
		w.begin(&Session{w: w, a: a, s: s, client: client, began: w.Now, strong: proof == detect.Strong, then: p.Then}, p)
	}
}

func (w *World) begin(x *Session, p Plan) {
	x.s.live = append(x.s.live, x)
	rtt := w.Between(15*time.Millisecond, 90*time.Millisecond)
	switch x.s.Proto {
	case TCP:
		w.After(rtt, func() {
			x.strong = true
			x.tell(detect.Observation{Kind: detect.Handshake, Proof: detect.Strong})
		})
	case Plain:
		w.After(rtt, func() { x.tell(detect.Observation{Kind: detect.Proven, Proof: detect.Weak}) })
	}
	if p.Plays && x.s.Hangs { // its player gives up
		p.Stay, p.By = min(p.Stay, w.Between(8*time.Second, 30*time.Second)), detect.ByClient
	} else if p.Plays {
		w.After(30*time.Second, x.last)
	}
	w.After(max(p.Stay, 2*rtt), func() { x.End(p.By) })
}

func (x *Session) tell(o detect.Observation) {
	o.Client = x.client
	x.w.Tell(x.a, x.s, o)
}

func (x *Session) last() {
	if x.over {
		return
	}
	x.lasted = true
	x.a.lasting++
	if x.a.Played == 0 {
		x.a.Played = x.w.Now
	}
	x.tell(detect.Observation{Kind: detect.Lasting})
	x.goOn()
}

func (x *Session) goOn() {
	x.w.After(20*time.Minute, func() {
		if !x.over {
			x.tell(detect.Observation{Kind: detect.Playing})
			x.goOn()
		}
	})
}

// End ends the session. Of one over UDP that falls silent the edge only hears a minute later.
func (x *Session) End(by detect.EndedBy) {
	if x.over {
		return
	}
	x.over = true
	w := x.w
	for i, other := range x.s.live {
		if other == x {
			x.s.live[i] = x.s.live[len(x.s.live)-1]
			x.s.live = x.s.live[:len(x.s.live)-1]
			break
		}
	}
	proof := detect.Weak
	if x.strong {
		proof = detect.Strong
	}
	o := detect.Observation{Kind: detect.Ended, EndedBy: by, Lived: w.Now - x.began, Lasted: x.lasted, Proof: proof, Mute: x.s.Hangs}
	if x.lasted {
		x.a.lasting--
	}
	if by == detect.ByIdle && x.s.Proto != TCP {
		w.After(time.Minute, func() { x.tell(o) })
	} else {
		x.tell(o)
	}
	if x.then != nil {
		x.then(by)
	}
}

// Restart ends all of a service's sessions; nobody gets in meanwhile.
func (w *World) Restart(s *Service, takes time.Duration) {
	s.Down = true
	for len(s.live) > 0 {
		s.live[len(s.live)-1].End(detect.ByServer)
	}
	w.After(takes, func() { s.Down = false })
}
