// SPDX-License-Identifier: Apache-2.0

package show

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// lookAhead is how many rows decide the widths of the columns. A longer table streams: later rows keep the widths
// and only push their own line when they are wider.
const lookAhead = 1000

// Table aligns rows in columns.
type Table struct {
	out    *bufio.Writer
	style  Style
	head   []string
	right  []bool
	rows   [][]string
	widths []int
}

// NewTable begins a table. A heading that begins with > aligns its column to the right.
func NewTable(w io.Writer, style Style, headings ...string) *Table {
	t := &Table{out: bufio.NewWriter(w), style: style}
	for _, h := range headings {
		name, right := strings.CutPrefix(h, ">")
		t.head = append(t.head, name)
		t.right = append(t.right, right)
	}
	return t
}

// Row adds a row of one cell for each heading; cells may be coloured. An empty cell shows as Unknown, a blank one as nothing.
func (t *Table) Row(cells ...string) error {
	if len(cells) != len(t.head) {
		return fmt.Errorf("table: %d cells for %d columns", len(cells), len(t.head))
	}
	for i, c := range cells {
		if c == "" {
			cells[i] = Unknown
		}
	}
	if t.widths != nil {
		return t.write(cells)
	}
	if t.rows = append(t.rows, cells); len(t.rows) < lookAhead {
		return nil
	}
	return t.begin()
}

// Close writes what is left. A table without rows is its headings.
func (t *Table) Close() error {
	if t.widths == nil {
		if err := t.begin(); err != nil {
			return err
		}
	}
	return t.flush(t.out.Flush())
}

// begin settles the widths and writes what was held back.
func (t *Table) begin() error {
	t.widths = make([]int, len(t.head))
	head := make([]string, len(t.head))
	for i, h := range t.head {
		t.widths[i] = width(h)
		head[i] = t.style.Bold(h)
	}
	for _, row := range t.rows {
		for i, c := range row {
			t.widths[i] = max(t.widths[i], width(c))
		}
	}
	rows := append([][]string{head}, t.rows...)
	t.rows = nil
	for _, row := range rows {
		if err := t.write(row); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) write(cells []string) error {
	var b strings.Builder
	gap := 0 // spaces owed
	for i, c := range cells {
		pad := max(0, t.widths[i]-width(c))
		if t.right[i] {
			gap, pad = gap+pad, 0
		}
		b.WriteString(strings.Repeat(" ", gap))
		b.WriteString(c)
		gap = pad + 2
	}
	_, err := t.out.WriteString(strings.TrimRight(b.String(), " ") + "\n")
	return t.flush(err)
}

func (t *Table) flush(err error) error {
	if err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// width counts the runes that show: colours take no room.
func width(s string) int {
	n := 0
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		n += utf8.RuneCountInString(before)
		if !found {
			return n
		}
		_, s, _ = strings.Cut(after, "m")
	}
}
