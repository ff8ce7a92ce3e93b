// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"
)

func newRun(d deps) *cobra.Command {
	opt := RunOptions{}
	cmd := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Run the edge",
		Long: `Attach the program, watch over it and answer the other commands, until a signal ends it. Sessions outlive the
daemon: what was attached stays attached and forwards, and the next run takes it over (see detach).
SIGHUP reads the configuration again, like reload.`,
		Example: `  parry run -c /etc/parry/parry.yaml
  parry run -c parry.yaml --log-level debug`,
		Args: noArgs,
	}
	path := addConfig(cmd)
	level := cmd.Flags().String("log-level", "info", "debug, info, warn or error")
	cmd.Flags().BoolVar(&opt.LogJSON, "log-json", false, "log JSON, an object a line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *path == "" {
			return usagef("name the configuration: -c FILE")
		}
		if err := opt.LogLevel.UnmarshalText([]byte(*level)); err != nil {
			return usagef("--log-level %q is none of debug, info, warn, error", *level)
		}
		opt.Config = *path
		return d.Run(cmd.Context(), opt)
	}
	return cmd
}
