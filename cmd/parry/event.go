// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/event"
	"parry/pkg/show"
)

// lookAgain is how often `event tail` asks a daemon that went away.
const lookAgain = 250 * time.Millisecond

func newEvent(d deps) *cobra.Command {
	cmd := group(&cobra.Command{Use: "event", Short: "Follow what happens"})
	cmd.AddCommand(newEventTail(d))
	return cmd
}

func newEventTail(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show events as they happen",
		Long: `Show events as they happen: attacks that begin and end, entries of lists that come and go, next hops and interfaces,
reloads, the daemon itself. When the daemon goes away it waits for its return, says so, and goes on.
The daemon keeps the last 4096 events in memory; --since asks for those.`,
		Example: `  parry event tail
  parry event tail --since 10m --type attack,interface
  parry event tail --json | jq -r 'select(.type == "attack.start") | .service'`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "an object a line")
	since := cmd.Flags().Duration("since", 0, "begin with what happened so long ago")
	types := cmd.Flags().StringSlice("type", nil, "events of these `types` alone: attack.start, or attack for all of attacks")
	follow := cmd.Flags().Bool("follow", true, "go on with what comes; --follow=false ends after what there is")
	count := cmd.Flags().Int("count", 0, "end after so many events; 0 goes on")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *since < 0 || *count < 0 {
			return usagef("--since and --count are not below 0")
		}
		q := api.EventQuery{Types: *types, Follow: *follow}
		if *since > 0 {
			q.Since = d.Now().Add(-*since)
		}
		t := tail{client: dial(), query: q, left: *count, out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), style: style(cmd, d), json: *asJSON}
		return t.run(cmd.Context())
	}
	return cmd
}

// tail follows a daemon's events over its restarts.
type tail struct {
	client   *api.Client
	query    api.EventQuery
	left     int // events until the end; 0 = without end
	out, err io.Writer
	style    show.Style
	json     bool

	connected, away bool // it was there once; it isn't now
}

// errEnough ends a tail that has shown what it was asked for, or whose reader is gone.
var errEnough = errors.New("enough")

func (t *tail) run(ctx context.Context) error {
	for {
		err := t.follow(ctx)
		switch {
		case errors.Is(err, errEnough) || ctx.Err() != nil || err == nil && !t.query.Follow:
			return nil
		case err != nil && !t.connected:
			return err
		case !t.away:
			fmt.Fprintln(t.err, "the daemon went away: waiting for its return")
			t.away = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookAgain):
		}
	}
}

// follow shows events until the daemon ends them. The next call goes on where it was.
func (t *tail) follow(ctx context.Context) error {
	t.query.Beat = time.Nanosecond // any: to hear that the stream has begun
	for e, err := range t.client.Events(ctx, t.query) {
		if err != nil {
			return err
		}
		if t.connected = true; t.away {
			fmt.Fprintln(t.err, "the daemon is back")
			t.away = false
		}
		if e.Type == "" {
			continue
		}
		if e.ID != "" {
			t.query.After = e.ID
		}
		if t.show(&e) != nil {
			return errEnough
		}
		if t.left--; t.left == 0 {
			return errEnough
		}
	}
	return nil
}

func (t *tail) show(e *event.Event) error {
	if t.json {
		line, err := json.Marshal(e)
		if err == nil {
			_, err = fmt.Fprintf(t.out, "%s\n", line)
		}
		return err
	}
	kind := fmt.Sprintf("%-21s", e.Type)
	switch {
	case e.Is("attack.start"), e.Is("interface.unprotected"), e.Is("hop.down"), e.Is(event.HealthBad), e.Is(event.Lost):
		kind = t.style.Bad(kind)
	case e.Is("attack.end"), e.Is("interface.protected"), e.Is("hop.up"), e.Is(event.HealthGood):
		kind = t.style.Good(kind)
	}
	_, err := fmt.Fprintf(t.out, "%s  %s  %s\n", e.Time.Local().Format(time.DateTime), kind, strings.Join(strings.Fields(e.Text), " "))
	return err
}
