// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a folder and gives its log.
func open(t *testing.T, dir string) (*Files, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	f, err := OpenFiles(dir, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, &said
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// holds compares a bucket with key=value words.
func holds(t *testing.T, s Store, bucket string, want ...string) {
	t.Helper()
	all, err := s.List(t.Context(), bucket)
	must(t, err)
	got := []string{}
	for _, e := range all {
		got = append(got, e.Key+"="+string(e.Value))
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("bucket %s (-want +got):\n%s", bucket, diff)
	}
}

func TestWhatIsPutIsThereAgain(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "made", "here"), t.Context()
	f, _ := open(t, dir)
	holds(t, f, "a")
	must(t,
		f.Put(ctx, "a", "z/1", json.RawMessage(`{"n": 1}`)), f.Put(ctx, "a", "b.2", json.RawMessage(`"two"`)), f.Put(ctx, "b", "x", json.RawMessage(`null`)),
		f.Apply(ctx, "a", []Change{{"c", json.RawMessage(`3`)}, {"z/1", json.RawMessage(`[]`)}, {"c", json.RawMessage(`4`)}, {"b.2", nil}, {"nothing", nil}}),
	)
	holds(t, f, "a", "c=4", "z/1=[]")
	must(t, f.Close())
	again, _ := open(t, dir)
	holds(t, again, "a", "c=4", "z/1=[]")
	holds(t, again, "b", "x=null")
	if v, err := again.Get(ctx, "a", "c"); err != nil || string(v) != "4" {
		t.Errorf("c is %s, %v", v, err)
	}
	if _, err := again.Get(ctx, "a", "b.2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("what was removed: %v", err)
	}
	must(t, again.Delete(ctx, "a", "c"))
	holds(t, again, "a", "z/1=[]")
	if _, err := f.List(ctx, "a"); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed one says %v", err)
	}
}

func TestWhatNoStoreTakesIsRefused(t *testing.T) {
	f, _ := open(t, t.TempDir())
	one := json.RawMessage(`1`)
	for _, row := range []struct {
		bucket, key string
		value       json.RawMessage
		say         string
	}{
		{"../etc", "k", one, "no bucket's name"}, {"", "k", one, "no bucket's name"}, {"A", "k", one, "no bucket's name"},
		{"b", "", one, "is no key"}, {"b", "a:b", one, "is no key"}, {"b", "a b", one, "is no key"}, {"b", ".a", one, "is no key"},
		{"b", strings.Repeat("k", MaxKey+1), one, "is no key"}, {"b", "k\n", one, "is no key"},
		{"b", "k", json.RawMessage(`{`), "no JSON"}, {"b", "k", nil, "no value"},
		{"b", "k", json.RawMessage(`"` + strings.Repeat("v", MaxValue) + `"`), "at most"},
	} {
		if err := f.Put(t.Context(), row.bucket, row.key, row.value); err == nil || !strings.Contains(err.Error(), row.say) {
			t.Errorf("%.30q/%.30q: %v", row.bucket, row.key, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Put(ctx, "b", "k", one); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
	files, err := os.ReadDir(f.dir)
	if err != nil || len(files) > 0 {
		t.Errorf("there are %v, %v", files, err)
	}
}

// A file that can't be understood is set aside whole, in words, and never written over.
func TestDamageIsSetAside(t *testing.T) {
	good, err := encode("b", []Entry{{"k", json.RawMessage(`1`)}, {"l", json.RawMessage(`2`)}})
	must(t, err)
	change := func(old, now string) string { return strings.Replace(string(good), old, now, 1) }
	for _, row := range []struct{ name, text, why string }{
		{"empty", "", "header"},
		{"not ours", "hello\n", "header"},
		{"zeros", string(make([]byte, 4096)), "header"},
		{"cut short", string(good[:len(good)-5]), "checksum"},
		{"a bit flipped", change(`"value":2`, `"value":3`), "checksum"},
		{"edited", string(good) + "{\"key\":\"m\",\"value\":3}\n", "checksum"},
		{"a newer one", change(`"version":1`, `"version":2`), "version 2"},
		{"another bucket", change(`"bucket":"b"`, `"bucket":"c"`), "file of"},
		{"too few entries", change(`"entries":2`, `"entries":3`), "says 3"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "b.state")
			must(t, os.WriteFile(path, []byte(row.text), 0o600))
			f, said := open(t, dir)
			holds(t, f, "b")
			if !strings.Contains(said.String(), row.why) || !strings.Contains(said.String(), path) {
				t.Errorf("it said %q", said)
			}
			must(t, f.Put(t.Context(), "b", "n", json.RawMessage(`4`)))
			holds(t, f, "b", "n=4")
			aside, err := filepath.Glob(path + ".unreadable-*")
			if err != nil || len(aside) != 1 {
				t.Fatalf("set aside: %v, %v", aside, err)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != row.text {
				t.Errorf("what was set aside is %q, %v", kept, err)
			}
		})
	}
}

// What can't be read, rather than understood, is neither moved nor written over.
func TestWhatCannotBeReadStays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b.state")
	must(t, os.Mkdir(path, 0o700))
	f, _ := open(t, dir)
	if _, err := f.List(t.Context(), "b"); err == nil {
		t.Error("a folder was read")
	}
	if err := f.Put(t.Context(), "b", "k", json.RawMessage(`1`)); err == nil {
		t.Error("a folder was written over")
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		t.Errorf("it is gone: %v", err)
	}
}

func TestOneProcessAFolder(t *testing.T) {
	dir := t.TempDir()
	f, _ := open(t, dir)
	if _, err := OpenFiles(dir, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second one: %v", err)
	}
	must(t, f.Close(), f.Close())
	open(t, dir)
}

// A write that was cut off leaves its own file behind and nothing else; the next one takes its place.
func TestHalfAWriteIsNone(t *testing.T) {
	dir := t.TempDir()
	f, _ := open(t, dir)
	must(t, f.Put(t.Context(), "b", "k", json.RawMessage(`1`)), os.WriteFile(filepath.Join(dir, "b.state.new"), []byte("half"), 0o600))
	holds(t, f, "b", "k=1")
	must(t, f.Put(t.Context(), "b", "l", json.RawMessage(`2`)))
	holds(t, f, "b", "k=1", "l=2")
	if _, err := os.Stat(filepath.Join(dir, "b.state.new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// On a full disk what is there stays, and when there is room again the next write works.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a disk to fill (a tmpfs) needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("small", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	f, err := OpenFiles(dir, slog.New(slog.DiscardHandler))
	must(t, err)
	defer f.Close()
	must(t, f.Put(t.Context(), "b", "k", json.RawMessage(`1`)))
	big := json.RawMessage(`"` + strings.Repeat("v", 40_000) + `"`)
	must(t, f.Put(t.Context(), "b", "big", big))
	err = f.Put(t.Context(), "b", "big2", big) // there is room for one file of two
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "what was kept before stays") {
		t.Fatalf("on a full disk: %v", err)
	}
	holds(t, f, "b", "big="+string(big), "k=1")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("there are %v, %v", files, err)
	}
	if err := f.Delete(t.Context(), "b", "big"); err != nil {
		t.Errorf("there is room for a smaller file beside it: %v", err)
	}
	must(t, f.Put(t.Context(), "b", "l", json.RawMessage(`2`)))
	holds(t, f, "b", "k=1", "l=2")
}

func TestManyWritersLoseNothing(t *testing.T) {
	f, _ := open(t, t.TempDir())
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for n := range 10 {
				if err := f.Put(context.Background(), "b", fmt.Sprintf("%d/%d", w, n), json.RawMessage(`1`)); err != nil {
					t.Error(err)
				}
				if _, err := f.List(context.Background(), "b"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	all, err := f.List(t.Context(), "b")
	if err != nil || len(all) != 80 {
		t.Errorf("%d entries, %v", len(all), err)
	}
}

func FuzzDecode(f *testing.F) {
	good, err := encode("b", []Entry{{"k", json.RawMessage(`1`)}, {"l/m", json.RawMessage(`{"a":[1,2]}`)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"parry":"state","version":1,"bucket":"b","entries":-1,"sha256":""}` + "\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		all, err := decode("b", doc)
		if err != nil {
			return
		}
		again, err := encode("b", all)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := decode("b", again); err != nil || !cmp.Equal(all, same) {
			t.Errorf("what was read can't be written: %v", err)
		}
	})
}
