// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
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
	fmt.Fprintf(b, "   %s packets from %s addresses came in, %s a second\n", short(a.Packets), short(a.Sources), short(a.PPS))
	for _, reason := range byCount(a.Dropped) {
		fmt.Fprintf(b, "   %14s  dropped: %s (%s)\n", grouped(a.Dropped[reason]), reasonWords(reason), reason)
	}
	fmt.Fprintf(b, "   %14s  passed on to a server\n", grouped(a.Reached))
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
		fmt.Fprintf(b, "   %-15s %2d/%-2d %9s %9s %9s    %-15s %s\n", who, g.Joined, g.Players, grouped(g.Sent), grouped(g.Lost),
			grouped(g.Unanswered), g.RTTCalm, g.RTT)
	}
	for _, g := range r.Players {
		if g.Group == "new" && g.Joined > 0 {
			fmt.Fprintf(b, "   Joining under attack took %s (the slowest %s).\n", millis(time.Duration(g.JoinMS)), millis(time.Duration(g.JoinMaxMS)))
		}
	}
	if r.LinkDropped > 0 {
		fmt.Fprintf(b, "   %s packets never got to the edge: a link of the machine was full.\n", grouped(r.LinkDropped))
	}
	if r.SocketDropped > 0 {
		fmt.Fprintf(b, "   %s packets left the edge but found a socket full.\n", grouped(r.SocketDropped))
	}
}

// String writes both times without their unit, a dash for none.
func (t rttMS) String() string {
	if t == (rttMS{}) {
		return "-"
	}
	cut := func(d ms) string { return strings.TrimSuffix(millis(time.Duration(d)), " ms") }
	return cut(t.P50) + " / " + cut(t.P99)
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
	if err := r.Err(); err != nil {
		return "FAILED: " + err.Error() + "."
	}
	for _, g := range r.Players {
		if g.Joined < g.Players {
			return fmt.Sprintf("The edge lost no packet of a player in a match, but %d of %d %s players (%s) did not get in.",
				g.Players-g.Joined, g.Players, g.Group, g.Protocol)
		}
	}
	for _, g := range r.Players {
		if took := time.Duration(g.JoinMaxMS); took > joinPatience {
			return fmt.Sprintf("The edge lost no packet of a player in a match, but newcomers waited up to %.0f s to get in.", took.Seconds())
		}
	}
	return "PASSED: the edge lost no packet of a player in a match, and everyone who wanted to play got in."
}
