// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

// newCheat makes `parry cheat`.
func newCheat() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "cheat",
		Short: "Look for cheating that the network shows",
		Long:  `Look for cheating that the network shows: in when packets come, how many, how long, by which numbers (docs/cheat.md).`,
	})
	cmd.AddCommand(newCheatAnalyse())
	return cmd
}
