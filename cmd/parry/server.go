// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"parry/pkg/show"
)

func newServer(d deps) *cobra.Command {
	cmd := group(&cobra.Command{Use: "server", Short: "List the game servers behind the edge, and keep others from them"})
	cmd.AddCommand(newServerList(d), newServerGuard(d))
	return cmd
}

func newServerList(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List servers",
		Long:  "List the servers of all pools; - stands for what isn't known.",
		Example: `  parry server list
  parry server list --json | jq '.[] | select(.state != "up")'`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := dial().Servers(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), list)
		}
		st := style(cmd, d)
		t := show.NewTable(cmd.OutOrStdout(), st, "NAME", "POOL", "ADDRESS", "REGION", "STATE", ">LATENCY", ">PLAYERS",
			">CAPACITY", ">LOAD", ">SESSIONS", ">SCORE")
		for _, s := range list {
			err := t.Row(s.Name, s.Pool, s.Address, s.Region, st.State(s.State),
				known(s.LatencyMS, milliseconds),
				known(s.Players, show.Count[int64]), known(s.Capacity, show.Count[int64]),
				known(s.Load, show.Percent), show.Count(s.Sessions),
				known(s.Score, func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }))
			if err != nil {
				return err
			}
		}
		return t.Close()
	}
	return cmd
}

// known shows what is there.
func known[T any](v *T, text func(T) string) string {
	if v == nil {
		return show.Unknown
	}
	return text(*v)
}
