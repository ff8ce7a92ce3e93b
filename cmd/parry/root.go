// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/gate"
	"parry/pkg/guard"
)

// defaultPin is where an edge pins its maps unless its configuration says otherwise.
const defaultPin = "/sys/fs/bpf/parry"

// deps is what the commands run on; tests put their own in its place.
type deps struct {
	Version string
	// Run runs the edge until ctx ends.
	Run func(ctx context.Context, opt RunOptions) error
	// Check tells what is wrong with a configuration, and with this host for it.
	Check func(ctx context.Context, path string, host bool) error
	// Detach takes an edge that is pinned under pin off its interfaces and removes it.
	Detach func(ctx context.Context, pin string) error
	// Replay sends a capture through the program and writes verdicts to out.
	Replay func(ctx context.Context, opt ReplayOptions, out io.Writer) error
	// OpenLists opens the lists of an edge whose daemon doesn't run.
	OpenLists func(pin string) (api.Lists, io.Closer, error)
	// CompileGate compiles a gate's C file; what the compiler says goes to diagnostics.
	CompileGate func(ctx context.Context, source string, diagnostics io.Writer) ([]byte, error)
	// TryGate sees what this machine makes of a compiled gate.
	TryGate func(object []byte) (gate.Trial, error)
	// Way tells how this host reaches a server.
	Way func(server netip.Addr) (guard.Way, error)
	// Commands are further ones, made elsewhere.
	Commands []func() *cobra.Command
	Getenv   func(string) string
	Now      func() time.Time
}

// RunOptions say how the daemon runs.
type RunOptions struct {
	Config   string // path
	LogLevel slog.Level
	LogJSON  bool
}

// ReplayOptions say what to replay.
type ReplayOptions struct {
	Config  string // path
	Capture string // path of a pcap or pcapng
	JSON    bool
}

// streams are the three of a process.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// newRoot makes the tree of commands.
func newRoot(d deps) *cobra.Command {
	root := group(&cobra.Command{
		Use:   "parry",
		Short: "An edge for game servers: drop the flood, forward the player",
		Long: `parry stands between players and the servers they play on. It decides about every packet
in the network driver: drop the flood, forward the player.`,
		Example: `  parry lab                              try it: a whole edge on this machine, played and attacked
  parry check -c parry.yaml --host       will it work here?
  parry run -c parry.yaml                run the edge
  parry top                              watch it
  parry block add 203.0.113.7 --ttl 1h   block somebody`,
		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.SetFlagErrorFunc(badFlag)
	// Groups can run only to say that they can't: their help need not offer it.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	root.PersistentFlags().BoolP("help", "h", false, "help for the command")
	root.AddGroup(
		&cobra.Group{ID: "edge", Title: "Run an edge:"},
		&cobra.Group{ID: "look", Title: "See what it does:"},
		&cobra.Group{ID: "act", Title: "Act:"},
		&cobra.Group{ID: "more", Title: "More:"},
	)
	root.SetCompletionCommandGroupID("more")
	root.SetHelpCommandGroupID("more")
	add := func(id string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	add("edge", newRun(d), newCheck(d), newReload(d), newDetach(d), newConfirm(d))
	add("look", newStatus(d), newTop(d), newSession(d), newPlayer(d), newServer(d), newAttack(d), newEvent(d), newReplay(d), newClassify(), newCheat(), newSignature(), newProfile(d), newCapture(d), newExplain(d))
	add("act", newList(d, api.Block), newList(d, api.Allow), newGate(d), newRule(d), newShadow(d))
	add("more", newVersion(d))
	for _, make := range d.Commands {
		c := make()
		add(cmp.Or(c.GroupID, "edge"), c)
	}
	badArgs(root)
	return root
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, d deps, args []string, s streams) int {
	root := newRoot(d)
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	cmd, err := root.ExecuteContextC(ctx)
	return report(cmd, err, s.err)
}
