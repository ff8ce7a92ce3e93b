// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"parry/pkg/anticheat/offline"
	"parry/pkg/config"
)

func newSignatureTest() *cobra.Command {
	opt := offline.TestOptions{}
	cmd := &cobra.Command{
		Use:   "test CAPTURE...",
		Short: "Say which packets of a capture match which signatures",
		Long: `Hold a file of signatures against every packet of pcap or pcapng files (gzipped or not; - is standard input), and say
which match. Rules for a game look at the flows that its first packets name. A file with faults is refused with all
of them, each with its line and column.`,
		Example: `  parry signature test match.pcap --signatures rules.yaml
  parry signature test *.pcap --signatures rules.yaml --json | jq .signature`,
		Args: someArgs("a capture (a pcap or pcapng file)"),
	}
	cmd.Flags().BoolVar(&opt.JSON, "json", false, "an object a line")
	rules := cmd.Flags().String("signatures", "", "`file` of signatures to look for")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *rules == "" {
			return usagef("name the file of signatures: --signatures FILE")
		}
		set, err := config.LoadSignatures(*rules)
		if err != nil {
			return err
		}
		opt.Files, opt.Signatures = args, set
		return offline.Test(cmd.Context(), opt, cmd.OutOrStdout())
	}
	return cmd
}
