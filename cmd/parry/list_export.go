// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/blocklist"
)

func newListExport(d deps, w listWords) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the list as a file that import takes",
		Long:  "Write the list to stdout, with everything that is known of each entry, in a form that import takes again.",
		Example: fmt.Sprintf(`  parry %[1]s export > backup.txt
  parry %[1]s export --format jsonl | jq -r .prefix`, w.kind),
		Args: noArgs,
	}
	open, dial := addStore(cmd, d)
	service := addService(cmd, dial, "entries of this service only")
	format := cmd.Flags().String("format", blocklist.FormatText, "text, json (one array) or jsonl (an object a line)")
	asJSON := addJSON(cmd, "the same as --format json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *asJSON {
			*format = blocklist.FormatJSON
		}
		switch *format {
		case blocklist.FormatText, blocklist.FormatJSON, blocklist.FormatJSONL:
		default:
			return usagef("--format %q is none of text, json, jsonl", *format)
		}
		return withStore(open, func(s api.Store) error {
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
			if err := s.Export(cmd.Context(), w.kind, api.EntryFilter{Service: *service}, *format, out); err != nil {
				return err
			}
			return out.Flush()
		})
	}
	return cmd
}
