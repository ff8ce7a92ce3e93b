// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/show"
)

func newListAdd(d deps, w listWords) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add (PREFIX... | --file FILE)",
		Short: "Add addresses and prefixes",
		Long: `Add addresses and prefixes, or replace what is said about them. They are enforced when the command returns, on
running sessions too. --file takes a list (see import). A prefix shorter than /8 (IPv6: /16) is more likely
a slip than a wish: it takes --force.`,
		Example: fmt.Sprintf(`  parry %[1]s add 203.0.113.7 198.51.100.0/24 --ttl 1h --reason "spam"
  parry %[1]s add 2001:db8::/64 --service arena
  parry %[1]s add --file list.txt --ttl 7d`, w.kind),
	}
	open, dial := addStore(cmd, d)
	common := addEntryFlags(cmd, w, dial)
	file := addFile(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		def, err := common.entry(d.Now())
		if err != nil {
			return err
		}
		if len(args) > 0 && file.name != "" {
			return usagef("give prefixes or --file, not both")
		}
		if file.name != "" {
			return importFile(cmd, d, w, open, file, common.force, def)
		}
		prefixes, err := prefixArgs(args)
		if err != nil {
			return err
		}
		for _, p := range prefixes {
			if err := api.CheckWide(w.kind, p); err != nil && !common.force {
				return usageError{err}
			}
		}
		return withStore(open, func(s api.Store) error { return addEntries(cmd, w, s, prefixes, def) })
	}
	return cmd
}

func addEntries(cmd *cobra.Command, w listWords, s api.Store, prefixes []netip.Prefix, def blocklist.Entry) error {
	if err := knownService(cmd, s, def.Service); err != nil {
		return err
	}
	entries := make([]blocklist.Entry, 0, len(prefixes))
	for _, p := range prefixes {
		e := def
		e.Prefix = p
		entries = append(entries, e)
	}
	if err := s.Add(cmd.Context(), w.kind, entries); err != nil {
		return err
	}
	what := plural(len(prefixes), "entry", "entries")
	if len(prefixes) == 1 {
		what = blocklist.FormatPrefix(prefixes[0])
	}
	until := ""
	if def.Expires != nil {
		until = " for " + show.Duration(def.Expires.Sub(def.Added))
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s%s\n", what, w.done, until)
	return err
}

// prefixArgs reads the prefixes of a command line.
func prefixArgs(args []string) ([]netip.Prefix, error) {
	if len(args) == 0 {
		return nil, usagef("name addresses or prefixes, or a --file of them")
	}
	if len(args) > api.MaxBatch {
		return nil, usagef("%d prefixes are more than %d: put them into a --file", len(args), api.MaxBatch)
	}
	prefixes := make([]netip.Prefix, 0, len(args))
	for _, a := range args {
		p, err := blocklist.ParsePrefix(a)
		if err != nil {
			return nil, usageError{err}
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}
