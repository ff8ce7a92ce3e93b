// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/show"
)

func newListDel(d deps, w listWords) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "del (PREFIX... | --file FILE)",
		Short: "Remove addresses and prefixes",
		Long: `Remove entries: exactly those of these prefixes, not what they hold, and those of one service only with --service.
--file takes a list (see import); only its prefixes and services count.`,
		Example: fmt.Sprintf(`  parry %[1]s del 203.0.113.7 198.51.100.0/24
  parry %[1]s del 2001:db8::/64 --service arena
  parry %[1]s list --json | jq '.[] | select(.source == "detect")' | parry %[1]s del --file -`, w.kind),
	}
	open, dial := addStore(cmd, d)
	service := addService(cmd, dial, "the entry of this service; without it that of all services")
	file := addFile(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 && file.name != "" {
			return usagef("give prefixes or --file, not both")
		}
		var keys []blocklist.Key
		if file.name != "" {
			var err error
			if keys, err = fileKeys(cmd, file, *service); err != nil {
				return err
			}
		} else {
			prefixes, err := prefixArgs(args)
			if err != nil {
				return err
			}
			for _, p := range prefixes {
				keys = append(keys, blocklist.Key{Prefix: p, Service: *service})
			}
		}
		return withStore(open, func(s api.Store) error { return delEntries(cmd, w, s, keys) })
	}
	return cmd
}

// fileKeys reads what a file names.
func fileKeys(cmd *cobra.Command, file *fileFlags, service string) (keys []blocklist.Key, err error) {
	in, _, err := openInput(cmd, file.name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	_, bad, err := blocklist.Parse(in, blocklist.Entry{Service: service}, func(e blocklist.Entry) error {
		keys = append(keys, e.Key())
		return cmd.Context().Err()
	})
	if err != nil {
		return nil, err
	}
	for _, b := range bad {
		badLine(cmd, file.name, api.BadLine{Line: b.Line, Text: b.Text, Error: b.Err.Error()})
	}
	if len(bad) > 0 && !file.keepGoing {
		return nil, fmt.Errorf("nothing was removed: %s (--keep-going leaves them out)", plural(len(bad), "bad line", "bad lines"))
	}
	return keys, nil
}

func delEntries(cmd *cobra.Command, w listWords, s api.Store, keys []blocklist.Key) error {
	removed := 0
	for rest := keys; len(rest) > 0; {
		batch := rest[:min(len(rest), api.MaxBatch)]
		rest = rest[len(batch):]
		n, err := s.Del(cmd.Context(), w.kind, batch)
		removed += n
		if err != nil {
			return fmt.Errorf("%d of %d removed: %w", removed, len(keys), err)
		}
	}
	if removed > 0 || len(keys) == 0 {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s removed\n", plural(removed, "entry", "entries")); err != nil {
			return err
		}
	}
	if removed == len(keys) {
		return nil
	}
	if len(keys) > 1 {
		return fmt.Errorf("%s of %s are not on the %s list: see `parry %s list`", show.Count(len(keys)-removed), show.Count(len(keys)), w.kind, w.kind)
	}
	service := ""
	if keys[0].Service != "" {
		service = " for " + keys[0].Service
	}
	prefix := blocklist.FormatPrefix(keys[0].Prefix)
	return fmt.Errorf("there is no entry %s%s: see `parry %s list %s`", prefix, service, w.kind, prefix)
}
