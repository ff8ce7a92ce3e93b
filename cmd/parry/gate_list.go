// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/show"
)

func newGateList(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List gates",
		Long: `List the gates that services may name, parry's own and yours: how strong a proof of a source's address each can give,
who uses it, and what it takes for a first packet.`,
		Example: `  parry gate list
  parry gate list --json | jq '.[] | select(.state == "refused")'`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := dial().Gates(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), list)
		}
		t := show.NewTable(cmd.OutOrStdout(), style(cmd, d), "NAME", ">ABI", "PROOF", "SOURCE", "STATE", ">INSTRUCTIONS", "SERVICES", "ABOUT")
		for _, g := range list {
			row := []string{g.Name, "", g.Proof, g.Source, g.State, "", strings.Join(g.Services, ", "), cmp.Or(g.Detail, g.About)}
			if g.State != api.GateRefused {
				row[1], row[5] = strconv.Itoa(int(g.ABI)), show.Count(g.Instructions)
			}
			if err := t.Row(row...); err != nil {
				return err
			}
		}
		return t.Close()
	}
	return cmd
}
