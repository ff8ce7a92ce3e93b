// SPDX-License-Identifier: Apache-2.0

package history

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Whenever the daemon is killed, what it wrote whole is there, a record that was cut is skipped and said, and it goes on.
func TestKilledAtEveryByte(t *testing.T) {
	dir := folder(t)
	l, _ := open(t, dir, bounds(), epoch)
	must(t, l.Append(records(0, 2), epoch))
	text, err := os.ReadFile(filepath.Join(dir, "000000000001.jsonl"))
	must(t, err)
	ends := []int{0}
	for at, c := range text {
		if c == '\n' {
			ends = append(ends, at+1)
		}
	}
	for cut := range len(text) + 1 {
		if cut < ends[1] && cut%7 != 0 { // of the first record some will do: the second is cut at each
			continue
		}
		dir := filepath.Join(folder(t), "h")
		must(t, os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "000000000001.jsonl"), text[:cut], 0o600))
		var said bytes.Buffer
		l, err := Open(dir, bounds(), epoch, slog.New(slog.NewTextHandler(&said, nil)))
		must(t, err)
		n, is := slices.BinarySearch(ends, cut)
		if !is {
			n--
		}
		same(t, fmt.Sprintf("cut at %d", cut), down(0, n), find(t, l, Filter{}))
		if strings.Contains(said.String(), "damaged") == is {
			t.Errorf("cut at %d it said %q", cut, said.String())
		}
		must(t, l.Append(records(3, 5), epoch))
		same(t, fmt.Sprintf("cut at %d, and on", cut), slices.Concat(down(3, 5), down(0, n)), find(t, l, Filter{}))
		must(t, l.Close())
	}
}

// A garbled byte costs the record that it is in, or (of its line's end) that and the next, and no other.
func TestGarbledBytes(t *testing.T) {
	dir := folder(t)
	l, _ := open(t, dir, bounds(), epoch)
	must(t, l.Append(records(0, 3), epoch))
	text, err := os.ReadFile(filepath.Join(dir, "000000000001.jsonl"))
	must(t, err)
	for at := 0; at < len(text); at += 3 {
		dir := filepath.Join(folder(t), "h")
		bad := bytes.Clone(text)
		bad[at] ^= 1 << (at % 8)
		if bad[at]|0x20 == text[at]|0x20 && at%(len(text)/3) < sumDigits {
			continue // a digit of the sum in upper case is the same digit
		}
		must(t, os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "000000000001.jsonl"), bad, 0o600))
		l, err := Open(dir, bounds(), epoch, slog.New(slog.DiscardHandler))
		must(t, err)
		if got := find(t, l, Filter{}); len(got) > 2 || len(got) < 1 || l.Stats().Damaged == 0 {
			t.Errorf("byte %d: %v, %+v", at, got, l.Stats())
		}
		must(t, l.Close())
	}
}

// A daemon that died while it sealed a segment leaves both forms, or half of one: nothing is told twice or lost.
func TestKilledWhileItSeals(t *testing.T) {
	dir := folder(t)
	l, _ := open(t, dir, bounds(), epoch)
	must(t, l.Append(records(0, 3), epoch))
	plain, err := os.ReadFile(filepath.Join(dir, "000000000001.jsonl"))
	must(t, err, l.Close())
	sealed := files(t, dir)[0]
	must(t, os.WriteFile(filepath.Join(dir, "000000000001.jsonl"), plain, 0o600), os.WriteFile(filepath.Join(dir, sealed+".new"), []byte("half"), 0o600))
	again, _ := open(t, dir, bounds(), epoch)
	same(t, "both", down(0, 3), find(t, again, Filter{}))
	same(t, "files", []string{sealed}, files(t, dir))
	must(t, again.Close())
	must(t, os.Remove(filepath.Join(dir, sealed)), os.WriteFile(filepath.Join(dir, "000000000001.jsonl"), plain, 0o600), os.WriteFile(filepath.Join(dir, sealed+".new"), []byte("half"), 0o600))
	third, _ := open(t, dir, bounds(), epoch)
	same(t, "half", down(0, 3), find(t, third, Filter{}))
	same(t, "files", []string{sealed}, files(t, dir))
}

// What can be read of a damaged sealed segment is told, and the others are.
func TestDamagedSealedSegment(t *testing.T) {
	dir := folder(t)
	for i := range 3 {
		l, _ := open(t, dir, bounds(), epoch)
		must(t, l.Append(records(100*i, 100*i+100), epoch), l.Close())
	}
	middle := filepath.Join(dir, files(t, dir)[1])
	doc, err := os.ReadFile(middle)
	must(t, err, os.WriteFile(middle, doc[:len(doc)/2], 0o600))
	l, said := open(t, dir, bounds(), epoch)
	got := find(t, l, Filter{})
	if n := len(got); n < 200 || n >= 300 || l.Stats().Damaged == 0 || !strings.Contains(said.String(), "damaged") {
		t.Errorf("%d records are told, %+v; it said %q", n, l.Stats(), said)
	}
	must(t, os.WriteFile(middle, []byte("no gzip"), 0o600))
	if got := find(t, l, Filter{}); len(got) != 200 {
		t.Errorf("%d records are told", len(got))
	}
}

func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a disk to fill (a tmpfs) needs root")
	}
	dir := folder(t)
	if err := unix.Mount("small", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	l, err := Open(filepath.Join(dir, "h"), bounds(), epoch, slog.New(slog.DiscardHandler))
	must(t, err)
	defer l.Close()
	n, full := 0, error(nil)
	for ; full == nil && n < 10_000; n += 50 {
		full = l.Append(records(n, n+50), epoch)
	}
	n -= 50
	if !errors.Is(full, unix.ENOSPC) || l.Stats().Unsaved != 50 {
		t.Fatalf("after %d records: %v, %+v", n, full, l.Stats())
	}
	same(t, "on the full disk", down(0, n), find(t, l, Filter{}))
	must(t, l.Tend(Bounds{Keep: month, MaxBytes: 64 << 10}, epoch)) // what is written is not sealed yet: nothing can go
	must(t, unix.Mount("small", dir, "tmpfs", unix.MS_REMOUNT, "size=4m"))
	must(t, l.Append(records(n, n+50), epoch))
	same(t, "when there is room again", down(0, n+50), find(t, l, Filter{}))
	if s := l.Stats(); s.Damaged > 0 {
		t.Errorf("%+v", s)
	}
}

// failing is a file that takes a part of what is written, and then nothing, nor lets it be cut off again.
type failing struct {
	*os.File
	room *int
	cuts bool
}

func (f failing) Write(b []byte) (int, error) {
	n, err := f.File.Write(b[:min(len(b), *f.room)])
	if *f.room -= n; err == nil && n < len(b) {
		err = unix.EIO
	}
	return n, err
}

func (f failing) Truncate(size int64) error {
	if !f.cuts {
		return unix.EIO
	}
	return f.File.Truncate(size)
}

// Wherever a write stops, and whether or not its part can be cut off, the records before it and after it are there.
func TestWritesThatFail(t *testing.T) {
	line, err := appendLine(nil, new(Record))
	must(t, err)
	for _, cuts := range []bool{true, false} {
		for room := 0; room < 3*len(line); room += 7 {
			l, _ := open(t, folder(t), bounds(), epoch)
			must(t, l.Append(records(0, 2), epoch))
			left := room
			l.to = failing{l.to.(*os.File), &left, cuts}
			if err := l.Append(records(2, 9), epoch); !errors.Is(err, unix.EIO) {
				t.Fatalf("room for %d bytes: %v", room, err)
			}
			left = 1 << 20
			must(t, l.Append(records(9, 12), epoch))
			same(t, fmt.Sprintf("%d bytes, cut off: %v", room, cuts), append(down(9, 12), 1, 0), find(t, l, Filter{}))
			if s := l.Stats(); s.Unsaved != 7 || s.Written != 5 || s.Damaged != 0 {
				t.Errorf("%+v", s)
			}
			must(t, l.Close())
		}
	}
}

func FuzzRescue(f *testing.F) {
	one := record(1)
	line, err := appendLine(nil, &one)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(append(bytes.Clone(line), line[:40]...))
	f.Add([]byte("00000000 \n\n\x00\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := folder(t)
		must(t, os.WriteFile(filepath.Join(dir, "000000000007.jsonl"), text, 0o600))
		l, err := Open(dir, bounds(), epoch, slog.New(slog.DiscardHandler))
		must(t, err)
		defer l.Close()
		must(t, l.Append([]Record{one}, epoch))
		all, err := collect(l, Filter{ID: one.ID, Limit: 1})
		if err != nil || len(all) != 1 {
			t.Errorf("%v, %v", all, err)
		}
	})
}
