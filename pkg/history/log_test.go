// SPDX-License-Identifier: Apache-2.0

package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

const month = 30 * 24 * time.Hour

func bounds() Bounds { return Bounds{Keep: month, MaxBytes: 1 << 30} }

// open opens a folder and gives what it says.
func open(t *testing.T, dir string, b Bounds, now time.Time) (*Log, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	l, err := Open(dir, b, now, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, l.Close()) })
	return l, &said
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// folder is one in memory, where there is such a place: each of these tests makes many files, and has them synced.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "history")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// record is the nth session: it lasts a minute and ends n seconds after the epoch.
func record(n int) Record {
	end := epoch.Add(time.Duration(n) * time.Second)
	name := fmt.Sprintf("player%d", n%7)
	return Record{
		ID: fmt.Sprintf("%016x", n), Service: []string{"arena", "craft"}[n%2], Protocol: "udp",
		Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 40000), Edge: netip.MustParseAddrPort("203.0.113.10:27960"),
		Server: netip.MustParseAddrPort("10.0.1.11:27960"), ServerName: "eu-1", Game: "quake3", Player: &name, Start: end.Add(-time.Minute), End: end, DurationMS: 36_000,
		EndedBy: []string{"idle", "client", "killed"}[n%3], Proof: "lasting", Up: &Way{Packets: uint64(n), Bytes: 40}, Down: &Way{Packets: 1, Bytes: 2},
	}
}

func records(from, to int) []Record {
	var all []Record
	for n := from; n < to; n++ {
		all = append(all, record(n))
	}
	return all
}

// find gives the numbers of what a filter picks.
func find(t *testing.T, l *Log, f Filter) []int {
	t.Helper()
	got := []int{}
	for r, err := range l.Find(t.Context(), f) {
		must(t, err)
		var n int
		_, err := fmt.Sscanf(r.ID, "%x", &n)
		must(t, err)
		if diff := cmp.Diff(record(n), r, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Fatalf("record %d (-want +got):\n%s", n, diff)
		}
		got = append(got, n)
	}
	return got
}

// down counts from the last to the first.
func down(from, to int) []int {
	all := []int{}
	for n := to - 1; n >= from; n-- {
		all = append(all, n)
	}
	return all
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	all, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, f := range all {
		names = append(names, f.Name())
	}
	return names
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestWhatWasWrittenIsThereAgain(t *testing.T) {
	dir := filepath.Join(folder(t), "made", "here")
	l, _ := open(t, dir, bounds(), epoch)
	same(t, "nothing", []int{}, find(t, l, Filter{}))
	must(t, l.Append(records(0, 10), epoch), l.Append(records(10, 20), epoch))
	same(t, "while it is written", down(0, 20), find(t, l, Filter{}))
	must(t, l.Close())
	same(t, "files", 1, len(files(t, dir)))
	again, said := open(t, dir, bounds(), epoch)
	must(t, again.Append(records(20, 30), epoch))
	same(t, "of both", down(0, 30), find(t, again, Filter{}))
	same(t, "a few", []int{29, 28}, find(t, again, Filter{Limit: 2}))
	if said.Len() > 0 {
		t.Errorf("it said %s", said)
	}
	if _, err := Open(dir, bounds(), epoch, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrInUse) {
		t.Errorf("a second one: %v", err)
	}
}

func TestFilters(t *testing.T) {
	l, _ := open(t, folder(t), bounds(), epoch)
	must(t, l.Append(records(0, 300), epoch))
	six := record(300)
	six.Client = netip.MustParseAddrPort("[2001:db8::7]:40000")
	odd := "Ünïcode\"<"
	six.Player, six.Service = &odd, "ünd \"so\""
	must(t, l.Append([]Record{six}, epoch))
	where := func(pick func(n int) bool) []int {
		return slices.DeleteFunc(down(0, 300), func(n int) bool { return !pick(n) })
	}
	for _, x := range []struct {
		name string
		f    Filter
		want []int
	}{
		{"id", Filter{ID: "0000000000000011"}, []int{17}},
		{"service", Filter{Service: "craft", Limit: 3}, []int{299, 297, 295}},
		{"an address", Filter{Client: netip.MustParsePrefix("198.51.0.7/32")}, []int{7}},
		{"a prefix", Filter{Client: netip.MustParsePrefix("198.51.1.0/24")}, down(256, 300)},
		{"server by name", Filter{Server: "EU-1", Limit: 1, Until: epoch.Add(100 * time.Second)}, []int{160}},
		{"no such server", Filter{Server: "10.0.1.12"}, []int{}},
		{"game", Filter{Game: "rust"}, []int{}},
		{"player", Filter{Player: "PLAYER3"}, where(func(n int) bool { return n%7 == 3 })},
		{"ended by", Filter{EndedBy: "killed"}, where(func(n int) bool { return n%3 == 2 })},
		{"since", Filter{Since: epoch.Add(297 * time.Second)}, []int{299, 298, 297}},
		{"until, by their beginning", Filter{Until: epoch.Add(-57 * time.Second)}, []int{3, 2, 1, 0}},
		{"two at once", Filter{Service: "arena", Player: "player0", Until: epoch}, []int{56, 42, 28, 14, 0}},
	} {
		x.f.Until = cmpTime(x.f.Until)
		got := []int{}
		for r, err := range l.Find(t.Context(), x.f) {
			must(t, err)
			if r.ID != six.ID {
				var n int
				_, err := fmt.Sscanf(r.ID, "%x", &n)
				must(t, err)
				got = append(got, n)
			}
		}
		same(t, x.name, x.want, got)
	}
	for _, f := range []Filter{{Client: netip.MustParsePrefix("2001:db8::7/128")}, {Client: netip.MustParsePrefix("2001:db8::/64")}, {Player: odd}, {Service: six.Service}} {
		all, err := collect(l, f)
		if err != nil || len(all) != 1 || *all[0].Player != odd {
			t.Errorf("%+v: %v, %v", f, all, err)
		}
	}
}

// cmpTime keeps the odd record at the end of the time out of what asks for a time.
func cmpTime(until time.Time) time.Time {
	if until.IsZero() {
		return epoch.Add(299 * time.Second)
	}
	return until
}

func collect(l *Log, f Filter) (all []Record, err error) {
	for r, err := range l.Find(context.Background(), f) {
		if err != nil {
			return all, err
		}
		all = append(all, r)
	}
	return all, nil
}

func TestWhatIsTooOldGoes(t *testing.T) {
	dir := folder(t)
	l, _ := open(t, dir, bounds(), epoch)
	day := 24 * time.Hour
	for i := range 40 { // a segment a day
		now := epoch.Add(time.Duration(i) * day)
		r := record(i)
		r.Start, r.End = now.Add(-time.Minute), now
		must(t, l.Append([]Record{r}, now), l.Tend(bounds(), now.Add(7*time.Hour)))
	}
	all, err := collect(l, Filter{})
	must(t, err)
	if n := len(all); n != 30 || l.Stats().Removed != 10 || l.Stats().Segments != 30 {
		t.Errorf("%d are left after 40 days, %+v", n, l.Stats())
	}
	b := bounds()
	b.Keep = 7*day + 8*time.Hour
	must(t, l.Tend(b, epoch.Add(39*day+7*time.Hour)))
	if all, err = collect(l, Filter{}); err != nil || len(all) != 8 {
		t.Errorf("%d are left of a week, %v", len(all), err)
	}
}

func TestBytesAreBounded(t *testing.T) {
	dir := folder(t)
	b := Bounds{Keep: month, MaxBytes: 96 << 10}
	l, _ := open(t, dir, b, epoch)
	n := 0
	for range 60 {
		must(t, l.Append(records(n, n+100), epoch), l.Tend(b, epoch))
		n += 100
		if s := l.Stats(); s.Bytes > b.MaxBytes || s.Bytes != onDisk(t, dir) {
			t.Fatalf("%+v after %d records, %d bytes are on disk", s, n, onDisk(t, dir))
		}
	}
	got := find(t, l, Filter{})
	if len(got) < 500 || !slices.Equal(got, down(n-len(got), n)) {
		t.Errorf("%d are left, the last one is %d", len(got), got[0])
	}
}

func onDisk(t *testing.T, dir string) (n int64) {
	t.Helper()
	for _, name := range files(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		n += info.Size()
	}
	return n
}

// A clock that is set back, or for a while far ahead, removes nothing that is younger than it may be, and everything can be asked for.
func TestTheClockJumps(t *testing.T) {
	l, _ := open(t, folder(t), bounds(), epoch)
	at := func(n int, now time.Time) {
		t.Helper()
		r := record(n)
		r.Start, r.End = now.Add(-time.Minute), now
		must(t, l.Append([]Record{r}, now), l.Tend(bounds(), now))
	}
	at(1, epoch)
	at(2, epoch.Add(-24*time.Hour)) // set back a day
	at(3, epoch.Add(-23*time.Hour))
	all, err := collect(l, Filter{})
	if err != nil || len(all) != 3 || all[0].ID != record(3).ID {
		t.Errorf("%d are told, %v", len(all), err)
	}
	all, err = collect(l, Filter{Since: epoch.Add(-time.Hour)})
	if err != nil || len(all) != 1 || all[0].ID != record(1).ID {
		t.Errorf("of the last hour: %d, %v", len(all), err)
	}
	at(4, time.Unix(0, 0)) // a machine without a clock
	if all, err = collect(l, Filter{}); err != nil || len(all) != 4 {
		t.Errorf("%d are told, %v", len(all), err)
	}
}

func TestAskedWhileItWrites(t *testing.T) {
	b := Bounds{Keep: month, MaxBytes: 128 << 10}
	l, _ := open(t, folder(t), b, epoch)
	const all = 6000
	var readers sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				last := -1
				for r, err := range l.Find(context.Background(), Filter{}) {
					var n int
					if _, bad := fmt.Sscanf(r.ID, "%x", &n); err != nil || bad != nil || last >= 0 && n != last-1 {
						t.Errorf("%d follows %d: %v", n, last, err)
						return
					}
					last = n
				}
			}
		})
	}
	for n := 0; n < all; n += 100 {
		must(t, l.Append(records(n, n+100), epoch), l.Tend(b, epoch))
	}
	stop()
	readers.Wait()
	if s := l.Stats(); s.Damaged > 0 || s.Written != all || s.Removed == 0 {
		t.Errorf("%+v", s)
	}
}

func TestMemoryOfAQuestionIsBounded(t *testing.T) {
	l, _ := open(t, folder(t), bounds(), epoch)
	for n := 0; n < 36_000; n += 1000 {
		must(t, l.Append(records(n, n+1000), epoch))
	}
	var before, at runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n, most := 0, uint64(0)
	for _, err := range l.Find(t.Context(), Filter{}) {
		must(t, err)
		if n++; n%12_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&at)
			most = max(most, at.HeapAlloc-min(at.HeapAlloc, before.HeapAlloc))
		}
	}
	if n != 36_000 || most > 2*maxSegment {
		t.Errorf("%d records, %d bytes", n, most)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for _, err := range l.Find(ctx, Filter{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("who left gets %v", err)
		}
	}
}
