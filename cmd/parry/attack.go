// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/attack"
	"parry/pkg/show"
)

func newAttack(d deps) *cobra.Command {
	cmd := group(&cobra.Command{Use: "attack", Short: "List attacks, and report on one"})
	cmd.AddCommand(newAttackList(d), newAttackShow(d), newAttackReport(d))
	return cmd
}

func newAttackList(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List attacks, the newest first",
		Long: `List attacks, the newest first: from when a service's state became attack until it no longer was. The last 1000 are
remembered. - stands for what isn't known.`,
		Example: `  parry attack list
  parry attack list --service arena --json | jq '.[] | select(.end == null)'`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	service := addService(cmd, dial, "attacks on this service only")
	asJSON := addJSON(cmd, "one JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := dial().Attacks(cmd.Context(), api.AttackFilter{Service: *service})
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), list)
		}
		st := style(cmd, d)
		t := show.NewTable(cmd.OutOrStdout(), st, "ID", "SERVICE", "START", ">LASTED", ">PEAK", ">", ">SOURCES", ">OF LINK", ">PLAYERS LOST", "KINDS")
		for i := range list {
			r := &list[i]
			lasted := st.Bad("goes on")
			if r.End != nil {
				lasted = show.Duration(r.End.Sub(r.Start))
			}
			err := t.Row(r.ID, r.Target(), r.Start.Local().Format(time.DateTime), lasted, show.SI(float64(r.PeakPPS), "pkt/s"), show.SI(float64(r.PeakBPS), "bit/s"),
				known(r.Sources, show.Count[uint64]), known(r.LinkShare, show.Percent), known(r.PlayersLost, show.Count[uint64]),
				strings.Join(r.Kinds, ", "))
			if err != nil {
				return err
			}
		}
		return t.Close()
	}
	return cmd
}

func newAttackShow(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one attack",
		Long:  "Show one attack: what it was, what was dropped, what was done, what happened when.",
		Example: `  parry attack show arena-20260131T115500Z
  parry attack show arena-20260131T115500Z --json | jq .drops`,
		Args: oneArg("an attack by its ID (see parry attack list)"),
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON document")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := oneAttack(cmd, dial(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), r)
		}
		return r.Report(cmd.OutOrStdout(), false, d.Now())
	}
	return cmd
}

func newAttackReport(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report ID",
		Short: "Write a report on one attack, to hand on",
		Long:  "Write a report on one attack for people who weren't there: as text, or as Markdown.",
		Example: `  parry attack report arena-20260131T115500Z
  parry attack report arena-20260131T115500Z --markdown > attack.md`,
		Args: oneArg("an attack by its ID (see parry attack list)"),
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON document")
	markdown := cmd.Flags().Bool("markdown", false, "as Markdown")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *asJSON && *markdown {
			return usagef("--json and --markdown exclude each other")
		}
		r, err := oneAttack(cmd, dial(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), r)
		}
		return r.Report(cmd.OutOrStdout(), *markdown, d.Now())
	}
	return cmd
}

func oneAttack(cmd *cobra.Command, c *api.Client, id string) (*attack.Record, error) {
	list, err := c.Attacks(cmd.Context(), api.AttackFilter{ID: id})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("there is no attack %s: see parry attack list", id)
	}
	return &list[0], nil
}
