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
	o := lab.Options{Scenario: lab.AllScenarios}
	var f labFlags
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Build a whole edge on this machine, play and attack, and show what happens (root)",
		Long: `Builds players, attackers, an edge with real XDP and game servers out of network namespaces on this machine,
plays through the edge, attacks it, blocks someone, kills the daemon, and says what the players felt. It touches
none of the machine's own interfaces, ends by itself, and removes all that it made, also after Ctrl-C.

Each scenario is first played without an attack in the same world (the control), and then checked: no packet of a
player in a match lost at the edge, no more lost end to end than in the control, nobody thrown out, no memory grown,
newcomers in (within 1 s where the edge can ask for a cookie, 2 s by TCP, 3 s elsewhere), queries answered, and
the edge no reflector. Exit code 1 says that a check failed. --edge plain puts nftables in parry's place, which fails.
The servers have no SYN cookies of their own and room for 1024 connections that are not there yet.

Scenarios:
` + scenarioHelp(),
		Example: `  sudo parry lab
  sudo parry lab --scenario random-udp --duration 2m
  sudo parry lab --scenario all --json
  sudo parry lab --scenario getstatus --edge plain
  sudo parry lab --scenario play --keep       and look inside afterwards`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Scenario, "scenario", o.Scenario, "how to attack: "+strings.Join(lab.ScenarioNames(), ", "))
	flags.StringVar(&f.edge, "edge", "parry", "what defends: parry, or plain (nftables and connection tracking)")
	flags.DurationVar(&o.Duration, "duration", 0, fmt.Sprintf("how long to play in all, at least %v a scenario (default %v, all: %v)",
		lab.MinDuration, lab.DefaultDuration, lab.DefaultSuite))
	flags.BoolVar(&f.quick, "quick", false, "play no longer than it takes to see anything: "+lab.MinDuration.String()+" a scenario")
	flags.Uint64Var(&o.Rate, "rate", o.Rate, "packets a second of the attack, 0 = as many as one CPU makes")
	flags.BoolVar(&f.json, "json", false, "write the result as one JSON document, and nothing else")
	flags.BoolVar(&f.markdown, "markdown", false, "write the result as a Markdown table, and nothing else")
	flags.BoolVar(&f.keep, "keep", false, "keep the world until Ctrl-C, to look inside (one scenario)")
	_ = cmd.RegisterFlagCompletionFunc("scenario", // fails only for a flag that isn't there
		func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return lab.ScenarioNames(), cobra.ShellCompDirectiveNoFileComp
		})
	_ = cmd.RegisterFlagCompletionFunc("edge",
		func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"parry", "plain"}, cobra.ShellCompDirectiveNoFileComp
		})
	return cmd
}

// labFlags are what Options don't say by themselves.
type labFlags struct {
	edge                        string
	quick, json, markdown, keep bool
}

func scenarioHelp() string {
	var b strings.Builder
	for _, s := range lab.Scenarios() {
		fmt.Fprintf(&b, "  %-13s %s\n", s.Name, s.What)
	}
	fmt.Fprintf(&b, "  %-13s each of them in turn, in a world of its own\n", lab.AllScenarios)
	return b.String()
}

// run runs the lab and turns what it found into an exit code.
func (f labFlags) run(cmd *cobra.Command, o lab.Options) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	switch f.edge {
	case "parry":
		o.Edge = lab.Parry(self)
	case "plain":
		o.Edge = lab.Nftables()
	default:
		return usageError{fmt.Errorf("there is no edge %q: choose parry or plain", f.edge)}
	}
	if f.json && f.markdown || f.quick && o.Duration != 0 {
		return usageError{errors.New("choose one of --json and --markdown, and one of --quick and --duration")}
	}
	if f.quick {
		o.Duration = lab.Quick(o.Scenario)
	}
	o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	o.View = labView(cmd.OutOrStdout(), f.edge, f.json || f.markdown)
	if f.keep {
		o.Hold = func(ctx context.Context, s *lab.Site) error {
			fmt.Fprint(cmd.ErrOrStderr(), s.LookInside(self))
			<-ctx.Done()
			return nil
		}
	}
	result, err := lab.Play(cmd.Context(), o)
	if errors.Is(err, lab.ErrOptions) {
		return usageError{err}
	}
	if result == nil && errors.Is(err, context.Canceled) {
		return errors.New("interrupted; the world is removed")
	}
	if result == nil {
		return err
	}
	return errors.Join(err, f.write(cmd.OutOrStdout(), result), result.Err())
}

func (f labFlags) write(w io.Writer, result lab.Result) error {
	switch {
	case f.json:
		return result.WriteJSON(w)
	case f.markdown:
		return result.WriteMarkdown(w)
	}
	return nil
}

// labView is a frame that is redrawn on a terminal, lines elsewhere.
func labView(out io.Writer, edge string, quiet bool) lab.View {
	if quiet {
		return lab.Quiet{}
	}
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return lab.Plain{Out: out}
	}
	return &lab.Terminal{Out: out, Title: edge, Width: func() int {
		w, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 80
		}
		return w
	}}
}
