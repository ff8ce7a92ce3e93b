// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUnits(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{Count(uint64(0)), "0"}, {Count(999), "999"}, {Count(1000), "1,000"}, {Count(uint64(math.MaxUint64)), "18,446,744,073,709,551,615"},
		{Count(-1234), "-1,234"}, {Count(-123), "-123"},
		{SI(0, "pkt/s"), "0 pkt/s"}, {SI(1, "pkt/s"), "1 pkt/s"}, {SI(0.5, "pkt/s"), "0.5 pkt/s"}, {SI(999.4, "B"), "999 B"},
		{SI(999.5, "B"), "1.00 kB"}, {SI(1234, "B"), "1.23 kB"}, {SI(12345, "B"), "12.3 kB"}, {SI(99950, "B"), "100 kB"},
		{SI(999_499, "B"), "999 kB"}, {SI(999_500, "B"), "1.00 MB"}, {SI(4.56e6, "bit/s"), "4.56 Mbit/s"}, {SI(1e21, "B"), "1000 EB"},
		{SI(12.34, "pkt/s"), "12.3 pkt/s"}, {SI(-1500, "B"), "-1.50 kB"}, {SI(10, ""), "10"}, {SI(math.NaN(), "B"), "-"},
		{Bytes(8_482_500), "8.48 MB"},
		{Percent(0), "0 %"}, {Percent(0.00001), "<0.1 %"}, {Percent(0.001), "0.1 %"}, {Percent(0.0949), "9.5 %"}, {Percent(0.0996), "10 %"}, {Percent(1), "100 %"},
		{Duration(0), "0s"}, {MS(12), "12ms"}, {Duration(1250 * time.Microsecond), "1.25ms"}, {MS(999), "999ms"}, {MS(1500), "1.5s"},
		{MS(59_999), "59.9s"}, {MS(60_000), "1m00s"}, {MS(754_000), "12m34s"}, {MS(7_500_000), "2h05m"}, {MS(93_784_000), "1d02h"},
		{MS(-1500), "-1.5s"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

func TestTableAlignsAndColoursTakeNoRoom(t *testing.T) {
	var b strings.Builder
	on := Style{on: true}
	tab := NewTable(&b, Style{}, "NAME", ">PACKETS", "STATE", "NOTE")
	for _, row := range [][]string{
		{"arena", "1,234", on.State("up"), "x"},
		{"ünïcode-longer", "7", on.State("down"), ""},
		{"c", "12", "normal", "last column isn't padded"},
	} {
		if err := tab.Row(row...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"NAME            PACKETS  STATE   NOTE",
		"arena             1,234  \x1b[32mup\x1b[0m      x",
		"ünïcode-longer        7  \x1b[31mdown\x1b[0m    -",
		"c                    12  normal  last column isn't padded",
		"",
	}, "\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := tab.Row("too", "few"); err == nil {
		t.Error("a row of two cells fits four columns")
	}
}

func TestALongTableStreams(t *testing.T) {
	var b strings.Builder
	tab := NewTable(&b, Style{}, ">N", "X")
	for i := range 3 * lookAhead {
		if err := tab.Row(fmt.Sprint(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if len(tab.rows) != 0 || b.Len() == 0 {
		t.Errorf("%d rows held back, %d bytes written", len(tab.rows), b.Len())
	}
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 3*lookAhead+2 || lines[1] != "  0  x" || lines[3*lookAhead] != "2999  x" {
		t.Errorf("%d lines, %q, %q", len(lines), lines[1], lines[3*lookAhead])
	}
}

func TestProgress(t *testing.T) {
	packets := func(v float64, perSecond bool) string {
		if perSecond {
			return SI(v, "/s")
		}
		return Count(int64(v))
	}
	run := func(tty bool) string {
		var b strings.Builder
		now := time.Unix(0, 0)
		p := NewProgress(&b, tty, func() time.Time { return now })
		p.Phase("applying", packets)
		for i := range int64(13) {
			p.Update(i*1000, 12000)
			now = now.Add(time.Second)
		}
		p.Clear()
		return b.String()
	}
	log := "applying 5,000 of 12,000 (42 %), 1.00 k/s, 7.0s left\napplying 10,000 of 12,000 (83 %), 1.00 k/s, 2.0s left\n"
	if diff := cmp.Diff(log, run(false)); diff != "" {
		t.Errorf("into a log (-want +got):\n%s", diff)
	}
	screen := run(true)
	if got := strings.Count(screen, "\r"); got != 13 || strings.Contains(screen, "\n") || !strings.HasSuffix(screen, "\r\x1b[K") {
		t.Errorf("on a terminal: %d redraws in %q", got, screen)
	}
}

func TestColoursOnlyOnATerminalAndUnlessRefused(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal to try: %v", err)
	}
	defer tty.Close()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	env := func(key, value string) func(string) string {
		return func(k string) string {
			if k == key {
				return value
			}
			return ""
		}
	}
	for name, tc := range map[string]struct {
		style Style
		want  string
	}{
		"terminal":      {StyleFor(tty, env("", "")), "\x1b[31mx\x1b[0m"},
		"NO_COLOR":      {StyleFor(tty, env("NO_COLOR", "1")), "x"},
		"dumb terminal": {StyleFor(tty, env("TERM", "dumb")), "x"},
		"file":          {StyleFor(file, env("", "")), "x"},
		"buffer":        {StyleFor(&strings.Builder{}, env("", "")), "x"},
	} {
		if got := tc.style.Bad("x"); got != tc.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
