// SPDX-License-Identifier: Apache-2.0

package show

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Style colours text, or leaves it alone: the zero Style does.
type Style struct{ on bool }

// StyleFor colours what goes to a terminal, unless NO_COLOR is set or the terminal is a dumb one.
func StyleFor(w io.Writer, getenv func(string) string) Style {
	return Style{on: IsTerminal(w) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

// IsTerminal says if w (or r: anything with a descriptor) is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Bold is for headings.
func (s Style) Bold(t string) string { return s.wrap("1", t) }

// Dim is for what matters less.
func (s Style) Dim(t string) string { return s.wrap("2", t) }

// Good is for what is as it should be.
func (s Style) Good(t string) string { return s.wrap("32", t) }

// Warn is for what wants a look.
func (s Style) Warn(t string) string { return s.wrap("33", t) }

// Bad is for what is broken or attacked.
func (s Style) Bad(t string) string { return s.wrap("31", t) }

// State colours the states of services, servers and sessions.
func (s Style) State(t string) string {
	switch t {
	case "up", "proven":
		return s.Good(t)
	case "draining", "elevated":
		return s.Warn(t)
	case "down", "attack":
		return s.Bad(t)
	case "unproven", "closing":
		return s.Dim(t)
	}
	return t
}

func (s Style) wrap(code, t string) string {
	if !s.on || t == "" {
		return t
	}
	return "\x1b[" + code + "m" + t + "\x1b[0m"
}
