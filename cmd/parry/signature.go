// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

// newSignature makes `parry signature`.
func newSignature() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "signature",
		Short: "Try signatures: bytes that cheats are known by",
		Long: `Signatures are rules in a YAML file: bytes that a cheat is known by, where they stand, how long the payload is, which
way it goes, which game it is of (docs/cheat.md).`,
	})
	cmd.AddCommand(newSignatureTest())
	return cmd
}
