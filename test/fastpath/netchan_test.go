// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// quakePlan has Quake III's gate before services of all ways to forward, with quotas for weak sessions.
func quakePlan() *loader.Plan {
	p := strangerPlan(func(s *loader.Strangers) { s.Weak, s.WeakPrefix = 8, 4 })()
	p.Gates = []loader.Gate{ourGate("source"), ourGate("quake3")}
	for i := range 3 {
		p.Services[i].Gate = "quake3"
	}
	return p
}

// quake is a player of Quake III and its server, by way of the edge.
type quake struct {
	*world
	t      *testing.T
	player netip.AddrPort
	port   uint16
}

func (q quake) says(payload string) loader.Result {
	q.t.Helper()
	return q.quietly(q.t, packet.NewUDP(q.player, vip(q.player, q.port), payload).Bytes())
}

// told is what the server says to it.
func (q quake) told(payload string) {
	q.t.Helper()
	if q.port != localPort {
		q.quietly(q.t, reply(q.session(q.t, q.player), payload).Bytes())
		return
	}
	_, err := q.edge.Reply(hosted(q.player, payload).Bytes(), 1)
	must(q.t, err)
}

func (q quake) want(proof loader.SessionProof) {
	q.t.Helper()
	if got := q.session(q.t, q.player).Proof; got != proof {
		q.t.Errorf("its proof is %s, not %s", got, proof)
	}
}

// joins is a player who has sent his connect.
func (q quake) joins(challenge int32) {
	q.t.Helper()
	q.says("\xff\xff\xff\xffgetchallenge 12345 Quake3Arena")
	q.want(loader.ProofNone)
	q.told(fmt.Sprintf("\xff\xff\xff\xffchallengeResponse %d 12345 71", challenge))
	q.want(loader.ProofNone)
	q.says("\xff\xff\xff\xffconnect \x05\x11\x22\x33")
	q.want(loader.ProofWeak)
}

// play is a packet of play by a challenge.
func play(challenge int32, number uint32) string {
	b := binary.LittleEndian.AppendUint32(nil, number)
	b = append(b, 0x12, 0x34) // its port
	n := number &^ (1 << 31)
	return string(binary.LittleEndian.AppendUint32(b, uint32(challenge)^n*uint32(challenge))) + "moves"
}

func (w *world) stranged(t *testing.T, service int) loader.StrangerCount {
	t.Helper()
	all, err := w.edge.StrangerCounts()
	must(t, err)
	return all[service]
}

func (w *world) weakSessions(t *testing.T, service int) int {
	t.Helper()
	return int(w.stranged(t, service).WeakSessions)
}

// By the first right checksum of an even number a player is proven strongly, and is no weak one any more.
func TestNetchanProves(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, quakePlan(), strangerSizes())
	for i, port := range []uint16{natPort, openPort, localPort} {
		for _, player := range []netip.AddrPort{player4, player6} {
			for _, challenge := range []int32{1, 1234567890, -1, -2147483648, 2147483647} {
				t.Run(fmt.Sprint(port, player, " ", challenge), func(t *testing.T) {
					q, before := quake{w, t, player, port}, w.stranged(t, i+1)
					q.joins(challenge)
					if n := q.weakSessions(t, i+1); n != 1 {
						t.Errorf("%d weak sessions", n)
					}
					q.told(fmt.Sprintf("\xff\xff\xff\xffconnectResponse %d", challenge))
					q.says(play(challenge, 1))
					q.want(loader.ProofWeak) // its checksum is 0 whatever the challenge
					r := q.says(play(challenge, 2))
					q.want(loader.ProofStrong)
					if r.Reason != "" {
						t.Errorf("it was dropped: %s", r.Reason)
					}
					if n := q.weakSessions(t, i+1); n != 0 {
						t.Errorf("%d weak sessions after that", n)
					}
					if c := w.stranged(t, i+1); c.Strong != before.Strong+1 || c.Weak != before.Weak+1 || c.Admitted != before.Admitted+1 {
						t.Errorf("counted %+v, it was %+v", c, before)
					}
					q.says(play(challenge+1, 4))
					q.want(loader.ProofStrong)
					q.clear(t)
					if n := q.weakSessions(t, i+1); n != 0 {
						t.Errorf("%d weak sessions at the end", n)
					}
				})
			}
		}
	}
}

// Whoever has no room among the weak ones is proven all the same; who has only asked before, too.
func TestNetchanWays(t *testing.T) {
	t.Parallel()
	const challenge = 987654321
	w := newWorldOf(t, quakePlan(), strangerSizes())
	q := quake{w, t, player4, openPort}
	t.Run("no room for weak ones", func(t *testing.T) {
		q := quake{w, t, client(0), natPort}
		for i := range 8 {
			quake{w, t, client(256 * i), natPort}.joins(challenge)
		}
		second := quake{w, t, other4, natPort}
		second.says("\xff\xff\xff\xffgetchallenge 1 Quake3Arena")
		second.told(fmt.Sprintf("\xff\xff\xff\xffchallengeResponse %d 1 71", challenge+1))
		second.says("\xff\xff\xff\xffconnect \x05\x11\x22\x33")
		second.want(loader.ProofNone)
		second.says(play(challenge+1, 2))
		second.want(loader.ProofStrong)
		if s := q.session(t, other4); s.State != loader.Proven {
			t.Errorf("it is %s", s.State)
		}
		q.clear(t)
		if n := q.weakSessions(t, 1); n != 0 {
			t.Errorf("%d weak sessions at the end", n)
		}
	})
	t.Run("asked before", func(t *testing.T) {
		defer w.clear(t)
		q.says(getinfo)
		q.told("\xff\xff\xff\xffinfoResponse\n\\x\\y")
		q.says("\xff\xff\xff\xffgetchallenge 1 Quake3Arena")
		q.want(loader.ProofWeak) // it is judged weakly before its challenge comes
		q.told(fmt.Sprintf("\xff\xff\xff\xffchallengeResponse %d 1 71", challenge))
		q.says(play(challenge, 2))
		q.want(loader.ProofStrong)
	})
	t.Run("a newer challenge", func(t *testing.T) {
		defer w.clear(t)
		q.joins(challenge)
		q.told("\xff\xff\xff\xffchallengeResponse 42 1 71")
		q.says(play(42, 2))
		q.want(loader.ProofStrong)
	})
	t.Run("a large packet's first part", func(t *testing.T) {
		defer w.clear(t)
		q.joins(challenge)
		q.says(play(challenge, 1<<31|2))
		q.want(loader.ProofStrong)
	})
	t.Run("lasting", func(t *testing.T) {
		defer w.clear(t)
		q.joins(challenge)
		for range 40 {
			q.pass(t, time.Second)
			q.says(play(challenge, 1))
			q.told("a snapshot")
		}
		q.want(loader.ProofLasting)
		q.says(play(challenge, 2))
		q.want(loader.ProofLasting) // it is watched no more
	})
}

// What proves nothing; and after one wrong checksum the right one is too late.
func TestNetchanDoesNotProve(t *testing.T) {
	t.Parallel()
	const challenge = 1234567890
	long := strings.Repeat("1", 30)
	w := newWorldOf(t, quakePlan(), strangerSizes())
	for _, row := range []struct {
		name, told, played string
		decided            bool // nothing can prove it any more
	}{
		{"a wrong checksum", "challengeResponse 1234567891 1 71", play(challenge, 2), true},
		{"wrong in one bit", "challengeResponse 1234567890 1 71", play(challenge^1<<30, 2), true},
		{"of another number", "challengeResponse 1234567890 1 71", "\x04" + play(challenge, 2)[1:], true},
		{"number 1", "challengeResponse 1234567890 1 71", play(challenge, 1), false},
		{"a number whose checksum says nearly nothing", "challengeResponse 1234567890 1 71", play(challenge, 1<<30+1), false},
		{"out of band", "challengeResponse 1234567890 1 71", "\xff\xff\xff\xffdisconnect", false},
		{"cut short", "challengeResponse 1234567890 1 71", play(challenge, 2)[:9], false},
		{"a challenge without checksums", "challengeResponse 1234567890", play(challenge, 2), true},
		{"a line's end behind it", "challengeResponse 1234567890\n", play(challenge, 2), true},
		{"no number", "challengeResponse - 71", play(0, 2), true},
		{"no number at all", "challengeResponse", play(0, 2), true},
		{"endless", "challengeResponse " + long + " 71", play(0, 2), true},
		{"two spaces", "challengeResponse  1234567890 71", play(challenge, 2), true},
		{"another word", "challengeresponse 1234567890 1 71", play(challenge, 2), true},
		{"in an answer to somebody", "print\nchallengeResponse 1234567890 1 71", play(challenge, 2), true},
	} {
		for _, port := range []uint16{natPort, localPort} {
			t.Run(fmt.Sprint(row.name, " ", port), func(t *testing.T) {
				defer w.clear(t)
				q := quake{w, t, player4, port}
				q.says("\xff\xff\xff\xffgetchallenge 12345 Quake3Arena")
				q.told("\xff\xff\xff\xff" + row.told)
				q.says("\xff\xff\xff\xffconnect \x05\x11\x22\x33")
				q.says(row.played)
				q.want(loader.ProofWeak)
				q.told(fmt.Sprintf("\xff\xff\xff\xffchallengeResponse %d 1 71", challenge))
				q.says(play(challenge, 2))
				if row.decided {
					q.want(loader.ProofWeak)
				} else {
					q.want(loader.ProofStrong)
				}
			})
		}
	}
}

// A challenge is of one session, not of the next one by the same address and port, nor of another service's or port's.
func TestNetchanChallengeIsOfOneSession(t *testing.T) {
	t.Parallel()
	const challenge = 77
	w := newWorldOf(t, quakePlan(), strangerSizes())
	q := quake{w, t, player4, natPort}
	q.joins(challenge)
	w.clear(t)
	q.says("\xff\xff\xff\xffgetchallenge 12345 Quake3Arena")
	q.told("\xff\xff\xff\xffprint\nServer is busy\n")
	q.says(play(challenge, 2))
	q.want(loader.ProofWeak)
	for _, other := range []quake{{w, t, netip.AddrPortFrom(player4.Addr(), player4.Port()+1), natPort}, {w, t, other4, natPort}, {w, t, client(3), openPort}} {
		other.joins(5)
		other.says(play(challenge, 2))
		other.want(loader.ProofWeak)
	}
}

// Nothing that comes before the server has spoken spoils what comes after.
func TestNetchanBeforeTheServer(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, quakePlan(), strangerSizes())
	must(t, w.edge.SetGrace(2, time.Minute))
	q := quake{w, t, player4, openPort}
	q.says(play(5, 2))
	q.says(play(5, 4))
	q.joins(5)
	q.says(play(5, 6))
	q.want(loader.ProofStrong)
}

// Two CPUs that see right packets of one session at once prove it once, and give its place among the weak ones back once.
func TestNetchanOnTwoCPUs(t *testing.T) {
	t.Parallel()
	const sessions = 1000
	plan := with(quakePlan(), "open", func(s *loader.Service) { s.Strangers.Weak, s.Strangers.WeakPrefix = 0, 0 })
	w := newWorldOf(t, plan, strangerSizes())
	w.onCPU(t, loader.RealCPU)
	var frames [][]byte
	for i := range sessions {
		p := client(i)
		ask, connect := packet.NewUDP(p, vip(p, openPort), "\xff\xff\xff\xffgetchallenge 1 Q"), packet.NewUDP(p, vip(p, openPort), "\xff\xff\xff\xffconnect x")
		tell := packet.NewUDP(at(open4, gamePort), p, fmt.Sprintf("\xff\xff\xff\xffchallengeResponse %d 1 71", i)).With(func(q *packet.Packet) { q.Src = serverSide })
		w.quietly(t, ask.Bytes(), tell.Bytes(), connect.Bytes())
		frames = append(frames, packet.NewUDP(p, vip(p, openPort), play(int32(i), 2)).Bytes())
	}
	if n := w.weakSessions(t, 2); n != sessions {
		t.Fatalf("%d weak sessions", n)
	}
	var came atomic.Int32
	onTwoCPUs(t, func(int) error {
		for i, f := range frames {
			for came.Add(1); came.Load() < int32(2*i+2); { // both at once
			}
			if _, err := w.edge.Process(f); err != nil {
				return err
			}
		}
		return nil
	})
	// Of two whose challenges came into one cell the earlier one stays weak: some 8 of 1000 in 65,536 cells.
	if c := w.stranged(t, 2); int32(c.WeakSessions) != sessions-int32(c.Strong) || c.Strong > sessions || c.Strong < sessions-40 {
		t.Errorf("of %d sessions %d were proven strongly, and %d are weak", sessions, c.Strong, int32(c.WeakSessions))
	}
}
