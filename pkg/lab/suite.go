// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// DefaultSuite is how long all scenarios are played together.
const DefaultSuite = 5 * time.Minute

// Result is what one scenario or all of them showed.
type Result interface {
	// Err is an error that names what failed.
	Err() error
	WriteJSON(w io.Writer) error
	WriteMarkdown(w io.Writer) error
}

var (
	_ Result = (*Report)(nil)
	_ Result = (*Suite)(nil)
)

// Suite is all scenarios' reports, each of a world of its own. Its first fields are those of Report, added up.
type Suite struct {
	Scenario   string        `json:"scenario"`
	Edge       string        `json:"edge"`
	DurationMS int64         `json:"duration_ms"`
	Passed     bool          `json:"passed"`
	Players    []GroupReport `json:"players"` // counters added up; times are of the worst scenario
	Attack     AttackReport  `json:"attack"`
	Scenarios  []*Report     `json:"scenarios"`
}

// Quick is the shortest duration of a scenario, or of all.
func Quick(scenario string) time.Duration {
	if scenario != AllScenarios {
		return MinDuration
	}
	return MinDuration * time.Duration(shares())
}

func shares() int {
	n := 0
	for _, s := range Scenarios() {
		n += s.share
	}
	return n
}

// Play plays a scenario, or each in turn, for the duration of the options or the usual one.
func Play(ctx context.Context, o Options) (Result, error) {
	if o.Scenario != AllScenarios {
		if o.Duration == 0 {
			o.Duration = DefaultDuration
		}
		r, err := Run(ctx, o)
		if r == nil {
			return nil, err // a nil *Report would be a Result
		}
		return r, err
	}
	if o.Hold != nil {
		return nil, optionError{errors.New("a world can be kept of one scenario, not of all: choose one")}
	}
	if o.Duration == 0 {
		o.Duration = DefaultSuite
	}
	s, err := runAll(ctx, o)
	if s == nil {
		return nil, err
	}
	return s, err
}

// runAll plays each scenario in a world of its own. Only the first, which attacks nobody, shows blocks and the daemon's
// death. It ends at the first that can't be played; checks that fail end nothing.
func runAll(ctx context.Context, o Options) (*Suite, error) {
	all := &Suite{Scenario: AllScenarios, Passed: true}
	unit := max(o.Duration/time.Duration(shares()), MinDuration)
	for _, s := range Scenarios() {
		o.Scenario, o.Duration, o.Short = s.Name, unit*time.Duration(s.share), s.attacks()
		r, err := Run(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		all.add(r)
	}
	return all, nil
}

func (s *Suite) add(r *Report) {
	s.Edge = r.Edge
	s.DurationMS += r.DurationMS
	s.Passed = s.Passed && r.Passed
	s.Scenarios = append(s.Scenarios, r)
	for i, g := range r.Players {
		if i == len(s.Players) {
			s.Players = append(s.Players, GroupReport{Group: g.Group, Protocol: g.Protocol})
		}
		s.Players[i].add(g)
	}
	for _, w := range r.Attack.Waves {
		s.Attack.add(w)
	}
	s.Attack.CPU = r.Attack.CPU
	s.Attack.CPUMS += r.Attack.CPUMS
}

// add adds another scenario's figures: counters are summed, of times the worst stays.
func (g *GroupReport) add(o GroupReport) {
	g.Players += o.Players
	g.Sent += o.Sent
	g.Received += o.Received
	g.Lost += o.Lost
	g.Joined += o.Joined
	g.Unanswered += o.Unanswered
	g.UnansweredCalm += o.UnansweredCalm
	g.Retransmitted += o.Retransmitted
	g.Broken += o.Broken
	g.LossPPM, g.LossCalmPPM = max(g.LossPPM, o.LossPPM), max(g.LossCalmPPM, o.LossCalmPPM)
	g.JoinMS, g.JoinMaxMS = max(g.JoinMS, o.JoinMS), max(g.JoinMaxMS, o.JoinMaxMS)
	g.RTT, g.RTTCalm = g.RTT.worse(o.RTT), g.RTTCalm.worse(o.RTTCalm)
}

func (t rttMS) worse(o rttMS) rttMS { return rttMS{max(t.P50, o.P50), max(t.P99, o.P99)} }

// Err is an error that names the scenarios and checks that failed, if any did.
func (s *Suite) Err() error {
	var errs []error
	for _, r := range s.Scenarios {
		errs = append(errs, r.Err())
	}
	return errors.Join(errs...)
}

// WriteJSON writes all reports as one document.
func (s *Suite) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(s)
}

// WriteMarkdown writes a table with a row a scenario.
func (s *Suite) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString(tableHead)
	for _, r := range s.Scenarios {
		r.row(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteMarkdown writes a table of one row.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString(tableHead)
	r.row(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

const tableHead = `| attack | sources | packets/s | most dropped as | reached servers | players: lost at the edge | loss end to end (control), ppm | round trip ms, 50 / 99 % (control) | newcomers in time | joining, ms (slowest) | queries | checks |
| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |
`

// row is the report in one line.
func (r *Report) row(b *strings.Builder) {
	var est, fresh GroupReport
	newcomers, inTime := 0, 0
	for _, g := range r.Players {
		if g.Group == "new" {
			newcomers += g.Players
			for _, part := range g.ByGame {
				inTime += part.InTime
			}
		}
		switch {
		case g.Group == "new" && g.Protocol == "udp":
			fresh = g
		case g.Protocol == "udp":
			est = g
		}
	}
	asked, answered := 0, 0
	for _, q := range r.Queries {
		asked += q.Asked
		answered += q.Answered
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %d | %d (%d) | %s (%s) | %d of %d | %s (%s) | %d of %d | %s |\n", r.Scenario,
		short(r.Attack.Sources), short(r.Attack.PPS), mostOf(r.Attack.Dropped), short(r.Attack.Reached), r.Lost(), est.LossPPM, est.LossCalmPPM,
		est.RTT, est.RTTCalm, inTime, newcomers, plainMS(fresh.JoinMS), plainMS(fresh.JoinMaxMS), answered, asked, r.outcome())
	r.waveRows(b)
}

// waveRows are the stretches of an attack that has several.
func (r *Report) waveRows(b *strings.Builder) {
	if len(r.Attack.Waves) < 2 {
		return
	}
	for _, w := range r.Attack.Waves {
		fmt.Fprintf(b, "| of it, %s | %s | %s | %s | %s | | | | | | | |\n", w.Name, short(w.Sources), short(w.PPS), mostOf(w.Dropped), short(w.Reached))
	}
}

func mostOf(dropped map[string]uint64) string {
	if reasons := byCount(dropped); len(reasons) > 0 {
		return reasons[0]
	}
	return "-"
}

// outcome names the checks that failed.
func (r *Report) outcome() string {
	var failed []string
	for _, c := range r.Checks {
		if !c.OK {
			failed = append(failed, c.Name)
		}
	}
	if len(failed) == 0 {
		return "all passed"
	}
	return "**failed: " + strings.Join(failed, ", ") + "**"
}

// plainMS is milliseconds without their unit.
func plainMS(d ms) string { return strings.TrimSuffix(millis(time.Duration(d)), " ms") }
