// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// picture is the world, as newcomers see it first. It is under 80 characters wide.
const picture = `
   players ──────┐    ┌────────────────────────┐    ┌──▶ arena (UDP, v4 and v6)
   %-14s├───▶│  edge                  │────┼──▶ Source, Quake, RakNet
   attackers ────┘    │  %-20s  │    └──▶ outpost, realm (TCP)
   %-16s   └────────────────────────┘
`

// Quiet shows nothing.
type Quiet struct{}

// Phase does nothing.
func (Quiet) Phase(PhaseInfo) {}

// Tick does nothing.
func (Quiet) Tick(Snapshot) {}

// Done does nothing.
func (Quiet) Done(*Report) {}

// Plain shows a line a second, for logs and pipes.
type Plain struct {
	Out io.Writer
	Log bool // no summary at the end
}

// Phase writes what begins.
func (v Plain) Phase(p PhaseInfo) { fmt.Fprintf(v.Out, "== %s: %s\n", p.Name, p.Title) }

// Tick writes the last second in one line.
func (v Plain) Tick(s Snapshot) {
	var b strings.Builder
	fmt.Fprintf(&b, "%5s  %d/%d playing, %d of %d moves answered, rtt %s (99%%: %s)", clock(s.Elapsed), s.In, s.Players,
		s.Answers, s.Moves, millis(s.RTT.P50), millis(s.RTT.P99))
	if s.Attacking {
		fmt.Fprintf(&b, "; attack %s/s, dropped %s/s", grouped(s.Arrived), grouped(sumOf(s.Drops)))
		if reasons := byCount(s.Drops); len(reasons) > 0 {
			fmt.Fprintf(&b, " (%s)", reasonWords(reasons[0]))
		}
		fmt.Fprintf(&b, ", reached servers %s/s", grouped(s.Reached))
	}
	if s.Down {
		b.WriteString("; no daemon")
	}
	fmt.Fprintln(v.Out, b.String())
}

// Done writes the summary.
func (v Plain) Done(r *Report) {
	if !v.Log {
		r.WriteSummary(v.Out)
	}
}

// Terminal redraws a frame each second.
type Terminal struct {
	Out   io.Writer
	Title string // of the edge under test
	Width func() int
	lines int // of the last frame
	last  Snapshot
}

// Phase draws what begins, with the figures of the second before.
func (v *Terminal) Phase(p PhaseInfo) {
	v.last.Phase = p
	v.draw(v.last)
}

// Tick draws the last second.
func (v *Terminal) Tick(s Snapshot) {
	v.last = s
	v.draw(s)
}

// Done takes the frame away and writes the summary.
func (v *Terminal) Done(r *Report) {
	v.erase()
	r.WriteSummary(v.Out)
}

func (v *Terminal) erase() {
	if v.lines > 0 {
		fmt.Fprintf(v.Out, "\x1b[%dA\x1b[J", v.lines)
	}
	v.lines = 0
}

func (v *Terminal) draw(s Snapshot) {
	frame := v.frame(s)
	width := 80
	if v.Width != nil {
		width = v.Width()
	}
	var b strings.Builder
	for _, line := range frame {
		b.WriteString(cut(line, width-1) + "\n") // a wrapped line would break the count of lines to go back
	}
	v.erase()
	_, _ = io.WriteString(v.Out, b.String()) // a closed terminal ends the run by signal
	v.lines = len(frame)
}

// cut shortens a line to a number of characters.
func cut(line string, width int) string {
	if r := []rune(line); width > 0 && len(r) > width {
		return string(r[:width])
	}
	return line
}

// frame is the picture with figures.
func (v *Terminal) frame(s Snapshot) []string {
	attackers := "quiet"
	if s.Attacking {
		attackers = grouped(s.Arrived) + "/s"
	}
	daemon := "forwarding"
	if s.Down {
		daemon = "daemon killed!"
	}
	head := fmt.Sprintf("parry lab  %s of %s      Ctrl-C ends it and cleans up\n", clock(s.Elapsed), clock(s.Total))
	if s.Total == 0 {
		head = "parry lab      Ctrl-C ends it and cleans up\n"
	}
	text := head + fmt.Sprintf(picture, fmt.Sprintf("%d of %d in", s.In, s.Players), v.Title+", "+daemon, attackers) +
		"\n" + s.Phase.Title + "\n"
	if s.Total > 0 {
		text += "\n" + figures(s)
	}
	return strings.Split(strings.TrimRight(text, "\n"), "\n")
}

func figures(s Snapshot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  players   %s moves/s, %s answered: half in %s, 99 %% in %s\n",
		grouped(s.Moves), grouped(s.Answers), millis(s.RTT.P50), millis(s.RTT.P99))
	fmt.Fprintf(&b, "  edge      %s sessions\n", grouped(s.Sessions))
	if !s.Attacking {
		return b.String()
	}
	fmt.Fprintf(&b, "  attack    %s packets came in, %s of strangers reached a server\n", grouped(s.Arrived), grouped(s.Reached))
	what := "  dropped "
	for i, reason := range byCount(s.Drops) {
		if i == 5 {
			break
		}
		fmt.Fprintf(&b, "%s  %11s  %s\n", what, grouped(s.Drops[reason]), reasonWords(reason))
		what = "          "
	}
	return b.String()
}

func clock(d time.Duration) string {
	s := int(d.Round(time.Second) / time.Second)
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
