// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// WriteSummary writes what a run showed, for people.
func (r *Report) WriteSummary(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "\nparry lab: %s, %d s of play\n\nWhat there was (network namespaces on this machine, real XDP on the edge's interfaces)\n",
		r.Scenario, (r.DurationMS+500)/1000)
	fmt.Fprintf(&b, picture, fmt.Sprintf("%d of them", r.playerCount()), "under test", "on their own leg")
	r.writeAttack(&b)
	r.writePlayers(&b)
	r.writeGames(&b)
	r.writeBlock(&b)
	r.writeCrash(&b)
	b.WriteString("\n" + r.verdict() + "\n")
	_, _ = io.WriteString(w, b.String()) // nobody is left to tell
}

func (r *Report) playerCount() int {
	n := 0
	for _, g := range r.Players {
		n += g.Players
	}
	return n
}

func (r *Report) writeAttack(b *strings.Builder) {
	a := r.Attack
	b.WriteString("\nThe attack\n")
	if a.Sources == 0 {
		b.WriteString("   none: this scenario only plays\n")
		return
	}
	fmt.Fprintf(b, "   %s packets from %s addresses came in (%s were sent), %s a second\n", short(a.Packets), short(a.Sources),
		short(a.Offered), short(a.PPS))
	if len(a.Waves) > 1 {
		for _, w := range a.Waves {
			fmt.Fprintf(b, "      %s: %s packets from %s addresses, %s reached a server\n", w.Name, short(w.Packets), short(w.Sources), grouped(w.Reached))
		}
	}
	for _, reason := range byCount(a.Dropped) {
		fmt.Fprintf(b, "   %14s  dropped: %s (%s)\n", grouped(a.Dropped[reason]), reasonWords(reason), reason)
	}
	fmt.Fprintf(b, "   %14s  passed on to a server\n", grouped(a.Reached))
	r.writeDetected(b)
	if a.Host > 0 {
		fmt.Fprintf(b, "   %14s  left to the edge's own system, within its budget\n", grouped(a.Host))
	}
}

func (r *Report) writePlayers(b *strings.Builder) {
	b.WriteString("\nWhat the players felt\n" +
		"   they came           in     moves   lost in   without    answer within, ms (half / 99 %)\n" +
		"                                     the edge    answer    calm            attacked\n")
	for _, g := range r.Players {
		who := map[string]string{"established": "before, ", "new": "meanwhile, "}[g.Group] + strings.ToUpper(g.Protocol)
		fmt.Fprintf(b, "   %-13s %3d/%-3d %9s %9s %9s    %-15s %s\n", who, g.Joined, g.Players, grouped(g.Sent), grouped(g.Lost),
			grouped(g.Unanswered), g.RTTCalm, g.RTT)
	}
	if r.LinkDropped > 0 {
		fmt.Fprintf(b, "   %s packets never got to the edge: a link of the machine was full.\n", grouped(r.LinkDropped))
	}
	if r.SocketDropped > 0 {
		fmt.Fprintf(b, "   %s packets left the edge but found a socket full.\n", grouped(r.SocketDropped))
	}
}

// writeGames says how newcomers of each game got in, and what server browsers were told.
func (r *Report) writeGames(b *strings.Builder) {
	if r.newcomers() {
		b.WriteString("\nNewcomers, by game\n")
	}
	for _, g := range r.Players {
		if g.Group != "new" {
			continue
		}
		for _, p := range g.ByGame {
			fmt.Fprintf(b, "   %-14s %3d of %-3d in within %d s; half within %s, the slowest %s\n", p.Game, p.InTime, p.Players,
				p.LimitMS/1000, millis(time.Duration(p.JoinMS)), millis(time.Duration(p.JoinMaxMS)))
		}
	}
	b.WriteString("\nQueries of server browsers\n")
	for _, q := range r.Queries {
		fmt.Fprintf(b, "   %-12s %3d of %-3d answered (calm: %d of %d); half / 99 %% within %s ms\n", q.Kind, q.Answered, q.Asked,
			q.AnsweredCalm, q.AskedCalm, q.TookMS)
	}
	if a := r.Attack.Answers; a.Frames > 0 {
		fmt.Fprintf(b, "   To strangers: %s packets, %s bytes more than was asked.\n", grouped(a.Frames), grouped(a.Excess))
	}
}

func (r *Report) newcomers() bool {
	return slices.ContainsFunc(r.Players, func(g GroupReport) bool { return g.Group == "new" && g.Players > 0 })
}

// String writes both times without their unit, a dash for none.
func (t rttMS) String() string {
	if t == (rttMS{}) {
		return "-"
	}
	return plainMS(t.P50) + " / " + plainMS(t.P99)
}

func (r *Report) writeBlock(b *strings.Builder) {
	k := r.Block
	if k == nil {
		return
	}
	fmt.Fprintf(b, "\nA block in the middle of a match:  parry block add %s\n", k.Address)
	switch {
	case !k.Joined:
		b.WriteString("   The player to be blocked never got in: nothing to show.\n")
	case !k.Silenced:
		b.WriteString("   It had no effect: the player played on.\n")
	case !k.Released:
		fmt.Fprintf(b, "   It took effect after %s, but lifting it did not.\n", millis(time.Duration(k.EffectMS)))
	default:
		fmt.Fprintf(b, "   It took effect after %s, and the player was back in when it was lifted.\n", millis(time.Duration(k.EffectMS)))
	}
}

func (r *Report) writeCrash(b *strings.Builder) {
	c := r.Restart
	if c == nil {
		return
	}
	fmt.Fprintf(b, "\nThe daemon's death:  kill -9, %.1f s without it\n", time.Duration(c.DownMS).Seconds())
	fmt.Fprintf(b, "   The players lost %s packets. The new daemon was there in %s and took over %s sessions",
		grouped(c.Lost), millis(time.Duration(c.StartMS)), grouped(c.SessionsAdopted))
	if c.SessionsAdopted < c.SessionsBefore {
		fmt.Fprintf(b, "\n   (before: %s; those of strangers whom no server answered have expired)", grouped(c.SessionsBefore))
	}
	b.WriteString(".\n")
}

// verdict is the run in one sentence.
func (r *Report) verdict() string {
	if r.Err() == nil {
		return fmt.Sprintf("PASSED: %d checks. The edge lost no packet of a player in a match, and everyone who wanted to play got in.", len(r.Checks))
	}
	var b strings.Builder
	b.WriteString("FAILED:")
	for _, c := range r.Checks {
		if !c.OK {
			fmt.Fprintf(&b, "\n   %-20s %s (wanted: %s)", c.Name, c.Found, c.Wanted)
		}
	}
	return b.String()
}
