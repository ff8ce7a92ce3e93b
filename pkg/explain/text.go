// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"parry/pkg/api"
)

// lately is what a player still asks about.
const lately = 15 * time.Minute

// Text is what may be said to the player whose address it is: sentences, each of which stands for itself.
func Text(e *api.Explanation) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	switch {
	case e.Blocked:
		say("Your address %v is blocked%s.", e.Address, until(e))
	case e.Allowed:
		say("Your address %v is on our list of welcome players.", e.Address)
	default:
		say("Your address %v is not blocked.", e.Address)
	}
	all = append(all, playing(e)...)
	for _, l := range e.Limits {
		if l.Used >= 0.9 && l.Enforced && l.Level != api.LevelService {
			say("It is at its limit at this moment (%s).", strings.ReplaceAll(l.Limit, "_", " "))
			break
		}
	}
	all = append(all, dropped(e)...)
	if len(all) == 2 && !e.Blocked && len(e.Sessions) == 0 {
		say("If you can't join, tell us the game, the time, and what it shows.")
	}
	return all
}

func until(e *api.Explanation) string {
	for _, l := range e.Entries {
		if l.List == api.Block && l.Entry.Expires != nil {
			return " until " + l.Entry.Expires.UTC().Format("2006-01-02 15:04 MST")
		}
	}
	return ""
}

// playing says what connections there are.
func playing(e *api.Explanation) []string {
	var services []string
	opening := false
	for i := range e.Sessions {
		s := &e.Sessions[i]
		opening = opening || s.State == api.Unproven
		if s.State == api.Proven && !slices.Contains(services, s.Service) {
			services = append(services, s.Service)
		}
	}
	switch {
	case len(services) > 0:
		return []string{fmt.Sprintf("It is connected to %s.", strings.Join(services, ", "))}
	case opening:
		return []string{"It has begun to connect, and the game server has not answered yet, or nothing came back to it."}
	}
	return []string{"It has no connection to a game of ours at this moment."}
}

// dropped says why packets were, each cause once.
func dropped(e *api.Explanation) []string {
	var all, said []string
	known := reasons()
	for _, r := range e.Reasons {
		if r.Would || e.Time.Sub(r.Last) > lately {
			continue
		}
		words, ok := known[r.Reason]
		if !ok {
			words = reason{"the edge dropped some of its packets", "Tell us when it was."}
		}
		if slices.Contains(said, words.means) {
			continue
		}
		said = append(said, words.means)
		text := fmt.Sprintf("%s, packets were dropped: %s.", ago(e.Time.Sub(r.Last)), words.means)
		if words.do != "" {
			text += " " + words.do
		}
		all = append(all, text)
	}
	if len(all) == 0 {
		return []string{"None of its packets was dropped lately, as far as the edge remembers."}
	}
	return all
}

func ago(d time.Duration) string {
	switch {
	case d < 5*time.Second:
		return "Just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds ago", d/time.Second)
	}
	return fmt.Sprintf("%d minutes ago", d/time.Minute)
}
