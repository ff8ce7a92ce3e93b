// SPDX-License-Identifier: Apache-2.0

package health

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var fps = Bounds{Gap: 250 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.001}

// match is sessions that play, a look every five seconds.
type match struct {
	judge *Judge
	now   uint64
	all   []*Session
	ways  []Way // two of each
}

func newMatch(n, most int) *match {
	m := &match{judge: New(most), now: uint64(time.Hour), ways: make([]Way, 2*n)}
	for i := range n {
		m.all = append(m.all, &Session{ID: fmt.Sprint(i), Service: "arena", Class: "fps", Bounds: fps, Up: &m.ways[2*i], Down: &m.ways[2*i+1]})
		m.ways[2*i].Jitter, m.ways[2*i+1].Jitter = time.Millisecond, time.Millisecond
	}
	m.look(0)
	return m
}

// look has each way carry 300 packets, all numbered, and returns what is told.
func (m *match) look(passed time.Duration) []string {
	m.now += uint64(passed)
	for i := range m.ways {
		w := &m.ways[i]
		w.Packets, w.Numbers, w.Last = w.Packets+300, w.Numbers+300, m.now
	}
	return m.judged()
}

func (m *match) judged() (told []string) {
	for _, e := range m.judge.Look(m.now, slices.Values(m.all)) {
		told = append(told, text(e))
	}
	return told
}

func (m *match) looks(n int) (told []string) {
	for range n {
		told = append(told, m.look(5*time.Second)...)
	}
	return told
}

func text(e Event) string {
	way := "up"
	if e.Down {
		way = "down"
	}
	switch e.Kind {
	case Bad:
		return fmt.Sprintf("%s bad: %s %s %.4g of %.4g", e.Session.ID, e.Sign, way, e.Value, e.Bound)
	case Good:
		return fmt.Sprintf("%s good after %v: %s %s", e.Session.ID, e.Lasted, e.Sign, way)
	}
	return fmt.Sprintf("many: %d bad, %d good, %v", e.Bad, e.Good, e.Services)
}

func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(lines, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlayWithinBoundsIsNotToldOf(t *testing.T) {
	m := newMatch(3, 10)
	for range 200 {
		for i := range m.ways {
			m.ways[i].Gap, m.ways[i].Jitter = 250*time.Millisecond, time.Duration(m.now/5e9%6)*time.Millisecond
			if m.now/5e9%4 == 0 {
				m.ways[i].Lost++
			}
		}
		want(t, m.looks(1))
	}
}

func TestGap(t *testing.T) {
	m := newMatch(2, 10)
	want(t, m.looks(2))
	m.ways[3].Gap = 300 * time.Millisecond
	want(t, m.looks(1), "1 bad: gap down 300 of 250")
	want(t, m.looks(5)) // as long as the half minute is not over
	m.ways[3].Gap = 100 * time.Millisecond
	want(t, m.looks(2))
	want(t, m.looks(1), "1 good after 40s: gap down")
	want(t, m.looks(5))
}

func TestSilenceIsNoGapWhereNobodyPlays(t *testing.T) {
	m := newMatch(1, 10)
	m.ways[0].Gap = 3 * time.Second
	for range 5 { // six packets a second
		m.now += uint64(5 * time.Second)
		m.ways[0].Packets += 30
		want(t, m.judged())
	}
	m.ways[0].Gap = 11 * time.Second // and what comes after a long one is a beginning
	want(t, m.looks(3))
}

func TestWhoStopsPlayingIsNotWellAgain(t *testing.T) {
	m := newMatch(1, 10)
	m.ways[0].Gap = time.Second
	want(t, m.looks(1), "0 bad: gap up 1000 of 250")
	m.ways[0].Gap = 0
	for range 10 {
		m.now += uint64(5 * time.Second)
		want(t, m.judged())
	}
	if n := m.judge.IsBad(); n != 0 {
		t.Errorf("%d are still bad", n)
	}
	want(t, m.looks(5))
	m.ways[0].Gap = time.Second
	want(t, m.looks(1), "0 bad: gap up 1000 of 250")
}

func TestJitter(t *testing.T) {
	m := newMatch(1, 10)
	m.ways[0].Jitter = 9 * time.Millisecond
	want(t, m.looks(1)) // once is nothing
	want(t, m.looks(1), "0 bad: jitter up 7.978 of 5")
	m.ways[0].Jitter = 5500 * time.Microsecond // between the bound and four fifths of it
	want(t, m.looks(10))
	m.ways[0].Jitter = 2 * time.Millisecond
	want(t, m.looks(3), "0 good after 1m5s: jitter up")
}

// What a game does by itself is no jitter: a server that sends two packets at a time, for one.
func TestTheGamesOwnRhythmIsNoJitter(t *testing.T) {
	m := newMatch(1, 10)
	m = &match{judge: New(10), now: m.now, all: m.all, ways: m.ways}
	m.ways[1].Jitter = 50 * time.Millisecond
	m.look(0)
	want(t, m.looks(20))
	m.ways[1].Jitter = 58 * time.Millisecond
	want(t, m.looks(2), "0 bad: jitter down 7.978 of 5")
}

// Who is bad from the beginning is told by those beside him.
func TestWhatIsUsualAtAService(t *testing.T) {
	m := newMatch(12, 20)
	want(t, m.looks(2))
	w := [2]Way{{Jitter: 20 * time.Millisecond}, {Jitter: time.Millisecond}}
	m.all = append(m.all, &Session{ID: "late", Service: "arena", Bounds: fps, Up: &w[0], Down: &w[1]})
	for i := range 4 {
		for i := range w {
			w[i].Packets += 300
		}
		got := m.looks(1)
		if i == 2 {
			want(t, got, "late bad: jitter up 19 of 5")
		} else {
			want(t, got)
		}
	}
}

func TestLoss(t *testing.T) {
	m := newMatch(1, 10)
	m.ways[0].Lost = 1
	want(t, m.looks(8)) // one of a thousand is within the bound
	m.ways[0].Lost += 2 // of the next: more than it may lack, whatever else comes
	want(t, m.looks(1), "0 bad: loss up 0.002 of 0.001")
	want(t, m.looks(20), "0 good after 45s: loss up")
	m.ways[0].Lost += 100
	m.ways[0].Numbers += 5000
	want(t, m.looks(1), "0 bad: loss up 0.01754 of 0.001")
}

func TestLateOnesAreNotLost(t *testing.T) {
	m := newMatch(1, 10)
	m.ways[0].Lost = 1
	want(t, m.looks(1))
	m.ways[0].Lost = 0
	want(t, m.looks(20))
}

func TestBoundsOfZeroAreNotLookedAt(t *testing.T) {
	m := newMatch(1, 10)
	m.all[0].Bounds = Bounds{}
	m.ways[0].Gap, m.ways[0].Jitter, m.ways[0].Lost = time.Second, time.Second, 200
	want(t, m.looks(5))
}

func TestClockJumps(t *testing.T) {
	for _, jump := range []int64{int64(-30 * time.Minute), 0, int64(time.Hour), math.MaxInt64} {
		m := newMatch(2, 10)
		want(t, m.looks(2))
		m.ways[0].Gap, m.ways[0].Jitter = time.Second, time.Second
		m.now += uint64(jump)
		want(t, m.judged()) // nothing is known of what was between the two
		want(t, m.looks(1), "0 bad: gap up 1000 of 250")
		m.ways[0].Gap, m.ways[0].Jitter = 0, time.Millisecond
		m.now += uint64(jump)
		m.judged()
		if got := m.looks(3); len(got) != 1 {
			t.Errorf("after a jump by %v: %q", time.Duration(jump), got)
		}
	}
}

// A rotation lets go of a session and takes it up again; its counters begin anew then, and so may those of one cell.
func TestRotation(t *testing.T) {
	m := newMatch(2, 10)
	m.ways[0].Gap = time.Second
	want(t, m.looks(1), "0 bad: gap up 1000 of 250")
	first := m.all[0]
	m.all = m.all[1:]
	want(t, m.looks(3))
	m.ways[0] = Way{Jitter: 30 * time.Millisecond, Lost: 50}
	m.all = append(m.all, first)
	want(t, m.looks(2))
	m.ways[0] = Way{Jitter: 60 * time.Millisecond, Lost: 70}
	want(t, m.looks(1))
	first.Down = nil
	want(t, m.looks(3))
}

func TestManyAtOnceAreToldTogether(t *testing.T) {
	m := newMatch(500, 1000)
	for i := range m.ways {
		m.ways[i].Gap = time.Second
	}
	got := m.looks(1)
	if len(got) != burst+1 || got[burst] != fmt.Sprintf("many: %d bad, 0 good, map[arena:%[1]d]", 500-burst) {
		t.Errorf("%d lines, the last: %s", len(got), got[len(got)-1])
	}
	for i := range m.ways {
		m.ways[i].Gap = 0
	}
	got = m.looks(100)
	n, good := 0, 0
	for _, line := range got {
		if line[0] == 'm' {
			var more int
			if _, err := fmt.Sscanf(line, "many: 0 bad, %d good", &more); err != nil {
				t.Fatal(line)
			}
			n, good = n+1, good+more
		} else {
			good++
		}
	}
	if n != 1 || good != 500 {
		t.Errorf("%d sums, %d are good again: %q", n, good, got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMatch(100, 30)
	want(t, m.looks(3))
	if len(m.judge.known) != 30 || m.judge.Unknown() != 70 {
		t.Errorf("%d known, %d unknown", len(m.judge.known), m.judge.Unknown())
	}
	m.all = nil
	want(t, m.looks(1))
	if len(m.judge.known) != 0 || m.judge.Unknown() != 0 || len(m.judge.usual) != 0 {
		t.Errorf("%d known, %d unknown, %d places", len(m.judge.known), m.judge.Unknown(), len(m.judge.usual))
	}
}

// What is told hangs on nothing but what is looked at, and no look may panic, whatever the figures are.
func FuzzLook(f *testing.F) {
	f.Add(uint64(1), uint64(300), uint64(5e9), int64(1), uint32(7))
	f.Fuzz(func(t *testing.T, packets, last, now uint64, gap int64, lost uint32) {
		w := Way{Packets: packets, Last: last, Gap: time.Duration(gap), Jitter: time.Duration(gap), Numbers: lost ^ 5, Lost: lost}
		j, at := New(4), now
		for i := range 4 {
			s := &Session{ID: "x", Bounds: fps, Up: &w}
			j.Look(at, slices.Values([]*Session{s, {ID: "y", Bounds: fps, Down: &w}}))
			at += now >> i
			w.Packets, w.Lost, w.Numbers = w.Packets+packets>>i, w.Lost*3, w.Numbers+lost
		}
	})
}
