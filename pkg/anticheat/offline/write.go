// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"parry/pkg/anticheat"
	"parry/pkg/pcap"
)

// Options say what to analyse, and how to tell it.
type Options struct {
	Files  []string // captures; "-" is standard input
	JSON   bool     // an object a line
	Policy anticheat.Policy
	Game   string // of flows that nothing names, as those whose beginning is not there; a name that game.Lookup knows, or ""
}

// line is a flow as outside tools read it. Keys are an interface: add, never rename.
type line struct {
	File     string     `json:"file"`
	Proto    string     `json:"proto"`
	Src      string     `json:"src"`
	Dst      string     `json:"dst"`
	Game     string     `json:"game"`
	Player   string     `json:"player"`
	Findings []finding  `json:"findings"`
	Unjudged []unjudged `json:"unjudged"`
}

// finding is one as outside tools read it. Times count from the flow's first packet.
type finding struct {
	Kind       string           `json:"kind"`
	StartMS    float64          `json:"start_ms"`
	EndMS      float64          `json:"end_ms"`
	FoundMS    float64          `json:"found_ms"` // when the evidence for it was complete
	Severity   float64          `json:"severity"`
	Confidence float64          `json:"confidence"`
	Observe    bool             `json:"observe"`
	Rule       string           `json:"rule,omitempty"`
	Evidence   []anticheat.Fact `json:"evidence"`
}

// unjudged is why kinds of findings could not be made.
type unjudged struct {
	Kinds []string `json:"kinds"`
	Why   string   `json:"why"`
}

// Write analyses captures and writes a line a flow. What is wrong with one of them doesn't keep it from the next.
func Write(ctx context.Context, opt Options, out io.Writer) error {
	return pcap.Each(ctx, opt.Files, out, func(path string, w io.Writer) error {
		return File(path, opt, func(f *Flow) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return write(w, f, opt)
		})
	})
}

func write(w io.Writer, f *Flow, opt Options) error {
	l := lineOf(f)
	var err error
	if opt.JSON {
		err = json.NewEncoder(w).Encode(l)
	} else {
		_, err = io.WriteString(w, l.text(len(opt.Files) > 1))
	}
	if err != nil {
		return fmt.Errorf("write flows: %w", err)
	}
	return nil
}

func lineOf(f *Flow) line {
	l := line{
		File: f.File, Proto: f.Proto, Src: f.Src.String(), Dst: f.Dst.String(), Game: f.Game.String(), Player: f.Player,
		Findings: []finding{}, Unjudged: []unjudged{},
	}
	if !f.Game.Plays() && f.Taken != "" {
		l.Game = f.Taken
	}
	since := func(at uint64) float64 { return float64((at-min(f.Began, at))/1000) / 1000 }
	for _, x := range f.Report.Findings {
		l.Findings = append(l.Findings, finding{
			Kind: string(x.Kind), StartMS: since(x.Start), EndMS: since(x.End), FoundMS: since(x.At), Severity: x.Severity, Confidence: x.Confidence,
			Observe: x.Observe, Rule: x.Rule, Evidence: x.Facts,
		})
	}
	slices.SortStableFunc(l.Findings, func(a, b finding) int { return int(a.StartMS - b.StartMS) })
	for _, x := range f.Report.Unjudged {
		if i := slices.IndexFunc(l.Unjudged, func(u unjudged) bool { return u.Why == x.Why }); i >= 0 {
			l.Unjudged[i].Kinds = append(l.Unjudged[i].Kinds, string(x.Kind))
			continue
		}
		l.Unjudged = append(l.Unjudged, unjudged{[]string{string(x.Kind)}, x.Why})
	}
	return l
}

// text is a flow for people: a line, and one for each finding.
func (l *line) text(named bool) string {
	var b strings.Builder
	if named {
		fmt.Fprintf(&b, "%s: ", l.File)
	}
	fmt.Fprintf(&b, "%s %s > %s  %s", l.Proto, l.Src, l.Dst, l.Game)
	if l.Player != "" {
		fmt.Fprintf(&b, ", player %s", l.Player)
	}
	switch len(l.Findings) {
	case 0:
		b.WriteString(": nothing found")
	case 1:
		b.WriteString(": 1 finding")
	default:
		fmt.Fprintf(&b, ": %d findings", len(l.Findings))
	}
	b.WriteByte('\n')
	for _, f := range l.Findings {
		fmt.Fprintf(&b, "  %8.3f s to %8.3f s  %-14s severity %.2f, confidence %.2f%s: ", f.StartMS/1000, f.EndMS/1000, f.Kind, f.Severity, f.Confidence,
			map[bool]string{true: ", only observed"}[f.Observe])
		for i, x := range f.Evidence {
			if i > 0 {
				b.WriteString("; ")
			}
			b.WriteString(x.Text)
		}
		b.WriteByte('\n')
	}
	for _, u := range l.Unjudged {
		fmt.Fprintf(&b, "  not judged: %s: %s\n", strings.Join(u.Kinds, ", "), u.Why)
	}
	return b.String()
}
