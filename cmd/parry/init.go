// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"parry/pkg/config"
	"parry/pkg/hostfacts"
	"parry/pkg/nic"
	"parry/pkg/survey"
	"parry/pkg/tether"
)

// newInitCommand is `parry init`.
func newInitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Look for the game servers of this machine, and write a configuration for them (root)",
		Long: `Look who listens on this machine, in containers too, ask the game servers who they are, and write a configuration
that ` + "`parry check`" + ` accepts: in monitor mode, so that nothing is dropped until you say so, with a comment at each part.
ssh and other admin ports are never taken in; ports that nobody could name stand in it as comments. Nothing is attached
or changed.

It is for servers on this very machine. For an edge in front of other machines, begin with docs/examples/nat.yaml.`,
		Example: `  sudo parry init
  sudo parry init -o /etc/parry/parry.yaml
  sudo parry init -o -                      print it`,
		Args: noArgs,
	}
	out := cmd.Flags().StringP("output", "o", "parry.yaml", "`file` to write; - is standard output")
	force := cmd.Flags().Bool("force", false, "write over a file that is there")
	quiet := cmd.Flags().Bool("no-ask", false, "ask no server who it is")
	cmd.Flags().Bool("local", true, "the servers run on this machine")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if local, _ := cmd.Flags().GetBool("local"); !local {
			return usagef("--local=false: a file for servers on other machines is written by hand: docs/examples/nat.yaml")
		}
		if err := isFree(*out, *force); err != nil {
			return err
		}
		plan, err := findServers(cmd.Context(), !*quiet)
		if err != nil {
			return err
		}
		text, err := fileOf(plan, *out)
		if err != nil {
			return err
		}
		if *out == "-" {
			_, err := fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		}
		if err := writeNew(*out, text, *force); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s%s is written. Read it, then:\n  sudo parry check -c %s --host\n  sudo parry try -c %s\n", plan.Summary(), *out, *out, *out)
		return nil
	}
	return cmd
}

// isFree refuses to write over a file without force; "-" is standard output.
func isFree(path string, force bool) error {
	if force || path == "-" {
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already: --force writes over it, -o names another", path)
	}
	return nil
}

// findServers looks at this machine.
func findServers(ctx context.Context, ask bool) (*survey.Plan, error) {
	facts := hostfacts.Read("/")
	s := survey.Source{Root: "/", Engine: survey.Engines, Ephemeral: [2]uint16{facts.LocalPorts.First, facts.LocalPorts.Last}}
	if ask {
		s.Ask = survey.Ask
	}
	m, err := survey.Read(ctx, s)
	if err != nil {
		return nil, err
	}
	lines, err := tether.Find("/", os.Getpid())
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		m.AddSSH(l.Local.Port())
	}
	nics, err := nic.Read()
	if err != nil {
		return nil, err
	}
	plan, err := survey.Make(m, nics, func(n *nic.NIC) bool {
		i, ok := facts.Interface(n.Name)
		return ok && i.NoXDP && i.Ifindex == n.Index // sysfs may be another network namespace's
	})
	if err != nil {
		return nil, err
	}
	if len(plan.Services) == 0 {
		return nil, fmt.Errorf("no game server was found here%s", plan.Instead(os.Geteuid() == 0))
	}
	return plan, nil
}

// fileOf is the file, which the check of every configuration is happy with.
func fileOf(plan *survey.Plan, path string) (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("this host's name: %w", err)
	}
	name := path
	if path == "-" {
		name = "parry.yaml"
	}
	text := plan.YAML(host, name)
	if _, err := config.Parse(path, []byte(text)); err != nil {
		return "", fmt.Errorf("what was found can't all be written down; -o - shows it: %w", errors.New(strings.TrimSpace(err.Error())))
	}
	return text, nil
}

// writeNew writes a file whole or not at all. Without force it must not be there.
func writeNew(path, text string, force bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".parry-init-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil && force {
		err = os.Rename(f.Name(), path)
	} else if err == nil {
		err = os.Link(f.Name(), path) // unlike a rename it refuses what is there
	}
	if rerr := os.Remove(f.Name()); !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
