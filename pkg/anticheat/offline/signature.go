// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"parry/pkg/anticheat"
	"parry/pkg/frame"
	"parry/pkg/game"
	"parry/pkg/pcap"
	"parry/pkg/signature"
)

// TestOptions say which captures to hold against which signatures.
type TestOptions struct {
	Files      []string // captures; "-" is standard input
	JSON       bool     // an object a line
	Signatures *signature.Set
}

// match is a packet that matches a signature, as outside tools read it. Keys are an interface: add, never rename.
type match struct {
	File      string    `json:"file"`
	N         int       `json:"n"` // of the packet in its file, from 1
	Time      time.Time `json:"time"`
	Proto     string    `json:"proto"`
	Src       string    `json:"src"`
	Dst       string    `json:"dst"`
	Direction string    `json:"direction"`
	Length    int       `json:"length"` // of the payload
	Game      string    `json:"game"`   // "": nobody knows
	Signature string    `json:"signature"`
	Severity  float64   `json:"severity"`
}

// Test tells which packets match which signatures, and (to people) how many did.
func Test(ctx context.Context, opt TestOptions, out io.Writer) error {
	packets, matches := 0, 0
	err := pcap.Each(ctx, opt.Files, out, func(path string, w io.Writer) error {
		p, m, err := test(ctx, path, opt, w)
		packets, matches = packets+p, matches+m
		return err
	})
	if !opt.JSON {
		_, wrong := fmt.Fprintf(out, "%d of %d packets with a payload match one of %d signatures\n", matches, packets, opt.Signatures.Len())
		err = errors.Join(err, wrong)
	}
	return err
}

// test holds one capture against signatures; it counts packets with a payload, and those that match.
func test(ctx context.Context, path string, opt TestOptions, w io.Writer) (packets, matches int, err error) {
	in, err := pcap.Open(path)
	if err != nil {
		return 0, 0, err
	}
	var failed error
	look := func(f *follower, p *frame.Packet, in *pcap.Packet, down bool) error {
		packets++
		hit := map[string]bool{} // a rule matches a packet at several places, maybe
		opt.Signatures.Match(p.Payload, p.Length, down, family(f.about.Game), func(name string, severity float64) {
			if hit[name] || failed != nil {
				return
			}
			hit[name] = true
			failed = tellMatch(w, opt, f, p, in, down, match{File: path, Signature: name, Severity: severity})
		})
		if len(hit) > 0 {
			matches++
		}
		return errors.Join(failed, ctx.Err())
	}
	err = read(in, path, Options{Policy: anticheat.Default()}, maxFlows, func(*Flow) error { return nil }, look)
	return packets, matches, errors.Join(err, in.Close())
}

// family is a game's; "" of what nobody knows.
func family(name string) string {
	p, _ := game.Lookup(name)
	return p.Family
}

func tellMatch(w io.Writer, opt TestOptions, f *follower, p *frame.Packet, in *pcap.Packet, down bool, m match) error {
	m.N, m.Time, m.Proto, m.Src, m.Dst, m.Direction, m.Length, m.Game = in.N, in.Time, "udp", p.Src.String(), p.Dst.String(), "up", p.Length, f.about.Game
	if p.Proto == frame.TCP {
		m.Proto = "tcp"
	}
	if down {
		m.Direction = "down"
	}
	if opt.JSON {
		return json.NewEncoder(w).Encode(m)
	}
	_, err := fmt.Fprintf(w, "%s: packet %d, %s %s > %s (%s), %d bytes: %s\n", m.File, m.N, m.Proto, m.Src, m.Dst, m.Direction, m.Length, m.Signature)
	return err
}
