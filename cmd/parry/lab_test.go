// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"parry/pkg/lab"
)

func TestLabRefusesOptionsThatMakeNoSense(t *testing.T) {
	for _, args := range [][]string{{"--scenario", "nothing"}, {"--scenario", "play", "--duration", "1s"}, {"--edge", "none"},
		{"--json", "--markdown"}, {"--keep"}, {"now"}} {
		cmd := newLabCommand()
		cmd.SetArgs(args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		var usage usageError
		if err := cmd.ExecuteContext(t.Context()); !errors.As(err, &usage) {
			t.Errorf("%q: got %v, want a usage error", args, err)
		}
	}
}

func TestLabHelpNamesEveryScenario(t *testing.T) {
	help := newLabCommand().Long
	for _, s := range lab.ScenarioNames() {
		if !strings.Contains(help, "\n  "+s+" ") {
			t.Errorf("the help lacks %s", s)
		}
	}
}

func TestLabViewFitsItsOutput(t *testing.T) {
	if v, ok := labView(&bytes.Buffer{}, "parry", false).(lab.Plain); !ok {
		t.Errorf("a pipe got %T", v)
	}
	if v, ok := labView(&bytes.Buffer{}, "parry", true).(lab.Quiet); !ok {
		t.Errorf("--json got %T", v)
	}
}
