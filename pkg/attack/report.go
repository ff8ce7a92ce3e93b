// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"
	"io"
	"strings"
	"time"

	"parry/pkg/show"
)

// Report writes an attack for people who weren't there: as Markdown or as plain text.
func (r *Record) Report(w io.Writer, markdown bool, now time.Time) error {
	p := page{markdown: markdown}
	p.title("Attack on " + r.Target())
	p.text(r.summary(now))
	facts := [][2]string{
		{"id", r.ID},
		{"start", r.Start.Format(time.RFC3339)},
		{"end", r.endText()},
		{"why it counts as one", r.Reason},
		{"made of", strings.Join(r.Kinds, ", ")},
		{"peak", r.Peak()},
		{"share of the link", known(r.LinkShare, show.Percent)},
		{"sources", r.sourcesText()},
		{"packets that players lost at the edge", known(r.PlayersLost, show.Count[uint64])},
	}
	if r.Prefix != "" {
		facts = append(facts, [2]string{"services", strings.Join(r.Services, ", ")})
	}
	p.table("", facts)
	p.table("Strangers", [][2]string{
		{"packets", show.Count(r.Strangers)},
		{"had to come again", show.Count(r.Greylisted)},
		{"did", show.Count(r.Returned)},
		{"sessions that began", show.Count(r.Admitted)},
		{"of them proven", show.Count(r.Proven)},
		{"queries that the edge answered", show.Count(r.Answered)},
	})
	p.table("Dropped because", counts(r.Drops))
	p.table("Would have been dropped, were policy enforced", counts(r.WouldDrop))
	var measures, moments [][2]string
	for _, m := range r.Measures {
		measures = append(measures, [2]string{m.Name, show.Count(m.Packets) + " packets"})
	}
	for _, m := range r.Timeline {
		moments = append(moments, [2]string{m.Time.Format(time.TimeOnly), m.Text})
	}
	p.table("What was done", measures)
	p.table("What happened (UTC)", moments)
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// summary is the attack in two sentences.
func (r *Record) summary(now time.Time) string {
	lasted := "It has gone on for " + show.Duration(now.Sub(r.Start))
	if r.End != nil {
		lasted = "It went on for " + show.Duration(r.End.Sub(r.Start))
	}
	return fmt.Sprintf("%s, with up to %s. %s packets were dropped; of %s first packets by strangers %s became sessions.",
		lasted, r.Peak(), show.Count(sum(r.Drops)), show.Count(r.Strangers), show.Count(r.Admitted))
}

// Peak is the highest rate in words.
func (r *Record) Peak() string {
	return show.SI(float64(r.PeakPPS), "pkt/s") + ", " + show.SI(float64(r.PeakBPS), "bit/s")
}

func (r *Record) endText() string {
	if r.End == nil {
		return "it goes on"
	}
	return r.End.Format(time.RFC3339)
}

func (r *Record) sourcesText() string {
	if r.Sources == nil {
		return "not known"
	}
	return "at least " + show.Count(*r.Sources) + " (" + r.SourcesHow + ")"
}

func known[T any](v *T, text func(T) string) string {
	if v == nil {
		return "not known"
	}
	return text(*v)
}

func counts(m map[string]uint64) [][2]string {
	var rows [][2]string
	for _, name := range byMost(m) {
		rows = append(rows, [2]string{name, show.Count(m[name])})
	}
	return rows
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// page is a report as it is being written.
type page struct {
	markdown bool
	b        strings.Builder
}

func (p *page) title(text string) {
	if p.markdown {
		text = "# " + text
	}
	fmt.Fprintln(&p.b, text)
}

func (p *page) text(text string) { fmt.Fprintf(&p.b, "\n%s\n", text) }

// table writes rows under a heading; nothing where there are none.
func (p *page) table(heading string, rows [][2]string) {
	if len(rows) == 0 {
		return
	}
	p.b.WriteByte('\n')
	if p.markdown {
		if heading != "" {
			fmt.Fprintf(&p.b, "## %s\n\n", heading)
		}
		p.b.WriteString("| | |\n|---|---|\n")
		for _, r := range rows {
			fmt.Fprintf(&p.b, "| %s | %s |\n", escape(r[0]), escape(r[1]))
		}
		return
	}
	if heading != "" {
		fmt.Fprintf(&p.b, "%s:\n", heading)
	}
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for _, r := range rows {
		fmt.Fprintf(&p.b, "  %-*s  %s\n", width, r[0], r[1])
	}
}

func escape(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }
