// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"parry/pkg/classify"
)

func newClassify() *cobra.Command {
	opt := classify.Options{}
	cmd := &cobra.Command{
		Use:   "classify CAPTURE...",
		Short: "Name the game of each flow in a capture",
		Long: `Name the game of each flow in pcap or pcapng files (gzipped or not; - is standard input), from the bytes of its first
packets: label, class, confidence, and which rule says so. Ports name nothing.

A capture that is cut off or damaged is told as far as it goes; the error says where that is, and the exit code is 1.`,
		Example: `  parry classify players.pcap
  parry classify *.pcap --json | jq 'select(.game == "source")'
  tcpdump -i eth0 -c 10000 -w - udp | parry classify -`,
		Args: someArgs("a capture (a pcap or pcapng file)"),
	}
	cmd.Flags().BoolVar(&opt.JSON, "json", false, "an object a line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opt.Files = args
		return classify.Write(cmd.Context(), opt, cmd.OutOrStdout())
	}
	return cmd
}
