// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/show"
)

func newRuleList(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List rules and what each did",
		Long: `List the rules in the order in which they are asked: how many packets each was about, how many of them it dropped, and
how many it would have (--monitor, or a service or edge that enforces nothing).`,
		Example: `  parry rule list
  parry rule list --json | jq '.[] | select(.packets == 0) | .id'`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := dial().Rules(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), list)
		}
		t := show.NewTable(cmd.OutOrStdout(), style(cmd, d), ">ID", "ACTION", "SERVICE", ">PACKETS", ">BYTES", ">DROPPED", ">WOULD DROP", "ENDS", "NOTES", "EXPRESSION")
		for _, r := range list {
			if err := t.Row(strconv.Itoa(int(r.ID)), r.Action, cmp.Or(r.Service, "all"), show.Count(r.Packets), show.Bytes(r.Bytes), show.Count(r.Dropped),
				show.Count(r.WouldDrop), ends(r.Expires, d.Now()), ruleMarks(r), r.Expression); err != nil {
				return err
			}
		}
		return t.Close()
	}
	return cmd
}

func ends(at *time.Time, now time.Time) string {
	if at == nil {
		return "never"
	}
	return "in " + show.Duration(max(at.Sub(now), 0))
}

// ruleMarks are what is out of the ordinary with a rule.
func ruleMarks(r api.Rule) string {
	var marks []string
	if r.Monitor {
		marks = append(marks, "monitor")
	}
	if r.Established {
		marks = append(marks, "established")
	}
	return strings.Join(marks, " ")
}
