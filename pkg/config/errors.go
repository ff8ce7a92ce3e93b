// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxErrors bounds a report: a file with more faults than this is no configuration.
const maxErrors = 1000

// Error is one fault in a configuration file.
type Error struct {
	File         string // as given to Parse or Load
	Line, Column int    // from 1, columns in characters; 0 when the fault is the file as a whole
	Path         string // of the value, e.g. services[2].listen[0]; "" for the file as a whole
	Message      string // what is wrong
	Hint         string // the nearest right text for the value, "" when there is none
}

// Error is one line: FILE:LINE:COLUMN: message (did you mean "hint"?).
func (e Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
		if e.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", e.Line, e.Column)
		}
		b.WriteByte(' ')
	}
	b.WriteString(e.Message)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (did you mean %q?)", e.Hint)
	}
	return b.String()
}

// Errors are all faults of a file in the order of their lines.
type Errors []Error

// Error is one line a fault.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// sorted orders e by position and drops repetitions; more says how many further faults
// weren't kept.
func (e Errors) sorted(more int) Errors {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	e = slices.Compact(e)
	if more > 0 {
		e = append(e, Error{File: e[0].File, Message: fmt.Sprintf("and %d more faults", more)})
	}
	return e
}
