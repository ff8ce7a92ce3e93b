// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newGateUnload(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unload NAME",
		Short: "Forget a gate of yours",
		Long:  "Forget a gate that `parry gate load` added. One that a service uses stays. Root alone may do it.",
		Example: `  parry gate unload mygame
  parry gate list`,
		Args: oneArg("the gate"),
	}
	dial := addSocket(cmd, d)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := dial().UnloadGate(cmd.Context(), args[0]); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "gate %s is gone\n", args[0])
		return err
	}
	return cmd
}
