// SPDX-License-Identifier: Apache-2.0

package blocklist

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds on a list that somebody hands us.
const (
	MaxLine    = 4096    // bytes of one line, or of one JSON object
	MaxEntries = 1 << 24 // entries of one list
	MaxBad     = 10000   // bad lines after which the file is no list
)

// ErrTooManyBad says that Parse gave up on a file.
var ErrTooManyBad = errors.New("this does not look like a list of prefixes")

// errEnd is the end of the list, told apart from an io.EOF of the caller's.
var errEnd = errors.New("end of list")

// LineError is what is wrong with one line.
type LineError struct {
	Line int    // from 1
	Text string // the line, cut to a readable length
	Err  error
}

// Error is "line 3: ...".
func (e LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e LineError) Unwrap() error { return e.Err }

// Parse reads a list and calls fn for each entry, in the file's order; what a
// line leaves out comes from def. It returns how many entries fn took and which
// lines were bad. A bad line never stops it; an error of fn does, and comes back
// as it is. A reader's error, more than MaxEntries entries and more than MaxBad
// bad lines stop it too.
//
// A line is an address or prefix and any of
//
//	reason="text" ttl=1h30m expires=RFC3339 service=NAME unlimited=true
//	source=cli confidence=0.9 added=RFC3339 hits=12
//
// A comment starts with # or ; and ends with the line. ttl counts from def.Added
// (or now, if that is zero) and "ttl=never" lifts def's expiry. JSON as Write
// makes it, one array or one object a line, is recognised by its first character.
// The entry is only valid until fn returns if fn keeps a pointer into it; strings
// may be kept.
func Parse(r io.Reader, def Entry, fn func(Entry) error) (n int, bad []LineError, err error) {
	p := &parser{
		in:  bufio.NewReaderSize(r, 64<<10),
		def: def, fn: fn, now: def.Added, line: 1,
	}
	if p.now.IsZero() {
		p.now = time.Now()
	}
	json, err := p.sniff()
	switch {
	case err != nil:
	case json:
		err = p.parseJSON()
	default:
		err = p.parseText()
	}
	if err == errEnd {
		err = nil
	}
	return p.n, p.bad, err
}

// parser is the state of one Parse.
type parser struct {
	in   *bufio.Reader
	def  Entry
	fn   func(Entry) error
	now  time.Time
	line int
	n    int
	bad  []LineError
	buf  []byte // a JSON object that is being collected

	// Lists repeat their texts: keep the last one instead of allocating it again.
	lastReason, lastService, lastTTL string
	ttlValue                         time.Duration // of lastTTL
}

// sniff skips a byte order mark and white space, and tells JSON from text.
func (p *parser) sniff() (json bool, err error) {
	if b, _ := p.in.Peek(3); bytes.Equal(b, []byte("\xef\xbb\xbf")) {
		if _, err := p.in.Discard(3); err != nil {
			return false, err
		}
	}
	if b, _ := p.in.Peek(2); len(b) == 2 && (b[0] == 0xff && b[1] == 0xfe || b[0] == 0xfe && b[1] == 0xff) {
		return false, errors.New("the list is UTF-16 text: save it as UTF-8")
	}
	for {
		c, err := p.in.ReadByte()
		if err != nil {
			return false, p.readError(err)
		}
		switch c {
		case '\n':
			p.line++
		case ' ', '\t', '\r':
		default:
			return c == '[' || c == '{', p.in.UnreadByte()
		}
	}
}

func (p *parser) readError(err error) error {
	if err == io.EOF {
		return errEnd
	}
	return fmt.Errorf("read list: line %d: %w", p.line, err)
}

func (p *parser) parseText() error {
	for {
		line, err := p.in.ReadSlice('\n')
		long := len(line) > MaxLine
		for err == bufio.ErrBufferFull {
			long = true
			_, err = p.in.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return p.readError(err)
		}
		var perr error
		if long {
			perr = p.refuse(nil, fmt.Errorf("the line is longer than %d bytes", MaxLine))
		} else if line = trim(line); len(line) > 0 && line[0] != '#' && line[0] != ';' {
			perr = p.text(line)
		}
		if perr != nil {
			return perr
		}
		if err != nil {
			return errEnd
		}
		p.line++
	}
}

// text handles one line that holds something; the error stops the parse.
func (p *parser) text(line []byte) error {
	e := p.def
	if err := p.fields(line, &e); err != nil {
		return p.refuse(line, err)
	}
	return p.take(e)
}

// take gives e to the caller.
func (p *parser) take(e Entry) error {
	if p.n >= MaxEntries {
		return fmt.Errorf("line %d: the list has more than %d entries", p.line, MaxEntries)
	}
	if err := p.fn(e); err != nil {
		return err
	}
	p.n++
	return nil
}

// refuse notes a bad line; the error stops the parse.
func (p *parser) refuse(text []byte, err error) error {
	if len(p.bad) >= MaxBad {
		return fmt.Errorf("%w: more than %d bad lines, gave up at line %d", ErrTooManyBad, MaxBad, p.line)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		err = errors.New("the line holds bytes that are not text")
	}
	p.bad = append(p.bad, LineError{Line: p.line, Text: printable(text), Err: err})
	return nil
}

// printable makes a line safe to show.
func printable(b []byte) string {
	s := clip(string(b))
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

func space(c byte) bool { return c == ' ' || c == '\t' }

// trim cuts blanks and the line's end off both sides.
func trim(b []byte) []byte {
	for len(b) > 0 && (space(b[0]) || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	for len(b) > 0 {
		if c := b[len(b)-1]; !space(c) && c != '\r' && c != '\n' {
			break
		}
		b = b[:len(b)-1]
	}
	return b
}
