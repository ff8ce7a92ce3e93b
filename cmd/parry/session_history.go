// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/history"
	"parry/pkg/show"
)

func newSessionHistory(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List sessions that ended, those that ended last first",
		Long: `List sessions that ended, those that ended last first. ENDED BY says whose doing it was: client, server, idle, path (no
way to one side), block, limit, drain (its server was taken out), killed (by hand) or edge. LOSS and GAP (the longest
silence) are of its last 30 seconds, from the player; - stands for what wasn't watched.

They are kept for 30 days, or as ` + "`history:`" + ` in the configuration says. Sessions that only asked for a server's status or
never proved their address are counted (parry status --json), not kept.`,
		Example: `  parry session history --since 2h
  parry session history --player Steve --since 2026-01-30T18:00:00Z --until 2026-01-31T02:00:00Z
  parry session history --client 198.51.100.7 --ended-by block --json | jq -r '.[].end'`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	filter := addSessionFilter(cmd, dial)
	asJSON := addJSON(cmd, "one JSON array")
	limit := cmd.Flags().Int("limit", 100, "list at most so many; 0 lists all")
	since, until := &timeValue{now: d.Now}, &timeValue{now: d.Now}
	cmd.Flags().Var(since, "since", "that had not ended by then: 2h (ago), 15:04, or a time as RFC 3339 has it")
	cmd.Flags().Var(until, "until", "that had begun by then, likewise")
	game := cmd.Flags().String("game", "", "sessions of this game")
	endedBy := cmd.Flags().String("ended-by", "", "that ended by this: "+strings.Join(history.EndedBy(), ", "))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s := filter()
		f := history.Filter{
			Service: s.Service, Client: s.Client, Server: s.Server, Player: s.Player, Game: *game, EndedBy: *endedBy, Since: since.time, Until: until.time, Limit: *limit,
		}
		if f.Limit < 0 {
			return usagef("--limit %d is below 0", f.Limit)
		}
		if known := history.EndedBy(); f.EndedBy != "" && !slices.Contains(known, f.EndedBy) {
			return usagef("--ended-by %q is none of %s", f.EndedBy, strings.Join(known, ", "))
		}
		if !f.Until.IsZero() && f.Until.Before(f.Since) {
			return usagef("--until is before --since")
		}
		n := 0
		var err error
		if *asJSON {
			err = writeJSONLines(cmd.OutOrStdout(), counted(dial().RawHistory(cmd.Context(), f), &n))
		} else {
			err = historyTable(cmd, d, counted(dial().History(cmd.Context(), f), &n))
		}
		if err == nil && f.Limit > 0 && n == f.Limit {
			fmt.Fprintf(cmd.ErrOrStderr(), "the last %s: --limit 0 lists all\n", plural(f.Limit, "session", "sessions"))
		}
		return err
	}
	return cmd
}

func historyTable(cmd *cobra.Command, d deps, list iter.Seq2[history.Record, error]) error {
	t := show.NewTable(cmd.OutOrStdout(), style(cmd, d), "ENDED", ">LASTED", "SERVICE", "CLIENT", "SERVER", "ENDED BY", "PROOF", ">UP", ">", ">LOSS", ">GAP", ">DOWN", ">", "PLAYER")
	for r, err := range list {
		if err != nil {
			return err
		}
		if err := t.Row(historyRow(&r)...); err != nil {
			return err
		}
	}
	return t.Close()
}

func historyRow(r *history.Record) []string {
	server := r.ServerName
	if server == "" {
		server = r.Server.String()
	}
	row := []string{r.End.Local().Format(time.DateTime), show.MS(r.DurationMS), r.Service, r.Client.String(), server, r.EndedBy, r.Proof}
	row = append(row, wayCells(r.Up)...)
	loss, gap := "", ""
	if r.Up != nil {
		loss, gap = known(r.Up.Loss, show.Percent), known(r.Up.LongestGapMS, milliseconds)
	}
	row = append(row, loss, gap)
	return append(append(row, wayCells(r.Down)...), nameCell(r.Player))
}

func wayCells(w *history.Way) []string {
	if w == nil {
		return []string{"", ""}
	}
	return []string{show.SI(float64(w.Packets), "pkt"), show.Bytes(w.Bytes)}
}
