// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

var guestAddr = netip.MustParseAddrPort("192.0.2.7:4000")

// join plays a handshake between the two ends; the edge may answer in the server's place.
func join(t *testing.T, g gameID, d dialect, server speaker, edge func(b []byte) []byte) (steps int) {
	t.Helper()
	for range 8 {
		steps++
		ask := d.hello(packet{cell: 5, kind: kindHello, player: 9})
		var answer []byte
		if edge != nil {
			answer = edge(ask)
		}
		if answer == nil {
			answer, _, _ = server.serve(guestAddr, ask)
		}
		if answer == nil {
			t.Fatalf("%s: no answer to %q", g, ask)
		}
		if what, p := d.hear(answer); what == heardWelcome && p.player == 9 {
			return steps
		} else if what == heardNothing {
			t.Fatalf("%s: %q is not understood", g, answer)
		}
	}
	t.Fatalf("%s: not in after %d steps", g, steps)
	return steps
}

func TestPlayersJoinAndPlayTheirGames(t *testing.T) {
	for g, want := range map[gameID]int{arenaGame: 1, sourceGame: 2, quakeGame: 2, raknetGame: 3} {
		d, server := newDialect(g, 9), newSpeaker(g)
		early := d.move(packet{cell: 6, kind: kindMove, player: 9})
		if _, _, ours := server.serve(guestAddr, early); ours && g != arenaGame {
			t.Errorf("%s: a move before the join was taken", g)
		}
		if steps := join(t, g, d, server, nil); steps != want {
			t.Errorf("%s: %d steps, want %d", g, steps, want)
		}
		move := d.move(packet{cell: 6, kind: kindMove, player: 9, seq: 3, sent: 77})
		answer, p, ours := server.serve(guestAddr, move)
		if !ours || p.cell != 6 {
			t.Fatalf("%s: the move was not taken: %+v", g, p)
		}
		what, state := d.hear(answer)
		if what != heardState || state.sent != 77 || state.cell != 6 || state.player != 9 {
			t.Errorf("%s: heard %v, %+v", g, what, state)
		}
		// Where the meter looks for the lab's packet.
		if g != arenaGame && binary.BigEndian.Uint64(move[gameHead:]) != magic || g == arenaGame && binary.BigEndian.Uint64(move) != magic {
			t.Errorf("%s: the meter would not know %x", g, move)
		}
	}
}

func TestChallengesOfTheEdgeLeadInToo(t *testing.T) {
	t.Run("source", func(t *testing.T) {
		first := true
		edge := func([]byte) []byte { // it answers the first request itself: the server will not know that challenge
			if !first {
				return nil
			}
			first = false
			return []byte(sourceChallenge + "edge")
		}
		join(t, sourceGame, newDialect(sourceGame, 9), newSpeaker(sourceGame), edge)
	})
	t.Run("raknet", func(t *testing.T) {
		edge := func(b []byte) []byte {
			switch {
			case b[0] == rakOpen1:
				a := append(append([]byte{rakReply1}, rakMagic...), make([]byte, 8)...)
				return append(append(a, 1), "cook\x05\xd4"...)
			case len(b) == 39:
				if string(b[17:21]) != "cook" {
					t.Fatalf("the cookie did not come back: %x", b)
				}
			}
			return nil
		}
		server := newSpeaker(raknetGame)
		d := newDialect(raknetGame, 9)
		d.hear(edge(d.hello(packet{})))
		open := d.hello(packet{})
		edge(open)
		stripped := append(bytes.Clone(open[:17]), open[22:]...) // what the edge passes on
		answer, _, _ := server.serve(guestAddr, stripped)
		if what, _ := d.hear(answer); what != heardStep {
			t.Errorf("request 2 without its cookie: %x", answer)
		}
	})
}

func TestServersRefuseWhoOnlyGuesses(t *testing.T) {
	source, quake := newSpeaker(sourceGame), newSpeaker(quakeGame)
	answer, _, _ := source.serve(guestAddr, (&sourcePlayer{challenge: 1}).hello(packet{}))
	if !bytes.HasPrefix(answer, []byte(sourceRefused)) {
		t.Errorf("source: %q", answer)
	}
	answer, _, _ = quake.serve(guestAddr, (&quakePlayer{challenge: 1}).hello(packet{}))
	if !bytes.HasPrefix(answer, []byte(quakePrint)) {
		t.Errorf("quake3: %q", answer)
	}
	for _, junk := range [][]byte{nil, {1}, []byte(outOfBand), []byte(outOfBand + "getstatu"), make([]byte, 33), junk(700), junk(1400)} {
		for g := range games {
			if answer, _, ours := newSpeaker(g).serve(guestAddr, junk); answer != nil || ours {
				t.Errorf("%s answered %x with %x", g, junk, answer)
			}
		}
	}
}

func TestQuakeServerAnswersOnlySoMany(t *testing.T) {
	s, n := newSpeaker(quakeGame), 0
	for range 1000 {
		if answer, _, _ := s.serve(guestAddr, []byte(quakeGetStatus+"\n")); answer != nil {
			n++
		}
	}
	if n < quakeAnswers || n > 10*quakeAnswers { // a slow machine sees a few windows
		t.Errorf("%d of 1000 answered", n)
	}
}

func TestQueriesAreAnsweredByTheirServers(t *testing.T) {
	servers := map[netip.AddrPort]speaker{strike: newSpeaker(sourceGame), quake: newSpeaker(quakeGame), craft: newSpeaker(raknetGame)}
	for _, k := range queryKinds() {
		q, done := k.make(3), false
		for tries := 0; tries < 2 && !done; tries++ {
			answer, _, _ := servers[k.to].serve(guestAddr, q.ask())
			if len(answer) > 1400 {
				t.Errorf("%s: an answer of %d bytes takes several packets", k.name, len(answer))
			}
			done, _ = q.hear(answer)
		}
		if !done {
			t.Errorf("%s: no answer", k.name)
		}
		if other, _ := k.make(4).hear([]byte("\xff\xff\xff\xffnothing of the kind, and long enough for a pong")); other {
			t.Errorf("%s takes anything for an answer", k.name)
		}
	}
}

func TestLobbyForgetsTheIdleAndNobodyElse(t *testing.T) {
	l := newLobby()
	for i := range lobbySlots {
		if l.enter(netip.AddrPortFrom(guestAddr.Addr(), uint16(i+1)), 1) == nil {
			t.Fatalf("full after %d", i)
		}
	}
	late := netip.AddrPortFrom(guestAddr.Addr(), 60000)
	if l.enter(late, 1) != nil {
		t.Error("a full server let someone in")
	}
	gone := netip.AddrPortFrom(guestAddr.Addr(), 1)
	l.guests[gone].last = l.guests[gone].last.Add(-2 * lobbyIdle)
	if l.enter(late, 1) == nil || l.guests[gone] != nil || len(l.guests) != lobbySlots {
		t.Errorf("the idle one kept its slot: %d guests", len(l.guests))
	}
}

func TestGamesAreInTurn(t *testing.T) {
	list := inTurn(newIn, newPlayers())
	var had [games]int
	for i, g := range list {
		had[g]++
		for game := range games { // a stretch from the start is at most one off its share
			if off := had[game]*newPlayers() - newIn[game]*(i+1); off > newPlayers() || off < -newPlayers() {
				t.Fatalf("after %d: %v", i+1, had)
			}
		}
	}
	if had != newIn {
		t.Errorf("%v, want %v", had, newIn)
	}
}
