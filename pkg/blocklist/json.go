// SPDX-License-Identifier: Apache-2.0

package blocklist

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// parseJSON reads objects out of an array, or one after the other. It finds each
// object's end itself, so that one bad object costs one line and no object takes
// more than MaxLine bytes of memory.
func (p *parser) parseJSON() error {
	open := false // inside the array
	for {
		c, err := p.in.ReadByte()
		if err != nil {
			if err = p.readError(err); open && err == errEnd {
				return p.refuse(nil, errors.New("the list ends before its closing ]"))
			}
			return err
		}
		switch {
		case c == '\n':
			p.line++
		case c == ' ' || c == '\t' || c == '\r' || c == ',':
		case c == '[' && !open && p.n == 0 && len(p.bad) == 0:
			open = true
		case c == ']' && open:
			open = false
		case c == '{':
			if err := p.object(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("line %d: expected an object, found %q", p.line, rune(c))
		}
	}
}

// object collects one object, whose { is read, and takes or refuses it.
func (p *parser) object() error {
	p.buf = append(p.buf[:0], '{')
	long := false
	st := extent{depth: 1}
	for st.depth > 0 {
		if _, err := p.in.Peek(1); err != nil {
			if err = p.readError(err); err == errEnd {
				return cmp.Or(p.refuse(p.buf, errors.New("the list ends inside an object")), errEnd)
			}
			return err
		}
		chunk, _ := p.in.Peek(p.in.Buffered())
		n := st.scan(chunk)
		if len(p.buf)+n <= MaxLine {
			p.buf = append(p.buf, chunk[:n]...)
		} else {
			long = true
		}
		if _, err := p.in.Discard(n); err != nil {
			return p.readError(err)
		}
	}
	defer func() { p.line += st.lines }()
	if long {
		return p.refuse(p.buf, fmt.Errorf("the object is longer than %d bytes", MaxLine))
	}
	e := p.def
	if err := p.members(p.buf, &e); err != nil {
		return p.refuse(p.buf, err)
	}
	return p.take(e)
}

// extent finds where an object ends, over as many chunks as it takes.
type extent struct {
	depth, lines    int
	quoted, escaped bool
}

// scan walks over b until the object ends and returns how many bytes belong to it.
func (x *extent) scan(b []byte) int {
	for i, c := range b {
		switch {
		case c == '\n':
			x.lines++
		case x.escaped:
			x.escaped = false
		case x.quoted:
			x.escaped, x.quoted = c == '\\', c != '"'
		case c == '"':
			x.quoted = true
		case c == '{' || c == '[':
			x.depth++
		case c == '}' || c == ']':
			if x.depth--; x.depth == 0 {
				return i + 1
			}
		}
	}
	return len(b)
}

// members reads one flat object into e: faster than reflection, and it names
// what is wrong in the words of the list.
func (p *parser) members(b []byte, e *Entry) error {
	s := &scanner{b: b[1:]}
	seen, prefix := 0, false
	for first := true; ; first = false {
		if s.skip(); s.peek() == '}' && first {
			s.b = s.b[1:]
			break
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		if s.skip(); s.next() != ':' {
			return fmt.Errorf("expected : after %q", clip(string(key)))
		}
		name := keyOf(key)
		if name == "" {
			name = string(key)
		}
		value, isText, err := s.value(name)
		switch {
		case err != nil:
			return err
		case name == "prefix" && prefix:
			return errors.New("prefix is given twice")
		case name == "prefix":
			if e.Prefix, err = prefixOf(value); err != nil {
				return err
			}
			prefix = true
		default:
			if err := p.member(e, name, value, isText, &seen); err != nil {
				return err
			}
		}
		s.skip()
		c := s.next()
		if c == '}' {
			break
		}
		if c != ',' {
			return errors.New("expected , or } in the object")
		}
	}
	if s.skip(); len(s.b) > 0 {
		return errors.New("something follows the object")
	}
	if !prefix {
		return errors.New("the object has no prefix")
	}
	return nil
}

// member checks that a value has the type its key asks for, and stores it.
func (p *parser) member(e *Entry, name string, value []byte, isText bool, seen *int) error {
	if bit(name) == 0 {
		return unknownKey(name)
	}
	if !isText && string(value) == "null" {
		if name == "expires" {
			return p.set(e, name, []byte("never"), seen)
		}
		return nil
	}
	switch name {
	case "confidence", "hits", "unlimited":
		if isText {
			return fmt.Errorf("%s is in quotes: write it without", name)
		}
	default:
		if !isText {
			return fmt.Errorf("%s is not in quotes", name)
		}
	}
	if name == "unlimited" && string(value) != "true" && string(value) != "false" {
		return fmt.Errorf("unlimited %q is not true or false", clip(string(value)))
	}
	if name == "added" && string(value) == zeroTime {
		return nil // nobody said: def's stays
	}
	return p.set(e, name, value, seen)
}

// zeroTime is how encoding/json shows a time nobody set.
const zeroTime = "0001-01-01T00:00:00Z"

// scanner walks over one object.
type scanner struct{ b []byte }

func (s *scanner) skip() {
	for len(s.b) > 0 && (space(s.b[0]) || s.b[0] == '\n' || s.b[0] == '\r') {
		s.b = s.b[1:]
	}
}

func (s *scanner) peek() byte {
	if len(s.b) == 0 {
		return 0
	}
	return s.b[0]
}

func (s *scanner) next() byte {
	c := s.peek()
	if len(s.b) > 0 {
		s.b = s.b[1:]
	}
	return c
}

// text reads a quoted string.
func (s *scanner) text() ([]byte, error) {
	if s.peek() != '"' {
		return nil, errors.New("expected a text in quotes")
	}
	plain := true
	for i := 1; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '\\':
			plain = false
			i++
		case c < 0x20:
			return nil, errors.New("a control character inside a text")
		case c == '"':
			quoted := s.b[:i+1]
			s.b = s.b[i+1:]
			if plain {
				return quoted[1:i], nil
			}
			var v string
			if err := json.Unmarshal(quoted, &v); err != nil {
				return nil, fmt.Errorf("%s is not a JSON text", clip(string(quoted)))
			}
			return []byte(v), nil
		}
	}
	return nil, errors.New("a text has no closing quote")
}

// value reads what follows a key: a text, or a bare number, true, false or null.
func (s *scanner) value(name string) (v []byte, isText bool, err error) {
	s.skip()
	switch s.peek() {
	case '"':
		v, err = s.text()
		return v, true, err
	case '{', '[':
		return nil, false, fmt.Errorf("%s is an object or a list: expected one value", clip(name))
	}
	i := 0
	for i < len(s.b) && !space(s.b[i]) && s.b[i] != ',' && s.b[i] != '}' && s.b[i] != '\n' && s.b[i] != '\r' {
		i++
	}
	v, s.b = s.b[:i], s.b[i:]
	if !bareValue(v) {
		return nil, false, fmt.Errorf("%s: %q is not a value", clip(name), clip(string(v)))
	}
	return v, false, nil
}

// bareValue reports whether v is a JSON value; digits alone need no parser.
func bareValue(v []byte) bool {
	if len(v) == 1 && v[0] == '0' {
		return true
	}
	for i, c := range v {
		if c < '0' || c > '9' || i == 0 && c == '0' {
			return json.Valid(v)
		}
	}
	return len(v) > 0
}

// UnmarshalJSON reads one entry as strictly as Parse does.
func (e *Entry) UnmarshalJSON(b []byte) error {
	b = trim(b)
	if len(b) == 0 || b[0] != '{' {
		return errors.New("expected an object")
	}
	p := parser{now: time.Now()}
	out := *e
	if err := p.members(b, &out); err != nil {
		return err
	}
	*e = out
	return nil
}

// MarshalJSON writes one entry with stable keys: expires is null when it never
// does, and a single address has no length.
func (e Entry) MarshalJSON() ([]byte, error) { return e.appendJSON(nil) }

func (e *Entry) appendJSON(b []byte) ([]byte, error) {
	if math.IsNaN(e.Confidence) || math.IsInf(e.Confidence, 0) {
		return nil, fmt.Errorf("entry %s: confidence %v is not a number", e.Prefix, e.Confidence)
	}
	b = append(b, `{"prefix":"`...)
	b = appendPrefix(b, e.Prefix)
	b = append(b, `","reason":`...)
	b = appendJSONText(b, e.Reason)
	b = append(b, `,"source":`...)
	b = appendJSONText(b, e.Source)
	b = append(b, `,"confidence":`...)
	b = strconv.AppendFloat(b, e.Confidence, 'g', -1, 64)
	b = append(b, `,"added":"`...)
	b = e.Added.UTC().AppendFormat(b, timeLayout)
	b = append(b, `","expires":`...)
	if e.Expires == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, '"')
		b = e.Expires.UTC().AppendFormat(b, timeLayout)
		b = append(b, '"')
	}
	b = append(b, `,"hits":`...)
	b = strconv.AppendUint(b, e.Hits, 10)
	b = append(b, `,"service":`...)
	b = appendJSONText(b, e.Service)
	if e.Unlimited {
		b = append(b, `,"unlimited":true`...)
	}
	return append(b, '}'), nil
}

func appendJSONText(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			q, _ := json.Marshal(s) // a string always marshals
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
