// SPDX-License-Identifier: Apache-2.0

// Package doctor looks at a machine, and says what of parry will work there, what works and costs something, what won't work,
// and by which command each is mended. It changes nothing. What it judges are plain facts (Facts), so that tests can
// make up any machine.
package doctor

import (
	"fmt"
	"strings"

	"parry/pkg/config"
	"parry/pkg/hostfacts"
	"parry/pkg/nic"
	"parry/pkg/sockets"
)

// State is how a thing is.
type State string

// The states.
const (
	OK    State = "ok"
	Costs State = "costs" // it works, and is slower, loses packets or says less
	Fails State = "fails" // it won't work
)

// Finding is what was found of one thing.
type Finding struct {
	Group string `json:"group"` // kernel, machine, network, configuration, or interface and its name
	Check string `json:"check"` // stable name of what was looked at
	State State  `json:"state"`
	Text  string `json:"text"`
	Cost  string `json:"cost,omitempty"` // what it costs, where it costs something
	Mend  string `json:"mend,omitempty"` // the command that mends it, or what else does
}

// Report is all that was found.
type Report struct {
	Findings []Finding `json:"findings"`
	OK       int       `json:"ok"`
	Costs    int       `json:"costs"`
	Fails    int       `json:"fails"`
}

// Facts are what is judged.
type Facts struct {
	Host       hostfacts.Facts
	NICs       []nic.NIC
	CPUs       int
	Clock      string   // current clock source; "" = not known
	Clocks     []string // that there are
	Governor   string   // of the CPUs' frequency; "" = there is none to be seen
	Scaling    string   // its driver
	JITHarden  int      // net.core.bpf_jit_harden; -1 = not to be seen
	Options    map[string]string
	Available  uint64 // bytes of memory; 0 = not known
	Conntrack  Conntrack
	ReversePat map[string]int   // rp_filter by interface, "all" among them
	IRQs       map[string][]IRQ // by interface
	Steered    map[string]bool  // interfaces whose packets the kernel spreads over CPUs (RPS)
	Listening  []Socket
}

// Conntrack is the kernel's table of connections.
type Conntrack struct{ Count, Max int } // Max 0 = it is not there

// IRQ is one interrupt of a NIC, and the CPUs that take it, as /proc shows them.
type IRQ struct {
	Number int
	CPUs   string
}

// Socket is one that listens, and whose it is.
type Socket struct {
	sockets.Socket
	Process string // "" = not known
}

// Ask is what is to be judged.
type Ask struct {
	Config     *config.Config // nil: none, as if all were default
	Faults     []string       // why the configuration can't work here
	Interfaces []string       // that the edge is to be on; none = those that lead outside
	Runs       bool           // a parry runs here already: what it holds is its own
}

// Judge says what is what.
func Judge(f *Facts, a Ask) *Report {
	r := &Report{}
	f.kernel(r, a)
	f.machine(r, a)
	f.interfaces(r, a)
	f.network(r, a)
	if a.Config != nil {
		f.configuration(r, a)
	}
	for _, v := range r.Findings {
		switch v.State {
		case OK:
			r.OK++
		case Costs:
			r.Costs++
		case Fails:
			r.Fails++
		}
	}
	return r
}

// to adds to one group of a report.
type to struct {
	r     *Report
	group string
}

func (t to) ok(check, format string, args ...any) {
	t.r.Findings = append(t.r.Findings, Finding{Group: t.group, Check: check, State: OK, Text: fmt.Sprintf(format, args...)})
}

func (t to) costs(check, text, cost, mend string) {
	t.r.Findings = append(t.r.Findings, Finding{Group: t.group, Check: check, State: Costs, Text: text, Cost: cost, Mend: mend})
}

func (t to) fails(check, text, mend string) {
	t.r.Findings = append(t.r.Findings, Finding{Group: t.group, Check: check, State: Fails, Text: text, Mend: mend})
}

// lack puts a lack in words of hostfacts: what is missing, a colon, what to do.
func (t to) lack(l hostfacts.Lack) {
	text, mend, _ := strings.Cut(l.Text, ": ")
	if l.Fatal {
		t.fails(l.What, text, mend)
		return
	}
	t.costs(l.What, text, "", mend)
}
