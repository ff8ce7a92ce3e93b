// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// newLogger makes the daemon's log. A disk that is full costs its lines and nothing else: they are counted (lost), and said
// as soon as one can be written again.
func newLogger(o RunOptions, out io.Writer) (log *slog.Logger, lost func() uint64) {
	opts := &slog.HandlerOptions{Level: o.LogLevel}
	handler := func(w io.Writer) slog.Handler {
		if o.LogJSON {
			return slog.NewJSONHandler(w, opts)
		}
		return slog.NewTextHandler(w, opts)
	}
	sink := &logSink{out: out}
	sink.confess = func(lines uint64) error {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "lines of this log could not be written", 0)
		r.AddAttrs(slog.Uint64("lines", lines))
		return handler(out).Handle(context.Background(), r)
	}
	return slog.New(handler(sink)), sink.lost.Load
}

// logSink is where a handler writes, a line at a time.
type logSink struct {
	out     io.Writer
	confess func(lines uint64) error
	since   uint64        // lines that were lost since the last one that was written
	lost    atomic.Uint64 // lines, in all
}

func (s *logSink) Write(line []byte) (int, error) {
	if s.since > 0 && s.confess(s.since) == nil {
		s.since = 0
	}
	n, err := s.out.Write(line)
	if err != nil {
		s.since++
		s.lost.Add(1)
	}
	return n, err
}
