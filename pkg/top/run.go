// SPDX-License-Identifier: Apache-2.0

package top

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"parry/pkg/api"
	"parry/pkg/show"
)

// Options say what to watch and how to show it.
type Options struct {
	Status   func(context.Context) (api.Status, error)
	Interval time.Duration
	Count    int  // frames until the end; 0 = until the user has had enough
	JSON     bool // a Frame a line, nothing else
	Style    show.Style
}

// Run watches until ctx ends, opt.Count frames are shown or the user quits. If out is a terminal it is redrawn in
// place, and q or Ctrl-C on in (if that is a terminal too) quits; else frames are written one below the other.
// It returns nil if it was ended from outside. A daemon that goes away ends it, except on a terminal, which says so
// and waits for the daemon's return.
func Run(ctx context.Context, in io.Reader, out io.Writer, opt Options) error {
	if !opt.JSON && show.IsTerminal(out) {
		return onScreen(ctx, in, out, opt)
	}
	var prev *api.Status
	tick := time.NewTicker(opt.Interval)
	defer tick.Stop()
	for shown := 0; opt.Count == 0 || shown < opt.Count; {
		st, err := opt.Status(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if prev != nil {
			if shown++; write(out, opt, prev, &st) != nil {
				return nil // the reader had enough
			}
			if shown == opt.Count {
				return nil
			}
		}
		prev = &st
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// write shows what happened between two statuses.
func write(out io.Writer, opt Options, prev, cur *api.Status) error {
	f := Between(prev, cur)
	var b bytes.Buffer
	if opt.JSON {
		line, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("encode frame: %w", err)
		}
		b.Write(append(line, '\n'))
	} else {
		if err := draw(&b, opt.Style, cur, &f); err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	if _, err := out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}
