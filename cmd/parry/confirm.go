// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/trial"
)

func newConfirm(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "confirm",
		Short: "Keep the edge that is on trial (see try)",
		Long: `Keep what ` + "`parry try`" + ` attached: it runs on until the machine restarts, and what it attached stays, like that of
any edge. Come by a second ssh connection: that shows that new ones get in.`,
		Example: `  sudo parry confirm
  sudo parry confirm --json`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		done, err := dial().Confirm(cmd.Context())
		if errors.Is(err, api.ErrNoDaemon) {
			return fmt.Errorf("nothing is on trial: %w", err)
		}
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), done)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "kept: parry runs on as process %d\n%s", done.PID, trial.Permanent(done.PID, done.Config))
		return err
	}
	return cmd
}
