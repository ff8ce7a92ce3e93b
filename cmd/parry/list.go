// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/blocklist"
)

// listWords is how the two lists are talked about.
type listWords struct {
	kind              api.Kind
	short, long, done string
}

func wordsFor(kind api.Kind) listWords {
	if kind == api.Block {
		return listWords{kind: kind, short: "Block addresses and prefixes", done: "blocked",
			long: `Keep sources out: of all services, or of one. A running session of a blocked source ends at once. The allow list
wins over this one.`}
	}
	return listWords{kind: kind, short: "Allow addresses and prefixes, whatever is blocked", done: "allowed",
		long: `Let sources in whatever is blocked: to all services, or to one. Limits still hold for them, unless an entry is
unlimited. A service with access: allowlist takes nobody else.`}
}

// newList makes `parry block` or `parry allow`.
func newList(d deps, kind api.Kind) *cobra.Command {
	w := wordsFor(kind)
	cmd := group(&cobra.Command{
		Use:   string(kind),
		Short: w.short,
		Long: w.long + `

When no daemon runs these commands work on the maps that it left pinned, and say so.`,
	})
	cmd.AddCommand(newListAdd(d, w), newListDel(d, w), newListList(d, w), newListImport(d, w), newListExport(d, w))
	if kind == api.Block {
		cmd.AddCommand(newBlockExplain(d))
	}
	return cmd
}

// addStore adds --socket and --pin and returns what opens the lists: the daemon's, else the pinned maps'.
func addStore(cmd *cobra.Command, d deps) (open func() (api.Store, io.Closer, error), dial func() *api.Client) {
	dial = addSocket(cmd, d)
	pin := cmd.Flags().String("pin", defaultPin, "`folder` that the edge is pinned in, for when no daemon runs")
	open = func() (api.Store, io.Closer, error) {
		c := dial()
		err := c.Ping(cmd.Context())
		if err == nil {
			return c, io.NopCloser(nil), nil
		}
		if !errors.Is(err, api.ErrNoDaemon) {
			return nil, nil, err
		}
		lists, closer, openErr := d.OpenLists(*pin)
		if openErr != nil {
			return nil, nil, fmt.Errorf("%w; and there are no pinned maps to work on: %w", err, openErr)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "no daemon answers at %s: working on the maps pinned in %s\n", c.Socket(), *pin)
		return api.Direct{Lists: lists}, closer, nil
	}
	return open, dial
}

// withStore runs fn on the lists and closes them.
func withStore(open func() (api.Store, io.Closer, error), fn func(api.Store) error) (err error) {
	store, closer, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	return fn(store)
}

// entryFlags are what entries have in common.
type entryFlags struct {
	ttl       ttlValue
	reason    string
	service   *string
	unlimited bool
	force     bool
}

func addEntryFlags(cmd *cobra.Command, w listWords, dial func() *api.Client) *entryFlags {
	f := &entryFlags{}
	cmd.Flags().Var(&f.ttl, "ttl", "how long it holds: 90s, 1h30m, 7d or never")
	cmd.Flags().StringVar(&f.reason, "reason", "", fmt.Sprintf("why, in at most %d bytes", blocklist.MaxReason))
	f.service = addService(cmd, dial, "for this service only")
	cmd.Flags().BoolVar(&f.force, "force", false, "take prefixes shorter than /8 (IPv6: /16) too")
	if w.kind == api.Allow {
		cmd.Flags().BoolVar(&f.unlimited, "unlimited", false, "limits don't hold for them either")
	}
	return f
}

// entry is what an entry is but for its prefix.
func (f *entryFlags) entry(now time.Time) (blocklist.Entry, error) {
	e := blocklist.Entry{
		Reason: f.reason, Service: *f.service, Unlimited: f.unlimited, Source: blocklist.SourceCLI, Confidence: 1, Added: now,
	}
	if f.ttl.ttl > 0 {
		t := now.Add(f.ttl.ttl)
		e.Expires = &t
	}
	probe := e
	probe.Prefix, _ = blocklist.ParsePrefix("192.0.2.1")
	if err := probe.Validate(); err != nil {
		return e, usageError{err}
	}
	return e, nil
}
