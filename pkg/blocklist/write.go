// SPDX-License-Identifier: Apache-2.0

package blocklist

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"
)

const timeLayout = time.RFC3339Nano

// Formats that Write knows; Parse reads all of them.
const (
	FormatText  = "text"  // an entry a line, fields as key=value
	FormatJSON  = "json"  // one array, an entry a line
	FormatJSONL = "jsonl" // an object a line
)

// Write writes the entries of seq, one a line, and stops at seq's first error,
// which it returns. What was written until then stays written.
func Write(w io.Writer, format string, seq iter.Seq2[Entry, error]) error {
	var line func([]byte, *Entry, int) ([]byte, error)
	first, last := "", ""
	switch format {
	case FormatText:
		line = func(b []byte, e *Entry, _ int) ([]byte, error) { return append(e.AppendText(b), '\n'), nil }
	case FormatJSONL:
		line = func(b []byte, e *Entry, _ int) ([]byte, error) {
			b, err := e.appendJSON(b)
			return append(b, '\n'), err
		}
	case FormatJSON:
		first, last = "[", "\n]\n"
		line = func(b []byte, e *Entry, i int) ([]byte, error) {
			if i > 0 {
				b = append(b, ',')
			}
			return e.appendJSON(append(b, '\n'))
		}
	default:
		return fmt.Errorf("write list: unknown format %q: known are text, json, jsonl", format)
	}
	out := bufio.NewWriterSize(w, 64<<10)
	n, err := 0, error(nil)
	var buf []byte
	_, err = out.WriteString(first)
	for e, serr := range seq {
		if serr != nil {
			return fmt.Errorf("write list: %w", serr)
		}
		if buf, err = line(buf[:0], &e, n); err == nil {
			_, err = out.Write(buf)
		}
		if err != nil {
			break
		}
		n++
	}
	if err != nil {
		return fmt.Errorf("write list: %w", err)
	}
	if n == 0 && last != "" {
		last = "]\n"
	}
	if _, err = out.WriteString(last); err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("write list: %w", err)
	}
	return nil
}

// AppendText appends e as one line of a text list, without the line's end. What
// is not set is left out.
func (e *Entry) AppendText(b []byte) []byte {
	b = appendPrefix(b, e.Prefix)
	if e.Reason != "" {
		b = strconv.AppendQuote(append(b, " reason="...), e.Reason)
	}
	if e.Source != "" {
		b = append(append(b, " source="...), e.Source...)
	}
	if e.Confidence != 0 {
		b = strconv.AppendFloat(append(b, " confidence="...), e.Confidence, 'g', -1, 64)
	}
	if !e.Added.IsZero() {
		b = e.Added.UTC().AppendFormat(append(b, " added="...), timeLayout)
	}
	if e.Expires != nil {
		b = e.Expires.UTC().AppendFormat(append(b, " expires="...), timeLayout)
	}
	if e.Hits != 0 {
		b = strconv.AppendUint(append(b, " hits="...), e.Hits, 10)
	}
	if e.Service != "" {
		b = strconv.AppendQuote(append(b, " service="...), e.Service)
	}
	if e.Unlimited {
		b = append(b, " unlimited=true"...)
	}
	return b
}
