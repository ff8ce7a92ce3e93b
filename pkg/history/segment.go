// SPDX-License-Identifier: Apache-2.0

package history

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A line is eight digits of CRC-32C, a blank, and a record's JSON: `zcat FILE | cut -c10- | jq` reads it. What a crash cut or a disk
// garbled fails its sum, alone.
const sumDigits = 8

// maxLine is the most that a record takes: names are bounded, and so are reasons.
const maxLine = 16 << 10

// segment is a file of records. While it is written it is NUMBER.jsonl; sealed it is NUMBER-FIRST-LAST.jsonl.gz, by the seconds (Unix) in
// which its first session began and its last one ended.
type segment struct {
	number      uint64
	sealed      bool
	first, last int64
	size        int64 // bytes on disk; of one that is written: that are whole
}

var segmentName = regexp.MustCompile(`^([0-9]{12})(?:\.jsonl|-([0-9]{1,12})-([0-9]{1,12})\.jsonl\.gz)$`)

func parseSegment(name string) (s segment, ok bool) {
	m := segmentName.FindStringSubmatch(name)
	if m == nil {
		return s, false
	}
	// Digits, and few: they are numbers.
	s.number, _ = strconv.ParseUint(m[1], 10, 64)
	if m[2] != "" {
		s.sealed = true
		s.first, _ = strconv.ParseInt(m[2], 10, 64)
		s.last, _ = strconv.ParseInt(m[3], 10, 64)
	}
	return s, true
}

func (s *segment) name() string {
	if s.sealed {
		return fmt.Sprintf("%012d-%d-%d.jsonl.gz", s.number, s.first, s.last)
	}
	return fmt.Sprintf("%012d.jsonl", s.number)
}

// covers notes the time of a record.
func (s *segment) covers(r *Record) {
	first, last := seconds(r.Start), seconds(r.End)
	if s.last == 0 || first < s.first {
		s.first = first
	}
	s.last = max(s.last, last, 1)
}

// seconds are Unix's, within what a name has room for.
func seconds(t time.Time) int64 { return min(max(t.Unix(), 0), 999_999_999_999) }

// appendLine adds a record's line.
func appendLine(b []byte, r *Record) ([]byte, error) {
	doc, err := json.Marshal(r)
	if err != nil {
		return b, fmt.Errorf("encode a record: %w", err)
	}
	if len(doc) > maxLine {
		return b, fmt.Errorf("a record of %d bytes: at most %d", len(doc), maxLine)
	}
	b = fmt.Appendf(b, "%08x ", crc32.Checksum(doc, castagnoli()))
	return append(append(b, doc...), '\n'), nil
}

// castagnoli's table is made once by hash/crc32.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// whole gives the document of a line, without its end.
func whole(line []byte) (doc []byte, ok bool) {
	if len(line) < sumDigits+2 || line[sumDigits] != ' ' {
		return nil, false
	}
	sum, err := strconv.ParseUint(string(line[:sumDigits]), 16, 32)
	doc = line[sumDigits+1:]
	return doc, err == nil && uint32(sum) == crc32.Checksum(doc, castagnoli())
}

// lastLine cuts the last line off. One that has no end is one, too.
func lastLine(b []byte) (line, rest []byte) {
	b = bytes.TrimSuffix(b, []byte{'\n'})
	at := bytes.LastIndexByte(b, '\n') + 1
	return b[at:], b[:at]
}

// load reads the lines of a segment, at most what one may have. Of one that is damaged it gives what could be read, with the error.
func (s *segment) load(dir string) ([]byte, error) {
	f, err := os.OpenFile(filepath.Join(dir, s.name()), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("read a segment: %w", err)
	}
	defer f.Close()
	var in io.Reader = f
	if s.sealed {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("read segment %s: %w", s.name(), err)
		}
		in = z
	} else if s.size > 0 {
		in = io.LimitReader(f, s.size)
	}
	b, err := io.ReadAll(io.LimitReader(in, maxSegment))
	if err != nil {
		return b, fmt.Errorf("read segment %s: %w", s.name(), err)
	}
	return b, nil
}

// seal writes lines as a sealed segment and gives it. Until it is whole it has another name.
func seal(dir string, s segment, lines []byte) (segment, error) {
	s.sealed = true
	path := filepath.Join(dir, s.name())
	fresh := path + ".new"
	err := writeZipped(fresh, lines)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return s, errors.Join(fmt.Errorf("seal a segment: %w", err), ignoreMissing(os.Remove(fresh)))
	}
	info, err := os.Stat(path)
	if err != nil {
		return s, fmt.Errorf("seal a segment: %w", err)
	}
	s.size = info.Size()
	return s, nil
}

func writeZipped(path string, lines []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	_, err = z.Write(lines)
	err = errors.Join(err, z.Close())
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
