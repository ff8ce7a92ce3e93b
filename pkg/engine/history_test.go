// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/config"
	"parry/pkg/event"
	"parry/pkg/history"
	"parry/pkg/roster"
	"parry/pkg/sample"
)

const minute = uint64(time.Minute)

// writingDown is a historian of a folder, who knows no more of a session than its tuple; faults are what it said.
func writingDown(t testing.TB, sessions uint32) (h *historian, faults *[]string) {
	t.Helper()
	c := config.Default()
	c.State, c.Sizes.Sessions = t.TempDir(), sessions
	faults = new([]string)
	h = newHistorian(c, roster.New(int(sessions)), slog.New(slog.DiscardHandler), time.Now())
	h.bounds = func() history.Bounds { return history.Bounds{Keep: time.Hour, MaxBytes: 1 << 30} }
	h.fault = func(what string, err error) { *faults = append(*faults, what+": "+err.Error()) }
	h.witness = func(all []ended) (records []history.Record) {
		for i := range all {
			records = append(records, (&naming{services: []string{"", "arena"}}).record(&all[i], time.Now().UnixNano()))
		}
		return records
	}
	t.Cleanup(func() {
		if book := h.reading(); book != nil {
			if err := book.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return h, faults
}

// over is the nth session's end: it lasted a minute.
func over(n int) *sample.End {
	return &sample.End{
		Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 40000), Front: netip.MustParseAddrPort("203.0.113.10:27960"),
		Server: netip.MustParseAddrPort("10.0.1.11:27960"), Service: 1, Proto: 17, By: "idle", Began: minute, Last: 2 * minute, Proof: string(loader.ProofLasting),
		Up: sample.Way{Packets: 100, Bytes: 4000}, Down: sample.Way{Packets: 50, Bytes: 2000}, ID: "x",
	}
}

func wantCounts(t *testing.T, h *historian, want api.HistoryCounts) {
	t.Helper()
	got := h.state()
	got.Bytes, got.Segments = 0, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// What strangers and browsers of servers do is counted; a flood of brief sessions is thinned out; who played is written down.
func TestWhatIsWrittenDown(t *testing.T) {
	h, faults := writingDown(t, 1000)
	query, unproven := over(1), over(2)
	query.Query, unproven.Proof = true, string(loader.ProofNone)
	h.Ended(query)
	h.Ended(unproven)
	for n := range 12_000 {
		brief := over(n)
		brief.Last = brief.Began + uint64(time.Second)
		h.Ended(brief)
	}
	for n := range 500 {
		h.Ended(over(n))
	}
	h.flush()
	got := h.state()
	if got.PassedOver < 1900 || got.PassedOver > 2000 || got.Records != 12_500-got.PassedOver {
		t.Errorf("%+v", got)
	}
	got.PassedOver, got.Records = 0, 0
	if got.Queries != 1 || got.Unproven != 1 || got.Lost != 0 || len(*faults) > 0 {
		t.Errorf("%+v, %q", got, *faults)
	}
}

// While the disk stands still the reader of the ring goes on, and what can't wait is counted.
func TestTheReaderNeverWaits(t *testing.T) {
	h, _ := writingDown(t, 300_000)
	stuck, free := make(chan struct{}), make(chan struct{})
	inner := h.witness
	h.witness = func(all []ended) []history.Record { close(stuck); <-free; return inner(all) }
	h.Ended(over(0))
	done := make(chan struct{})
	go func() { h.flush(); close(done) }()
	<-stuck
	for n := range 200_000 { // two seconds of the most that is to be borne
		h.Ended(over(n))
	}
	if n := h.state().Lost; n != 200_000-historyQueue {
		t.Errorf("%d are lost", n)
	}
	close(free)
	<-done
	h.witness = inner
	h.flush()
	wantCounts(t, h, api.HistoryCounts{Records: historyQueue + 1, Lost: 200_000 - historyQueue})
}

// A folder that can't be used costs the records and is said once; when it can be, that is said, too.
func TestHistoryWithoutAFolder(t *testing.T) {
	h, faults := writingDown(t, 1000)
	var said bytes.Buffer
	h.log = slog.New(slog.NewTextHandler(&said, nil))
	if err := os.WriteFile(h.dir, []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.begin()
	for range 3 {
		h.Ended(over(1))
		h.flush()
		h.opened = time.Time{}
	}
	if len(*faults) != 1 || h.keeps() {
		t.Errorf("it said %q", *faults)
	}
	wantCounts(t, h, api.HistoryCounts{Lost: 3})
	if err := os.Remove(h.dir); err != nil {
		t.Fatal(err)
	}
	h.opened = time.Time{}
	h.Ended(over(1))
	h.flush()
	wantCounts(t, h, api.HistoryCounts{Records: 1, Lost: 3})
	if len(*faults) != 1 || !strings.Contains(said.String(), "kept again") || !h.keeps() {
		t.Errorf("it said %q and %q", *faults, said.String())
	}
	if files, err := filepath.Glob(filepath.Join(h.dir, "*")); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}

// Who switched it off has nothing written.
func TestNoHistory(t *testing.T) {
	h, faults := writingDown(t, 1000)
	h.bounds = func() history.Bounds { return history.Bounds{MaxBytes: 1 << 20} }
	h.begin()
	h.Ended(over(1))
	h.flush()
	if _, err := os.Stat(h.dir); !errors.Is(err, os.ErrNotExist) || len(*faults) > 0 || h.keeps() {
		t.Errorf("%v, %q", err, *faults)
	}
}

// Drops of a session that there is, and none of a stranger's, are kept in mind until it ends.
func TestDropsAreRemembered(t *testing.T) {
	h, _ := writingDown(t, 1000)
	e := over(1)
	p := sample.Packet{Client: e.Client, Front: e.Front, Proto: e.Proto, Reason: 10, Time: e.Last + uint64(2*time.Second)}
	stranger, shadow := p, p
	stranger.First, shadow.Shadow = true, true
	for i, x := range []struct {
		p    sample.Packet
		want uint8
	}{{stranger, 0}, {shadow, 0}, {p, 10}} {
		h.Packet(&x.p)
		h.Ended(e)
		if got := h.waiting[len(h.waiting)-1].dropped; got != x.want {
			t.Errorf("%d: dropped for %d, want %d", i, got, x.want)
		}
	}
}

// An event matters to an address if it is about an entry that holds it, one of its services, or all of the edge.
func TestEventsAboutAnAddress(t *testing.T) {
	me := []netip.Addr{netip.MustParseAddr("198.51.100.7")}
	entries := func(prefix string) map[string]any {
		return map[string]any{"first": []blocklist.Entry{{Prefix: netip.MustParsePrefix(prefix)}}}
	}
	for i, x := range []struct {
		e    event.Event
		want bool
	}{
		{event.Event{Type: event.BlockAdd, Data: entries("198.51.100.0/24")}, true},
		{event.Event{Type: event.BlockAdd, Data: entries("198.51.101.0/24")}, false},
		{event.Event{Type: event.AllowDel, Data: map[string]any{"first": []string{"198.51.100.7"}}}, true},
		{event.Event{Type: event.BlockDel, Data: map[string]any{"first": []string{"198.51.100.8", "nonsense"}}}, false},
		{event.Event{Type: event.BlockDel}, false},
		{event.Event{Type: event.AttackStart, Service: "arena"}, true},
		{event.Event{Type: event.AttackStart, Service: "craft"}, false},
		{event.Event{Type: event.HopDown}, true},
		{event.Event{Type: event.Lost}, false},
	} {
		if got := about(&x.e, me, []string{"arena"}); got != x.want {
			t.Errorf("%d, %s: %v", i, x.e.Type, got)
		}
	}
}

// What the ring's reader pays for an end: 100,000 a second are to leave it most of its time.
func BenchmarkEnded(b *testing.B) {
	h, _ := writingDown(b, 1<<24)
	ends := make([]*sample.End, 1<<16)
	for n := range ends {
		ends[n] = over(n)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%historyQueue == 0 {
			h.waiting = h.waiting[:0]
		}
		h.Ended(ends[n%len(ends)])
	}
}

// What the writer pays for a record, the disk's own time included.
func BenchmarkWrittenDown(b *testing.B) {
	h, _ := writingDown(b, 1<<24)
	for n := 0; b.Loop(); n++ {
		h.Ended(over(n))
		if n%1000 == 999 {
			h.flush()
		}
	}
	h.flush()
}
