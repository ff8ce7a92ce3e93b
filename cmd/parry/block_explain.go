// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/show"
)

func newBlockExplain(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain ADDR",
		Short: "Say why an address is blocked, and on what evidence",
		Long: `Say who keeps an address out and until when; what the detector decided about it and its network, now and within
the last day, with the figures that each decision rests on; and how it stands now: its risk, what came of its
connections, and who else is in its network. Nothing changes by asking.`,
		Example: `  parry block explain 198.51.100.7
  parry block explain 2001:db8::7 --json | jq '.decisions[].facts'`,
		Args: oneArg("an address"),
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := netip.ParseAddr(args[0])
		if err != nil || a.Zone() != "" {
			return usagef("%q is no address", args[0])
		}
		e, err := dial().ExplainBlock(cmd.Context(), a.Unmap())
		if err != nil {
			return err
		}
		return writePage(cmd, d, *asJSON, &e, blockExplainText)
	}
	return cmd
}

// blockExplainText lays it out for a person.
func blockExplainText(b *strings.Builder, st show.Style, e *api.BlockExplanation) {
	row := func(key, format string, args ...any) { fmt.Fprintf(b, "%-11s%s\n", key, fmt.Sprintf(format, args...)) }
	row("address", "%v", e.Address)
	row("blocked", "%s", yesNo(st, e.Blocked, true))
	row("allowed", "%s", yesNo(st, e.Allowed, false))
	for _, l := range e.Entries {
		row("", "%s list: %s%s", l.List, blocklist.FormatPrefix(l.Entry.Prefix), entryText(&l.Entry, e.Time))
	}
	for i := range e.Decisions {
		v := &e.Decisions[i]
		row("decision", "%s  %s %s, confidence %s, offence %d%s", v.At.Local().Format("2006-01-02 15:04:05"), v.Reason, blocklist.FormatPrefix(v.Prefix),
			show.Percent(v.Confidence), v.Level, decisionState(v, e))
		for _, f := range v.Facts {
			row("", "%s", f.Text)
		}
	}
	if s := e.Standing; s != nil {
		standingText(row, s)
	}
	b.WriteByte('\n')
	for _, t := range e.Text {
		fmt.Fprintf(b, "%s\n", t)
	}
}

func decisionState(v *api.Evidence, e *api.BlockExplanation) (text string) {
	if v.Scope != "all" {
		text += ", of what is unproven"
	}
	switch {
	case v.Lifted:
		text += ", taken back by hand"
	case !v.Expires.After(e.Time):
		text += ", over"
	default:
		text += ", " + show.Duration(v.Expires.Sub(e.Time)) + " left"
	}
	if !v.Acted {
		text += " (it only watched)"
	}
	return text
}
