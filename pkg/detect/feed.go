// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"net/netip"
	"time"

	"parry/pkg/sample"
)

const (
	tcp = 6

	mostAsked = 8192            // sessions that only asked, remembered until they end
	askedFor  = 5 * time.Minute // longer than any of them lives
)

// Service is what a Feed has to know of one.
type Service struct {
	Game  string // as in pkg/game; where that is not known, the service's own name
	Heard bool   // a gate hears what TCP clients say first, and tells a query from play
	Off   bool   // nothing is decided by what comes to it
	Rate  uint32 // packets a second that one stranger may send; 0 = nobody knows
}

// Feed turns what is sampled of sessions into observations. It is one goroutine's, the Detector's.
type Feed struct {
	observe  func(*Observation)
	services func(number uint16) Service
	reason   func(number uint8) string // a drop reason's name

	o      Observation // reused
	asked  [2]map[call]struct{}
	turned uint64
}

// call is a session to somebody who tells what it was.
type call struct {
	client, front netip.AddrPort
	service       uint16
}

// NewFeed feeds observe, whose argument is valid until it returns. reason names a drop reason.
func NewFeed(observe func(*Observation), services func(number uint16) Service, reason func(number uint8) string) *Feed {
	return &Feed{observe: observe, services: services, reason: reason, asked: [2]map[call]struct{}{{}, {}}}
}

// Packet takes in a sample: of what goes down, that it proved its client alone.
func (f *Feed) Packet(p *sample.Packet) {
	svc := f.services(p.Service)
	if p.Service == 0 || svc.Off {
		return
	}
	f.o = Observation{
		Time: p.Time, Source: p.Client.Addr(), Client: p.Client.Port(), Port: p.Front.Port(), Service: p.Service, Game: svc.Game,
		Length: uint16(min(p.Size, 1<<16-1)), Weight: p.Every,
	}
	switch {
	case p.Reason != 0 && !p.Shadow:
		f.dropped(p, svc)
	case p.Step&sample.StepQuery != 0:
		f.query(p)
	default:
		f.passed(p, svc)
	}
}

func (f *Feed) tell(k Kind) {
	f.o.Kind = k
	f.observe(&f.o)
}

func (f *Feed) dropped(p *sample.Packet, svc Service) {
	f.o.Reason = f.reason(p.Reason)
	if f.o.Reason == "stranger_rate" { // one a second and source is told: its second had more than that
		f.o.Weight = max(f.o.Weight, svc.Rate)
	}
	if !p.First || f.o.Reason == "stranger_rate" {
		f.tell(Dropped)
		return
	}
	if p.Player {
		f.o.Proof = Strong
	}
	f.tell(Refused)
}

// query notes who wants no session: over TCP, one that had to be had to ask.
func (f *Feed) query(p *sample.Packet) {
	if p.Proto == tcp {
		f.remember(call{p.Client, p.Front, p.Service}, p.Time)
	}
	f.tell(Query)
}

func (f *Feed) passed(p *sample.Packet, svc Service) {
	if p.Step&sample.StepBegan != 0 && !p.Down {
		f.began(p, svc)
	} else if p.Step&sample.StepStrong != 0 {
		f.proved(p, svc)
	}
	switch {
	case p.Step&sample.StepLasting != 0:
		f.tell(Lasting)
	case p.Step&sample.StepLasts != 0:
		f.tell(Playing)
	}
}

// began: of a TCP session whose gate is still to hear what it wants, nobody knows yet whether it is a connection.
func (f *Feed) began(p *sample.Packet, svc Service) {
	strong := p.Step&sample.StepStrong != 0
	if p.Proto == tcp && !strong {
		f.tell(SYN)
	}
	if p.Proto == tcp && svc.Heard {
		return
	}
	f.o.Proof = None
	if strong {
		f.o.Proof = Strong
	}
	f.tell(Attempt)
}

func (f *Feed) proved(p *sample.Packet, svc Service) {
	f.o.Proof = Strong
	switch {
	case p.Proto == tcp && svc.Heard:
		f.tell(Attempt)
	case p.Proto == tcp:
		f.tell(Handshake)
	default:
		f.tell(Proven)
	}
}

// Ended takes in a session's end.
func (f *Feed) Ended(e *sample.End) {
	svc := f.services(e.Service)
	if e.Service == 0 || svc.Off || e.Called || e.Query || f.forget(call{e.Client, e.Front, e.Service}) {
		return
	}
	f.o = Observation{
		Time: e.Time, Source: e.Client.Addr(), Client: e.Client.Port(), Port: e.Front.Port(), Service: e.Service, Game: svc.Game,
		EndedBy: endedBy(e.By), Lasted: e.Lasted, Mute: e.Down.Packets == 0, Lived: time.Duration(e.Last - min(e.Began, e.Last)),
	}
	switch {
	case e.Proof == "strong":
		f.o.Proof = Strong
	case e.Up.Packets > 1 && e.Down.Packets > 0:
		f.o.Proof = Weak
	}
	if e.Proto == tcp && svc.Heard && e.Proof != "strong" && !e.Lasted { // it was never heard: now it is known to have been a connection
		f.tell(Attempt)
	}
	f.tell(Ended)
}

func endedBy(word string) EndedBy {
	switch word {
	case "client", "silent":
		return ByClient
	case "idle":
		return ByIdle
	case "server":
		return ByServer
	}
	return ByOther
}

func (f *Feed) remember(c call, now uint64) {
	if len(f.asked[0]) >= mostAsked || now-f.turned > uint64(askedFor) {
		f.asked[0], f.asked[1] = map[call]struct{}{}, f.asked[0]
		f.turned = now
	}
	f.asked[0][c] = struct{}{}
}

func (f *Feed) forget(c call) bool {
	for _, m := range f.asked {
		if _, ok := m[c]; ok {
			delete(m, c)
			return true
		}
	}
	return false
}
