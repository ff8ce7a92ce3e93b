// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"parry/pkg/config"
)

func newDetach(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "detach (-c FILE | --pin DIR)",
		Short: "Take the edge off its interfaces and remove what it left pinned",
		Long: `Take the program off its interfaces and remove everything that is pinned: sessions, lists, counters. Protection
ends here and sessions that the edge forwards break. Stop the daemon first.`,
		Example: `  parry detach -c /etc/parry/parry.yaml
  parry detach --pin /sys/fs/bpf/parry`,
		Args: noArgs,
	}
	path := addConfig(cmd)
	pin := cmd.Flags().String("pin", "", "`folder` that the edge is pinned in")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if (*path == "") == (*pin == "") {
			return usagef("say which edge: -c FILE or --pin %s", defaultPin)
		}
		from := *pin
		if *path != "" {
			cfg, err := config.Load(*path)
			if err != nil {
				return err
			}
			from = cfg.Pin
		}
		if err := d.Detach(cmd.Context(), from); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "detached: nothing is left in %s\n", from)
		return err
	}
	return cmd
}
