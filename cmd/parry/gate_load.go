// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"parry/pkg/api"
)

func newGateLoad(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "load (FILE.o | FILE.c)",
		Short: "Add a gate to the running edge, or replace it",
		Long: `Hand a gate to the daemon, a C file compiled first. It keeps it over restarts, and services use it by its name:
"gate: NAME" in the configuration. A gate of the same name is replaced, in services that use it too; no session
is lost. A gate that can't be used is refused with the reason, and changes nothing. Root alone may do it.`,
		Example: `  parry gate load mygame.o
  parry gate load mygame.c`,
		Args: oneArg("the gate: an object (parry gate build) or a C file"),
	}
	dial := addSocket(cmd, d)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		object, err := gateObject(cmd, d, args[0])
		if err != nil {
			return err
		}
		g, err := dial().LoadGate(cmd.Context(), object)
		if err != nil {
			return err
		}
		if g.State == api.GateLoaded {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "gate %s is replaced: %s asks it from now on\n", g.Name, strings.Join(g.Services, ", "))
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "gate %s is there: a service with \"gate: %s\" asks it after `parry reload`\n", g.Name, g.Name)
		return err
	}
	return cmd
}
