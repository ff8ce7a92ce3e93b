// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/config"
	"parry/pkg/show"
)

// ExplainBlock says why an address is blocked, or was, or how far it is from it.
func (a edgeAPI) ExplainBlock(_ context.Context, addr netip.Addr) (api.BlockExplanation, error) {
	x := api.BlockExplanation{Address: addr, Time: time.Now().UTC(), Decisions: []api.Evidence{}}
	all := api.Explanation{Address: addr, Entries: []api.ListedEntry{}}
	if err := a.explainLists(&all); err != nil {
		return x, err
	}
	x.Entries, x.Blocked, x.Allowed = all.Entries, all.Blocked, all.Allowed
	d := a.e.detection
	x.Decisions = append(x.Decisions, d.book.of(addr)...)
	if s, ok := d.standing(addr); ok && !d.is(config.Off) {
		x.Standing = &s
	}
	x.Text = blockText(&x)
	return x, nil
}

// blockText says it in sentences.
func blockText(x *api.BlockExplanation) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if x.Allowed {
		say("%v is on the allow list: no block holds for it.", x.Address)
	} else if !x.Blocked {
		say("%v is not blocked.", x.Address)
	}
	for _, e := range x.Entries {
		if e.List == api.Block {
			say("%s", entryWords(&e.Entry, x.Time))
		}
	}
	for i := range x.Decisions {
		v := &x.Decisions[i]
		switch over := !v.Expires.After(x.Time); {
		case v.Lifted:
			say("The detector decided about %s (%s), and somebody took it back: %s.", blocklist.FormatPrefix(v.Prefix), v.Reason, v.Text)
		case over:
			say("Until %s ago the detector kept %s: %s.", show.Duration(x.Time.Sub(v.Expires)), scopeWords(v), v.Text)
		default:
			say("The detector keeps %s for %s more: %s.", scopeWords(v), show.Duration(v.Expires.Sub(x.Time)), v.Text)
		}
	}
	if s := x.Standing; s != nil && s.Known && !s.Blocked {
		say("Its risk is %.2f now (%d connections within the window, %d came to nothing, %d lasted).", s.Risk, s.Connections, s.Nothing, s.Lasted)
	}
	return all
}

func scopeWords(v *api.Evidence) string {
	words := "out " + blocklist.FormatPrefix(v.Prefix)
	if v.Scope != "all" {
		words = "out what " + blocklist.FormatPrefix(v.Prefix) + " sends unproven"
	}
	if !v.Acted {
		words += " (or would, were it not for mode: watch)"
	}
	return words
}

func entryWords(e *blocklist.Entry, now time.Time) string {
	where, why, until := "", "", ", for good"
	if e.Service != "" {
		where = " from " + e.Service
	}
	if e.Reason != "" {
		why = ": " + e.Reason
	}
	if e.Expires != nil {
		until = ", for " + show.Duration(e.Expires.Sub(now)) + " more"
	}
	return fmt.Sprintf("%s is blocked%s by %s%s%s.", blocklist.FormatPrefix(e.Prefix), where, e.Source, until, why)
}
