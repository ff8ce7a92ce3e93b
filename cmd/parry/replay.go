// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func newReplay(d deps) *cobra.Command {
	opt := ReplayOptions{}
	cmd := &cobra.Command{
		Use:   "replay -c FILE CAPTURE",
		Short: "Show what the edge would do with the packets of a capture",
		Long: `Send the packets of a pcap or pcapng file through the real program, at the capture's own times and on maps of its
own: verdict and reason of each packet, then a summary. A running edge isn't touched. What a local service's server
says is taken for leaving, not for coming in; what the capture cut off, for zeros.`,
		Example: `  parry replay -c parry.yaml attack.pcap
  parry replay -c parry.yaml attack.pcapng --json | jq 'select(.verdict == "drop")'`,
		Args: oneArg("the capture (a pcap or pcapng file)"),
	}
	path := addConfig(cmd)
	cmd.Flags().BoolVar(&opt.JSON, "json", false, "an object a line: packets, then the summary")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *path == "" {
			return usagef("name the configuration: -c FILE")
		}
		opt.Config, opt.Capture = *path, args[0]
		return d.Replay(cmd.Context(), opt, cmd.OutOrStdout())
	}
	return cmd
}
