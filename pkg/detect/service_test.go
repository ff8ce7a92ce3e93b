// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// rate has new sessions come to service 1 for a while, so many a second, of sources and lengths by number.
func (r *rig) rate(perSecond int, long time.Duration, make func(i int) (from string, o Observation)) {
	step := time.Second / time.Duration(perSecond)
	for i, end := 0, r.now+long; r.now < end; i++ {
		from, o := make(i)
		r.see(from, o)
		r.now += step
	}
}

func (r *rig) signed() []string {
	var all []string
	for _, s := range r.signs {
		all = append(all, fmt.Sprint(s.Kind, " ", s.On))
	}
	r.signs = nil
	return all
}

func wide(i int) string { return fmt.Sprintf("203.%d.%d.7", i*7%251, i*13%241) }

func players(i int) (string, Observation) {
	return wide(i), Observation{Kind: Attempt, Proof: Strong, Length: uint16(40 + i*31%60)}
}

// A surge comes at once, holds while it goes up and down, and goes when it was away for a while.
func TestSurgeHasHysteresis(t *testing.T) {
	r := newRig(t)
	r.rate(5, 5*time.Minute, players)
	if got := r.signed(); got != nil {
		t.Fatalf("in calm: %v", got)
	}
	start := r.now
	r.rate(200, 10*time.Second, players)
	if len(r.signs) == 0 || time.Duration(r.signs[0].At)-start > 3*time.Second {
		t.Errorf("seen %+v", r.signs)
	}
	if text := r.signs[0].Text(); !strings.Contains(text, "machines or players") {
		t.Errorf("it says %q", text)
	}
	for range 5 { // up and down
		r.rate(8, 10*time.Second, players)
		r.rate(100, 3*time.Second, players)
	}
	if got := r.signed(); !slices.Equal(got, []string{"surge true"}) {
		t.Errorf("signs %v", got)
	}
	r.rate(5, 90*time.Second, players)
	if got := r.signed(); !slices.Equal(got, []string{"surge false"}) {
		t.Errorf("signs %v", got)
	}
	if len(r.made) != 0 {
		t.Errorf("a surge blocked %+v", r.made)
	}
}

// Minutes of flood don't become usual.
func TestASurgeTeachesLittle(t *testing.T) {
	r := newRig(t)
	r.rate(5, 5*time.Minute, players)
	r.rate(200, 4*time.Minute, players)
	if got := r.signed(); !slices.Equal(got, []string{"surge true"}) {
		t.Errorf("signs %v", got)
	}
	if v := r.service(1); v.usual > 25 {
		t.Errorf("usual are %.1f a second", v.usual)
	}
}

// A forecast of a rush makes it usual.
func TestAForecastSurgeIsNone(t *testing.T) {
	r := newRig(t)
	r.rate(5, 5*time.Minute, players)
	r.Expect(1, 80)
	r.rate(200, 30*time.Second, players)
	if got := r.signed(); got != nil {
		t.Errorf("signs %v", got)
	}
}

// Forged sources: many more networks than usual, packets of one size, and handshakes that never end.
func TestSignsOfForgery(t *testing.T) {
	r := newRig(t)
	few := func(i int) (string, Observation) {
		_, o := players(i)
		return fmt.Sprintf("198.51.%d.7", i%8), Observation{Kind: o.Kind, Proof: Strong, Length: o.Length}
	}
	r.rate(40, 3*time.Minute, few)
	r.signs = nil
	r.rate(400, 30*time.Second, func(i int) (string, Observation) {
		if i%2 == 0 {
			return wide(i), Observation{Kind: SYN, Length: 40}
		}
		return wide(i), Observation{Kind: Refused, Reason: "greylisted", Length: 48}
	})
	got := r.signed()
	for _, want := range []string{"entropy true", "uniform_sizes true", "syn_without_ack true", "surge true"} {
		if !slices.Contains(got, want) {
			t.Errorf("signs %v: want %s", got, want)
		}
	}
	r.rate(40, 3*time.Minute, few)
	got = r.signed()
	for _, want := range []string{"entropy false", "uniform_sizes false", "syn_without_ack false", "surge false"} {
		if !slices.Contains(got, want) {
			t.Errorf("signs %v: want %s", got, want)
		}
	}
}

// Days without anybody are taken in at once, and teach that nobody comes.
func TestALongSilence(t *testing.T) {
	r := newRig(t)
	r.rate(100, 5*time.Minute, players)
	r.now += 100 * time.Hour
	begin := time.Now()
	r.rate(5, time.Minute, players)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	r.signs = nil
	r.rate(100, 10*time.Second, players)
	if got := r.signed(); !slices.Equal(got, []string{"surge true"}) {
		t.Errorf("signs %v", got)
	}
}
