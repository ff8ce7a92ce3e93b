// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/show"
)

func newShadow(d deps) *cobra.Command {
	cmd := group(&cobra.Command{Use: "shadow", Short: "See what policy would drop where it only watches, and switch it on"})
	cmd.AddCommand(newShadowReport(d), newShadowList(d), newShadowPromote(d), newShadowRollback(d))
	return cmd
}

func newShadowReport(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Show what would have been dropped, and whom it would have hit",
		Long: `Show what policy would have dropped where it only watches (enforce: false), by service and reason: how many packets,
of how many sources (an estimate, within 7 % nineteen times out of twenty), and how many of those proved to be players:
by a secret that they echoed, TCP's handshake, or half a minute of play. The counts begin when the edge's maps were
made.`,
		Example: `  parry shadow report
  parry shadow report --service arena --json | jq '[.rows[] | select(.players > 0)]'`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	service := addService(cmd, dial, "this service alone")
	asJSON := addJSON(cmd, "one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		rep, err := dial().Shadow(cmd.Context(), *service)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), &rep)
		}
		if len(rep.Rows) == 0 {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing would have been dropped")
			return err
		}
		for i := range rep.Rows {
			r := &rep.Rows[i]
			name := r.Service
			if name == "" {
				name = "this host"
			}
			by := ""
			if r.What != "" {
				by = "; by " + r.What
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s would have dropped %s packets of %s sources, %s of whom proved to be players%s\n",
				name, r.Reason, show.Count(r.Packets), show.Count(r.Sources), show.Count(r.Players), by)
			if err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func newShadowList(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what only watches, and what of it was switched on",
		Long: `List what only watches by the configuration: the edge as a whole, services, their gates, their limits; and what of it
was promoted, on trial or for good.`,
		Example: `  parry shadow list`,
		Args:    noArgs,
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		rep, err := dial().Shadow(cmd.Context(), "")
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), rep.Things)
		}
		t := show.NewTable(cmd.OutOrStdout(), style(cmd, d), "WHAT", "STATE", "SINCE", "UNTIL", ">PLAYERS HIT", ">AT MOST")
		for i := range rep.Things {
			x := &rep.Things[i]
			row := []string{x.What, x.State, when(x.Since), when(x.Until), "", ""}
			if x.Since != nil {
				row[4] = show.Count(x.Hit)
			}
			if x.Until != nil {
				row[5] = show.Count(x.MaxPlayers)
			}
			if err := t.Row(row...); err != nil {
				return err
			}
		}
		return t.Close()
	}
	return cmd
}

func when(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func newShadowPromote(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "promote (all | SERVICE | SERVICE/PART)",
		Short: "Switch on what only watches, and back off if it hits players",
		Long: `Switch on what only watches by the configuration, at once and without a change of the file. It is on trial first: if it
drops packets of more than --max-players sources that are proven players or have played before, it only watches again
by itself, which an event tells (shadow.rollback). After --roll-back-after it stays on. Lists and rules are no part of
a trial: they hit whom their operator means.

A PART of a service is its gate, its limits (all of them), or of those prefix or service alone: the limits of a prefix
of sources, and of all who are not proven.

It holds over restarts and reloads, until the configuration itself enforces it, or "parry shadow rollback".`,
		Example: `  parry shadow promote arena/gate
  parry shadow promote arena --roll-back-after 1h --max-players 0
  parry shadow promote all --roll-back-after 0s      without a trial`,
		Args: oneArg("what to promote: see `parry shadow list`"),
	}
	dial := addSocket(cmd, d)
	trial := cmd.Flags().Duration("roll-back-after", api.ShadowTrialTime, "how long it is on trial; 0s: not at all")
	most := cmd.Flags().Uint64("max-players", api.ShadowMaxPlayers, "players that it may hit on its trial")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *trial < 0 || *trial > api.ShadowTrialLongest {
			return usagef("--roll-back-after %v is not between 0s and %v", *trial, api.ShadowTrialLongest)
		}
		t, err := dial().Promote(cmd.Context(), api.ShadowPromotion{What: args[0], ForMS: trial.Milliseconds(), MaxPlayers: *most})
		if err != nil {
			return err
		}
		if t.Until == nil {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is enforced from now on\n", t.What)
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is enforced from now on, on trial until %s: above %s it only watches again\n", t.What, when(t.Until),
			plural(int(t.MaxPlayers), "player that it hits", "players that it hits"))
		return err
	}
	return cmd
}

func newShadowRollback(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rollback (all | SERVICE | SERVICE/PART)",
		Short:   "Have something that was promoted only watch again",
		Example: `  parry shadow rollback arena/gate`,
		Args:    oneArg("what was promoted: see `parry shadow list`"),
	}
	dial := addSocket(cmd, d)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := dial().RollBack(cmd.Context(), args[0]); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s only watches again\n", args[0])
		return err
	}
	return cmd
}
