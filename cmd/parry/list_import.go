// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/show"
	"parry/pkg/spell"
)

func newListImport(d deps, w listWords) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Add a file of addresses and prefixes, a million if need be",
		Long: `Add a list: a line is an address or prefix and any of reason="text" ttl=1h30m service=NAME; # begins a comment.
What export writes is taken too. FILE - is stdin. The flags fill in what a line leaves out. A prefix shorter
than /8 (IPv6: /16) is a bad line without --force.

The whole list is checked first. Each bad line is reported, and with one bad line nothing is applied, unless
--keep-going leaves the bad ones out.`,
		Example: fmt.Sprintf(`  parry %[1]s import list.txt --ttl 7d --reason "weekly list"
  curl -s https://lists.example/bad.txt | parry %[1]s import - --keep-going
  parry %[1]s export | ssh other-edge parry %[1]s import -`, w.kind),
		Args: oneArg("the file (- is stdin)"),
	}
	open, dial := addStore(cmd, d)
	common := addEntryFlags(cmd, w, dial)
	file := &fileFlags{}
	addKeepGoing(cmd, file)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		def, err := common.entry(d.Now())
		if err != nil {
			return err
		}
		file.name = args[0]
		return importFile(cmd, d, w, open, file, common.force, def)
	}
	return cmd
}

// fileFlags name a list and say what to do with its bad lines.
type fileFlags struct {
	name      string
	keepGoing bool
}

func addFile(cmd *cobra.Command) *fileFlags {
	f := &fileFlags{}
	cmd.Flags().StringVar(&f.name, "file", "", "`file` with a list; - is stdin")
	addKeepGoing(cmd, f)
	return f
}

func addKeepGoing(cmd *cobra.Command, f *fileFlags) {
	cmd.Flags().BoolVar(&f.keepGoing, "keep-going", false, "leave bad lines out instead of doing nothing")
}

// openInput opens a file or stdin; size is 0 where it isn't known.
func openInput(cmd *cobra.Command, name string) (in io.ReadCloser, size int64, err error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, nil
}

// importFile hands a file to the lists and tells how it goes.
func importFile(cmd *cobra.Command, d deps, w listWords, open func() (api.Store, io.Closer, error), file *fileFlags, force bool, def blocklist.Entry) (err error) {
	in, size, err := openInput(cmd, file.name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	begin := d.Now()
	progress := show.NewProgress(cmd.ErrOrStderr(), show.IsTerminal(cmd.ErrOrStderr()), d.Now)
	progress.Phase("checking", bytesRate)
	applying := false
	tell := func(ev api.ImportEvent) error {
		switch {
		case ev.Bad != nil:
			progress.Clear()
			badLine(cmd, file.name, *ev.Bad)
		case ev.Progress != nil:
			if !applying {
				progress.Phase("applying", entriesRate)
				applying = true
			}
			progress.Update(int64(ev.Progress.Applied), int64(ev.Progress.Total))
		}
		return nil
	}
	return withStore(open, func(s api.Store) error {
		if err := knownService(cmd, s, def.Service); err != nil {
			return err
		}
		opt := api.ImportOptions{KeepGoing: file.keepGoing, Force: force, Default: def}
		res, err := s.Import(cmd.Context(), w.kind, &meter{in: in, size: size, progress: progress}, opt, tell)
		progress.Clear()
		var bad *api.ImportError
		if errors.As(err, &bad) {
			return refusedImport(cmd, file.name, bad)
		}
		if err != nil {
			return err
		}
		took := d.Now().Sub(begin)
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s in %s%s\n", plural(res.Applied, "entry", "entries"), w.done, show.Duration(took), leftOut(res.Bad))
		return err
	})
}

func refusedImport(cmd *cobra.Command, name string, bad *api.ImportError) error {
	for _, l := range bad.Lines {
		badLine(cmd, name, l)
	}
	if more := bad.Bad - len(bad.Lines); more > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: and %s\n", name, plural(more, "more bad line", "more bad lines"))
	}
	return fmt.Errorf("nothing was applied: %s (--keep-going leaves them out)", plural(bad.Bad, "bad line", "bad lines"))
}

func leftOut(bad int) string {
	if bad == 0 {
		return ""
	}
	return ", " + plural(bad, "bad line", "bad lines") + " left out"
}

// badLine reports one line as compilers do.
func badLine(cmd *cobra.Command, file string, l api.BadLine) {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s:%d: %s\n", file, l.Line, l.Error)
}

func bytesRate(v float64, perSecond bool) string {
	if perSecond {
		return show.SI(v, "B/s")
	}
	return show.SI(v, "B")
}

func entriesRate(v float64, perSecond bool) string {
	if perSecond {
		return show.SI(v, "entries/s")
	}
	return show.Count(int64(v))
}

// meter tells the progress how much of the file was read.
type meter struct {
	in       io.Reader
	size     int64
	done     int64
	progress *show.Progress
}

// Read reads on.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.in.Read(p)
	if m.done += int64(n); err == nil {
		m.progress.Update(m.done, m.size)
	}
	return n, err
}

// knownService refuses a service that isn't there: an entry for it would never match anything.
func knownService(cmd *cobra.Command, s api.Store, service string) error {
	if service == "" {
		return nil
	}
	names, err := s.ServiceNames(cmd.Context())
	if err != nil {
		return err
	}
	if slices.Contains(names, service) {
		return nil
	}
	if near, ok := spell.Nearest(service, names); ok {
		return fmt.Errorf("there is no service %q: did you mean %s?", service, near)
	}
	return fmt.Errorf("there is no service %q", service)
}
