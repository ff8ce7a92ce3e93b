// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/bench"
	"parry/pkg/show"
)

// newBenchCommand is `parry bench`: what a packet costs.
func newBenchCommand() *cobra.Command {
	o := bench.Options{Rounds: bench.DefaultRounds, Time: bench.DefaultTime}
	var pattern string
	var asJSON, check bool
	cmd := &cobra.Command{
		Use:     "bench",
		GroupID: "more",
		Short:   "Measure what a packet costs, beside hand-minimal programs (root)",
		Long: `Measure the CPU time that the fast path takes for a packet, in the ways that packets can take through it, beside
floors: hand-minimal programs that do the same without policy. Cases and floors are run in turn by
BPF_PROG_TEST_RUN, and compared within each round, so that a busy machine spoils little. All happens in a network
namespace of its own: a running edge and the machine's interfaces aren't touched, and no NIC is in the loop.

Cases:
` + benchHelp(),
		Example: `  sudo parry bench
  sudo parry bench --case '^established_udp4$|blocked' --rounds 21
  sudo parry bench --json | jq -r '.cases[] | [.name, .ns, .ratio] | @tsv'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Cases, err = regexp.Compile(pattern); err != nil {
				return usagef("--case: %w", err)
			}
			if o.Rounds < 1 || o.Time < time.Millisecond {
				return usagef("--rounds is at least 1, --time at least 1ms")
			}
			o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			return runBench(cmd, o, asJSON, check)
		},
	}
	f := cmd.Flags()
	f.StringVar(&pattern, "case", "", "only cases whose name this regular expression matches")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often each is measured; medians count")
	f.DurationVar(&o.Time, "time", o.Time, "CPU time of one measurement")
	f.BoolVar(&asJSON, "json", false, "write the result as one JSON document")
	f.BoolVar(&check, "check", false, "exit 1 if a case costs more than its target")
	return cmd
}

func benchHelp() string {
	var b strings.Builder
	for _, c := range bench.Cases() {
		fmt.Fprintf(&b, "  %-38s %s\n", c.Name, c.What)
	}
	return b.String()
}

func runBench(cmd *cobra.Command, o bench.Options, asJSON, check bool) error {
	tell, clear := benchProgress(cmd.ErrOrStderr())
	o.Progress = tell
	report, err := bench.Run(cmd.Context(), o)
	clear()
	switch {
	case errors.Is(err, bench.ErrNoCase):
		return usagef("--case: %w", err)
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted; all that was made is removed")
	case err != nil:
		return err
	}
	if asJSON {
		err = report.WriteJSON(cmd.OutOrStdout())
	} else {
		err = report.WriteText(cmd.OutOrStdout(), show.StyleFor(cmd.OutOrStdout(), os.Getenv))
	}
	if missed := report.Missed(); check && len(missed) > 0 {
		err = errors.Join(err, fmt.Errorf("over target: %s", strings.Join(missed, ", ")))
	}
	return err
}

// benchProgress tells what goes on: in one line of a terminal, else line by line. What it returns clears that line.
func benchProgress(w io.Writer) (tell func(string), clear func()) {
	if !show.IsTerminal(w) {
		return func(what string) { fmt.Fprintln(w, what) }, func() {}
	}
	return func(what string) { fmt.Fprintf(w, "\r\x1b[K%s", what) }, func() { fmt.Fprint(w, "\r\x1b[K") }
}
