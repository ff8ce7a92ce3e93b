// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWhatIsPutIsThereAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	first := openEdge(t, "a", dir).run()
	first.put(now("x"), now("y", byPerson, forever), now("z", byPerson, asLift), now("10.0.0.0/8", asAllow, byPerson, forever))
	must(t, first.hub.Flush(t.Context()))
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v", info.Mode(), err)
	}
	first.stop()
	must(t, first.hub.Close())
	second := openEdge(t, "a", dir)
	if got := holding(second.hub); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("there are %v", got)
	}
	if got := second.hub.Snapshot(Allow); len(got) != 1 || got[0].Key != "10.0.0.0/8" || string(got[0].Value) != `{"reason":"flood"}` {
		t.Errorf("allowed are %+v", got)
	}
	second.run().awaitBlocks("x", "y") // all of it is given to be applied at the start
	second.put(now("z"))               // a person lifted it: that is remembered, too
	second.await("the lift", func() bool {
		second.mu.Lock()
		defer second.mu.Unlock()
		return second.applied[ref{Block, "z"}].Lift
	})
}

func TestOneProcessAFolder(t *testing.T) {
	dir := t.TempDir()
	e := openEdge(t, "a", dir)
	if _, err := Open(t.Context(), Options{Dir: dir, Node: "b", Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second one: %v", err)
	}
	must(t, e.hub.Close(), e.hub.Close())
	openEdge(t, "a", dir)
}

func TestWhatIsWrongIsNotPut(t *testing.T) {
	e := openEdge(t, "a", t.TempDir(), func(o *Options) { o.Max = 2 })
	broken := now("w")
	broken.Value = []byte("{")
	if err := e.hub.Put(broken); err == nil || !strings.Contains(err.Error(), "no JSON") {
		t.Errorf("Put: %v", err)
	}
	err := e.hub.Put(now("*"), now("x"), now("y", forever), now("y"), now("z"))
	if err == nil || !strings.Contains(err.Error(), "no key") || !strings.Contains(err.Error(), "at most") || !errors.Is(err, errMany) {
		t.Errorf("Put: %v", err)
	}
	if got := holding(e.hub); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("there are %v", got)
	}
	if n := e.hub.Stats().Refused["here"]; n != 4 {
		t.Errorf("%d are counted", n)
	}
}

// shifted is a wall clock that tests move.
type shifted struct{ by atomic.Int64 }

func (s *shifted) now() time.Time { return time.Now().Add(time.Duration(s.by.Load())) }

// A wall clock that jumps ahead ends what it says to be over; one that comes back finds all of it. Nothing is forgotten meanwhile.
func TestAClockThatJumps(t *testing.T) {
	var clock shifted
	e := openEdge(t, "a", t.TempDir(), func(o *Options) { o.Now = clock.now }).run()
	e.put(now("x"), now("y", byPerson, forever))
	must(t, e.hub.Flush(t.Context()))
	e.await("both", func() bool { return len(holding(e.hub)) == 2 })
	clock.by.Store(int64(10 * 365 * 24 * time.Hour))
	e.await("the jump to be seen", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		w, ok := e.applied[ref{Block, "x"}]
		return ok && !w.Holds
	})
	must(t, e.hub.sweep(t.Context(), time.Now()), e.hub.sweep(t.Context(), time.Now().Add(overFor-time.Minute)))
	clock.by.Store(0)
	e.awaitBlocks("x", "y")
	if n := e.hub.Stats().Forgotten; n != 0 {
		t.Errorf("%d are forgotten", n)
	}
}

// What is over is forgotten in time, on disk too: a detector's entry after an hour, a lift after a month, what has no end never.
func TestWhatIsOverIsForgotten(t *testing.T) {
	var clock shifted
	dir := t.TempDir()
	e := openEdge(t, "a", dir, func(o *Options) { o.Now = clock.now })
	e.put(now("x"), now("y", byPerson, forever), now("z", byPerson, asLift))
	must(t, e.hub.Flush(t.Context()))
	mono := time.Now()
	sweeps := func(after time.Duration, want int) {
		t.Helper()
		clock.by.Store(int64(after))
		mono = mono.Add(time.Minute)
		must(t, e.hub.sweep(t.Context(), mono))
		mono = mono.Add(overFor)
		must(t, e.hub.sweep(t.Context(), mono))
		if n := e.hub.Stats().Entries; n != want {
			t.Errorf("after %v there are %d entries, not %d", after, n, want)
		}
	}
	sweeps(90*time.Minute, 3)
	sweeps(3*time.Hour, 2)
	sweeps(30*24*time.Hour, 2)
	sweeps(32*24*time.Hour, 1)
	must(t, e.hub.Close())
	again := openEdge(t, "a", dir)
	if n := again.hub.Stats().Entries; n != 1 {
		t.Errorf("%d entries are on disk", n)
	}
	old := block("x", "b", 0) // another edge brings it up: it stays forgotten
	old.Made, old.Expires = time.Now().Add(-3*time.Hour), time.Now().Add(-2*time.Hour)
	must(t, again.hub.takeOne(&old, time.Now()))
	if n := again.hub.Stats().Entries; n != 1 {
		t.Errorf("what is over was taken")
	}
}

// On a full disk what is decided holds in memory, is told to others, and is written once there is room.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a disk to fill (a tmpfs) needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("small", dir, "tmpfs", 0, "size=40m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	e := openEdge(t, "a", dir).run()
	e.put(now("before"))
	must(t, e.hub.Flush(t.Context()))
	ballast := filepath.Join(dir, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 26<<20), 0o600))
	e.put(now("full"))
	if err := e.hub.Flush(t.Context()); !errors.Is(err, errFull) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("Flush: %v", err)
	}
	if err := e.hub.Local().Put(t.Context(), "b", "k", []byte(`1`)); !errors.Is(err, errFull) {
		t.Errorf("a local one: %v", err)
	}
	if got := holding(e.hub); !slices.Equal(got, []string{"before", "full"}) {
		t.Errorf("there are %v", got)
	}
	if s := e.hub.Stats(); s.Failing == "" || s.Waiting != 1 {
		t.Errorf("it says %+v", s)
	}
	must(t, os.Remove(ballast))
	e.await("the write", func() bool { s := e.hub.Stats(); return s.Waiting == 0 && s.Failing == "" })
	e.stop()
	must(t, e.hub.Close())
	again := openEdge(t, "a", dir)
	if got := holding(again.hub); !slices.Equal(got, []string{"before", "full"}) {
		t.Errorf("after a restart there are %v", got)
	}
	again.close()
}

// A store that gives itself up (a disk that failed) is opened anew while the edge goes on, and gets what it missed.
func TestAStoreThatFailsIsOpenedAnew(t *testing.T) {
	e := openEdge(t, "a", t.TempDir()).run()
	e.put(now("before"))
	must(t, e.hub.Flush(t.Context()))
	d, err := e.hub.open()
	must(t, err)
	must(t, d.srv.ShutdownJetStream())
	e.put(now("meanwhile"))
	e.await("a new one", func() bool { s := e.hub.Stats(); return s.Opens == 2 && s.Waiting == 0 && s.Closed == "" })
	must(t, e.hub.Flush(t.Context()))
	if got := holding(e.hub); !slices.Equal(got, []string{"before", "meanwhile"}) {
		t.Errorf("there are %v", got)
	}
}

// files are the regular files below a folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all = append(all, path)
		}
		return err
	}))
	return all
}

// Whatever is done to the store's files, the daemon starts, says so where anything is lost, and remembers from then on.
func TestDamage(t *testing.T) {
	whole := t.TempDir()
	e := openEdge(t, "a", whole)
	var want []string
	for n := range 200 {
		key := fmt.Sprintf("k-%03d", n)
		want = append(want, key)
		e.put(now(key, byPerson, forever))
	}
	must(t, e.hub.Flush(t.Context()), e.hub.Local().Put(t.Context(), "b", "k", []byte(`1`)), e.hub.Close())
	for _, path := range files(t, filepath.Join(whole, diskFolder)) {
		rel, err := filepath.Rel(whole, path)
		must(t, err)
		for name, break_ := range map[string]func([]byte) []byte{
			"cut":   func(b []byte) []byte { return b[:len(b)/2] },
			"empty": func([]byte) []byte { return nil },
			"zeros": func(b []byte) []byte { return make([]byte, len(b)) },
			"noise": func(b []byte) []byte {
				for i := range b {
					b[i] ^= byte(i*7 + 13)
				}
				return b
			},
			"a byte": func(b []byte) []byte {
				if len(b) > 0 {
					b[len(b)/2] ^= 0x40
				}
				return b
			},
		} {
			t.Run(rel+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				must(t, os.CopyFS(dir, os.DirFS(whole)))
				doc, err := os.ReadFile(filepath.Join(dir, rel))
				must(t, err, os.WriteFile(filepath.Join(dir, rel), break_(doc), 0o600))
				e := openEdge(t, "a", dir)
				got := holding(e.hub)
				if len(got) < len(want) && e.said.String() == "" {
					t.Errorf("%d of %d are there, and nothing is said", len(got), len(want))
				}
				if bad := slices.DeleteFunc(slices.Clone(got), func(k string) bool { return slices.Contains(want, k) }); len(bad) > 0 {
					t.Errorf("there is what was never put: %q", bad)
				}
				e.put(now("new"))
				must(t, e.hub.Flush(t.Context()), e.hub.Local().Put(t.Context(), "b", "new", []byte(`1`)), e.hub.Close())
				again := openEdge(t, "a", dir)
				if !slices.Contains(holding(again.hub), "new") {
					t.Errorf("what was put after is lost: %s", again.said)
				}
			})
		}
	}
}

// A daemon that is killed has what it wrote, though it didn't close its store.
func TestKilled(t *testing.T) {
	live, copied := t.TempDir(), t.TempDir()
	e := openEdge(t, "a", live)
	var want []string
	for n := range 2000 {
		want = append(want, fmt.Sprintf("k-%04d", n))
		e.put(now(want[n]))
	}
	must(t, e.hub.Flush(t.Context()))
	e.put(now("k-0000", byPerson, asLift))
	must(t, e.hub.Flush(t.Context()), os.CopyFS(copied, os.DirFS(live)))
	if got := holding(openEdge(t, "a", copied).hub); !slices.Equal(got, want[1:]) {
		t.Errorf("%d are there", len(got))
	}
}

// A store that takes the daemon down while it is opened is set aside at the third time.
func TestAStoreThatKills(t *testing.T) {
	dir := t.TempDir()
	e := openEdge(t, "a", dir)
	e.put(now("x"))
	must(t, e.hub.Flush(t.Context()), e.hub.Close(), os.WriteFile(filepath.Join(dir, triesFile), []byte("3"), 0o600))
	again := openEdge(t, "a", dir)
	if got := holding(again.hub); len(got) != 0 || !strings.Contains(again.said.String(), "set aside") || again.hub.Stats().SetAside == "" {
		t.Errorf("there are %v; it said %s", got, again.said)
	}
	if aside, err := filepath.Glob(filepath.Join(dir, diskFolder+".unreadable-*")); err != nil || len(aside) != 1 {
		t.Errorf("set aside: %v, %v", aside, err)
	}
}
