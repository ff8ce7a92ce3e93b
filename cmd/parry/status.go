// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/show"
)

func newStatus(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the edge: interfaces, services, what was dropped, how full the tables are",
		Example: `  parry status
  parry status --json | jq '.services[] | {name, sessions}'`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON document")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		st, err := dial().Status(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), st)
		}
		return statusText(cmd.OutOrStdout(), style(cmd, d), &st)
	}
	return cmd
}

func statusText(w io.Writer, s show.Style, st *api.Status) error {
	mode := s.Good("enforcing")
	if !st.Enforce {
		mode = s.Warn("monitoring: policy drops nothing")
	}
	fmt.Fprintf(w, "%s on %s, up %s, %s\n", s.Bold("parry "+st.Version), st.Node, show.MS(st.UptimeMS), mode)
	for _, i := range st.Interfaces {
		text := fmt.Sprintf("%s (%s): %s", i.Name, i.Mode, s.Good("protected"))
		if !i.Protected {
			text = fmt.Sprintf("%s (%s): %s", i.Name, i.Mode, s.Bad(strings.TrimSuffix("unprotected: "+i.Detail, ": ")))
		}
		fmt.Fprintln(w, text)
	}
	fmt.Fprintln(w)
	for _, part := range []func(io.Writer, show.Style, *api.Status) error{servicesTable, alarms, dropsTable, tablesTable} {
		if err := part(w, s, st); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\nto this host itself: %s packets, %s\n", show.Count(st.Host.Packets), show.Bytes(st.Host.Bytes))
	return err
}

func servicesTable(w io.Writer, s show.Style, st *api.Status) error {
	t := show.NewTable(w, s, "SERVICE", "LISTEN", "PROTO", "GAME", "FORWARD", "STATE", ">SESSIONS", ">UP", ">", ">DOWN", ">", ">DROPPED", "")
	for i := range st.Services {
		v := &st.Services[i]
		row := []string{
			v.Name, strings.Join(v.Listen, ","), strings.Join(v.Protocol, ","), v.Game, v.Forward, s.State(v.State), show.Count(v.Sessions),
		}
		row = append(row, trafficCells(v.Up)...)
		row = append(row, trafficCells(v.Down)...)
		note := " "
		if n := total(v.WouldDrop); !v.Enforce {
			note = s.Warn("monitored: would have dropped " + show.Count(n))
		}
		if err := t.Row(append(row, show.Count(total(v.Drops)), note)...); err != nil {
			return err
		}
	}
	return t.Close()
}

// fullGreylist is from where on the greylist lets many strangers pass at first sight.
const fullGreylist = 0.5

// alarms says why services aren't normal, and when the greylist is too full to be of use.
func alarms(w io.Writer, s show.Style, st *api.Status) error {
	for i := range st.Services {
		if text := st.Services[i].Alarm(st.Time); text != "" {
			if _, err := fmt.Fprintf(w, "%s: %s\n", s.State(st.Services[i].State), text); err != nil {
				return err
			}
		}
	}
	for i := range st.Promoted {
		t := &st.Promoted[i]
		text := t.What + " is enforced by `parry shadow promote`"
		if t.Until != nil {
			text += fmt.Sprintf(", on trial for another %s (has hit %d of at most %d players)", show.Duration(t.Until.Sub(st.Time)), t.Hit, t.MaxPlayers)
		}
		if _, err := fmt.Fprintln(w, s.Warn(text)); err != nil {
			return err
		}
	}
	if n := st.Samples; n.Captures > 0 {
		if _, err := fmt.Fprintln(w, s.Warn(fmt.Sprintf("%s; %s of all samples were lost", plural(n.Captures, "capture goes on", "captures go on"), show.Count(n.Lost)))); err != nil {
			return err
		}
	}
	if fill := st.Strangers.GreylistFill; fill >= fullGreylist {
		_, err := fmt.Fprintln(w, s.Warn(fmt.Sprintf("the greylist is %s full: many strangers pass at first sight; raise sizes.greylist", show.Percent(fill))))
		return err
	}
	return nil
}

func trafficCells(t *api.Traffic) []string {
	if t == nil {
		return []string{"", ""}
	}
	return []string{show.SI(float64(t.Packets), "pkt"), show.Bytes(t.Bytes)}
}

func dropsTable(w io.Writer, s show.Style, st *api.Status) error {
	reasons := map[string]bool{}
	for _, m := range []map[string]uint64{st.Drops, st.WouldDrop} {
		for r, n := range m {
			if n > 0 {
				reasons[r] = true
			}
		}
	}
	if len(reasons) == 0 {
		_, err := fmt.Fprintln(w, "\nnothing dropped so far")
		return err
	}
	names := slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(st.Drops[b], st.Drops[a]), cmp.Compare(st.WouldDrop[b], st.WouldDrop[a]), cmp.Compare(a, b))
	})
	fmt.Fprintln(w)
	t := show.NewTable(w, s, "DROPPED BECAUSE", ">PACKETS", ">WOULD HAVE")
	for _, r := range names {
		if err := t.Row(r, show.Count(st.Drops[r]), show.Count(st.WouldDrop[r])); err != nil {
			return err
		}
	}
	return t.Close()
}

func tablesTable(w io.Writer, s show.Style, st *api.Status) error {
	if len(st.Tables) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := show.NewTable(w, s, "TABLE", ">ENTRIES", ">ROOM FOR", ">FULL")
	for _, m := range st.Tables {
		fill := 0.0
		if m.Capacity > 0 {
			fill = float64(m.Entries) / float64(m.Capacity)
		}
		full := show.Percent(fill)
		if fill >= 0.8 {
			full = s.Warn(full)
		}
		if err := t.Row(m.Name, show.Count(m.Entries), show.Count(m.Capacity), full); err != nil {
			return err
		}
	}
	return t.Close()
}

func total(byReason map[string]uint64) (n uint64) {
	for _, v := range byReason {
		n += v
	}
	return n
}
