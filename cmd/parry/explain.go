// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/show"
)

func newExplain(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain ADDR|PLAYER",
		Short: "Say what becomes of an address or player, now or then, and why",
		Long: `Say whether an address is blocked or allowed, what sessions it has and whether they are proven, how much of its limits
it has used, and which of its packets were dropped lately, why, and when. Behind it stands what can be told to the
player, word for word.

The edge remembers one dropped packet a second and source, of some thousands of sources that were dropped last (an IPv6
address is remembered by its /64). --watch looks at each packet of the address for a while first.

A player is found by the name that the client gave (see player list), at the address that he plays from or played from
last. --at says what was so at another time, and ten minutes around it, as far as records tell: sessions, and why they
ended, entries, attacks, events. What can't be told is said.`,
		Example: `  parry explain 198.51.100.7
  parry explain Steve
  parry explain Steve --at 21:30
  parry explain 198.51.100.7 --at 2026-01-30T21:30:00Z --json
  parry explain 2001:db8::7 --watch 10s
  parry explain 198.51.100.7 --json | jq -r '.text[]'`,
		Args: oneArg("an address, or a player's name"),
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON object")
	watch := cmd.Flags().Duration("watch", 0, "look at each packet of it for so long first, at most 45s")
	at := &timeValue{now: d.Now}
	cmd.Flags().Var(at, "at", "say what was so then: 10m (ago), 15:04, or a time as RFC 3339 has it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		addr, player := netip.Addr{}, args[0]
		if a, err := netip.ParseAddr(args[0]); err == nil {
			if a.Zone() != "" {
				return usagef("%q has a zone: the edge knows none", args[0])
			}
			addr, player = a.Unmap(), ""
		} else if player == "" || strings.Contains(player, "/") && strings.ContainsAny(player, ".:") {
			return usagef("%q is neither an address nor a player's name", args[0])
		}
		if !at.time.IsZero() {
			if *watch > 0 {
				return usagef("--at and --watch exclude each other")
			}
			return explainPast(cmd, d, dial(), api.PastQuery{Address: addr, Player: player, At: at.time}, *asJSON)
		}
		if *watch < 0 || *watch > api.ExplainWatchMax {
			return usagef("--watch %v is not between 0s and %v", *watch, api.ExplainWatchMax)
		}
		e, err := dial().Explain(cmd.Context(), api.ExplainQuery{Address: addr, Player: player, Watch: *watch})
		if err != nil {
			return err
		}
		return writePage(cmd, d, *asJSON, &e, explainText)
	}
	return cmd
}

// explainText lays an explanation out for a person.
func explainText(b *strings.Builder, st show.Style, e *api.Explanation) {
	row := func(key, format string, args ...any) { fmt.Fprintf(b, "%-11s%s\n", key, fmt.Sprintf(format, args...)) }
	if e.Player != nil {
		row("player", "%s", nameCell(e.Player))
	}
	row("address", "%v%s", e.Address, placeText(e.Place))
	row("blocked", "%s", yesNo(st, e.Blocked, true))
	row("allowed", "%s", yesNo(st, e.Allowed, false))
	for _, l := range e.Entries {
		row("", "%s list: %s%s", l.List, blocklist.FormatPrefix(l.Entry.Prefix), entryText(&l.Entry, e.Time))
	}
	if len(e.Regular) > 0 {
		row("has played", "%s", strings.Join(e.Regular, ", "))
	}
	row("sessions", "%s", plural(len(e.Sessions), "session", "sessions"))
	for i := range e.Sessions {
		sessionLine(row, st, &e.Sessions[i])
	}
	for i := range e.Limits {
		l := &e.Limits[i]
		row("limit", "%s: %s %s of %s: %s used%s", l.Service, show.Count(l.Value), strings.ReplaceAll(l.Limit, "_", " "), l.Source, show.Percent(l.Used), onlyWatches(l.Enforced))
	}
	if w := e.Watched; w != nil {
		row("watched", "%s: %s up, %s down, %s dropped, %s would be, %s not seen", show.MS(w.ForMS), show.Count(w.Up), show.Count(w.Down),
			show.Count(w.Dropped), show.Count(w.Would), show.Count(w.Lost))
	}
	for i := range e.Reasons {
		r := &e.Reasons[i]
		what, rule := "dropped", ""
		if r.Would {
			what = "would drop" // it only watches
		}
		if r.Rule != 0 {
			rule = fmt.Sprintf(" (rule %d)", r.Rule)
		}
		row(what, "%s%s%s, seen %s, last %s ago: %s", ofService(r.Service), r.Reason, rule, plural(int(r.Samples), "time", "times"),
			show.Duration(e.Time.Sub(r.Last)), r.Text)
	}
	for i := range e.Last {
		p := &e.Last[i]
		row("packet", "%s  %s%s  %s, %d bytes", p.Time.Local().Format("15:04:05.000000"), ofService(p.Service), p.Reason, p.Packet, p.Length)
	}
	b.WriteString("\nFor the player:\n")
	for _, t := range e.Text {
		fmt.Fprintf(b, "  %s\n", t)
	}
}

func yesNo(st show.Style, yes, bad bool) string {
	switch {
	case !yes:
		return "no"
	case bad:
		return st.Bad("yes")
	}
	return st.Good("yes")
}

func ofService(name string) string {
	if name == "" {
		return "the edge itself: "
	}
	return name + ": "
}

func onlyWatches(enforced bool) string {
	if enforced {
		return ""
	}
	return " (only watches)"
}

func placeText(p *api.Place) string {
	if p == nil {
		return ""
	}
	text := " " + p.Country
	if p.ASN != 0 {
		text += fmt.Sprintf(" AS%d %s", p.ASN, p.Network)
	}
	return strings.TrimRight(text, " ")
}

func entryText(e *blocklist.Entry, now time.Time) string {
	text := ""
	if e.Service != "" {
		text += ", " + e.Service + " alone"
	}
	if e.Reason != "" {
		text += ", " + e.Reason
	}
	if e.Expires != nil {
		text += ", for another " + show.Duration(e.Expires.Sub(now))
	}
	return text
}
