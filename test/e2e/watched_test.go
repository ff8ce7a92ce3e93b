// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"parry/pkg/api"
	happened "parry/pkg/event"
)

// Of each way through the edge: what a sender leaves out of its numbers, sends twice and sends late shows in its session, exactly, and
// what its class can't bear is told.
func TestLossShowsInItsSession(t *testing.T) {
	s := newSite(t, "watched", siteOptions{})
	s.edge.run(strings.ReplaceAll(everyMode(unlimited), "game: auto", "game: quake3, gate: off"))
	for _, w := range s.ways() {
		s.udpServer(w.host, w.server, "")
	}
	for _, w := range s.ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := s.of(t)
			p := s.udpPlayer(s.players, w.player, w.vip)
			p.join(patience)
			p.join(patience)
			p.watchedFrom(s, w.name)
			sent := p.numbers(500)
			v := s.sessionOf(w.name, "udp")
			if v.Up.Loss == nil || v.Up.JitterMS == nil || v.Up.LongestGapMS == nil || v.Down.Loss == nil {
				t.Fatalf("up %+v, down %+v", v.Up, v.Down)
			}
			for _, d := range []*api.Direction{v.Up, v.Down} {
				if math.Abs(*d.Loss-sent.loss) > 1e-9 || *d.Reordered != sent.late || *d.Duplicates != sent.twice {
					t.Errorf("loss %v, %d late, %d twice; want %+v", *d.Loss, *d.Reordered, *d.Duplicates, sent)
				}
				if *d.LongestGapMS < 300 || *d.LongestGapMS > 3000 || *d.JitterMS <= 0 {
					t.Errorf("longest gap %v ms, jitter %v ms", *d.LongestGapMS, *d.JitterMS)
				}
			}
			var shown api.Session
			must(t, json.Unmarshal([]byte(s.edge.ok("session", "show", v.ID, "--json")), &shown))
			if tm := shown.Up.Timing; tm == nil || tm.Lost == nil || tm.Packets == 0 || len(tm.SpacingsMS) == 0 || tm.RecentLoss == nil {
				t.Errorf("shown: %+v", tm)
			}
			if out := s.edge.ok("session", "show", v.ID); !strings.Contains(out, fmt.Sprintf("reordered %d, duplicates %d", sent.late, sent.twice)) {
				t.Errorf("parry session show says\n%s", out)
			}
			s.awaitBad(v.ID, p)
		})
	}
}

// watchedFrom sends until its session is watched both ways.
func (p *udpPlayer) watchedFrom(s *site, service string) {
	p.t.Helper()
	await(p.t, 10*time.Second, "the session to be watched", func() bool {
		p.say([]byte("no"))
		v := s.sessionOf(service, "udp")
		return v.Up != nil && v.Up.JitterMS != nil && v.Down.JitterMS != nil
	})
}

// say sends a datagram and waits for its echo, so that nothing overtakes anything.
func (p *udpPlayer) say(b []byte) {
	p.t.Helper()
	_, err := p.conn.WriteToUDPAddrPort(b, p.to)
	must(p.t, err, p.conn.SetReadDeadline(time.Now().Add(patience)))
	_, _, err = p.conn.ReadFromUDPAddrPort(make([]byte, 2048))
	must(p.t, err)
}

type numbersSent struct {
	loss        float64
	late, twice uint64
}

// numbers sends so many as Quake III numbers them, but for every twentieth; some late, some twice, and one after a pause.
func (p *udpPlayer) numbers(n uint32) (sent numbersSent) {
	p.t.Helper()
	var lost, came float64
	say := func(number uint32) {
		p.say(binary.LittleEndian.AppendUint32(nil, number))
	}
	for i := range n {
		number := 1000 + i
		switch {
		case i == n-1:
			time.Sleep(300 * time.Millisecond) // the gap that is to be seen
			say(number)
		case i > 0 && i%20 == 7:
			lost++
			continue
		case i%50 == 31:
			say(number + 1)
			say(number)
			say(number + 1)
			sent.late++
			sent.twice++
		case i%50 == 32:
		default:
			say(number)
		}
		came++
		time.Sleep(time.Millisecond) // a rhythm, as a game has one: bursts are counted, too
	}
	sent.loss = lost / (lost + came)
	return sent
}

// awaitBad plays on until it is told that the session fares badly.
func (s *site) awaitBad(id string, p *udpPlayer) {
	s.t.Helper()
	number := uint32(2000)
	var found *happened.Event
	await(s.t, 20*time.Second, "the session to be told to fare badly", func() bool {
		for range 20 {
			number += 2 // half of them is lost
			p.say(binary.LittleEndian.AppendUint32(nil, number))
		}
		for e, err := range s.edge.client.Events(s.t.Context(), api.EventQuery{Types: []string{"health"}, Since: time.Now().Add(-time.Minute)}) {
			must(s.t, err)
			if e.Type == happened.HealthBad && e.Data["session"] == id {
				found = &e
			}
		}
		return found != nil
	})
	if found.Data["class"] != "fps" || !slices.Contains([]any{"loss", "gap"}, found.Data["sign"]) || found.Service == "" {
		s.t.Errorf("told: %+v", found)
	}
}
