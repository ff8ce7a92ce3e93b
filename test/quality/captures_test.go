// SPDX-License-Identifier: Apache-2.0

package quality

import (
	"bufio"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parry/pkg/classify"
	"parry/pkg/naming"
	"parry/test/need"
)

// row is a line of labels.tsv: a flow, or all of a file that have no line of their own.
type row struct {
	file, flow, label, evidence string
	ndpi, newest                string // what nDPI says, "" where nobody asked it
}

// judged is a flow of a capture: what it is, and what it is called.
type judged struct {
	row
	flow string // its own, where the row is of many
	said naming.Name
}

// strong reports whether the label rests on bytes, on where the file comes from, or on having made it; not on nDPI or ports.
func (r *row) strong() bool {
	return r.evidence != "none" && !strings.Contains(r.evidence, "nDPI") && !strings.Contains(r.evidence, "match-by")
}

func (r *row) game() bool {
	for _, l := range naming.Labels() {
		if l.String() == r.label {
			return l.Plays()
		}
	}
	return false
}

// labels reads labels.tsv, by file.
func labels(t *testing.T, dir string) map[string][]row {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "labels.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var columns map[string]int
	files := map[string][]row{}
	for in := bufio.NewScanner(f); in.Scan(); {
		fields := strings.Split(in.Text(), "\t")
		if columns == nil {
			columns = map[string]int{}
			for i, name := range fields {
				columns[name] = i
			}
			continue
		}
		at := func(name string) string {
			if i, ok := columns[name]; ok && i < len(fields) {
				return fields[i]
			}
			t.Fatalf("labels.tsv has no %s in %q", name, fields)
			return ""
		}
		r := row{file: at("file"), flow: at("flow"), label: at("label"), evidence: at("evidence"), ndpi: said(at("ndpi_4.2")), newest: said(at("ndpi_newest"))}
		files[r.file] = append(files[r.file], r)
	}
	if len(files) == 0 {
		t.Fatal("labels.tsv is empty")
	}
	return files
}

// said is what nDPI says without how it found out; "" where it wasn't asked, or of many flows.
func said(cell string) string {
	name, _, _ := strings.Cut(cell, "/")
	if name == "-" || strings.Contains(cell, ":") {
		return ""
	}
	return name
}

// judge classifies all captures, and joins labels: each flow that has one is there.
func judge(t *testing.T) (all []judged) {
	t.Helper()
	dir := need.Captures(t)
	for file, rows := range labels(t, dir) {
		flows := map[string]naming.Name{}
		var order []string
		if err := classify.File(filepath.Join(dir, file), func(f *classify.Flow) error {
			flow := f.Proto + " " + f.Src + " > " + f.Dst
			if _, twice := flows[flow]; !twice {
				order = append(order, flow)
			}
			flows[flow] = f.Name
			return nil
		}); err != nil {
			t.Logf("%v", err)
		}
		rest := -1 // the row of all others
		own := map[string]bool{}
		for i, r := range rows {
			if r.flow == "all" || r.flow == "all-other" {
				rest = i
				continue
			}
			name, found := flows[r.flow]
			if !found {
				t.Errorf("%s has no flow %s", file, r.flow)
			}
			own[r.flow] = true
			all = append(all, judged{r, r.flow, name})
		}
		for _, flow := range order {
			if rest >= 0 && !own[flow] {
				all = append(all, judged{rows[rest], flow, flows[flow]})
			}
		}
	}
	return all
}

// tuple is a flow whichever way it goes.
type tuple struct {
	proto string
	a, b  netip.AddrPort
}

// tupleOf reads "udp A:p > B:p"; false of what has no ports.
func tupleOf(flow string) (tuple, bool) {
	proto, rest, _ := strings.Cut(flow, " ")
	src, dst, _ := strings.Cut(rest, " > ")
	a, err := netip.ParseAddrPort(src)
	b, err2 := netip.ParseAddrPort(dst)
	if err != nil || err2 != nil {
		return tuple{}, false
	}
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	return tuple{proto, a, b}, true
}
