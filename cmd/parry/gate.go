// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"parry/pkg/api"
)

// newGate makes `parry gate`.
func newGate(d deps) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "gate",
		Short: "Build, load and list gates: the programs that judge strangers' first packets",
		Long: `A gate says whether a stranger's packet is a believable first packet of its service's game. parry has its own; yours
is a C file that includes parry_gate.h. docs/gates.md is the manual.`,
	})
	cmd.AddCommand(newGateBuild(d), newGateLoad(d), newGateList(d), newGateUnload(d))
	return cmd
}

// compileGate compiles a source for a command, which shows what the compiler says.
func compileGate(cmd *cobra.Command, d deps, source string) ([]byte, error) {
	return d.CompileGate(cmd.Context(), source, cmd.ErrOrStderr())
}

// gateObject is the object that a file holds, or that it compiles to.
func gateObject(cmd *cobra.Command, d deps, name string) (_ []byte, err error) {
	if filepath.Ext(name) == ".c" {
		return compileGate(cmd, d, name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	object, err := io.ReadAll(io.LimitReader(f, api.MaxGate+1))
	if err == nil && len(object) > api.MaxGate {
		err = fmt.Errorf("%s is no compiled gate: one has at most %d bytes", name, api.MaxGate)
	}
	return object, err
}

// objectName is where a source's object goes unless the command line says otherwise.
func objectName(source string) string {
	return strings.TrimSuffix(strings.TrimSuffix(source, ".c"), ".bpf") + ".o"
}
