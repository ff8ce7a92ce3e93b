// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is what is wrong with an expression, and where.
type Error struct {
	Text   string // the whole expression
	Offset int    // of the word, in bytes
	Length int    // of the word; 0 = something is missing there
	Msg    string
	Near   string // what was meant, perhaps
}

func (e *Error) Error() string {
	if e.Near == "" {
		return e.Msg
	}
	return e.Msg + ": did you mean " + e.Near + "?"
}

// Shown is the error with the expression and carets under the word, on three lines.
func (e *Error) Shown() string {
	from := min(max(e.Offset, 0), len(e.Text))
	to := min(from+e.Length, len(e.Text))
	before := utf8.RuneCountInString(e.Text[:from])
	carets := max(utf8.RuneCountInString(e.Text[from:to]), 1)
	return e.Error() + "\n  " + strings.Map(printable, e.Text) + "\n  " + strings.Repeat(" ", before) + strings.Repeat("^", carets)
}

// printable keeps a terminal's column where the carets expect it.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

func (p *parser) fail(t token, format string, args ...any) error {
	return &Error{Text: p.text, Offset: t.at, Length: len(t.text), Msg: fmt.Sprintf(format, args...)}
}
