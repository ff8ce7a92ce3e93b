// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"parry/pkg/blocklist"
	"parry/pkg/spell"
)

// maxBadLines is how many bad lines a refusal shows; it counts all.
const maxBadLines = 1000

// ImportOptions say how to read a file of entries.
type ImportOptions struct {
	KeepGoing bool            // apply the good lines though there are bad ones
	Force     bool            // take prefixes that are so wide that CheckWide asks
	Default   blocklist.Entry // what a line leaves out
	SpoolDir  string          // for a file without a name that holds the list meanwhile; "" = the system's directory
}

// ImportEvent is one line of an import's answer: exactly one of its parts is there.
type ImportEvent struct {
	Bad      *BadLine        `json:"bad,omitempty"`      // with KeepGoing: a line that was left out
	Progress *ImportProgress `json:"progress,omitempty"` // now and then
	Done     *ImportResult   `json:"done,omitempty"`     // the last line of a success
	Error    string          `json:"error,omitempty"`    // the last line of a failure half-way
}

// ImportProgress counts entries that are enforced and entries to come.
type ImportProgress struct {
	Applied int `json:"applied"`
	Total   int `json:"total"`
}

// ImportResult is what an import did.
type ImportResult struct {
	Applied int `json:"applied"` // entries that are enforced now
	Bad     int `json:"bad"`     // lines that were left out
}

// Import reads a list in the format of pkg/blocklist and applies it. The whole of it is checked first: with a bad
// line nothing is applied and the error is an *ImportError, unless opt.KeepGoing. Memory stays bounded whatever the
// list's length, since the list is read twice, the second time from a spool file. tell may be nil.
func Import(ctx context.Context, lists Lists, kind Kind, r io.Reader, opt ImportOptions, tell func(ImportEvent) error) (ImportResult, error) {
	if tell == nil {
		tell = func(ImportEvent) error { return nil }
	}
	im := &importing{lists: lists, kind: kind, opt: opt, tell: tell}
	if im.opt.Default.Added.IsZero() {
		im.opt.Default.Added = time.Now()
	}
	spool, err := os.CreateTemp(opt.SpoolDir, "parry-import-")
	if err != nil {
		return ImportResult{}, fmt.Errorf("spool file: %w", err)
	}
	defer spool.Close()
	if err := os.Remove(spool.Name()); err != nil {
		return ImportResult{}, fmt.Errorf("spool file: %w", err)
	}
	if err := im.validate(ctx, newLineReader(io.TeeReader(r, spool))); err != nil {
		return ImportResult{}, err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return ImportResult{}, fmt.Errorf("spool file: %w", err)
	}
	return im.apply(ctx, spool)
}

// importing is the state of one Import.
type importing struct {
	lists   Lists
	kind    Kind
	opt     ImportOptions
	tell    func(ImportEvent) error
	check   checker
	refused map[int]bool // entries by number that parse but can't be applied
	total   int
	bad     int
}

// validate reads the list once and learns which lines are good.
func (im *importing) validate(ctx context.Context, r *lineReader) error {
	names, err := im.lists.ServiceNames(ctx)
	if err != nil {
		return fmt.Errorf("services: %w", err)
	}
	im.check = checker{kind: im.kind, services: names, force: im.opt.Force}
	im.refused = map[int]bool{}
	var lines []BadLine
	i := 0
	n, bad, err := blocklist.Parse(r, im.opt.Default, func(e blocklist.Entry) error {
		if err := im.check.check(&e); err != nil {
			if len(im.refused) == blocklist.MaxBad {
				return invalidf("more than %d entries can't be used; the last: %w", blocklist.MaxBad, err)
			}
			im.refused[i] = true
			lines = append(lines, BadLine{Line: r.line, Text: blocklist.FormatPrefix(e.Prefix), Error: err.Error()})
		}
		i++
		return ctx.Err()
	})
	if err != nil && ctx.Err() == nil && r.failed() == nil {
		return Mark(ErrInvalid, err) // it could be read, and is no list
	}
	if err != nil {
		return err
	}
	im.total, im.bad = n-len(im.refused), len(bad)+len(im.refused)
	lines = append(badLines(bad), lines...)
	slices.SortStableFunc(lines, func(a, b BadLine) int { return a.Line - b.Line })
	if im.bad > 0 && !im.opt.KeepGoing {
		return &ImportError{Lines: lines[:min(len(lines), maxBadLines)], Bad: im.bad}
	}
	for i := range lines {
		if err := im.tell(ImportEvent{Bad: &lines[i]}); err != nil {
			return err
		}
	}
	return nil
}

// apply reads the list again and hands on what is good.
func (im *importing) apply(ctx context.Context, r io.Reader) (ImportResult, error) {
	res := ImportResult{Bad: im.bad}
	batch := make([]blocklist.Entry, 0, min(im.total, MaxBatch))
	flush := func() error {
		if err := im.lists.Add(ctx, im.kind, batch); err != nil {
			return fmt.Errorf("%d of %d entries applied: %w", res.Applied, im.total, err)
		}
		res.Applied += len(batch)
		batch = batch[:0]
		return im.tell(ImportEvent{Progress: &ImportProgress{Applied: res.Applied, Total: im.total}})
	}
	i := 0
	_, _, err := blocklist.Parse(r, im.opt.Default, func(e blocklist.Entry) error {
		if i++; im.refused[i-1] {
			return nil
		}
		if batch = append(batch, e); len(batch) < MaxBatch {
			return nil
		}
		return flush()
	})
	if err == nil && len(batch) > 0 {
		err = flush()
	}
	return res, err
}

// checker finds what parses but can't be an entry of this list.
type checker struct {
	kind     Kind
	services []string
	force    bool // a wide prefix is meant
}

func (c checker) check(e *blocklist.Entry) error {
	if _, unnamed := blocklist.UnnamedNumber(e.Service); e.Service != "" && !unnamed && !slices.Contains(c.services, e.Service) {
		if near, ok := spell.Nearest(e.Service, c.services); ok {
			return fmt.Errorf("there is no service %q: did you mean %s?", e.Service, near)
		}
		return fmt.Errorf("there is no service %q", e.Service)
	}
	if e.Unlimited && c.kind != Allow {
		return errors.New("unlimited belongs to the allow list")
	}
	if c.force {
		return nil
	}
	return CheckWide(c.kind, e.Prefix)
}

// lineReader hands on one line a Read and counts them. Parse reads no further than the line it is at, so while it
// calls back, line is the number of that line.
type lineReader struct {
	in   *bufio.Reader
	rest []byte // of the piece that didn't fit the last Read
	line int
	cont bool // the next piece belongs to the same line
	err  error
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{in: bufio.NewReaderSize(r, 64<<10)} }

// failed is what kept the list from being read to its end.
func (l *lineReader) failed() error {
	if l.err == io.EOF {
		return nil
	}
	return l.err
}

// Read gives the next line, or the next part of it.
func (l *lineReader) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		if !l.cont {
			l.line++
		}
		l.rest, l.err = l.in.ReadSlice('\n')
		if l.cont = l.err == bufio.ErrBufferFull; l.cont {
			l.err = nil
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func badLines(bad []blocklist.LineError) []BadLine {
	lines := make([]BadLine, 0, len(bad))
	for _, b := range bad {
		lines = append(lines, BadLine{Line: b.Line, Text: b.Text, Error: b.Err.Error()})
	}
	return lines
}

// importFile answers an import with a line of JSON for each event, once the list was read and checked as a whole.
func (l listHandlers) importFile(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "force", "keep_going", "reason", "source", "service", "ttl", "unlimited"); err != nil {
		return err
	}
	opt, err := importOptions(r.URL.Query(), l.opt.Now())
	if err != nil {
		return err
	}
	opt.SpoolDir = l.opt.SpoolDir
	select {
	case l.importer <- struct{}{}:
		defer func() { <-l.importer }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	rc := http.NewResponseController(w)
	began := false
	tell := func(ev ImportEvent) error {
		if !began {
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.WriteHeader(http.StatusOK)
			began = true
		}
		line, err := json.Marshal(ev)
		if err != nil {
			return fmt.Errorf("encode progress: %w", err)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("send progress: %w", err)
		}
		return rc.Flush()
	}
	res, err := Import(r.Context(), l.edge, l.kind, r.Body, opt, tell)
	if err != nil {
		// Who is still sending reads no answer: take the rest of the list.
		_, _ = io.Copy(io.Discard, r.Body)
	}
	if err != nil && began {
		l.log.Warn("import failed half-way", "list", l.kind, "applied", res.Applied, "err", err)
		return tell(ImportEvent{Error: err.Error()})
	}
	if err != nil {
		return err
	}
	return tell(ImportEvent{Done: &res})
}

// importOptions reads what an import's address says about lines that leave it out.
func importOptions(q url.Values, now time.Time) (opt ImportOptions, err error) {
	opt.Default = blocklist.Entry{
		Reason: q.Get("reason"), Service: q.Get("service"), Source: blocklist.SourceAPI, Confidence: 1, Added: now,
	}
	if s := q.Get("source"); s != "" {
		opt.Default.Source = s
	}
	if ttl := q.Get("ttl"); ttl != "" {
		d, err := blocklist.ParseTTL(ttl)
		if err != nil {
			return opt, Mark(ErrInvalid, err)
		}
		if d > 0 {
			t := opt.Default.Added.Add(d)
			opt.Default.Expires = &t
		}
	}
	if opt.Default.Unlimited, err = flagParam(q, "unlimited"); err != nil {
		return opt, err
	}
	if opt.KeepGoing, err = flagParam(q, "keep_going"); err != nil {
		return opt, err
	}
	if opt.Force, err = flagParam(q, "force"); err != nil {
		return opt, err
	}
	probe := opt.Default
	if probe.Prefix, err = blocklist.ParsePrefix("192.0.2.1"); err != nil {
		return opt, err
	}
	return opt, Mark(ErrInvalid, probe.Validate())
}

// query is importOptions turned around.
func (opt ImportOptions) query() url.Values {
	q := url.Values{}
	set := func(k, v string) {
		if v != "" {
			q.Set(k, v)
		}
	}
	d := opt.Default
	set("reason", d.Reason)
	set("service", d.Service)
	set("source", d.Source)
	if d.Expires != nil {
		begin := d.Added
		if begin.IsZero() {
			begin = time.Now()
		}
		set("ttl", strconv.FormatInt(max(1, d.Expires.Sub(begin).Milliseconds()), 10)+"ms")
	}
	if d.Unlimited {
		set("unlimited", "1")
	}
	if opt.KeepGoing {
		set("keep_going", "1")
	}
	if opt.Force {
		set("force", "1")
	}
	return q
}
