// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/show"
)

func newListList(d deps, w listWords) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [PREFIX]",
		Short: "List entries",
		Long: `List entries in no particular order; with a prefix those that hold it or that it holds: what keeps an address out,
or who is listed in a network.`,
		Example: fmt.Sprintf(`  parry %[1]s list
  parry %[1]s list 203.0.113.7
  parry %[1]s list --service arena --json | jq '.[].prefix'`, w.kind),
		Args: cobra.ArbitraryArgs,
	}
	open, dial := addStore(cmd, d)
	service := addService(cmd, dial, "entries of this service only")
	asJSON := addJSON(cmd, "one JSON array")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f := api.EntryFilter{Service: *service}
		if len(args) > 1 {
			return usagef("it takes one prefix, got %q too", args[1])
		}
		if len(args) == 1 {
			prefixes, err := prefixArgs(args)
			if err != nil {
				return err
			}
			f.Prefix = prefixes[0]
		}
		return withStore(open, func(s api.Store) error {
			if *asJSON {
				return s.Export(cmd.Context(), w.kind, f, blocklist.FormatJSON, cmd.OutOrStdout())
			}
			return entryTable(cmd, d, w, s, f)
		})
	}
	return cmd
}

func entryTable(cmd *cobra.Command, d deps, w listWords, s api.Store, f api.EntryFilter) error {
	headings := []string{"PREFIX", "SERVICE", "SOURCE", ">HITS", ">AGE", ">EXPIRES IN", "REASON"}
	if w.kind == api.Allow {
		headings = append(headings, "LIMITS")
	}
	t := show.NewTable(cmd.OutOrStdout(), style(cmd, d), headings...)
	now := d.Now()
	for e, err := range s.Pick(cmd.Context(), w.kind, f) {
		if err != nil {
			return err
		}
		service := e.Service
		if service == "" {
			service = "all"
		}
		row := []string{blocklist.FormatPrefix(e.Prefix), service, e.Source, show.Count(e.Hits), age(now, e.Added), left(now, e.Expires), e.Reason}
		if w.kind == api.Allow {
			row = append(row, map[bool]string{false: "hold", true: "unlimited"}[e.Unlimited])
		}
		if err := t.Row(row...); err != nil {
			return err
		}
	}
	return t.Close()
}

func age(now, added time.Time) string {
	if added.IsZero() {
		return show.Unknown
	}
	return show.Duration(max(0, now.Sub(added)))
}

func left(now time.Time, expires *time.Time) string {
	switch {
	case expires == nil:
		return "never"
	case !expires.After(now):
		return "expired"
	}
	return show.Duration(expires.Sub(now))
}
