// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"parry/pkg/show"
)

func newGateBuild(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "build FILE.c",
		Short: "Compile a gate and see if this kernel takes it",
		Long: `Compile a gate with clang against the parry_gate.h of this parry, and have this kernel's verifier look at it (that
takes root; without it the gate is compiled and checked as far as that goes). What is refused leaves no file.`,
		Example: `  parry gate build mygame.c
  parry gate build mygame.c -o /tmp/mygame.o && sudo parry gate load /tmp/mygame.o`,
		Args: oneArg("the gate's C file"),
	}
	out := cmd.Flags().StringP("output", "o", "", "`file` for the object (default: FILE.o beside FILE.c)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		source := args[0]
		if filepath.Ext(source) != ".c" {
			return usagef("%q is no C file", source)
		}
		object, err := compileGate(cmd, d, source)
		if err != nil {
			return err
		}
		trial, err := d.TryGate(object)
		if err != nil {
			return err
		}
		name := cmp.Or(*out, objectName(source))
		if err := os.WriteFile(name, object, 0o644); err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		fmt.Fprintf(w, "%s: gate %s, proof %s: %s\n", name, trial.Name, trial.Proof, trial.About)
		if !trial.Tried {
			_, err = fmt.Fprintf(w, "%s; whether the kernel takes it shows when root builds or loads it\n", plural(trial.Instructions, "instruction", "instructions"))
			return err
		}
		_, err = fmt.Fprintf(w, "this kernel takes it: %s, %s of machine code, %s by the verifier\n",
			plural(trial.Instructions, "instruction", "instructions"), show.Bytes(uint64(trial.MachineCode)), plural(int(trial.Verified), "step", "steps"))
		return err
	}
	return cmd
}
