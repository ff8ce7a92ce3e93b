// SPDX-License-Identifier: Apache-2.0

package top

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"parry/pkg/api"
	"parry/pkg/show"
)

// maxReasons keeps the list of reasons on one screen.
const maxReasons = 12

// draw writes one frame for people.
func draw(w io.Writer, style show.Style, st *api.Status, f *Frame) error {
	if _, err := io.WriteString(w, head(style, st, f)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	t := show.NewTable(w, style, "SERVICE", "STATE", ">SESSIONS", ">UP", ">", ">DOWN", ">", ">STRANGERS", ">DROPPED", ">WOULD DROP")
	for _, s := range f.Services {
		row := []string{s.Name, style.State(s.State), show.Count(s.Sessions)}
		row = append(row, traffic(s.Up)...)
		row = append(row, traffic(s.Down)...)
		strangers := show.Unknown
		if s.Strangers != nil {
			strangers = show.SI(*s.Strangers, "pkt/s")
		}
		row = append(row, strangers, dropped(f, s.Drops, style.Bad), dropped(f, s.WouldDrop, style.Warn))
		if err := t.Row(row...); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	if err := alarms(w, style, st); err != nil {
		return err
	}
	return reasons(w, style, st, f)
}

// alarms says why services are elevated or attacked.
func alarms(w io.Writer, style show.Style, st *api.Status) error {
	for i := range st.Services {
		if text := st.Services[i].Alarm(st.Time); text != "" {
			if _, err := fmt.Fprintf(w, "%s: %s\n", style.State(st.Services[i].State), text); err != nil {
				return fmt.Errorf("write frame: %w", err)
			}
		}
	}
	return nil
}

func head(style show.Style, st *api.Status, f *Frame) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  up %s", style.Bold("parry "+st.Node), f.Time.Local().Format(time.DateTime), show.MS(st.UptimeMS))
	if !st.Enforce {
		fmt.Fprintf(&b, "  %s", style.Warn("monitor: policy drops nothing"))
	}
	fmt.Fprintf(&b, "\n%s sessions, host", show.Count(f.Sessions))
	if f.Host == nil {
		b.WriteString(" " + show.Unknown)
	} else {
		fmt.Fprintf(&b, " %s", strings.Join(traffic(f.Host), " "))
	}
	for _, i := range st.Interfaces {
		if !i.Protected {
			fmt.Fprintf(&b, ", %s", style.Bad(i.Name+" is unprotected"))
		}
	}
	b.WriteString("\n\n")
	return b.String()
}

// traffic is two cells: packets and bits.
func traffic(r *Rate) []string {
	if r == nil {
		return []string{show.Unknown, show.Unknown}
	}
	return []string{show.SI(r.PacketsPerSecond, "pkt/s"), show.SI(r.BitsPerSecond, "bit/s")}
}

func dropped(f *Frame, rates map[string]float64, colour func(string) string) string {
	if f.IntervalMS == 0 {
		return show.Unknown
	}
	total := sum(rates)
	text := show.SI(total, "pkt/s")
	if total > 0 {
		text = colour(text)
	}
	return text
}

// reasons lists why packets are dropped, the busiest first.
func reasons(w io.Writer, style show.Style, st *api.Status, f *Frame) error {
	names := slices.SortedFunc(maps.Keys(st.Drops), func(a, b string) int {
		return cmp.Or(cmp.Compare(f.Drops[b], f.Drops[a]), cmp.Compare(st.Drops[b], st.Drops[a]), cmp.Compare(a, b))
	})
	names = slices.DeleteFunc(names, func(n string) bool { return st.Drops[n] == 0 })
	if len(names) == 0 {
		_, err := fmt.Fprintln(w, "\nnothing dropped so far")
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	t := show.NewTable(w, style, "DROPPED BECAUSE", ">NOW", ">SO FAR")
	for _, n := range names[:min(len(names), maxReasons)] {
		if err := t.Row(n, dropped(f, map[string]float64{n: f.Drops[n]}, style.Bad), show.Count(st.Drops[n])); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	if more := len(names) - maxReasons; more > 0 {
		if _, err := fmt.Fprintf(w, "and %d more reasons: parry status\n", more); err != nil {
			return fmt.Errorf("write frame: %w", err)
		}
	}
	return nil
}
