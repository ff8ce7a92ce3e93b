// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"parry/pkg/bench"
	"parry/pkg/show"
)

// Report is what -json writes.
type Report struct {
	bench.Machine
	Method  string   `json:"method"`
	Rounds  int      `json:"rounds"`
	Ways    []Row    `json:"ways"`
	Skipped []string `json:"skipped"` // ways whose tools are absent, and why
	Targets []Target `json:"targets"`
}

// Row is one way; figures are medians over the rounds.
type Row struct {
	Key       string  `json:"key"`
	Name      string  `json:"name"`
	Proxy     bool    `json:"proxy"`
	CPUNS     float64 `json:"cpu_ns"` // a packet that arrived: generator, both links, edge, and a proxy's process
	CPUMin    float64 `json:"cpu_min"`
	CPUMax    float64 `json:"cpu_max"`
	OfRoute   float64 `json:"cpu_of_route"` // times that of kernel routing, median of the ratios within a round; 0 = no such way
	Delivered float64 `json:"delivered"`    // share of the flood
	Rate      float64 `json:"rate"`         // packets that arrived a second of wall clock
	P50US     float64 `json:"rtt_p50_us"`
	P50Min    float64 `json:"rtt_p50_min_us"`
	P50Max    float64 `json:"rtt_p50_max_us"`
	P99US     float64 `json:"rtt_p99_us"`
	Lost      int     `json:"pings_lost"`
}

// Target is what parry promises beside another way.
type Target struct {
	What  string  `json:"what"`
	Limit float64 `json:"limit"`
	Ratio float64 `json:"ratio"` // median of the ratios within a round
	OK    bool    `json:"ok"`
}

const method = "64 byte frames of 64 UDP flows on virtual Ethernet between network namespaces, checksum and segmentation offloads off; no NIC. " +
	"CPU: live frames of BPF_PROG_TEST_RUN, CPU time of the sending thread, on which generator, both links and the edge run " +
	"(and of ksoftirqd and a proxy's process), a packet that arrived; the server's end counts and drops. " +
	"Round trip: ping-pong of 22 bytes between two sockets on one CPU. Ways in turn, medians over the rounds"

func report(all []*runner, skipped []string, rounds int) *Report {
	out := &Report{Machine: bench.ThisMachine(), Method: method, Rounds: rounds, Skipped: append([]string{}, skipped...)}
	find := func(key string) *runner {
		i := slices.IndexFunc(all, func(r *runner) bool { return r.key == key })
		if i < 0 {
			return nil
		}
		return all[i]
	}
	routed := find(keyRoute)
	for _, r := range all {
		row := Row{
			Key: r.key, Name: r.name, Proxy: r.proxy, CPUNS: bench.Round(bench.Median(r.cpu)), CPUMin: bench.Round(slices.Min(r.cpu)), CPUMax: bench.Round(slices.Max(r.cpu)),
			Delivered: bench.Round(bench.Median(r.delivered)), Rate: math.Round(bench.Median(r.rate)), Lost: r.lost,
		}
		if r.site != nil && r.site.note != "" {
			row.Name += " (" + r.site.note + ")"
		}
		if len(r.p50) > 0 {
			row.P50US, row.P50Min, row.P50Max, row.P99US = bench.Round(bench.Median(r.p50)), bench.Round(slices.Min(r.p50)), bench.Round(slices.Max(r.p50)), bench.Round(bench.Median(r.p99))
		}
		if routed != nil {
			row.OfRoute = bench.Round(bench.Median(bench.Ratios(r.cpu, routed.cpu)))
		}
		out.Ways = append(out.Ways, row)
	}
	parry := find(keyParry)
	for _, g := range []struct {
		what, key string
		limit     float64
		of        func(*runner) []float64
	}{
		{"CPU of a packet by kernel routing's", keyRoute, 0.28, func(r *runner) []float64 { return r.cpu }},
		{"CPU of a packet by nftables'", keyNFT, 0.17, func(r *runner) []float64 { return r.cpu }},
		{"median round trip by kernel routing's", keyRoute, 1, func(r *runner) []float64 { return r.p50 }},
	} {
		if other := find(g.key); parry != nil && other != nil {
			ratio := bench.Round(bench.Median(bench.Ratios(g.of(parry), g.of(other))))
			out.Targets = append(out.Targets, Target{What: g.what, Limit: g.limit, Ratio: ratio, OK: ratio <= g.limit})
		}
	}
	return out
}

// cells are a row for people.
func (r *Row) cells() []string {
	p50, span, p99 := "", "", ""
	if r.P50US > 0 {
		p50, span, p99 = fmt.Sprintf("%.1f", r.P50US), fmt.Sprintf("%.1f-%.1f", r.P50Min, r.P50Max), fmt.Sprintf("%.0f", r.P99US)
	}
	return []string{
		r.Name, fmt.Sprintf("%.0f", r.CPUNS), fmt.Sprintf("%.0f-%.0f", r.CPUMin, r.CPUMax), fmt.Sprintf("%.2f", r.OfRoute),
		show.Percent(r.Delivered), show.SI(r.Rate, "pkt/s"), p50, span, p99,
	}
}

func headings() []string {
	return []string{"WAY", ">CPU NS/PACKET", ">(LEAST-MOST)", ">OF ROUTING", ">ARRIVED", ">RATE", ">RTT P50 US", ">(LEAST-MOST)", ">P99 US"}
}

// words are what stands around the table.
func (r *Report) words() (before, after string) {
	before = fmt.Sprintf("%s, %d rounds.\n%s.\n", r.Machine, r.Rounds, r.Method)
	var b strings.Builder
	for _, t := range r.Targets {
		word := "met"
		if !t.OK {
			word = "MISSED"
		}
		fmt.Fprintf(&b, "%s: %.2f, target at most %.2f: %s\n", t.What, t.Ratio, t.Limit, word)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(&b, "skipped: %s\n", s)
	}
	return before, b.String()
}

func (r *Report) writeText(w io.Writer) error {
	before, after := r.words()
	if _, err := fmt.Fprintln(w, before); err != nil {
		return err
	}
	t := show.NewTable(w, show.Style{}, headings()...)
	for i := range r.Ways {
		if err := t.Row(r.Ways[i].cells()...); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, "\n", after)
	return err
}

func (r *Report) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	var head, rule []string
	for _, h := range headings() {
		name, right := strings.CutPrefix(h, ">")
		head = append(head, strings.ToLower(name))
		rule = append(rule, map[bool]string{true: "---:", false: "---"}[right])
	}
	before, after := r.words()
	fmt.Fprintln(&b, before)
	line(head)
	line(rule)
	for i := range r.Ways {
		line(r.Ways[i].cells())
	}
	fmt.Fprint(&b, "\n", after)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
