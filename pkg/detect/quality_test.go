// SPDX-License-Identifier: Apache-2.0

package detect_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"parry/pkg/detect"
	"parry/pkg/detect/mix"
)

// The split was made before anything was tuned: dev's seeds and figures are those that the policy was tried on; held's are other seeds and
// other figures for every family, and were first looked at when it stood. What was changed later (a bug, two bounds, all found by tests of
// single rules) was not for their sake. The families are the same in both, and are this project's own idea of play and of attack: the figures
// say how well the detector does against that, and no more.
type half struct {
	name                  string
	seeds                 []uint64
	flood, robots         mix.Bounds // between connections
	slow, loose, clock    mix.Bounds
	looseNoise            float64 // percent
	joins, carpet, spread mix.Bounds
	joiners               int // of one network
	reconnects            []time.Duration
	noise                 int // forged packets a second
	part                  int // of who there is: one in so many attacks, and plays
}

// whole tells whether all of it is to be played (make quality-detect), or as much as a test has time for with -race.
func whole() bool { return os.Getenv("PARRY_QUALITY") == "full" }

func halves() (dev, held half) {
	s, ms := time.Second, time.Millisecond
	dev = half{
		name: "dev", seeds: []uint64{1, 2, 3}, flood: mix.Bounds{From: 50 * ms, To: 800 * ms}, robots: mix.Bounds{From: s, To: 5 * s},
		slow: mix.Bounds{From: 6 * s, To: 10 * s}, loose: mix.Bounds{From: 5 * s, To: 9 * s}, looseNoise: 30, clock: mix.Bounds{From: 36 * s, To: 44 * s},
		joins: mix.Bounds{From: 60 * s, To: 150 * s}, carpet: mix.Bounds{From: 2 * s, To: 6 * s}, spread: mix.Bounds{From: 30 * s, To: 80 * s},
		joiners: 128, reconnects: []time.Duration{10 * s, 15 * s, 30 * s}, noise: 300,
	}
	held = half{
		name: "held-out", seeds: []uint64{101, 102, 103}, flood: mix.Bounds{From: 20 * ms, To: 1200 * ms}, robots: mix.Bounds{From: 700 * ms, To: 5300 * ms},
		slow: mix.Bounds{From: 9 * s, To: 16 * s}, loose: mix.Bounds{From: 6 * s, To: 12 * s}, looseNoise: 50, clock: mix.Bounds{From: 34 * s, To: 50 * s},
		joins: mix.Bounds{From: 45 * s, To: 200 * s}, carpet: mix.Bounds{From: 3 * s, To: 9 * s}, spread: mix.Bounds{From: 40 * s, To: 110 * s},
		joiners: 64, reconnects: []time.Duration{7 * s, 12 * s, 20 * s, 60 * s}, noise: 500,
	}
	for _, h := range []*half{&dev, &held} {
		if h.part = 1; !whole() {
			h.part, h.noise, h.seeds = 3, h.noise/10, h.seeds[:1]
		}
	}
	return dev, held
}

// edge is what a decision does in a world: who is blocked gets nothing more.
type edge struct {
	w       *mix.World
	d       *detect.Detector
	until   map[netip.Prefix]time.Duration
	made    []detect.Decision
	reasons map[string]int
}

func newEdge(t testing.TB, w *mix.World) *edge {
	e := &edge{w: w, until: map[netip.Prefix]time.Duration{}, reasons: map[string]int{}}
	p := detect.Default()
	p.Seed = 1
	d, err := detect.New(p, detect.Handler{Block: e.block})
	if err != nil {
		t.Fatal(err)
	}
	e.d = d
	w.Observe, w.Denied = d.Observe, e.denied
	return e
}

func (e *edge) block(v *detect.Decision) {
	e.made = append(e.made, *v)
	e.reasons[v.Reason.String()+"/"+v.Scope.String()]++
	if v.Scope == detect.Whole {
		e.until[v.Prefix] = e.w.Now + v.For
	}
	e.w.Blocks(v)
}

func (e *edge) denied(a netip.Addr) bool {
	host, net := 32, 24
	if a.Is6() {
		host, net = 64, 48
	}
	for _, bits := range []int{host, net} {
		if p, _ := a.Prefix(bits); e.w.Now < e.until[p] {
			return true
		}
	}
	return false
}

// play adds honest people of all kinds to a world, some of them shared by none but the hour's test.
func play(w *mix.World, h *half, people int) {
	strong, all := w.Of(mix.TCP, mix.Cookie, mix.Proxy), w.Services
	people /= h.part
	for range people {
		a := w.Alone("player", false)
		w.At(w.Between(0, 5*time.Minute), func() { w.Player(a, all, 15*time.Minute) })
	}
	for i := range max(people/20, 4) {
		w.At(w.Between(0, 8*time.Minute), func() {
			w.Dropper(w.Alone("bad line", false), mix.Pick(w, all), mix.Bounds{From: 8 * time.Second, To: 70 * time.Second}, 20)
		})
		w.At(w.Between(0, 8*time.Minute), func() {
			w.AutoReconnect(w.Alone("auto-reconnect", false), mix.Pick(w, strong), h.reconnects[i%len(h.reconnects)], 20)
		})
		w.At(w.Between(0, 8*time.Minute), func() { w.Hopper(w.Alone("hopper", false), all, 8) })
		w.At(w.Between(0, 8*time.Minute), func() { w.Masher(w.Alone("masher", false), mix.Pick(w, all)) })
		w.At(w.Between(0, 8*time.Minute), func() {
			w.Mobile("mobile", w.Network(false), mix.Pick(w, all), mix.Bounds{From: 20 * time.Second, To: 3 * time.Minute}, 10)
		})
	}
	for i := range 3 {
		w.At(0, func() { w.Monitor(w.Alone("monitor", false), time.Duration(10*(i+1))*time.Second) })
	}
	w.At(0, func() { w.Shared("cgnat", 200, 6*time.Minute, all) })
	w.At(2*time.Minute, func() { w.Shared("cgnat at once", 200, 10*time.Second, all) })
	w.At(time.Minute, func() { w.Shared("café", 20, 5*time.Minute, all) })
	w.At(3*time.Minute, func() { w.Crowd("tournament", 300, time.Minute, all[0], false) })
	w.At(4*time.Minute, func() { w.Crowd("lan party", 60, 20*time.Second, all[1], true) })
	carrier := w.Network(false) // many people with bad lines, whose addresses change within one network
	for range 30 {
		w.At(w.Between(0, 5*time.Minute), func() {
			w.Mobile("carrier", carrier, mix.Pick(w, all), mix.Bounds{From: 4 * time.Second, To: 90 * time.Second}, 8)
		})
	}
	all[25].Hangs = true
	w.At(time.Minute, func() { w.Crowd("lan at a hung server", 40, 30*time.Second, all[25], true) })
	w.At(6*time.Minute, func() { w.Restart(all[0], 40*time.Second) })
}

// attack adds attackers of all kinds.
func attack(w *mix.World, h *half) {
	strong, soon := w.Of(mix.TCP, mix.Cookie, mix.Proxy), time.Minute
	none := netip.Prefix{}
	s := time.Second
	short := mix.Bounds{From: 100 * time.Millisecond, To: 900 * time.Millisecond}
	w.Bots("flood", 60/h.part, soon, none, mix.Bot{Every: h.flood, Noise: 60, Stay: short, By: detect.ByClient, To: strong})
	w.Bots("robots", 60/h.part, soon, none, mix.Bot{Every: h.robots, Stay: short, By: detect.ByClient, To: strong})
	w.Bots("robots, weak", 30/h.part, soon, none, mix.Bot{Every: h.robots, Stay: short, By: detect.ByIdle, To: w.Of(mix.Plain)})
	w.Bots("slow", 100/h.part, soon, none, mix.Bot{Every: h.slow, Noise: 0.3, Stay: mix.Bounds{From: 2 * s, To: 5 * s}, By: detect.ByClient, To: strong})
	w.Bots("slow, loose", 60/h.part, soon, none, mix.Bot{Every: h.loose, Noise: h.looseNoise, Stay: mix.Bounds{From: s, To: 4 * s}, By: detect.ByClient, To: strong})
	w.Bots("slow, silent", 40/h.part, soon, none, mix.Bot{Every: h.slow, Noise: 0.5, Stay: mix.Bounds{From: s, To: 5 * s}, By: detect.ByIdle, To: w.Of(mix.Cookie)})
	w.Bots("slow, one by one", 60/h.part, soon, none, mix.Bot{Every: mix.Bounds{From: 50 * time.Millisecond, To: 300 * time.Millisecond}, Noise: 5, Stay: mix.Bounds{From: 8 * s, To: 8*s + 50*time.Millisecond}, By: detect.ByIdle, To: strong, Chained: true})
	w.Bots("play by the clock", 40/h.part, soon, none, mix.Bot{Every: h.clock, Noise: 0.2, Stay: mix.Bounds{From: 31 * s, To: 33 * s}, Plays: true, By: detect.ByClient, To: strong})
	w.Bots("/24 joins", h.joiners, 3*soon, w.Network(false), mix.Bot{Every: h.joins, Noise: 40, Stay: mix.Bounds{From: 2 * s, To: 10 * s}, By: detect.ByClient, To: strong[:1]})
	w.Bots("/48 joins", h.joiners, 3*soon, w.Network(true), mix.Bot{Every: h.joins, Noise: 40, Stay: mix.Bounds{From: 2 * s, To: 10 * s}, By: detect.ByClient, To: strong[1:2]})
	w.Bots("carpet", 50/h.part, soon, none, mix.Bot{Every: h.carpet, Noise: 50, Stay: mix.Bounds{From: s, To: 3 * s}, By: detect.ByClient, To: strong, Wander: true})
	w.Bots("carpet of a /24", 100, 2*soon, w.Network(false), mix.Bot{Every: h.spread, Noise: 50, Stay: mix.Bounds{From: s, To: 5 * s}, By: detect.ByClient, To: strong, Wander: true})
	shared := w.Network(false) // where somebody plays
	w.Bots("/24 with a player", 60, soon, shared, mix.Bot{Every: h.joins, Noise: 40, Stay: mix.Bounds{From: 2 * s, To: 10 * s}, By: detect.ByClient, To: strong[:4]})
	w.At(0, func() { w.Player(w.Actor("player among bots", false, mix.In(shared, 222)), strong, time.Hour) })
	w.At(0, func() { w.Noise(h.noise, w.Services[0]); w.Noise(h.noise, w.Services[1]) })
}

// forge has robots' packets sent in honest players' names.
func forge(w *mix.World) {
	for _, s := range w.Services[:4] {
		for range 5 {
			plays, new := w.Alone("forged, plays", false), w.Alone("forged, never seen", false)
			w.At(0, func() { w.Player(plays, []*mix.Service{s}, 20*time.Minute) })
			w.At(2*time.Minute, func() { w.Forge(plays, s, 2*time.Second, 150); w.Forge(new, s, 2*time.Second, 150) })
		}
	}
}

type row struct {
	family         string
	attacks        bool
	sources, hit   int
	asked          int
	wronged        int // were asked though they had played
	delays         []time.Duration
	tries, refused int
}

func table(t *testing.T, w *mix.World) (rows []*row) {
	by := map[string]*row{}
	for _, a := range w.Actors {
		if a.First < 0 {
			continue
		}
		r := by[a.Family]
		if r == nil {
			r = &row{family: a.Family, attacks: a.Attacks}
			by[a.Family] = r
			rows = append(rows, r)
		}
		r.sources++
		r.tries += a.Tries
		r.refused += a.Refused
		at := a.Blocked
		if a.Asked != 0 && (at == 0 || a.Asked < at) {
			r.asked++
			if !a.Attacks && a.Played != 0 && a.Played < a.Asked {
				r.wronged++
			}
			if a.Family == "robots, weak" {
				at = a.Asked
			}
		}
		if at != 0 {
			r.hit++
			r.delays = append(r.delays, max(at-a.First, 0))
		}
	}
	slices.SortStableFunc(rows, func(a, b *row) int { return cmp.Compare(b2i(b.attacks), b2i(a.attacks)) })
	t.Logf("%-20s %-7s %8s %8s %7s %9s %9s %9s %9s", "family", "label", "sources", "blocked", "share", "asked 1st", "p50", "p90", "refused")
	for _, r := range rows {
		label := "play"
		if r.attacks {
			label = "attack"
		}
		slices.Sort(r.delays)
		t.Logf("%-20s %-7s %8d %8d %6.1f%% %9d %9s %9s %8.0f%%", r.family, label, r.sources, r.hit, 100*float64(r.hit)/float64(r.sources), r.asked,
			quantile(r.delays, 0.5), quantile(r.delays, 0.9), 100*float64(r.refused)/float64(max(r.tries, 1)))
	}
	return rows
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func quantile(d []time.Duration, q float64) string {
	if len(d) == 0 {
		return "-"
	}
	return fmt.Sprint(d[int(q*float64(len(d)-1)+0.5)].Round(100 * time.Millisecond))
}

// Attack and play at once: who attacks is blocked, nobody else is. Ten minutes of each seed, on both halves of the split.
func TestQuality(t *testing.T) {
	dev, held := halves()
	for _, h := range []half{dev, held} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			var tp, fp, fn int
			all := mix.New(0) // only collects actors
			events := 0
			for _, seed := range h.seeds {
				w := mix.New(seed)
				e := newEdge(t, w)
				play(w, &h, 240)
				attack(w, &h)
				forge(w)
				w.Run(10 * time.Minute)
				for _, v := range e.made {
					if v.Scope == detect.Whole && len(v.Facts) == 0 || v.Text() == "" {
						t.Errorf("a block of %v without evidence", v.Prefix)
					}
				}
				t.Logf("seed %d: %d observations, %d decisions %v, %+v", seed, w.Events, len(e.made), e.reasons, e.d.Counts())
				events += w.Events
				all.Actors = append(all.Actors, w.Actors...)
			}
			for _, r := range table(t, all) {
				if r.attacks {
					tp, fn = tp+r.hit, fn+r.sources-r.hit
				} else {
					fp += r.hit
					if r.hit > 0 {
						t.Errorf("%s: %d honest sources are blocked", r.family, r.hit)
					}
					if r.wronged > 0 || r.asked > 0 && !strings.HasPrefix(r.family, "forged") {
						t.Errorf("%s: %d honest sources must prove themselves, %d of them have played", r.family, r.asked, r.wronged)
					}
				}
			}
			precision, recall := float64(tp)/float64(max(tp+fp, 1)), float64(tp)/float64(max(tp+fn, 1))
			t.Logf("%s: precision %.4f (at least 0.99), recall %.4f (at least 0.95), %d attackers, %d honest blocked, %d observations",
				h.name, precision, recall, tp+fn, fp, events)
			if precision < 0.99 || recall < 0.95 {
				t.Error("detection is not what it is to be")
			}
		})
	}
}

// An hour of honest play, with all that looks like an attack and is none, blocks nobody and asks nobody to prove himself.
func TestQualityOfAnHourOfPlay(t *testing.T) {
	t.Parallel()
	dev, held := halves()
	for _, h := range []half{dev, held} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			w := mix.New(h.seeds[0])
			e := newEdge(t, w)
			play(w, &h, 300)
			for i := range 100 {
				w.At(time.Duration(i)*time.Second, func() {
					w.Lister(w.Alone("lister", false), mix.Bounds{From: 20 * time.Second, To: 90 * time.Second})
				})
			}
			for i := range 5 { // tournaments, restarts and people who come and go all hour long
				at := time.Duration(10*i+8) * time.Minute
				s := w.Services[4*i]
				w.At(at, func() { w.Crowd("tournament", 250, 45*time.Second, s, i%2 == 0) })
				w.At(at+5*time.Minute, func() { w.Restart(s, 90*time.Second) })
				w.At(at, func() {
					w.Dropper(w.Alone("bad line", false), s, mix.Bounds{From: 5 * time.Second, To: 70 * time.Second}, 60)
				})
				w.At(at, func() { w.AutoReconnect(w.Alone("auto-reconnect", false), s, h.reconnects[i%len(h.reconnects)], 100) })
			}
			w.Run(time.Hour)
			table(t, w)
			t.Logf("%s: %d observations, %+v", h.name, w.Events, e.d.Counts())
			for _, v := range e.made {
				t.Errorf("%v is blocked (%v) as %v: %s", v.Prefix, v.Scope, v.Reason, v.Text())
			}
		})
	}
}
