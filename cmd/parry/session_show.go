// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/show"
)

func newSessionShow(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one session, and what was timed of it",
		Long: `Show one session by its ID (session list has them), and what was timed of its packets each way while it was
watched: jitter, gaps, bursts, loss, and how large and how far apart they were. docs/watched.md says how each figure
is made; - stands for what isn't seen, measured or readable.`,
		Example: `  parry session show 4-1
  parry session show 4-1 --json | jq .up.timing.spacings_ms`,
		Args: oneArg("a session by its ID (see parry session list)"),
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for s, err := range dial().PickSessions(cmd.Context(), api.Filter{ID: args[0], Limit: 1}) {
			if err != nil {
				return err
			}
			if *asJSON {
				return writeJSON(cmd.OutOrStdout(), s)
			}
			return showSession(cmd.OutOrStdout(), style(cmd, d), &s)
		}
		return fmt.Errorf("there is no session %s", args[0])
	}
	return cmd
}

func showSession(w io.Writer, st show.Style, s *api.Session) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s over %s, %s, proof %s\n", st.Bold(s.ID), s.Service, s.Protocol, st.State(s.State), s.Proof)
	fmt.Fprintf(&b, "player %v to %v, server %v; age %s, idle %s; game %s\n", s.Client, s.Edge, s.Server, show.MS(s.AgeMS), show.MS(s.IdleMS), s.Game)
	for _, way := range []struct {
		name string
		*api.Direction
	}{{"up, from the player", s.Up}, {"down, from the server", s.Down}} {
		if way.Direction == nil {
			fmt.Fprintf(&b, "\n%s: not seen\n", st.Bold(way.name))
			continue
		}
		fmt.Fprintf(&b, "\n%s: %s, %s\n", st.Bold(way.name), show.SI(float64(way.Packets), "pkt"), show.Bytes(way.Bytes))
		showTiming(&b, way.Direction)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func showTiming(b *strings.Builder, d *api.Direction) {
	t := d.Timing
	if t == nil {
		b.WriteString("  not watched\n")
		return
	}
	count := func(n uint64) string { return show.Count(n) }
	fmt.Fprintf(b, "  watched for %s, %s packets\n", show.MS(t.WatchedMS), show.Count(t.Packets))
	fmt.Fprintf(b, "  jitter %s, longest gap %s, of the last half minute %s\n", known(d.JitterMS, milliseconds), known(d.LongestGapMS, milliseconds), milliseconds(t.RecentGapMS))
	fmt.Fprintf(b, "  loss %s, of the last half minute %s; reordered %s, duplicates %s\n", known(d.Loss, show.Percent), known(t.RecentLoss, show.Percent),
		known(d.Reordered, count), known(d.Duplicates, count))
	fmt.Fprintf(b, "  bursts %d, the longest of %d packets\n", t.Bursts, t.LongestBurst)
	if len(t.Drops) > 0 {
		var all []string
		for _, reason := range slices.Sorted(maps.Keys(t.Drops)) {
			all = append(all, fmt.Sprintf("%s %d", reason, t.Drops[reason]))
		}
		fmt.Fprintf(b, "  dropped here: %s\n", strings.Join(all, ", "))
	}
	histogram(b, "bytes", t.Sizes, func(v float64) string { return strconv.Itoa(int(v)) })
	histogram(b, "ms apart", t.SpacingsMS, func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) })
}

const histogramWidth = 40

// histogram draws a bar for each class that has packets, and those between.
func histogram(b *strings.Builder, unit string, all []api.Class, text func(float64) string) {
	first, last, most := -1, -1, uint32(0)
	for i, c := range all {
		if c.Packets == 0 {
			continue
		}
		if first < 0 {
			first = i
		}
		last, most = i, max(most, c.Packets)
	}
	if first < 0 {
		return
	}
	for i := first; i <= last; i++ {
		name := "more"
		if all[i].Below != nil {
			name = "< " + text(*all[i].Below)
		}
		bar := strings.Repeat("#", int((uint64(all[i].Packets)*histogramWidth+uint64(most)-1)/uint64(most)))
		fmt.Fprintf(b, "  %9s %-8s %10d %s\n", name, unit, all[i].Packets, bar)
	}
}
