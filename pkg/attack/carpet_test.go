// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// town is a tracker of many services, which feeds all of them at once.
type town struct {
	t     *Tracker
	feeds []*feed
	names []string
	news  []string
}

// newTown has services s0, s1 and so on, each in the prefix that of says.
func newTown(n int, of func(i int) string) *town {
	w := &town{t: NewTracker(nil)}
	var all []Service
	for i := range n {
		s := Service{Name: fmt.Sprint("s", i), Protocols: []string{"udp"}, Thresholds: defaults()}
		if p := of(i); p != "" {
			s.Prefixes = []netip.Prefix{netip.MustParsePrefix(p)}
		}
		all = append(all, s)
		w.names, w.feeds = append(w.names, s.Name), append(w.feeds, newFeed())
	}
	w.t.Configure(all, defaults(), unknown, epoch())
	w.pass(time.Minute, func(int) float64 { return 4 }, nil)
	return w
}

// pass feeds each service its rate of strangers for a time; from, of sources, are packets a second.
func (w *town) pass(lasts time.Duration, rate func(i int) float64, from map[string]float64) {
	for end := w.feeds[0].at.Add(lasts); w.feeds[0].at.Before(end); {
		now := w.feeds[0].at.Add(w.feeds[0].interval)
		for i, f := range w.feeds {
			n := w.t.Observe(w.names[i], f.next(rate(i), map[string]float64{"greylisted": rate(i)}))
			if n.Start != nil {
				w.say("attack on %s", n.Start.Service)
			}
			if n.End != nil {
				w.say("end on %s", n.End.Service)
			}
		}
		var sources []Source
		for p, perSecond := range from {
			sources = append(sources, Source{Prefix: netip.MustParsePrefix(p), Packets: uint64(perSecond * w.feeds[0].interval.Seconds()), Services: w.names})
		}
		for _, n := range w.t.Carpets(now, sources) {
			switch {
			case n.Start != nil:
				w.say("carpet on %s: %s", n.Start.Target(), n.Start.Reason)
			case n.End != nil:
				w.say("end on %s", n.End.Target())
			}
		}
	}
}

func (w *town) say(format string, args ...any) { w.news = append(w.news, fmt.Sprintf(format, args...)) }

func (w *town) attacked() (n int) {
	for _, name := range w.names {
		if s, _ := w.t.Standing(name); s.State == Attack && s.Gates == Attack {
			n++
		}
	}
	return n
}

func all(rate float64) func(int) float64 { return func(int) float64 { return rate } }

func TestCarpets(t *testing.T) {
	one := func(int) string { return "203.0.113.0/24" }
	for _, row := range []struct {
		name  string
		n     int
		of    func(int) string
		rate  func(int) float64
		from  map[string]float64
		want  []string
		state int // how many services are attacked meanwhile
	}{
		{
			"spread over a prefix", 40, one, all(100), nil,
			[]string{"carpet on 40 services of 203.0.113.0/24: 4,000 new strangers/s, usual 160/s over 203.0.113.0/24, spread over 40 services", "end on 40 services of 203.0.113.0/24"}, 40,
		},
		{"what all are used to is nothing", 40, one, all(8), nil, nil, 0},
		{"one service's own attack is its own", 40, one, func(i int) float64 {
			if i == 0 {
				return 4000
			}
			return 4
		}, nil, []string{"attack on s0", "end on s0"}, 1},
		{"two services are no carpet", 40, one, func(i int) float64 {
			if i < 2 {
				return 900
			}
			return 4
		}, nil, nil, 0},
		{"some of a prefix's services", 40, one, func(i int) float64 {
			if i < 10 {
				return 180
			}
			return 4
		}, nil, []string{"carpet on 10 services of 203.0.113.0/24: 1,920 new strangers/s, usual 160/s over 203.0.113.0/24, spread over 10 services", "end on 10 services of 203.0.113.0/24"}, 10},
		{"over many prefixes, by nobody in particular", 40, func(i int) string { return fmt.Sprintf("203.0.%d.0/24", i) }, all(100), nil, nil, 0},
		{
			"over many prefixes, by the sources of one", 40, func(i int) string { return fmt.Sprintf("203.0.%d.0/24", i) }, all(100),
			map[string]float64{"198.51.100.0/24": 3600},
			[]string{"carpet on 40 services, from 198.51.100.0/24: 3,600 new strangers/s, usual 0/s from 198.51.100.0/24, spread over 40 services", "end on 40 services, from 198.51.100.0/24"}, 40,
		},
		{
			"by the sources of a /16", 40, func(i int) string { return fmt.Sprintf("203.0.%d.0/24", i) }, all(100),
			map[string]float64{"198.51.1.0/24": 600, "198.51.2.0/24": 600, "198.51.3.0/24": 600, "198.51.4.0/24": 600},
			[]string{"carpet on 40 services, from 198.51.0.0/16: 2,400 new strangers/s, usual 0/s from 198.51.0.0/16, spread over 40 services", "end on 40 services, from 198.51.0.0/16"}, 40,
		},
		{"by many sources, each little", 40, func(i int) string { return fmt.Sprintf("203.0.%d.0/24", i) }, all(100), map[string]float64{"198.51.1.0/24": 100, "192.0.2.0/24": 100}, nil, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newTown(row.n, row.of)
			w.pass(10*time.Second, row.rate, row.from)
			if got := w.attacked(); got != row.state {
				t.Errorf("%d services are attacked, not %d", got, row.state)
			}
			w.pass(3*time.Minute, all(4), nil)
			if diff := cmp.Diff(row.want, w.news); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := w.attacked(); got != 0 {
				t.Errorf("%d services are attacked still", got)
			}
			if n := len(w.t.comers); n != 0 {
				t.Errorf("%d prefixes of sources are followed still", n)
			}
		})
	}
}

// It is one attack in the books, of its own kind, with the counts of all its services; and found by each of them.
func TestACarpetIsOneRecord(t *testing.T) {
	w := newTown(20, func(int) string { return "2001:db8:1::/48" })
	w.pass(10*time.Second, all(150), nil)
	w.pass(5*time.Second, func(i int) float64 {
		if i == 3 {
			return 2000 // more of the same: no attack of its own
		}
		return 150
	}, nil)
	all := w.t.Records()
	if len(all) != 1 {
		t.Fatalf("%d records: %v", len(all), w.news)
	}
	r := &all[0]
	if r.Kinds[0] != "carpet" || len(r.Services) != 20 || !r.On("s7") || r.On("s99") || r.Service != "" || r.Drops["greylisted"] < 20*150*9 || !strings.HasPrefix(r.ID, "carpet-2001-db8-1--_48-") {
		t.Errorf("%+v", r)
	}
	var b strings.Builder
	if err := r.Report(&b, true, w.feeds[0].at); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Attack on 20 services of 2001:db8:1::/48", "carpet", "s0, s1, s10"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	w.t.Configure(nil, defaults(), unknown, w.feeds[0].at)
	if r := w.t.Records()[0]; r.End == nil {
		t.Error("it goes on, without services")
	}
}

// Made-up prefixes can't have more followed than there is room for.
func TestCarpetsAreBounded(t *testing.T) {
	w := newTown(5, func(int) string { return "" })
	var from []Source
	for i := range 4 * maxCarpets {
		from = append(from, Source{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 24), Packets: 100_000, Services: w.names})
	}
	w.t.Carpets(w.feeds[0].at, from)
	if n := len(w.t.comers); n != maxCarpets {
		t.Errorf("%d are followed", n)
	}
}
