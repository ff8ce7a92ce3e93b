// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func attacked() Snapshot {
	return Snapshot{
		Phase:   PhaseInfo{"attack", "random-udp: UDP to the game's port, each packet from another forged address and port"},
		Elapsed: 23 * time.Second, Total: time.Minute, Players: 40, In: 39, Moves: 2400, Answers: 2399,
		RTT: spread{210 * time.Microsecond, 900 * time.Microsecond}, Attacking: true, Arrived: 12_345_678,
		Drops: map[string]uint64{"rate_packets": 12_000_000, "sessions_full": 300_000, "unheard_of": 1}, Reached: 45_677, Sessions: 33_000,
	}
}

func TestTerminalFrameFits(t *testing.T) {
	v := &Terminal{Title: "parry"}
	for name, s := range map[string]Snapshot{"attacked": attacked(), "before": {Phase: PhaseInfo{"build", "building"}},
		"down": {Phase: PhaseInfo{"crash", "x"}, Total: 1, Down: true}} {
		corner := -1
		for _, line := range v.frame(s) {
			if n := utf8.RuneCountInString(line); n > 79 && !strings.HasPrefix(line, s.Phase.Title) {
				t.Errorf("%s: %d characters wide: %s", name, n, line)
			}
			// The edge's box must keep its left side straight, whatever stands beside it.
			for _, c := range []string{"┌──────", "│  ", "└──────"} {
				if i := strings.Index(line, c); i >= 0 {
					if at := utf8.RuneCountInString(line[:i]); corner >= 0 && at != corner {
						t.Errorf("%s: the box is bent at column %d, not %d: %s", name, at, corner, line)
					} else {
						corner = at
					}
					break
				}
			}
		}
		if corner < 0 {
			t.Errorf("%s: no picture", name)
		}
	}
}

func TestTerminalRedrawsInPlace(t *testing.T) {
	var out bytes.Buffer
	v := &Terminal{Out: &out, Title: "parry", Width: func() int { return 40 }}
	v.Phase(PhaseInfo{"calm", "calm"})
	first := strings.Count(out.String(), "\n")
	out.Reset()
	v.Tick(attacked())
	if want := "\x1b[" + grouped(uint64(first)) + "A\x1b[J"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("the second frame starts with %q, want %q", out.String()[:10], want)
	}
	for line := range strings.Lines(strings.TrimPrefix(out.String(), "\x1b[")) {
		if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 39+len("10A\x1b[J") {
			t.Errorf("a line would wrap: %q", line)
		}
	}
}

func TestViewsSayWhyPacketsWereDropped(t *testing.T) {
	var plain, frame bytes.Buffer
	Plain{Out: &plain}.Tick(attacked())
	(&Terminal{Out: &frame}).Tick(attacked())
	if want := "attack 12,345,678/s, dropped 12,300,001/s (its source sends too many packets a second)"; !strings.Contains(plain.String(), want) {
		t.Errorf("want %q in %q", want, plain.String())
	}
	for _, want := range []string{"12,000,000  its source sends too many packets a second", "300,000  no room for another stranger", "1  unheard of"} {
		if !strings.Contains(frame.String(), want) {
			t.Errorf("want %q in:\n%s", want, frame.String())
		}
	}
}

func TestSummaryTellsWhatWentWrong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*Report)
		want  string
	}{
		{"good", func(*Report) {}, "PASSED"},
		{"lost", func(r *Report) { r.Players[0].Lost = 3 }, "lost_at_edge         3 packets"},
		{"full socket", func(r *Report) { r.SocketDropped = 2 }, "2 packets left the edge but found a socket full"},
		{"not in", func(r *Report) { r.Players[1].ByGame[0].InTime -= 10 }, "join_challenge       89 of 100 newcomers in within 1s"},
		{"block without effect", func(r *Report) { r.Block.Silenced = false }, "It had no effect"},
		{"block for ever", func(r *Report) { r.Block.Released = false }, "but lifting it did not"},
		{"suspect never in", func(r *Report) { r.Block.Joined = false }, "never got in"},
		{"full link", func(r *Report) { r.LinkDropped = 2 }, "2 packets never got to the edge"},
	} {
		r := goodReport()
		tt.spoil(r)
		r.judge()
		var b bytes.Buffer
		r.WriteSummary(&b)
		if !strings.Contains(b.String(), tt.want) {
			t.Errorf("%s: want %q in:\n%s", tt.name, tt.want, b.String())
		}
	}
}

func TestBadOptionsAreMarked(t *testing.T) {
	for _, o := range []Options{{Scenario: "nothing", Duration: time.Minute}, {Scenario: "play", Duration: time.Second}} {
		o.Log, o.View = slog.New(slog.DiscardHandler), Quiet{}
		if _, err := Run(t.Context(), o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}
