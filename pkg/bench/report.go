// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"parry/pkg/show"
)

// Machine is where figures were measured.
type Machine struct {
	Kernel  string `json:"kernel"`
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Virtual bool   `json:"virtual"` // a hypervisor runs it
}

// ThisMachine asks the kernel.
func ThisMachine() Machine {
	name, virtual := cpu()
	return Machine{Kernel: kernel(), CPU: name, CPUs: runtime.NumCPU(), Virtual: virtual}
}

func (m Machine) String() string {
	kind := ""
	if m.Virtual {
		kind = ", a virtual machine"
	}
	return fmt.Sprintf("Linux %s, %d x %s%s", m.Kernel, m.CPUs, m.CPU, kind)
}

// Report is what Run found; its JSON is what `parry bench --json` writes.
type Report struct {
	Machine
	Rounds int      `json:"rounds"`
	Method string   `json:"method"`
	Cases  []Result `json:"cases"`
	Floors []Cost   `json:"floors"`
}

// Cost is what a packet takes, in nanoseconds of CPU: the median over the rounds, and the extremes.
type Cost struct {
	Name string  `json:"name"`
	NS   float64 `json:"ns"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
}

// Result is what a case costs beside its floor.
type Result struct {
	Cost
	What     string   `json:"what"`
	Floor    string   `json:"floor"`
	FloorNS  float64  `json:"floor_ns"`
	Ratio    float64  `json:"ratio"` // median over the rounds of case by floor
	RatioMin float64  `json:"ratio_min"`
	RatioMax float64  `json:"ratio_max"`
	Rounds   int      `json:"rounds"`
	Target   float64  `json:"target,omitempty"` // the first of targets
	Targets  []Target `json:"targets"`
	OK       bool     `json:"ok"` // no target is missed; aims don't count
}

const method = "BPF_PROG_TEST_RUN, 64 byte frames, CPU time of the thread over the system call, alternating rounds, medians; " +
	"drivers' share subtracted; ratios are medians of those within a round; no NIC"

func (r *run) report(cases []Case) *Report {
	out := &Report{Machine: ThisMachine(), Rounds: r.opts.Rounds, Method: method}
	for _, c := range cases {
		rel := Ratios(r.net(c.Name), r.net(c.Floor))
		res := Result{
			Cost: r.cost(c.Name), What: c.What, Floor: c.Floor, FloorNS: r.cost(c.Floor).NS, Rounds: r.opts.Rounds,
			Ratio: Round(Median(rel)), RatioMin: Round(slices.Min(rel)), RatioMax: Round(slices.Max(rel)), OK: true, Targets: []Target{},
		}
		for i, t := range c.Targets {
			t.Ratio = Round(Median(Ratios(r.net(c.Name), r.net(t.Of))))
			t.OK = t.Ratio <= t.Limit
			res.OK = res.OK && (t.OK || t.Aim)
			res.Targets = append(res.Targets, t)
			if i == 0 {
				res.Target = t.Limit
			}
		}
		out.Cases = append(out.Cases, res)
	}
	for _, p := range r.order {
		isCase := slices.ContainsFunc(Cases(), func(c Case) bool { return c.Name == p.name })
		if !isCase {
			out.Floors = append(out.Floors, r.cost(p.name))
		}
	}
	return out
}

func (r *run) cost(name string) Cost {
	all := r.net(name)
	if strings.HasPrefix(name, floorEmpty+" under ") {
		all = r.probes[name].samples
	}
	return Cost{Name: name, NS: Round(Median(all)), Min: Round(slices.Min(all)), Max: Round(slices.Max(all))}
}

// Missed are the cases that cost more than they may.
func (r *Report) Missed() []string {
	var all []string
	for _, c := range r.Cases {
		if !c.OK {
			all = append(all, c.Name)
		}
	}
	return all
}

// WriteJSON writes the report as one document.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer, style show.Style) error {
	if _, err := fmt.Fprintf(w, "%s, %d rounds. Nanoseconds of CPU a packet: median (least-most).\n%s.\n\n", r.Machine, r.Rounds, method); err != nil {
		return err
	}
	t := show.NewTable(w, style, "CASE", ">NS", "", "FLOOR", ">NS", ">RATIO", "", "TARGET")
	for _, c := range r.Cases {
		var targets []string
		for _, g := range c.Targets {
			targets = append(targets, g.text(style))
		}
		t.Row(c.Name, fmt.Sprintf("%.1f", c.NS), fmt.Sprintf("(%.1f-%.1f)", c.Min, c.Max), c.Floor, fmt.Sprintf("%.1f", c.FloorNS),
			fmt.Sprintf("%.2f", c.Ratio), fmt.Sprintf("(%.2f-%.2f)", c.RatioMin, c.RatioMax), strings.Join(targets, "; "))
	}
	return t.Close()
}

func (t Target) text(style show.Style) string {
	word := style.Good("met")
	switch {
	case !t.OK && t.Aim:
		word = style.Warn("aim missed")
	case !t.OK:
		word = style.Bad("MISSED")
	}
	return fmt.Sprintf("%.2f of %g x %s: %s", t.Ratio, t.Limit, t.Of, word)
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return show.Unknown
	}
	return unix.ByteSliceToString(u.Release[:])
}

// cpu is the processor's name, and whether it says that a hypervisor runs it.
func cpu() (name string, virtual bool) {
	name = show.Unknown
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return name, false
	}
	for line := range strings.Lines(string(info)) {
		key, v, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			name = strings.TrimSpace(v)
		case "flags":
			virtual = slices.Contains(strings.Fields(v), "hypervisor")
		}
	}
	return name, virtual
}
