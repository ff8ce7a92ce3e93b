// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/show"
)

// completionTimeout is how long a shell waits for the names of services.
const completionTimeout = 300 * time.Millisecond

// addSocket adds --socket and returns what dials it.
func addSocket(cmd *cobra.Command, d deps) func() *api.Client {
	socket := cmd.Flags().String("socket", api.DefaultSocket, "`path` of the daemon's socket (or set PARRY_SOCKET)")
	return func() *api.Client {
		if env := d.Getenv("PARRY_SOCKET"); env != "" && !cmd.Flags().Changed("socket") {
			return api.Dial(env)
		}
		return api.Dial(*socket)
	}
}

// addService adds --service, which shells complete with what the daemon knows.
func addService(cmd *cobra.Command, dial func() *api.Client, usage string) *string {
	service := cmd.Flags().String("service", "", usage)
	complete := func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		names, err := dial().ServiceNames(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var fits []string
		for _, n := range names {
			if strings.HasPrefix(n, begun) {
				fits = append(fits, n)
			}
		}
		return fits, cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc("service", complete); err != nil {
		panic(err) // the flag was added above
	}
	return service
}

// addConfig adds -c.
func addConfig(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("config", "c", "", "`file` that describes the edge")
}

// addJSON adds --json.
func addJSON(cmd *cobra.Command, usage string) *bool { return cmd.Flags().Bool("json", false, usage) }

// style is how the command colours what it prints.
func style(cmd *cobra.Command, d deps) show.Style { return show.StyleFor(cmd.OutOrStdout(), d.Getenv) }

// writePage prints one thing: as JSON, or as text lays it out for a person.
func writePage[T any](cmd *cobra.Command, d deps, asJSON bool, v *T, text func(*strings.Builder, show.Style, *T)) error {
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), v)
	}
	var b strings.Builder
	text(&b, style(cmd, d), v)
	_, err := io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}

// writeJSON prints one document.
func writeJSON(w io.Writer, v any) error {
	var doc bytes.Buffer
	enc := json.NewEncoder(&doc)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // it is for terminals and tools
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err := doc.WriteTo(w)
	return err
}

// writeJSONLines writes what a sequence yields as one array, an element a line. Nothing is written before an error that
// comes first.
func writeJSONLines(w io.Writer, seq iter.Seq2[json.RawMessage, error]) error {
	out := bufio.NewWriterSize(w, 64<<10)
	between, end := "[\n", "[]\n"
	for v, err := range seq {
		if err != nil {
			return err
		}
		// A bufio.Writer keeps its first error: the next write returns it.
		_, _ = out.WriteString(between)
		if _, err := out.Write(v); err != nil {
			return err
		}
		between, end = ",\n", "\n]\n"
	}
	if _, err := out.WriteString(end); err != nil {
		return err
	}
	return out.Flush()
}
