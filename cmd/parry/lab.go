// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"parry/pkg/lab"
)

// newLabCommand is `parry lab`: play and attack on this machine alone.
func newLabCommand() *cobra.Command {
	o := lab.Options{Scenario: "all", Duration: lab.DefaultDuration}
	var asJSON, keep bool
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Build a whole edge on this machine, play and attack, and show what happens (root)",
		Long: `Builds players, attackers, an edge with real XDP and game servers out of network namespaces on this machine,
plays through the edge, attacks it, blocks someone, kills the daemon, and says what the players felt. It touches
none of the machine's own interfaces, ends by itself, and removes all that it made, also after Ctrl-C.

Exit code 1 says that a player in a match lost a packet at the edge.

Scenarios:
` + scenarioHelp(),
		Example: `  sudo parry lab
  sudo parry lab --scenario random-udp --duration 2m
  sudo parry lab --scenario fixed-udp --json
  sudo parry lab --keep                       and look inside afterwards`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			o.Edge = lab.Parry(self)
			o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			o.View = labView(cmd.OutOrStdout(), asJSON)
			if keep {
				o.Hold = func(ctx context.Context, s *lab.Site) error {
					fmt.Fprint(cmd.ErrOrStderr(), s.LookInside(self))
					<-ctx.Done()
					return nil
				}
			}
			return runLab(cmd, o, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Scenario, "scenario", o.Scenario, "how to attack: "+strings.Join(lab.ScenarioNames(), ", "))
	f.DurationVar(&o.Duration, "duration", o.Duration, "how long to play, at least "+lab.MinDuration.String())
	f.Uint64Var(&o.Rate, "rate", o.Rate, "packets a second of the attack, 0 = as many as one CPU makes")
	f.BoolVar(&asJSON, "json", false, "write the result as one JSON document, and nothing else")
	f.BoolVar(&keep, "keep", false, "keep the world until Ctrl-C, to look inside")
	_ = cmd.RegisterFlagCompletionFunc("scenario", // fails only for a flag that isn't there
		func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return lab.ScenarioNames(), cobra.ShellCompDirectiveNoFileComp
		})
	return cmd
}

func scenarioHelp() string {
	var b strings.Builder
	for _, s := range lab.Scenarios() {
		fmt.Fprintf(&b, "  %-12s %s\n", s.Name, s.What)
	}
	return b.String()
}

// runLab runs the lab and turns what it found into an exit code.
func runLab(cmd *cobra.Command, o lab.Options, asJSON bool) error {
	report, err := lab.Run(cmd.Context(), o)
	if errors.Is(err, lab.ErrOptions) {
		return usageError{err}
	}
	if report == nil && errors.Is(err, context.Canceled) {
		return errors.New("interrupted; the world is removed")
	}
	if report != nil && asJSON {
		err = errors.Join(err, report.WriteJSON(cmd.OutOrStdout()))
	}
	if report != nil {
		err = errors.Join(err, report.Err())
	}
	return err
}

// labView is a frame that is redrawn on a terminal, lines elsewhere.
func labView(out io.Writer, asJSON bool) lab.View {
	if asJSON {
		return lab.Quiet{}
	}
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return lab.Plain{Out: out}
	}
	return &lab.Terminal{Out: out, Title: "parry", Width: func() int {
		w, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 80
		}
		return w
	}}
}
