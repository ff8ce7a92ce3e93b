// SPDX-License-Identifier: Apache-2.0

package mix

import (
	"net/netip"
	"time"

	"parry/pkg/detect"
)

// Bounds of a family's figures: what it does is drawn evenly between them.
type Bounds struct{ From, To time.Duration }

func (b Bounds) of(w *World) time.Duration { return w.Between(b.From, b.To) }

// Player plays for hours: sessions of some minutes, with breaks; refused or thrown out, tries again as people do.
func (w *World) Player(a *Actor, all []*Service, session time.Duration) {
	s := Pick(w, all)
	var join func()
	tries := 0
	join = func() {
		w.Connect(a, s, Plan{
			Stay: 5*time.Second + w.Exp(session), Plays: true, By: Pick(w, []detect.EndedBy{detect.ByClient, detect.ByIdle}),
			Refused: func(string) {
				if tries++; tries < 6 {
					w.After(w.Between(3*time.Second, 15*time.Second), join)
				} else {
					tries = 0
					w.After(w.Between(time.Minute, 5*time.Minute), join)
				}
			},
			Then: func(by detect.EndedBy) {
				tries = 0
				if by == detect.ByServer {
					w.After(w.Between(2*time.Second, 20*time.Second), join)
					return
				}
				if w.Rand.IntN(4) == 0 {
					s = Pick(w, all)
				}
				w.After(w.Between(5*time.Second, 10*time.Minute), join)
			},
		})
	}
	join()
}

// Dropper has a bad line: sessions break after a while, and it joins again by hand.
func (w *World) Dropper(a *Actor, s *Service, breaks Bounds, times int) {
	var join func()
	join = func() {
		again := func(string) { w.After(w.Between(2*time.Second, 9*time.Second), join) }
		if times--; times < 0 {
			return
		}
		w.Connect(a, s, Plan{
			Stay: breaks.of(w), Plays: true, By: Pick(w, []detect.EndedBy{detect.ByIdle, detect.ByOther}), Refused: again,
			Then: func(detect.EndedBy) { again("") },
		})
	}
	join()
}

// AutoReconnect is a client that joins again by itself after an exact time: its server is full and throws it out.
func (w *World) AutoReconnect(a *Actor, s *Service, every time.Duration, times int) {
	var join func()
	join = func() {
		if times--; times < 0 {
			w.Player(a, []*Service{s}, 15*time.Minute)
			return
		}
		w.Connect(a, s, Plan{
			Stay: w.Between(300*time.Millisecond, 2*time.Second), By: detect.ByServer,
			Refused: func(string) { w.After(every, join) },
			Then:    func(detect.EndedBy) { w.After(every, join) },
		})
	}
	join()
}

// Hopper looks at many servers, some for seconds, before it stays.
func (w *World) Hopper(a *Actor, all []*Service, servers int) {
	var join func()
	join = func() {
		if servers--; servers < 0 {
			w.Player(a, all, 10*time.Minute)
			return
		}
		next := func() { w.After(w.Between(4*time.Second, 25*time.Second), join) }
		w.Connect(a, Pick(w, all), Plan{
			Stay: w.Between(3*time.Second, 45*time.Second), Plays: true, By: detect.ByClient,
			Refused: func(string) { next() }, Then: func(detect.EndedBy) { next() },
		})
	}
	join()
}

// Masher presses join again and again until he is in.
func (w *World) Masher(a *Actor, s *Service) {
	for i := range 6 {
		w.After(time.Duration(i)*w.About(1500*time.Millisecond, 20), func() {
			w.Connect(a, s, Plan{Stay: w.Between(200*time.Millisecond, 900*time.Millisecond), By: detect.ByClient})
		})
	}
	w.After(12*time.Second, func() { w.Player(a, []*Service{s}, 15*time.Minute) })
}

// Mobile plays on, though its address changes within its carrier's network every now and then.
func (w *World) Mobile(family string, net netip.Prefix, s *Service, changes Bounds, times int) {
	var join func()
	join = func() {
		if times--; times < 0 {
			return
		}
		a := w.Actor(family, false, In(net, w.Rand.IntN(250)))
		w.Connect(a, s, Plan{
			Stay: changes.of(w), Plays: true, By: detect.ByIdle,
			Then: func(detect.EndedBy) { w.After(w.Between(time.Second, 6*time.Second), join) },
		})
	}
	join()
}

// Lister refreshes a list of all servers, and joins one now and then.
func (w *World) Lister(a *Actor, every Bounds) {
	var list func()
	list = func() {
		for _, s := range w.Services {
			w.After(w.Between(0, 2*time.Second), func() { w.Query(a, s) })
		}
		w.After(every.of(w), list)
	}
	list()
}

// Monitor asks all servers at exact times, for ever.
func (w *World) Monitor(a *Actor, every time.Duration) {
	var ask func()
	ask = func() {
		for _, s := range w.Services {
			w.Query(a, s)
		}
		w.After(every, ask)
	}
	ask()
}

// Shared is many people behind one address, who come within a time.
func (w *World) Shared(family string, people int, within time.Duration, all []*Service) {
	a := w.Alone(family, false)
	for range people {
		w.After(w.Between(0, within), func() { w.Player(a, all, 12*time.Minute) })
	}
}

// Crowd is many new people at once at one service, each by an address of his own; lan: all in one network.
func (w *World) Crowd(family string, people int, within time.Duration, s *Service, lan bool) {
	net := w.Network(false)
	for i := range people {
		addr := In(net, i)
		if !lan {
			addr = In(w.Network(i%4 == 0), w.Rand.IntN(200))
		}
		a := w.Actor(family, false, addr)
		w.After(w.Between(0, within), func() {
			stay := func() { w.Player(a, []*Service{s}, 20*time.Minute) }
			if i%10 != 0 {
				stay()
				return
			}
			w.Connect(a, s, Plan{Stay: w.Between(time.Second, 9*time.Second), By: detect.ByClient, Then: func(detect.EndedBy) { w.After(3*time.Second, stay) }})
		})
	}
}

// Forge sends in a player's name what a robot would send: attempts that prove nothing.
func (w *World) Forge(victim *Actor, s *Service, every time.Duration, times int) {
	victim.First = max(victim.First, 0)
	if times == 0 {
		return
	}
	client := uint16(30000 + times)
	if s.Proto == TCP {
		w.Tell(victim, s, detect.Observation{Kind: detect.SYN, Client: client, Length: 60})
	}
	w.Tell(victim, s, detect.Observation{Kind: detect.Attempt, Client: client, Length: 60})
	w.After(every, func() { w.Forge(victim, s, every, times-1) })
}
