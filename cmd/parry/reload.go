// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newReload(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the daemon read its configuration again",
		Long: `All or nothing: with a configuration that can't be used the old one stays in force, and the faults are listed
here. No session is lost.`,
		Example: "  parry check -c /etc/parry/parry.yaml && parry reload",
		Args:    noArgs,
	}
	dial := addSocket(cmd, d)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := dial().Reload(cmd.Context()); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "the new configuration is in force")
		return err
	}
	return cmd
}
