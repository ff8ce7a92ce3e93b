// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"strings"
	"time"

	"parry/pkg/api"
	"parry/pkg/history"
)

// endings are the words of history.Record.EndedBy as players are told.
func endings() map[string]string {
	return map[string]string{
		history.ByClient: "the player's side closed it", history.ByServer: "the game server closed it", history.ByIdle: "both sides fell silent",
		history.ByPath: "the way to one side was interrupted", history.ByBlock: "the address was blocked",
		history.ByLimit: "more came than the limits allow", history.ByDrain: "its server was taken out of service",
		history.ByKilled: "a person ended it", history.ByEdge: "the edge had trouble of its own",
	}
}

// Ending says in words why a session ended.
func Ending(word string) string {
	if text, ok := endings()[word]; ok {
		return text
	}
	return "it ended by " + word
}

// Past is what may be said of another time: sentences, each of which stands for itself.
func Past(x *api.Past) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	who := "The player"
	if x.Address != nil {
		who = fmt.Sprintf("The address %v", *x.Address)
	}
	at := func(t time.Time) string { return t.UTC().Format("15:04:05 MST") }
	then := 0
	for i := range x.History {
		r := &x.History[i]
		if r.Start.After(x.At) || r.End.Before(x.At) {
			continue
		}
		then++
		say("%s was connected to %s from %s until %s; then %s.", who, r.Service, at(r.Start), at(r.End), Ending(r.EndedBy))
	}
	for i := range x.Sessions {
		s := &x.Sessions[i]
		then++
		say("%s was connected to %s, and still is.", who, s.Service)
	}
	if then == 0 {
		say("%s had no connection to a game of ours at that moment, as far as is known.", who)
		all = append(all, near(x, who, at)...)
	}
	for i := range x.Entries {
		if e := &x.Entries[i]; e.List == api.Block {
			say("An entry of the block list held for it then, and still does.")
			break
		}
	}
	all = append(all, lost(x)...)
	for i := range x.Attacks {
		r := &x.Attacks[i]
		say("%s was under attack at that moment (%s).", r.Target(), strings.Join(r.Kinds, ", "))
	}
	return all
}

// near says what came just before, and just after.
func near(x *api.Past, who string, at func(time.Time) string) []string {
	var before, after *history.Record
	for i := range x.History {
		r := &x.History[i]
		if r.End.Before(x.At) && (before == nil || r.End.After(before.End)) {
			before = r
		}
		if r.Start.After(x.At) && (after == nil || r.Start.Before(after.Start)) {
			after = r
		}
	}
	var all []string
	if before != nil {
		all = append(all, fmt.Sprintf("%s had been connected to %s until %s: %s.", who, before.Service, at(before.End), Ending(before.EndedBy)))
	}
	if after != nil {
		all = append(all, fmt.Sprintf("%s was connected to %s from %s on.", who, after.Service, at(after.Start)))
	}
	return all
}

// lost says why packets were dropped around then, each cause once.
func lost(x *api.Past) []string {
	var all []string
	said := map[string]bool{}
	known := reasons()
	for _, r := range x.Reasons {
		words, ok := known[r.Reason]
		if r.Would || !ok || said[words.means] {
			continue
		}
		said[words.means] = true
		all = append(all, strings.TrimRight(fmt.Sprintf("Packets of its were dropped around then: %s. %s", words.means, words.do), " "))
	}
	return all
}
