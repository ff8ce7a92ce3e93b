// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"io"
	"iter"

	"parry/pkg/blocklist"
)

// Store is everything that a person does with the two lists.
type Store interface {
	Lists
	// Pick is Entries filtered.
	Pick(ctx context.Context, kind Kind, f EntryFilter) iter.Seq2[blocklist.Entry, error]
	// Export writes a list in one of the formats of pkg/blocklist.
	Export(ctx context.Context, kind Kind, f EntryFilter, format string, w io.Writer) error
	// Import reads a list and applies it; see the function Import.
	Import(ctx context.Context, kind Kind, r io.Reader, opt ImportOptions, tell func(ImportEvent) error) (ImportResult, error)
}

var (
	_ Store = (*Client)(nil)
	_ Store = Direct{}
)

// Direct makes a Store of bare lists: those of the pinned maps, when no daemon runs.
type Direct struct{ Lists }

// Pick is Entries filtered.
func (d Direct) Pick(ctx context.Context, kind Kind, f EntryFilter) iter.Seq2[blocklist.Entry, error] {
	return f.Apply(d.Entries(ctx, kind))
}

// Export writes a list.
func (d Direct) Export(ctx context.Context, kind Kind, f EntryFilter, format string, w io.Writer) error {
	return blocklist.Write(w, format, d.Pick(ctx, kind, f))
}

// Import reads a list and applies it.
func (d Direct) Import(ctx context.Context, kind Kind, r io.Reader, opt ImportOptions, tell func(ImportEvent) error) (ImportResult, error) {
	return Import(ctx, d.Lists, kind, r, opt, tell)
}
