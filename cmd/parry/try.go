// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/engine"
	"parry/pkg/nic"
	"parry/pkg/tether"
	"parry/pkg/trial"
)

// newTryCommand is `parry try`.
func newTryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "try -c FILE",
		Short: "Attach the edge for a while: it detaches by itself unless you confirm (root)",
		Long: `Attach the edge, and take it off again after --for unless ` + "`parry confirm`" + ` comes before, so that a mistake can't lock
you out. It says what attaching does to the link, and refuses a file that would cut the ssh connection that you type
this in. It ends at once at Ctrl-C, when the terminal closes, when that connection is no longer acknowledged, and when
parry dies.

Nothing is left then. What is attached hangs on a process of its own, and the kernel takes it off when that process
ends, however that happens: kill -9 and a lack of memory included. That process ends when this one does.

Exit code 0: it was confirmed, or taken off as it was meant to be. 1: something went wrong, and it is off.`,
		Example: `  sudo parry try -c parry.yaml
  sudo parry try -c parry.yaml --for 10m`,
		Args: noArgs,
	}
	path := addConfig(cmd)
	lasts := cmd.Flags().Duration("for", 2*time.Minute, fmt.Sprintf("how long, unless confirmed: %v to %v", trial.Shortest, trial.Longest))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *path == "" {
			return usagef("name the configuration: -c FILE")
		}
		if *lasts < trial.Shortest || *lasts > trial.Longest {
			return usagef("--for %v: a trial lasts %v to %v", *lasts, trial.Shortest, trial.Longest)
		}
		return try(cmd, *path, *lasts)
	}
	return cmd
}

// try checks, says what will happen, and begins.
func try(cmd *cobra.Command, path string, lasts time.Duration) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	c, err := config.Load(path)
	if err != nil {
		return err
	}
	if err := engine.Untouched(cmd.Context(), c); err != nil {
		return err
	}
	if err := engine.Check(path, true, func(s string) { fmt.Fprintln(cmd.ErrOrStderr(), "note:", s) }); err != nil {
		return err
	}
	lines, err := tether.Find("/", os.Getpid())
	if err != nil {
		return err
	}
	var cuts config.Errors
	for _, l := range lines {
		if cut := tether.Cut(c, l); cut != nil {
			cuts = append(cuts, *cut)
		}
	}
	if len(cuts) > 0 {
		return cuts
	}
	names, err := engine.Interfaces(c)
	if err != nil {
		return err
	}
	nics, err := nic.Read()
	if err != nil {
		return err
	}
	tellTrial(c, lines, trial.Interruption(nics, names))
	return runTrial(cmd, c, path, trial.Options{
		Config: c, File: path, For: lasts, Interfaces: names, Lines: lines, Out: os.Stdout, In: os.Stdin, Client: api.Dial(c.API.Socket),
		Args: []string{"trial", "-c", path, "--for", lasts.String()},
	})
}

// tellTrial says before it happens what is about to.
func tellTrial(c *config.Config, lines []tether.Line, interruption []string) {
	mode := "enforcing: what it refuses is dropped"
	if !c.Enforce {
		mode = "in monitor mode (enforce: false): it counts, and drops nothing"
	}
	fmt.Printf("%d services, %s\n", len(c.Services), mode)
	for _, text := range interruption {
		fmt.Println(text)
	}
	for _, l := range lines {
		whose := "somebody's"
		if l.Mine {
			whose = "your"
		}
		fmt.Printf("%s ssh connection (%s) is safe: its port has a budget of its own (host.always)\n", whose, l)
	}
	if len(lines) == 0 {
		fmt.Println("nobody is here by ssh")
	}
}

func runTrial(cmd *cobra.Command, c *config.Config, path string, o trial.Options) error {
	log, _ := newLogger(RunOptions{LogLevel: slog.LevelWarn}, os.Stderr)
	if err := engine.PrepareTrial(c, log); err != nil {
		return err
	}
	before, err := engine.TakeFootprint(c)
	if err != nil {
		return err
	}
	o.Restore = before.Restore
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	o.Hangup = hangup
	return trial.Run(cmd.Context(), o)
}

// newTrialCommand is what `parry try` runs: nobody types it.
func newTrialCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "trial", Short: "Run the edge on trial (what try starts)", Hidden: true, Args: noArgs}
	path := addConfig(cmd)
	lasts := cmd.Flags().Duration("for", 0, "how long")
	logName := cmd.Flags().String("log", "", "what it writes to, which goes with it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		const lifeline, words = 3, 4 // descriptors (pkg/trial)
		held, said := os.NewFile(lifeline, "lifeline"), os.NewFile(words, "words")
		if _, err := held.Stat(); err != nil || *path == "" {
			return errors.Join(usagef("this is a part of `parry try`"), err)
		}
		log, lost := newLogger(RunOptions{}, os.Stderr)
		o := engine.Options{Config: *path, Version: buildVersion(version), Log: log, LostLines: lost, Getenv: os.Getenv}
		t := &engine.Trial{For: *lasts, Lifeline: held, Said: func(word string) error {
			_, err := fmt.Fprintln(said, strings.ReplaceAll(word, "\n", " "))
			return err
		}}
		err := engine.Try(cmd.Context(), o, t)
		if err == nil && !t.Kept() {
			err = os.Remove(*logName) // nothing went wrong: nothing is left
		}
		return err
	}
	return cmd
}
