// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// docs/cli.md is the help of every command: what it says is pinned here.
func TestTheReferenceOfCommandsIsWhatHelpSays(t *testing.T) {
	var got bytes.Buffer
	got.WriteString(`<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by cmd/parry's tests (make docs) from the commands' own help. -->
# Commands

Listings take ` + "`--json`" + `: one document with stable keys, streams an object a line. Errors go to stderr and exit 1;
a bad command line or configuration exits 2.
`)
	walk(newRoot(wire()), func(c *cobra.Command) {
		var help bytes.Buffer
		c.SetOut(&help)
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "\n## %s\n\n```\n%s\n```\n", c.CommandPath(), strings.TrimSpace(help.String()))
	})
	file := filepath.Join("..", "..", "docs", "cli.md")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("docs/cli.md is stale: make docs writes it (-want +got):\n%s", diff)
	}
}

// Every command explains itself, and the promises of all commands hold for each.
func TestEveryCommandExplainsItself(t *testing.T) {
	walk(newRoot(wire()), func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no short help", c.CommandPath())
		}
		if !c.HasAvailableSubCommands() && c.Example == "" && c.Name() != "lab" {
			t.Errorf("%s has no examples", c.CommandPath())
		}
		for line := range strings.Lines(c.Long) {
			if n := len(strings.TrimRight(line, "\n")); n > 120 {
				t.Errorf("%s: a line of %d bytes: %s", c.CommandPath(), n, line)
			}
		}
	})
}

// walk visits the commands that are parry's own, and not cobra's.
func walk(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			walk(sub, visit)
		}
	}
}
