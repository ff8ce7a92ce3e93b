// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCheck(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Say what is wrong with a configuration, without touching a running edge",
		Long: `Read a configuration and list every fault with its line and what to do. With --host it also looks at this
machine: privileges, kernel, interfaces and drivers, ports that the kernel uses itself.`,
		Example: `  parry check -c parry.yaml
  parry check -c /etc/parry/parry.yaml --host && parry reload`,
		Args: noArgs,
	}
	path := addConfig(cmd)
	host := cmd.Flags().Bool("host", false, "check this machine too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *path == "" {
			return usagef("name the configuration: -c FILE")
		}
		if err := d.Check(cmd.Context(), *path, *host); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is good\n", *path)
		return err
	}
	return cmd
}
