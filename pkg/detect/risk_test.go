// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// rig is a detector with all that it decided.
type rig struct {
	*Detector
	made  []Decision
	signs []Sign
	now   time.Duration
}

func newRig(t testing.TB, change ...func(*Policy)) *rig {
	t.Helper()
	r := &rig{now: time.Hour}
	p := Default()
	p.Seed = 42
	for _, c := range change {
		c(&p)
	}
	d, err := New(p, Handler{Block: func(v *Decision) { r.made = append(r.made, *v) }, Sign: func(s *Sign) { r.signs = append(r.signs, *s) }})
	if err != nil {
		t.Fatal(err)
	}
	r.Detector = d
	return r
}

const victim = "198.51.100.7"

// see observes something of a source now.
func (r *rig) see(from string, o Observation) {
	o.Time, o.Source = uint64(r.now), netip.MustParseAddr(from)
	if o.Service == 0 {
		o.Service, o.Port, o.Game = 1, 27960, "quake3"
	}
	r.Observe(&o)
}

// connect has a source make n connections that prove its address, some time apart.
func (r *rig) connect(from string, n int, apart ...time.Duration) {
	for i := range n {
		r.see(from, Observation{Kind: Attempt, Proof: Strong})
		r.now += apart[i%len(apart)]
	}
}

func (r *rig) want(t *testing.T, all ...string) {
	t.Helper()
	got := make([]string, 0, len(r.made))
	for _, v := range r.made {
		got = append(got, fmt.Sprintf("%v %v %v %.2f", v.Prefix, v.Reason, v.Scope, v.Confidence))
	}
	if !slices.Equal(got, all) {
		t.Errorf("decided:\n%q\nwant:\n%q", got, all)
	}
	r.made = nil
}

// The specification's figures, each at its bound and one beyond.
func TestRiskIsTheSpecifications(t *testing.T) {
	second := time.Second
	for _, row := range []struct {
		name  string
		n     int
		apart []time.Duration
		games []string
		risk  float64
		block bool
	}{
		{"three, even", 3, []time.Duration{second}, nil, 0, false},
		{"four, even", 4, []time.Duration{second}, nil, 0.3, false},
		{"four, uneven by a tenth", 4, []time.Duration{second, 1100 * time.Millisecond}, nil, 0, false},
		{"four, even when rounded", 4, []time.Duration{second, 1040 * time.Millisecond}, nil, 0.3, false},
		{"five to one game", 5, []time.Duration{second, 2 * second}, nil, 0, false},
		{"six to one game", 6, []time.Duration{second, 2 * second}, nil, 0.3, false},
		{"six, even", 6, []time.Duration{second}, nil, 0.6, false},
		{"ten, even", 10, []time.Duration{second}, nil, 0.6, false},
		{"eleven, even", 11, []time.Duration{second}, nil, 1, true},
		{"eleven, uneven", 11, []time.Duration{second, 2 * second}, nil, 0.7, false},
		{"eleven, even, to three games", 11, []time.Duration{second}, []string{"a", "b", "c"}, 0.7, false},
		{"eleven within the window", 11, []time.Duration{5900 * time.Millisecond}, nil, 1, true},
		{"eleven, the first too long ago", 11, []time.Duration{6 * second}, nil, 0.6, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			last := 0.0
			for i := range row.n {
				o := Observation{Kind: Attempt, Proof: Strong}
				if row.games != nil {
					o.Service, o.Game = uint16(i%len(row.games))+1, row.games[i%len(row.games)]
				}
				if w, _ := r.Explain(netip.MustParseAddr(victim)); w.Risk > 0 {
					last = w.Risk
				}
				r.see(victim, o)
				if i < row.n-1 {
					r.now += row.apart[i%len(row.apart)]
				}
			}
			if w, _ := r.Explain(netip.MustParseAddr(victim)); !row.block && math.Abs(w.Risk-row.risk) > 1e-9 {
				t.Errorf("risk %v, want %v: %+v", w.Risk, row.risk, w.Factors)
			}
			if !row.block {
				r.want(t)
				return
			}
			if len(r.made) != 1 || r.made[0].Confidence != row.risk || r.made[0].For != 10*time.Minute || len(r.made[0].Facts) != 3 {
				t.Fatalf("decided %+v after a risk of %v", r.made, last)
			}
			r.want(t, victim+"/32 risk all 1.00")
		})
	}
}

// Refused connections count, queries don't, nor what was the edge's or a server's fault, nor a retry from the same port.
func TestWhatIsAConnection(t *testing.T) {
	for _, row := range []struct {
		name  string
		o     Observation
		fixed bool
		want  int
	}{
		{"an attempt", Observation{Kind: Attempt, Proof: Strong}, false, 11},
		{"refused", Observation{Kind: Refused, Proof: Strong, Reason: "gate_refused"}, false, 11},
		{"refused by a limit", Observation{Kind: Refused, Proof: Strong, Reason: "rate_sessions"}, false, 11},
		{"refused for want of a server", Observation{Kind: Refused, Proof: Strong, Reason: "no_server"}, false, 0},
		{"refused as blocked already", Observation{Kind: Refused, Proof: Strong, Reason: "denied"}, false, 0},
		{"a query", Observation{Kind: Query, Proof: Strong}, false, 0},
		{"a SYN", Observation{Kind: SYN}, false, 0},
		{"a dropped packet", Observation{Kind: Dropped, Proof: Strong, Reason: "rate_packets"}, false, 0},
		{"the same port again", Observation{Kind: Attempt, Proof: Strong, Client: 4000}, true, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, func(p *Policy) { p.Risk.Above = 1 })
			for i := range 11 {
				o := row.o
				if !row.fixed {
					o.Client = uint16(5000 + i)
				}
				r.see(victim, o)
				r.now += time.Second
			}
			if w, _ := r.Explain(netip.MustParseAddr(victim)); w.Connections != row.want {
				t.Errorf("%d connections, want %d", w.Connections, row.want)
			}
		})
	}
}

// naive is the specification's risk in the words it is written in, over all connections there ever were.
func naive(p *RiskPolicy, times []int64, games []int, now int64) float64 {
	var in []int64
	perGame := map[int]int{}
	for i, at := range times {
		if at > now-int64(p.Window) {
			in = append(in, at)
			perGame[games[i]]++
		}
	}
	risk, most := 0.0, 0
	for _, n := range perGame {
		most = max(most, n)
	}
	if len(in) > p.Connections {
		risk += p.ConnectionsWeight
	}
	if most > p.GameConnections {
		risk += p.GameWeight
	}
	same := len(in) > p.Robotic
	for i := 2; i < len(in); i++ {
		a := math.Round(float64(in[i]-in[i-1]) / float64(p.Round))
		b := math.Round(float64(in[i-1]-in[i-2]) / float64(p.Round))
		same = same && a == b
	}
	if same {
		risk += p.RobotWeight
	}
	return min(risk, 1)
}

// Whatever the sequence, the score kept in a few words is the one that all connections give.
func TestRiskAgreesWithAllThatEverWas(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := newRig(t, func(p *Policy) { p.Risk.Above, p.Shared = 1, 1000 })
		h := r.comer(1)
		var times []int64
		var games []int
		base := time.Duration(200+rnd.IntN(9000)) * time.Millisecond
		kinds := 1 + rnd.IntN(2)
		now := started
		for i := range 200 {
			switch step := base; {
			case rnd.IntN(12) == 0:
				now += int64(time.Duration(rnd.IntN(90)) * time.Second)
			case rnd.IntN(30) == 0:
				now += int64(step) + int64(rnd.IntN(400))*int64(time.Millisecond)
			default:
				now += int64(step)
			}
			game := rnd.IntN(kinds)
			c, _ := h.begin(now, uint16(game+1), 0, 0)
			c.state |= proven
			h.counts.turn(now, r.slot)
			h.counts.all[h.counts.slot%slots]++
			h.counts.proven[h.counts.slot%slots]++
			h.all.add(now, int64(r.p.Risk.Round))
			h.proven.add(now, int64(r.p.Risk.Round))
			times, games = append(times, now), append(games, game)
			want := naive(&r.p.Risk, times, games, now)
			for _, sure := range []bool{true, false} {
				if got := r.score(h, now, sure).risk; math.Abs(got-want) > 1e-9 {
					t.Fatalf("seed %d, connection %d: risk %v, want %v", seed, i, got, want)
				}
			}
		}
	}
}

// A source that is flagged is refused with the specification's confidence, and its attempts meanwhile are counted, not judged.
func TestFlaggedSourcesAreRefused(t *testing.T) {
	r := newRig(t)
	r.connect(victim, 11, time.Second)
	r.want(t, victim+"/32 risk all 1.00")
	if v := r.Judge(netip.MustParseAddr(victim)); !v.Refuse || v.Confidence != 0.9 || v.Reason != Risk {
		t.Errorf("judged %+v", v)
	}
	if v := r.Judge(netip.MustParseAddr("198.51.100.8")); v.Refuse {
		t.Errorf("a neighbour is judged %+v", v)
	}
	for range 30 {
		r.see(victim, Observation{Kind: Refused, Reason: "denied"})
		r.now += time.Second
	}
	r.want(t)
	w, _ := r.Explain(netip.MustParseAddr(victim))
	if !w.Blocked || w.Reason != "risk" || w.Refused != 30 || w.Offences != 1 || w.Left <= 9*time.Minute || w.Left > 10*time.Minute {
		t.Errorf("it stands as %+v", w)
	}
	r.now += 11 * time.Minute
	r.see("198.51.100.200", Observation{Kind: Query})
	if v := r.Judge(netip.MustParseAddr(victim)); v.Refuse {
		t.Error("a block that expired still holds")
	}
}

// Repeated offences block longer, up to a bound, and time without one takes them back.
func TestOffencesGrowAndDecay(t *testing.T) {
	r := newRig(t)
	var got []time.Duration
	for range 6 {
		r.connect(victim, 11, time.Second)
		v := r.made[len(r.made)-1]
		got = append(got, v.For)
		r.now += v.For + time.Minute
	}
	want := []time.Duration{10 * time.Minute, 40 * time.Minute, 160 * time.Minute, 640 * time.Minute, 24 * time.Hour, 24 * time.Hour}
	if !slices.Equal(got, want) {
		t.Errorf("blocked for %v, want %v", got, want)
	}
	r.now += 12*time.Hour + time.Minute // two are forgiven
	r.connect(victim, 11, time.Second)
	if v := r.made[len(r.made)-1]; v.Level != 5 {
		t.Errorf("the next is offence %d, want 5", v.Level)
	}
	r.now += 400 * time.Hour
	r.connect(victim, 11, time.Second)
	if v := r.made[len(r.made)-1]; v.Level != 1 || v.For != 10*time.Minute {
		t.Errorf("after weeks it is offence %d, for %v", v.Level, v.For)
	}
	if text := r.made[1].Text(); text == "" || r.made[1].Level != 2 {
		t.Errorf("the second says %q", text)
	}
}

func TestPardonForgets(t *testing.T) {
	r := newRig(t)
	r.connect(victim, 11, time.Second)
	r.Pardon(netip.MustParsePrefix(victim + "/32"))
	if v := r.Judge(netip.MustParseAddr(victim)); v.Refuse {
		t.Error("it is still refused")
	}
	r.made = nil
	r.connect(victim, 10, time.Second)
	r.want(t)
	r.connect(victim, 1, time.Second)
	r.want(t, victim+"/32 risk all 1.00")
	r.Pardon(netip.MustParsePrefix("192.0.2.0/24")) // of whom nothing is known
	r.Pardon(netip.Prefix{})
}

// An IPv6 source is its /64; IPv4 within IPv6 is IPv4; what nobody can have is nobody's.
func TestSources(t *testing.T) {
	r := newRig(t)
	for i := range 11 {
		r.see(fmt.Sprintf("2001:db8:1:2::%x", i+1), Observation{Kind: Attempt, Proof: Strong})
		r.see(cmp.Or("::ffff:"+victim), Observation{Kind: Attempt, Proof: Strong})
		r.now += time.Second
	}
	r.want(t, "2001:db8:1:2::/64 risk all 1.00", victim+"/32 risk all 1.00")
	r.see("::1", Observation{Kind: Attempt})
	r.see("0.0.0.0", Observation{Kind: Attempt})
	r.Observe(&Observation{Kind: Attempt})
	if n := r.Counts().Nobody; n != 3 {
		t.Errorf("%d observations of nobody", n)
	}
}
