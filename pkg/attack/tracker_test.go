// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func arena() Service {
	return Service{Name: "arena", Protocols: []string{"udp"}, Thresholds: defaults(), LinkBPS: 1e9}
}

func unknown(string) Known { return Known{} }

// watched is a tracker of arena that has seen a calm minute.
func watched() (*Tracker, *feed) {
	t, f := NewTracker(nil), newFeed()
	t.Configure([]Service{arena()}, defaults(), unknown, epoch())
	follow(t, f, time.Minute, 12, nil)
	return t, f
}

// follow sends samples and gathers the news.
func follow(t *Tracker, f *feed, lasts time.Duration, strangers float64, drops map[string]float64) (news []News) {
	for end := f.at.Add(lasts); f.at.Before(end); {
		if n := t.Observe("arena", f.next(strangers, drops)); n != (News{}) {
			news = append(news, n)
		}
	}
	return news
}

func TestAnAttackIsWrittenDown(t *testing.T) {
	tr, f := watched()
	began := f.at.Add(f.interval)
	news := follow(tr, f, 4*time.Second, 40_000, map[string]float64{"greylisted": 40_000})
	if len(news) != 1 || news[0].Start == nil || news[0].Change == nil || news[0].End != nil {
		t.Fatalf("the beginning is told as %+v", news)
	}
	news = follow(tr, f, 2*time.Second, 8000, map[string]float64{"greylisted": 8000, "fragment_refused": 100_000, "denied": 4})
	if len(news) != 0 {
		t.Fatalf("news in the middle: %+v", news)
	}
	last := f.at
	news = follow(tr, f, time.Minute, 12, nil)
	if len(news) != 2 || news[0].End == nil || news[1].Change == nil {
		t.Fatalf("the end is told as %+v", news)
	}
	want := Record{
		ID: "arena-20260131T120100Z", Service: "arena", Start: began, End: &last, Last: last, Kinds: []string{"fragments", "random-source udp"},
		PeakPPS: 108_000, PeakBPS: 108_000 * 64 * 8, LinkShare: new(0.055296),
		Reason: "40,000 new strangers/s, usual 12/s", Usual: 12, Strangers: 40_000*4 + 8000*2 + 30*12,
		Drops: map[string]uint64{"greylisted": 176_000, "fragment_refused": 200_000, "denied": 8}, WouldDrop: map[string]uint64{},
		Measures: []Measure{
			{"no fragments from strangers", 200_000}, {"greylist: a stranger has to come twice", 176_000}, {"deny and allow lists", 8},
		},
		Timeline: []Moment{
			{began, "attack: 40,000 new strangers/s, usual 12/s"}, {began.Add(4 * time.Second), "also fragments"},
			{last.Add(30 * time.Second), "gates are as usual again, for 30.0s below 200 new strangers/s"},
			{last.Add(30 * time.Second), "elevated again, for 30.0s below 200 new strangers/s"},
		},
	}
	if diff := cmp.Diff([]Record{want}, tr.Records()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, *news[0].End); diff != "" {
		t.Errorf("what is told (-want +got):\n%s", diff)
	}
}

func TestKindsFollowWhatDominates(t *testing.T) {
	for _, row := range []struct {
		drops map[string]float64
		want  string
	}{
		{map[string]float64{"reflection": 50_000, "greylisted": 1000}, "reflection"},
		{map[string]float64{"query_rate": 50_000, "answer_budget": 9000}, "query flood"},
		{map[string]float64{"stranger_rate": 50_000, "gate_refused": 20_000}, "fixed-source, bad first packets"},
		{map[string]float64{"impossible_source": 5000, "bad_udp": 7000}, "malformed packets, impossible sources"},
		{map[string]float64{"rate_sessions": 6000, "silent": 1}, "connection flood"},
		{map[string]float64{"no_session": 90_000}, "tcp out of state"},
		{map[string]float64{"strangers_full": 90_000, "no_route": 1e6}, "random-source udp"},
		{map[string]float64{"gate_refused": 9000, "denied": 100_000}, "listed sources"},
	} {
		tr, f := watched()
		follow(tr, f, time.Second, 12, row.drops)
		all := tr.Records()
		if len(all) != 1 {
			t.Errorf("%v: %d attacks", row.drops, len(all))
			continue
		}
		if got := strings.Join(all[0].Kinds, ", "); got != row.want {
			t.Errorf("%v: %q, not %q", row.drops, got, row.want)
		}
	}
}

// Reflections are said by whose answers they are, and players' losses are counted.
func TestReflectorsAndLosses(t *testing.T) {
	tr, f := watched()
	lost := uint64(7)
	f.sample.PlayerLoss, f.sample.Reflectors = &lost, map[string]uint64{"dns": 1000}
	follow(tr, f, time.Second, 12, nil)
	for range 4 {
		more := lost + 3
		lost = more
		f.sample.PlayerLoss = &more
		f.sample.Reflectors = map[string]uint64{
			"dns": f.sample.Reflectors["dns"] + 8000, "ntp": f.sample.Reflectors["ntp"] + 4000, "coap": f.sample.Reflectors["coap"] + 100,
		}
		follow(tr, f, 250*time.Millisecond, 12, map[string]float64{"reflection": 4 * 12_100})
	}
	all := tr.Records()
	if len(all) != 1 {
		t.Fatalf("%d attacks", len(all))
	}
	if got := strings.Join(all[0].Kinds, ", "); got != "reflection dns, reflection ntp" {
		t.Errorf("made of %q", got)
	}
	if all[0].PlayersLost == nil || *all[0].PlayersLost == 0 {
		t.Errorf("players lost %v", all[0].PlayersLost)
	}
}

// What outlived the daemon is the state, in the fast path, and the record, in the store.
func TestAnAttackGoesOnWithAnotherDaemon(t *testing.T) {
	tr, f := watched()
	follow(tr, f, 5*time.Second, 40_000, nil)
	kept := throughJSON(t, tr.Records())
	for _, row := range []struct {
		name  string
		state State
		kept  []Record
		count int
	}{
		{"it goes on", Attack, kept, 1},
		{"its gates are as usual", Normal, kept, 1},
		{"the store was lost", Attack, nil, 1},
		{"both", Normal, nil, 0},
	} {
		next := NewTracker(row.kept)
		later := f.at.Add(3 * time.Second)
		next.Configure([]Service{arena()}, defaults(), func(string) Known { return Known{Gates: row.state, Calm: Calm{Strangers: 12}} }, later)
		all := next.Records()
		if len(all) != row.count {
			t.Errorf("%s: %d attacks", row.name, len(all))
			continue
		}
		if row.count == 0 {
			continue
		}
		if all[0].End != nil {
			t.Errorf("%s: it ended at %v", row.name, all[0].End)
		}
		g := &feed{at: later, interval: f.interval, sample: f.sample}
		follow(next, g, 2*time.Second, 40_000, nil)
		after := next.Records()
		if len(after) != 1 || after[0].ID != all[0].ID || after[0].Strangers <= all[0].Strangers {
			t.Errorf("%s: then there were %+v", row.name, after)
		}
		if standing, _ := next.Standing("arena"); standing.State != Attack {
			t.Errorf("%s: it is %s", row.name, standing.State)
		}
	}
}

func throughJSON(t *testing.T, all []Record) (out []Record) {
	t.Helper()
	doc, err := json.Marshal(all)
	if err == nil {
		err = json.Unmarshal(doc, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// One that is over when the next daemon comes has ended when it was last seen.
func TestAnAttackEndsWhileNobodyLooks(t *testing.T) {
	tr, f := watched()
	follow(tr, f, 5*time.Second, 40_000, nil)
	last := f.at
	next := NewTracker(throughJSON(t, tr.Records()))
	f.at = f.at.Add(time.Hour)
	next.Configure([]Service{arena()}, defaults(), func(string) Known { return Known{Gates: Attack} }, f.at)
	follow(next, f, time.Minute, 12, nil)
	if all := next.Records(); len(all) != 1 || all[0].End == nil || !all[0].End.Equal(last) {
		t.Errorf("it is remembered as %+v", all)
	}
}

// Gates get stricter for strangers whom they could do something about, and for no others.
func TestGatesAreStrictOnlyWhileNeeded(t *testing.T) {
	for _, row := range []struct {
		name  string
		drops map[string]float64
		want  State
	}{
		{"believed strangers", nil, Attack},
		{"greylisted ones", map[string]float64{"greylisted": 20_000}, Attack},
		{"reflections", map[string]float64{"reflection": 19_990}, Normal},
		{"what no game sends", map[string]float64{"gate_refused": 19_900}, Normal},
		{"sources that send too much", map[string]float64{"stranger_rate": 10_000, "query_rate": 9950}, Normal},
		{"some of both", map[string]float64{"reflection": 19_600}, Elevated},
	} {
		tr, f := watched()
		f.lets = true
		news := follow(tr, f, 5*time.Second, 20_000, row.drops)
		standing, _ := tr.Standing("arena")
		if standing.State != Attack || standing.Gates != row.want {
			t.Errorf("%s: it is %s, its gates %s", row.name, standing.State, standing.Gates)
		}
		if told := news[0].Gates != nil; told != (row.want != Normal) {
			t.Errorf("%s: of gates is told %v", row.name, news[0].Gates)
		}
		follow(tr, f, 2*time.Minute, 12, nil)
		if standing, _ := tr.Standing("arena"); standing.State != Normal || standing.Gates != Normal {
			t.Errorf("%s: in the end it is %s, its gates %s", row.name, standing.State, standing.Gates)
		}
	}
}

// A service is never better off than its gates: what is usual may differ.
func TestGatesNeverRunAhead(t *testing.T) {
	tr, f := NewTracker(nil), newFeed()
	f.lets = true
	tr.Configure([]Service{arena()}, defaults(), unknown, epoch())
	follow(tr, f, 20*time.Minute, 190, map[string]float64{"reflection": 180})
	follow(tr, f, 5*time.Second, 1300, nil)
	standing, _ := tr.Standing("arena")
	if standing.Gates != Attack || standing.State != Attack {
		t.Errorf("it is %s, its gates %s", standing.State, standing.Gates)
	}
}

func TestAServiceThatGoesIsForgotten(t *testing.T) {
	tr, f := watched()
	follow(tr, f, time.Second, 40_000, nil)
	tr.Configure(nil, defaults(), unknown, f.at)
	if _, ok := tr.Standing("arena"); ok {
		t.Error("it stands")
	}
	if all := tr.Records(); len(all) != 1 || all[0].End == nil {
		t.Errorf("its attack: %+v", all)
	}
	if n := tr.Observe("arena", f.next(40_000, nil)); n != (News{}) {
		t.Errorf("news of it: %+v", n)
	}
}

func TestNewThresholdsHoldForTheNextSample(t *testing.T) {
	tr, f := watched()
	follow(tr, f, time.Second, 900, nil)
	s := arena()
	s.Thresholds.Attack.Strangers = 800
	tr.Configure([]Service{s}, defaults(), func(string) Known { t.Error("it is known"); return Known{} }, f.at)
	if news := follow(tr, f, f.interval, 900, nil); len(news) != 1 || news[0].Start == nil {
		t.Errorf("news: %+v", news)
	}
}

// The newest thousand stay, each under a name of its own though a clock stands still, and what is to be kept is told once.
func TestHistoryIsBounded(t *testing.T) {
	tr := NewTracker(nil)
	s := arena()
	s.Thresholds.Hold = time.Second
	tr.Configure([]Service{s}, defaults(), unknown, epoch())
	store := map[string]bool{}
	save := func() {
		records, gone := tr.Changed()
		for _, r := range records {
			store[r.ID] = true
		}
		for _, id := range gone {
			delete(store, id)
		}
	}
	f := newFeed()
	for n := range MaxRecords + 20 {
		f.interval = time.Second
		began := f.at
		for _, rate := range []float64{0, 5000, 0, 0} {
			sample := f.next(rate, nil)
			tr.Observe("arena", sample)
		}
		if n%2 == 0 {
			f.at = began
		}
		if n%7 == 0 {
			save()
		}
		tr.services["arena"].machine = NewMachine(s.Thresholds, Normal, epoch(), Calm{})
	}
	save()
	all := tr.Records()
	if len(all) != MaxRecords || len(store) != MaxRecords {
		t.Fatalf("%d are remembered, %d kept", len(all), len(store))
	}
	for _, r := range all {
		if !store[r.ID] {
			t.Errorf("%s is not kept", r.ID)
		}
	}
	if records, gone := tr.Changed(); len(records)+len(gone) > 0 {
		t.Errorf("told again: %d changed, %d gone", len(records), len(gone))
	}
}

// An attack that gets the name of a forgotten one, by a clock that went back, is not forgotten with it.
func TestANameThatComesBackIsKept(t *testing.T) {
	tr, f := watched()
	tr.book.gone = []string{"arena-20260131T120100Z", "older"}
	follow(tr, f, time.Second, 40_000, nil)
	records, gone := tr.Changed()
	if len(records) != 1 || records[0].ID != "arena-20260131T120100Z" || !slices.Equal(gone, []string{"older"}) {
		t.Errorf("to keep: %v, to forget: %v", records, gone)
	}
}

func TestWhatCouldNotBeKeptIsToldAgain(t *testing.T) {
	tr, f := watched()
	follow(tr, f, time.Second, 40_000, nil)
	records, gone := tr.Changed()
	tr.Unsaved(records, append(gone, "old-1"))
	again, gone := tr.Changed()
	if len(again) != 1 || !slices.Equal(gone, []string{"old-1"}) {
		t.Errorf("%d records, gone: %v", len(again), gone)
	}
}

func TestTimelinesAreBounded(t *testing.T) {
	r := Record{}
	for i := range 200 {
		r.say(epoch(), fmt.Sprint(i))
	}
	if n := len(r.Timeline); n != maxMoments || r.Timeline[0].Text != "0" || r.Timeline[n-1].Text != "199" {
		t.Errorf("%d moments, from %s to %s", n, r.Timeline[0].Text, r.Timeline[n-1].Text)
	}
}

// The estimate of who is in the greylist, against keys that are put into such an array.
func TestHeldEstimates(t *testing.T) {
	const size = 1 << 14
	for _, keys := range []uint64{100, 5000, 20_000} {
		bits := make([]bool, 24*size)
		x := uint64(88172645463325252)
		set := 0
		for range keys * 4 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			if i := x % uint64(len(bits)); !bits[i] {
				bits[i] = true
				set++
			}
		}
		// One generation of two: the other is empty.
		got := Held(float64(set)/float64(2*len(bits)), size)
		if got < keys*80/100 || got > keys*105/100 {
			t.Errorf("of %d keys %d are told", keys, got)
		}
	}
	if n := Held(1, size); n == 0 || n > 1<<21 {
		t.Errorf("a full one tells of %d", n)
	}
}

func TestReportsSayTheSame(t *testing.T) {
	tr, f := watched()
	follow(tr, f, time.Second, 40_000, map[string]float64{"greylisted": 39_000, "gate_refused": 9000})
	r := tr.Records()[0]
	for _, markdown := range []bool{false, true} {
		var b strings.Builder
		if err := r.Report(&b, markdown, f.at.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"It has gone on for 1m00s", "40,000 new strangers/s, usual 12/s", "random-source udp, bad first packets", "39,000", "greylist: a stranger has to come twice",
		} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("markdown %t: no %q in\n%s", markdown, want, &b)
			}
		}
		if strings.HasPrefix(b.String(), "# ") != markdown {
			t.Errorf("markdown %t: it begins %q", markdown, b.String()[:20])
		}
	}
}
