// SPDX-License-Identifier: Apache-2.0

package pcap

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// frame is an Ethernet frame of UDP from 198.51.100.7:40000 to 203.0.113.10:27960.
func frame(payload string) []byte {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, byte(28 + len(payload)), 0, 0, 0, 0, 64, 17, 0, 0, 198, 51, 100, 7, 203, 0, 113, 10,
		0x9c, 0x40, 0x6d, 0x38, 0, byte(8 + len(payload)), 0, 0}
	return append(b, payload...)
}

// written is a capture of three packets on two interfaces.
func written(t *testing.T, out io.Writer) {
	t.Helper()
	w, err := NewWriter(out, "parry v0.1.0", "captured by parry on fra-1: drops")
	must(t, err)
	first, err := w.AddInterface("eth0", 256, "service arena")
	must(t, err)
	at := time.Date(2026, 11, 23, 8, 30, 0, 123456789, time.UTC)
	must(t, w.Write(&Record{Time: at, Interface: first, Data: frame("abc"), WireLen: 1200, Direction: Inbound, XDP: 1, Comment: "parry verdict=drop reason=denied"}))
	must(t, w.Write(&Record{Time: at.Add(time.Nanosecond), Interface: first, Data: frame(""), WireLen: 42, Direction: Inbound, XDP: 4, Comment: "parry verdict=redirect"}))
	second, err := w.AddInterface("eth1", 256, "")
	must(t, err)
	must(t, w.Write(&Record{Time: at.Add(time.Second), Interface: second, Data: frame("x"), WireLen: 43, Direction: Outbound, XDP: -1}))
	must(t, w.End(Statistics{Start: at, End: at.Add(2 * time.Second), Taken: 3, Lost: 5, Comment: "ended at 3 packets"}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	var out bytes.Buffer
	written(t, &out)
	r, err := NewReader(&out)
	must(t, err)
	var got []string
	for {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		got = append(got, p.Time.Format(time.RFC3339Nano)+" "+string(p.Data[42:])+" "+time.Duration(p.WireLen).String())
	}
	want := []string{"2026-11-23T08:30:00.123456789Z abc 1.2µs", "2026-11-23T08:30:00.12345679Z  42ns", "2026-11-23T08:30:01.123456789Z x 43ns"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Wireshark's own tools read it: comments, interfaces, times to the nanosecond, what was lost.
func TestWiresharkReadsWhatIsWritten(t *testing.T) {
	for _, tool := range []string{"tshark", "capinfos"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (scripts/setup-debian test)", tool)
		}
	}
	path := filepath.Join(t.TempDir(), "c.pcapng")
	f, err := os.Create(path)
	must(t, err)
	written(t, f)
	must(t, f.Close())
	out, err := exec.Command("tshark", "-r", path, "-T", "fields", "-E", "separator=|", "-e", "frame.time_epoch", "-e", "frame.interface_name",
		"-e", "frame.len", "-e", "frame.cap_len", "-e", "ip.src", "-e", "frame.comment").Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	want := "1795422600.123456789|eth0|1200|45|198.51.100.7|parry verdict=drop reason=denied\n" +
		"1795422600.123456790|eth0|42|42|198.51.100.7|parry verdict=redirect\n1795422601.123456789|eth1|43|43|198.51.100.7|\n"
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Error(diff)
	}
	out, err = exec.Command("capinfos", path).CombinedOutput()
	must(t, err)
	for _, line := range []string{"Number of packets:   3", "nanoseconds (9)", "Name = eth1", "captured by parry on fra-1: drops", "Capture application: parry v0.1.0", "service arena"} {
		if !strings.Contains(string(out), line) {
			t.Errorf("capinfos does not say %q:\n%s", line, out)
		}
	}
}

// Whatever the pieces it comes in, and wherever it breaks off, what was passed on is a capture of as many packets as Blocks says.
func TestBlocksAreWhole(t *testing.T) {
	var all bytes.Buffer
	written(t, &all)
	for cut := range all.Len() + 1 {
		var out bytes.Buffer
		b := NewBlocks(&out)
		for _, c := range all.Bytes()[:cut] {
			_, err := b.Write([]byte{c})
			must(t, err)
		}
		if int64(out.Len()) != b.Bytes {
			t.Fatalf("cut at %d: %d bytes are there, %d counted", cut, out.Len(), b.Bytes)
		}
		if out.Len() == 0 {
			continue
		}
		if n := packets(t, out.Bytes()); n != b.Packets {
			t.Fatalf("cut at %d: %d packets can be read, %d counted", cut, n, b.Packets)
		}
		if cut == all.Len() && (b.Packets != 3 || b.Lost != 5 || b.Ended != "ended at 3 packets" || out.Len() != all.Len()) {
			t.Errorf("of the whole: %+v", *b)
		}
	}
}

func packets(t *testing.T, capture []byte) int {
	t.Helper()
	r, err := NewReader(bytes.NewReader(capture))
	must(t, err)
	for n := 0; ; n++ {
		if _, err := r.Next(); err == io.EOF {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// disk has room for so many bytes.
type disk struct {
	bytes.Buffer
	room int
}

func (d *disk) Write(p []byte) (int, error) {
	n := min(len(p), d.room-d.Len())
	d.Buffer.Write(p[:n])
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func TestBlocksOnAFullDisk(t *testing.T) {
	var all bytes.Buffer
	written(t, &all)
	for room := range all.Len() {
		d := &disk{room: room}
		b := NewBlocks(d)
		if _, err := b.Write(all.Bytes()); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("room for %d: %v", room, err)
		}
		if b.Bytes == 0 {
			continue
		}
		if n := packets(t, d.Bytes()[:b.Bytes]); n != b.Packets {
			t.Fatalf("room for %d: %d packets can be read, %d counted", room, n, b.Packets)
		}
	}
}

func FuzzBlocks(f *testing.F) {
	f.Add([]byte{10, 13, 13, 10, 12, 0, 0, 0, 12, 0, 0, 0}, 5)
	f.Add([]byte{5, 0, 0, 0, 16, 0, 0, 0, 1, 2, 3, 4, 16, 0, 0, 0}, 3)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		var out bytes.Buffer
		b := NewBlocks(&out)
		cut = max(min(cut, len(in)), 0)
		if _, err := b.Write(in[:cut]); err == nil {
			_, _ = b.Write(in[cut:])
		}
		if int64(out.Len()) != b.Bytes || !bytes.HasPrefix(in, out.Bytes()) {
			t.Errorf("%d bytes went on, %d counted", out.Len(), b.Bytes)
		}
	})
}
