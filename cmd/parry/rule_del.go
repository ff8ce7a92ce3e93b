// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func newRuleDel(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "del ID...",
		Short:   "Remove rules",
		Long:    `Remove rules by their numbers (parry rule list). The next packet is judged without them.`,
		Example: "  parry rule del 3\n  parry rule del 3 4 5",
	}
	dial := addSocket(cmd, d)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("name rules by their numbers: parry rule list")
		}
		var ids []uint32
		for _, a := range args {
			id, err := strconv.ParseUint(a, 10, 32)
			if err != nil {
				return usagef("%q is no rule's number: parry rule list", a)
			}
			ids = append(ids, uint32(id))
		}
		for _, id := range ids {
			if err := dial().DelRule(cmd.Context(), id); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "rule %d is gone\n", id); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}
