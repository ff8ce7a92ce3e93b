// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/top"
)

// minInterval keeps a slip of the finger from asking the daemon a million times a second.
const minInterval = 10 * time.Millisecond

func newTop(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the edge: rates by service, drops by reason, sessions",
		Long: `Watch what the edge does per second: traffic of each service in both directions (UP is from players, DOWN from
servers), drops by reason, sessions. On a terminal it redraws, and q or Ctrl-C quits; elsewhere it writes a
frame every interval.`,
		Example: `  parry top
  parry top --interval 5s --count 12 > minute.txt
  parry top --json | jq .drops`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	interval := cmd.Flags().Duration("interval", time.Second, "time between two frames")
	count := cmd.Flags().Int("count", 0, "end after so many frames; 0 goes on")
	asJSON := addJSON(cmd, "an object a line, one every interval")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *interval < minInterval {
			return usagef("--interval %s is below %s", *interval, minInterval)
		}
		if *count < 0 {
			return usagef("--count %d is below 0", *count)
		}
		return top.Run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), top.Options{
			Status: dial().Status, Interval: *interval, Count: *count, JSON: *asJSON, Style: style(cmd, d),
		})
	}
	return cmd
}
