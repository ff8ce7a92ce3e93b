// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/detect"
	"parry/pkg/event"
	"parry/pkg/sample"
	"parry/pkg/state"
)

// ward is a fast path that only remembers what it is told.
type ward struct {
	denied map[loader.EntryKey]loader.Entry
	doubts map[netip.Prefix]time.Duration
	full   bool
}

func (w *ward) AddDoubt(d loader.Doubt) error           { w.doubts[d.Prefix] = d.For; return nil }
func (w *ward) DelDoubt(p netip.Prefix, _ uint32) error { delete(w.doubts, p); return nil }
func (w *ward) SweepDoubts() (int, error)               { return len(w.doubts), nil }
func (w *ward) Recheck() error                          { return nil }
func (w *ward) Get(_ loader.List, k loader.EntryKey) (loader.Entry, bool, error) {
	e, ok := w.denied[k]
	return e, ok, nil
}

func (w *ward) Deny(all []loader.Entry) error {
	if w.full {
		return fmt.Errorf("%w: a test", loader.ErrFull)
	}
	for _, e := range all {
		w.denied[e.EntryKey] = e
	}
	return nil
}

// watchman is a detection over a ward, in a world whose clock stands where the test puts it.
type watchman struct {
	*detection
	*ward
	at     time.Time
	faults []string
}

func newWatchman(t *testing.T, store state.Store, mode string) *watchman {
	t.Helper()
	m := &watchman{ward: &ward{denied: map[loader.EntryKey]loader.Entry{}, doubts: map[netip.Prefix]time.Duration{}}, at: time.Now()}
	d, err := newDetection(&detection{
		edge: m.ward, lists: m.ward, store: store, events: event.New(256, time.Now), log: slog.New(slog.DiscardHandler),
		fault: func(what string, err error) {
			if err != nil {
				m.faults = append(m.faults, what)
			}
		},
		reasons: []string{"none", "unproven_rate"}, now: func() time.Time { return m.at }, clock: func() uint64 { return uint64(m.at.UnixNano()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Detect.Mode = mode
	c.Services = []config.Service{{Name: "arena", Game: "quake3", Detect: true, Protocol: []string{"udp"}}}
	if err := d.configure(c, []string{"", "arena"}); err != nil {
		t.Fatal(err)
	}
	m.detection = d
	return m
}

// robot has a source begin and prove sessions by a clock until something is decided, and carries that out.
func (m *watchman) robot(a netip.Addr) {
	for i := range uint16(12) {
		m.at = m.at.Add(400 * time.Millisecond)
		m.Packet(&sample.Packet{
			Time: uint64(m.at.UnixNano()), Client: netip.AddrPortFrom(a, 1000+i), Front: netip.MustParseAddrPort("203.0.113.10:27960"), Service: 1, Proto: 17,
			First: true, Step: sample.StepBegan | sample.StepStrong,
		})
	}
	m.settle()
}

func (m *watchman) settle() {
	for {
		select {
		case v := <-m.verdicts:
			m.carryOut(m.more(v))
		default:
			return
		}
	}
}

var robotAddr = netip.MustParseAddr("198.51.100.7")

func robotKey() loader.EntryKey { return loader.EntryKey{Prefix: netip.PrefixFrom(robotAddr, 32)} }

func TestDecisionsBecomeBlocks(t *testing.T) {
	m := newWatchman(t, nil, config.DetectBlock)
	m.robot(robotAddr)
	e, ok := m.denied[robotKey()]
	if !ok || e.Source != loader.FromDetect || e.Reason != "risk" || e.Confidence != 100 || e.Expires.Sub(e.Added) != 10*time.Minute {
		t.Fatalf("blocked %+v", m.denied)
	}
	why := m.book.of(robotAddr)
	if len(why) != 1 || len(why[0].Facts) != 3 || !why[0].Acted || why[0].Text == "" {
		t.Errorf("because of %+v", why)
	}
	if w, ok := m.standing(robotAddr); !ok || !w.Blocked {
		t.Errorf("stands at %+v", w)
	}
}

// What a person said stays: his entries, and what he took off.
func TestPeopleBeatTheDetector(t *testing.T) {
	m := newWatchman(t, nil, config.DetectBlock)
	mine := loader.Entry{EntryKey: robotKey(), Source: loader.FromCLI, Reason: "griefing"}
	m.denied[robotKey()] = mine
	m.robot(robotAddr)
	if m.denied[robotKey()] != mine || len(m.book.of(robotAddr)) != 0 {
		t.Errorf("a person's entry became %+v", m.denied[robotKey()])
	}
	other := netip.MustParseAddr("198.51.101.8")
	key := loader.EntryKey{Prefix: netip.PrefixFrom(other, 32)}
	m.robot(other)
	if _, ok := m.denied[key]; !ok {
		t.Fatal("not blocked")
	}
	delete(m.denied, key)
	m.lifted([]loader.EntryKey{key})
	m.at = m.at.Add(61 * time.Second)
	m.robot(other)
	if _, ok := m.denied[key]; ok || !m.book.of(other)[0].Lifted {
		t.Error("what a person took off is blocked again")
	}
	m.at = m.at.Add(11 * time.Minute) // as long as it would have held
	m.robot(other)
	if _, ok := m.denied[key]; !ok {
		t.Error("and for ever after it may do as it likes")
	}
}

func TestADetectorThatOnlyWatches(t *testing.T) {
	m := newWatchman(t, nil, config.DetectWatch)
	m.robot(robotAddr)
	if len(m.denied) != 0 || len(m.book.of(robotAddr)) != 1 || m.book.of(robotAddr)[0].Acted {
		t.Errorf("blocked %v because of %+v", m.denied, m.book.of(robotAddr))
	}
	off := newWatchman(t, nil, config.Off)
	off.robot(robotAddr)
	if len(off.book.of(robotAddr)) != 0 {
		t.Error("off, it decides")
	}
}

// A list that is full, and more verdicts than may wait, are said and counted; the reader goes on.
func TestWhatCantBeCarriedOutIsSaid(t *testing.T) {
	m := newWatchman(t, nil, config.DetectBlock)
	m.full = true
	m.robot(robotAddr)
	if len(m.faults) == 0 || len(m.book.of(robotAddr)) != 0 {
		t.Errorf("of a full list is said %v, and written down %+v", m.faults, m.book.of(robotAddr))
	}
	for range maxVerdicts + 5 {
		m.tell(verdict{sign: &detect.Sign{}})
	}
	if n := m.lost.Load(); n != 5 {
		t.Errorf("%d are counted as lost, want 5", n)
	}
}

// Of what anybody may have forged comes a doubt, which a person can take back as well; what the detector never said is nobody's business of its.
func TestDoubtsCanBeTakenBack(t *testing.T) {
	m := newWatchman(t, nil, config.DetectBlock)
	flood := func() {
		for range 60 {
			m.at = m.at.Add(100 * time.Millisecond)
			m.Packet(&sample.Packet{
				Time: uint64(m.at.UnixNano()), Client: netip.AddrPortFrom(robotAddr, 1000), Front: netip.MustParseAddrPort("203.0.113.10:27960"), Service: 1, Proto: 17,
				Reason: 1, Every: 100,
			})
		}
		m.settle()
	}
	flood()
	key := robotKey().Prefix
	if m.doubts[key] != time.Minute {
		t.Fatalf("doubted are %v", m.doubts)
	}
	m.lifted([]loader.EntryKey{{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, robotKey()})
	if len(m.doubts) != 0 || len(m.faults) != 0 {
		t.Errorf("taken back, doubted are %v, and said is %v", m.doubts, m.faults)
	}
	m.at = m.at.Add(20 * time.Second)
	flood()
	if len(m.doubts) != 0 {
		t.Error("it is doubted again within its minute")
	}
}

// An attack of many sources has a few events of their own; all others share one.
func TestManyDecisionsAreToldInOne(t *testing.T) {
	m := newWatchman(t, nil, config.DetectBlock)
	for i := range 3 * toldOneByOne {
		m.robot(netip.AddrFrom4([4]byte{198, 51, byte(i), 7}))
	}
	m.tellRest()
	var texts []string
	for ev, err := range api.ReadEvents(t.Context(), m.events, api.EventQuery{Types: []string{event.BlockAdd}}) {
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, ev.Text)
	}
	if n := len(texts); n != toldOneByOne+1 || !strings.HasPrefix(texts[n-1], fmt.Sprintf("%d more sources", 2*toldOneByOne)) {
		t.Errorf("%d events, the last: %q", n, texts[n-1])
	}
	if len(m.denied) != 3*toldOneByOne {
		t.Errorf("%d are blocked", len(m.denied))
	}
}

// Offences, evidence and what people lifted outlive the daemon; what is kept and can't be read is left out.
func TestDetectionIsKept(t *testing.T) {
	store := hubOf(t, t.TempDir()).Local()
	m := newWatchman(t, store, config.DetectBlock)
	other := netip.MustParseAddr("198.51.101.8")
	m.robot(robotAddr)
	m.robot(other)
	m.lifted([]loader.EntryKey{{Prefix: netip.PrefixFrom(other, 32)}})
	m.save(t.Context())
	err := store.Apply(t.Context(), bucketEvidence, []state.Change{{Key: "0/zz", Value: []byte(`{"prefix": 7}`)}})
	if err != nil {
		t.Fatal(err)
	}
	next := newWatchman(t, store, config.DetectBlock)
	next.at = m.at
	next.recall(t.Context())
	if why := next.book.of(robotAddr); len(why) != 1 || len(why[0].Facts) != 3 {
		t.Errorf("why is not known any more: %+v", why)
	}
	if w, _ := next.standing(robotAddr); !w.Blocked || w.Offences != 1 {
		t.Errorf("stands at %+v", w)
	}
	if !next.book.isLifted(loader.EntryKey{Prefix: netip.PrefixFrom(other, 32)}, next.at) {
		t.Error("what was lifted is forgotten")
	}
	if len(next.faults) != 1 {
		t.Errorf("said of what can't be read: %v", next.faults)
	}
}

// The book forgets what is over first, and never holds more than it may.
func TestEvidenceIsBounded(t *testing.T) {
	b := newEvidenceBook()
	now := time.Now()
	for i := range maxEvidence + 100 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		b.add(api.Evidence{Prefix: netip.PrefixFrom(a, 32), Expires: now.Add(time.Duration(i) * time.Second), DelayMS: float64(i)}, 0)
	}
	if len(b.all) > maxEvidence || len(b.of(netip.MustParseAddr("10.0.0.0"))) != 0 || len(b.delays) > delaysKept {
		t.Errorf("%d are kept, %d delays", len(b.all), len(b.delays))
	}
	if ms, n := b.delay(0.5); n != maxEvidence+100 || ms < float64(maxEvidence)-delaysKept {
		t.Errorf("half took %g ms, of %d", ms, n)
	}
	b.tidy(now.Add(48 * time.Hour))
	if len(b.all) != 0 {
		t.Errorf("%d are kept for ever", len(b.all))
	}
	if err := b.load([]state.Item{{Key: "x", Value: []byte("{")}}, now); err == nil {
		t.Error("what is no evidence is taken")
	}
}
