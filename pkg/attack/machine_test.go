// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func epoch() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC) }

// usual thresholds, as the configuration has them.
func defaults() Thresholds {
	return Thresholds{Elevated: Level{200, 1000, 4}, Attack: Level{1000, 5000, 10}, Hold: 30 * time.Second}
}

// feed makes samples: so many strangers a second, of whom so many are refused, every 250 ms.
type feed struct {
	at       time.Time
	sample   Sample
	interval time.Duration
	lets     bool // who isn't dropped gets in
}

func newFeed() *feed {
	return &feed{at: epoch(), interval: 250 * time.Millisecond, sample: Sample{Drops: map[string]Count{}}}
}

// next is the sample after one more interval.
func (f *feed) next(strangers float64, drops map[string]float64) Sample {
	f.at = f.at.Add(f.interval)
	seconds := f.interval.Seconds()
	s := f.sample
	s.Time = f.at
	s.Strangers += uint64(strangers * seconds)
	old := s.Drops
	s.Drops = map[string]Count{}
	for name, n := range old {
		s.Drops[name] = n
	}
	for name, perSecond := range drops {
		n := s.Drops[name]
		n.Packets += uint64(perSecond * seconds)
		n.Bytes += uint64(perSecond*seconds) * 64
		s.Drops[name] = n
	}
	if f.lets {
		refused := 0.0
		for _, n := range drops {
			refused += n
		}
		s.Admitted += uint64((strangers - refused) * seconds)
	}
	f.sample = s
	return s
}

// spell is so long a time with so many strangers a second.
type spell struct {
	lasts     time.Duration
	strangers float64
	drops     map[string]float64
	load      Load
}

// play sends spells through a machine and writes down what moved: when, where to, why.
func play(m *Machine, f *feed, spells []spell) []string {
	moves := []string{}
	for _, s := range spells {
		for end := f.at.Add(s.lasts); f.at.Before(end); {
			sample := f.next(s.strangers, s.drops)
			sample.Load = s.load
			if o := m.observe(&sample, nil); o.change != nil {
				moves = append(moves, fmt.Sprintf("%v %s: %s", f.at.Sub(epoch()), o.change.To, o.change.Why))
			}
		}
	}
	return moves
}

func TestStatesMove(t *testing.T) {
	const minute = time.Minute
	down := "for 30.0s below 200 new strangers/s"
	for _, row := range []struct {
		name   string
		spells []spell
		want   []string
	}{
		{"a calm hour", []spell{{time.Hour, 12, nil, Load{}}}, []string{}},
		{
			"a flood is met by its first sample",
			[]spell{{minute, 12, nil, Load{}}, {10 * time.Second, 41000, nil, Load{}}, {2 * minute, 12, nil, Load{}}},
			[]string{
				"1m0.25s attack: 41,000 new strangers/s, usual 12/s",
				"1m40s elevated: " + down, "2m10s normal: " + down,
			},
		},
		{
			"more than usual is elevated",
			[]spell{{minute, 12, nil, Load{}}, {5 * time.Second, 300, nil, Load{}}, {minute, 12, nil, Load{}}},
			[]string{"1m0.25s elevated: 300 new strangers/s, usual 12/s", "1m35s normal: " + down},
		},
		{
			"a flood that pauses for less than hold is one flood",
			[]spell{
				{minute, 12, nil, Load{}}, {10 * time.Second, 5000, nil, Load{}}, {29 * time.Second, 12, nil, Load{}},
				{10 * time.Second, 5000, nil, Load{}}, {29 * time.Second, 12, nil, Load{}}, {time.Second, 5000, nil, Load{}},
			},
			[]string{"1m0.25s attack: 5,000 new strangers/s, usual 12/s"},
		},
		{
			"between the thresholds it stays under attack",
			[]spell{{minute, 12, nil, Load{}}, {10 * time.Second, 5000, nil, Load{}}, {5 * minute, 400, nil, Load{}}, {31 * time.Second, 12, nil, Load{}}},
			[]string{"1m0.25s attack: 5,000 new strangers/s, usual 12/s", "6m40s elevated: " + down},
		},
		{
			"of refused packets a few more are nothing, many are an attack",
			[]spell{
				{minute, 12, map[string]float64{"reflection": 400}, Load{}}, {time.Second, 12, map[string]float64{"reflection": 9200}, Load{}},
			},
			[]string{"1m0.25s attack: 9,200 refused packets/s, usual 400/s"},
		},
		{
			"what a deny list keeps out needs no stricter gates",
			[]spell{{minute, 12, map[string]float64{"denied": 1e6, "no_server": 1e5}, Load{}}}, []string{},
		},
		{
			"elevated is attack where the greylist fills",
			[]spell{{minute, 12, nil, Load{}}, {time.Second, 300, nil, Load{Greylist: 0.49}}, {time.Second, 300, nil, Load{Greylist: 0.62}}},
			[]string{
				"1m0.25s elevated: 300 new strangers/s, usual 12/s",
				"1m1.25s attack: 300 new strangers/s, usual 12/s, and the greylist is 62 % full",
			},
		},
		{
			"a full greylist alone, another service's, is nothing",
			[]spell{{minute, 12, nil, Load{Greylist: 0.9, Sketch: 0.9}}}, []string{},
		},
		{
			"a busy service is used to more",
			[]spell{{20 * minute, 150, nil, Load{}}, {10 * time.Second, 590, nil, Load{}}, {time.Second, 1400, nil, Load{}}, {time.Second, 1600, nil, Load{}}},
			[]string{"20m10.25s elevated: 1,400 new strangers/s, usual 155/s", "20m11.25s attack: 1,600 new strangers/s, usual 156/s"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := NewMachine(defaults(), Normal, epoch(), Calm{})
			if diff := cmp.Diff(row.want, play(m, newFeed(), row.spells)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Who raises a flood slowly teaches the service that much is usual, up to the floor of attack and no further.
func TestASlowRampIsAnAttackInTheEnd(t *testing.T) {
	m, f := NewMachine(defaults(), Normal, epoch(), Calm{}), newFeed()
	f.interval = time.Second
	rate := 100.0
	for state := Normal; state != Attack; state, _, _ = m.State() {
		if rate *= 1.01; rate > 10_100 {
			t.Fatalf("%.0f strangers/s are not an attack; usual are %.0f", rate, m.Calm().Strangers)
		}
		play(m, f, []spell{{lasts: 30 * time.Second, strangers: rate}})
	}
	if usual := m.Calm().Strangers; usual > 1000 {
		t.Errorf("usual became %.0f strangers/s", usual)
	}
	t.Logf("attack at %.0f strangers/s after %v", rate, f.at.Sub(epoch()))
}

// A service that got popular is elevated for some time, and normal again: it need not be told.
func TestPopularityBecomesUsual(t *testing.T) {
	m, f := NewMachine(defaults(), Normal, epoch(), Calm{Strangers: 10, Learned: calmMemory}), newFeed()
	f.interval = time.Second
	play(m, f, []spell{{lasts: 10 * time.Second, strangers: 600}})
	if state, _, _ := m.State(); state != Elevated {
		t.Fatalf("it is %s", state)
	}
	play(m, f, []spell{{lasts: time.Hour, strangers: 600}})
	if state, _, why := m.State(); state != Normal {
		t.Errorf("after an hour it is still %s: %s; usual %.0f", state, why, m.Calm().Strangers)
	}
}

func TestAnAttackTeachesNothing(t *testing.T) {
	m, f := NewMachine(defaults(), Normal, epoch(), Calm{}), newFeed()
	play(m, f, []spell{{lasts: time.Minute, strangers: 12}})
	before := m.Calm()
	play(m, f, []spell{{lasts: 10 * time.Minute, strangers: 100_000}})
	if diff := cmp.Diff(before, m.Calm()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// A machine that begins under attack stays so for as long as hold says, whatever it is used to.
func TestAStateOutlivesTheDaemon(t *testing.T) {
	for _, row := range []struct {
		name      string
		strangers float64
		want      string
	}{{"the flood goes on", 5000, ""}, {"it is over", 12, "30.25s elevated: for 30.0s below 200 new strangers/s"}} {
		m := NewMachine(defaults(), Attack, epoch(), Calm{Strangers: 12, Learned: calmMemory})
		moves := play(m, newFeed(), []spell{{lasts: 35 * time.Second, strangers: row.strangers}})
		if got := strings.Join(moves, "\n"); got != row.want {
			t.Errorf("%s: %q, not %q", row.name, got, row.want)
		}
	}
}

func TestCountersThatWereBegunAnewAreNoFlood(t *testing.T) {
	m, f := NewMachine(defaults(), Normal, epoch(), Calm{}), newFeed()
	f.sample.Strangers = 1e12
	play(m, f, []spell{{lasts: time.Minute, strangers: 12}})
	f.sample.Strangers = 5 // the maps were made anew
	if moves := play(m, f, []spell{{lasts: time.Minute, strangers: 12}}); len(moves) > 0 {
		t.Errorf("it moved: %v", moves)
	}
}

func TestSamplesAtOnceAreOne(t *testing.T) {
	m, f := NewMachine(defaults(), Normal, epoch(), Calm{}), newFeed()
	play(m, f, []spell{{lasts: time.Second, strangers: 12}})
	f.interval = time.Microsecond
	s := f.next(0, nil)
	s.Strangers += 5
	if o := m.observe(&s, nil); o.sampled || o.change != nil {
		t.Errorf("5 packets in a microsecond: %+v", o.change)
	}
	f.sample, f.interval = s, 250*time.Millisecond
	next := f.next(12, nil)
	if o := m.observe(&next, nil); !o.sampled || o.rates.strangers != 8 {
		t.Errorf("the next sample has %d strangers, not those 5 and its own 3", o.rates.strangers)
	}
}

func TestOffIsOff(t *testing.T) {
	th := defaults()
	th.Elevated.Strangers, th.Attack.Strangers = 0, 0
	m := NewMachine(th, Normal, epoch(), Calm{})
	if moves := play(m, newFeed(), []spell{{lasts: time.Minute, strangers: 1e6}}); len(moves) > 0 {
		t.Errorf("it moved: %v", moves)
	}
}
