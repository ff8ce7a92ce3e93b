// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"parry/pkg/anticheat"
	"parry/pkg/anticheat/offline"
	"parry/pkg/config"
	"parry/pkg/game"
)

func newCheatAnalyse() *cobra.Command {
	opt := offline.Options{Policy: anticheat.Default()}
	cmd := &cobra.Command{
		Use:   "analyse CAPTURE...",
		Short: "Say of each flow in a capture what looks like cheating, and why",
		Long: `Look for cheating in each flow of pcap or pcapng files (gzipped or not; - is standard input): lag switches, fake
lag, repeated, replayed and forged packets, floods, rates and sizes beyond the game's, clocks that are fast, rhythms of
no person, and an operator's signatures. A flow's first packet is taken for the client's, unless what is said in it, or
its ports, say otherwise. What can't be judged, and why, is said, too (docs/cheat.md). Games are named by the first
packets of flows; --game is what those are whose beginning is not in the capture.

A capture that is cut off or damaged is told as far as it goes; the error says where that is, and the exit code is 1.`,
		Example: `  parry cheat analyse match.pcap
  parry cheat analyse *.pcap --json | jq 'select(.findings | length > 0)'
  parry cheat analyse match.pcap --signatures rules.yaml`,
		Args: someArgs("a capture (a pcap or pcapng file)"),
	}
	cmd.Flags().BoolVar(&opt.JSON, "json", false, "an object a line")
	rules := cmd.Flags().String("signatures", "", "`file` of signatures to look for")
	cmd.Flags().StringVar(&opt.Game, "game", "", "the `game` of flows that nothing names (parry profile list)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opt.Files = args
		if _, known := game.Lookup(opt.Game); !known && opt.Game != "" {
			hint := "parry profile list shows them"
			if near, ok := game.Nearest(opt.Game); ok {
				hint = "did you mean " + near + "?"
			}
			return usagef("--game: nobody knows the game %q: %s", opt.Game, hint)
		}
		if *rules != "" {
			set, err := config.LoadSignatures(*rules)
			if err != nil {
				return err
			}
			opt.Policy.Signatures = set
		}
		return offline.Write(cmd.Context(), opt, cmd.OutOrStdout())
	}
	return cmd
}
