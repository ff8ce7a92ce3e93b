// SPDX-License-Identifier: Apache-2.0

package classify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"parry/pkg/pcap"
	"parry/pkg/show"
)

// Options say what to classify, and how to tell it.
type Options struct {
	Files []string // captures; "-" is standard input
	JSON  bool     // an object a line
}

// line is a flow as outside tools read it. Keys are an interface: add, never rename.
type line struct {
	File       string  `json:"file"`
	Proto      string  `json:"proto"`
	Src        string  `json:"src"`
	Dst        string  `json:"dst"`
	Packets    int     `json:"packets"`
	Bytes      int64   `json:"bytes"`
	Game       string  `json:"game"`
	Class      string  `json:"class"` // "" of what is no game
	Confidence float64 `json:"confidence"`
	Reason     string  `json:"reason"`
}

// Write classifies captures and writes a line a flow. What is wrong with one of them doesn't keep it from the next.
func Write(ctx context.Context, opt Options, out io.Writer) error {
	return pcap.Each(ctx, opt.Files, out, func(path string, w io.Writer) error {
		return File(path, func(f *Flow) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return write(w, f, opt)
		})
	})
}

func write(w io.Writer, f *Flow, opt Options) error {
	if opt.JSON {
		l := line{File: f.File, Proto: f.Proto, Src: f.Src, Dst: f.Dst, Packets: f.Packets, Bytes: f.Bytes, Game: f.Name.Game.String(),
			Class: f.Name.Class, Confidence: f.Name.Confidence, Reason: f.Name.Reason}
		if err := json.NewEncoder(w).Encode(l); err != nil {
			return fmt.Errorf("write flows: %w", err)
		}
		return nil
	}
	where := ""
	if len(opt.Files) > 1 {
		where = f.File + ": "
	}
	class := ""
	if f.Name.Class != "" {
		class = " (" + f.Name.Class + ")"
	}
	_, err := fmt.Fprintf(w, "%s%s %s > %s  %d packets, %s  %s%s %.0f %%: %s\n", where, f.Proto, f.Src, f.Dst, f.Packets, show.Bytes(uint64(f.Bytes)),
		f.Name.Game, class, f.Name.Confidence*100, f.Name.Reason)
	if err != nil {
		return fmt.Errorf("write flows: %w", err)
	}
	return nil
}
