// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/history"
	"parry/pkg/show"
)

func explainPast(cmd *cobra.Command, d deps, c *api.Client, q api.PastQuery, asJSON bool) error {
	p, err := c.Past(cmd.Context(), q)
	if err != nil {
		return err
	}
	return writePage(cmd, d, asJSON, &p, pastText)
}

// pastText lays out what was so at another time.
func pastText(b *strings.Builder, st show.Style, p *api.Past) {
	row := func(key, format string, args ...any) { fmt.Fprintf(b, "%-11s%s\n", key, fmt.Sprintf(format, args...)) }
	if p.Player != nil {
		row("player", "%s", nameCell(p.Player))
	}
	if p.Address != nil {
		row("address", "%v", *p.Address)
	}
	row("at", "%s, and %s around it", p.At.Local().Format(time.DateTime), show.MS(p.AroundMS))
	row("sessions", "%s", plural(len(p.Sessions)+len(p.History), "session", "sessions"))
	for i := range p.Sessions {
		sessionLine(row, st, &p.Sessions[i])
	}
	for i := range p.History {
		recordLine(row, &p.History[i])
	}
	for i := range p.Entries {
		l := &p.Entries[i]
		row("entry", "%s list: %s%s, since %s", l.List, blocklist.FormatPrefix(l.Entry.Prefix), entryText(&l.Entry, p.At), l.Entry.Added.Local().Format(time.DateTime))
	}
	for i := range p.Reasons {
		r := &p.Reasons[i]
		what := "dropped"
		if r.Would {
			what = "would drop"
		}
		row(what, "%s%s, seen %s from %s to %s: %s", ofService(r.Service), r.Reason, plural(int(r.Samples), "time", "times"),
			r.First.Local().Format(time.TimeOnly), r.Last.Local().Format(time.TimeOnly), r.Text)
	}
	for i := range p.Attacks {
		r := &p.Attacks[i]
		row("attack", "%s on %s, since %s: %s", r.ID, r.Target(), r.Start.Local().Format(time.DateTime), strings.Join(r.Kinds, ", "))
	}
	for i := range p.Events {
		e := &p.Events[i]
		row("event", "%s  %s  %s", e.Time.Local().Format(time.TimeOnly), e.Type, e.Text)
	}
	b.WriteString("\nFor the player:\n")
	for _, t := range p.Text {
		fmt.Fprintf(b, "  %s\n", t)
	}
	b.WriteString("\nNot known:\n")
	for _, t := range p.Unknown {
		fmt.Fprintf(b, "  %s\n", t)
	}
}

// sessionLine is a session that goes on, in a line of an explanation.
func sessionLine(row func(key, format string, args ...any), st show.Style, s *api.Session) {
	row("", "%s  %s  %s  %s > %s, %s old", s.ID, s.Service, st.State(s.State), s.Client, s.Edge, show.MS(s.AgeMS))
}

// recordLine is one that ended.
func recordLine(row func(key, format string, args ...any), r *history.Record) {
	who := ""
	if r.Player != nil {
		who = ", " + nameCell(r.Player)
	}
	row("", "%s  %s  %s > %s%s, %s until %s, ended by %s", r.ID, r.Service, r.Client, r.Edge, who, r.Start.Local().Format(time.DateTime),
		r.End.Local().Format(time.TimeOnly), r.EndedBy)
}
