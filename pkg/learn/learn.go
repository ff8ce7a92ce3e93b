// SPDX-License-Identifier: Apache-2.0

// Package learn proposes a configuration from captures of good play: what a game's first packets have in common, how long its
// packets are, and how much a player sends. It learns of sources that were answered alone, and keeps only what enough flows of
// enough sources show: what would be guessed is left at parry's default, and said.
package learn

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"parry/pkg/frame"
	"parry/pkg/game"
	"parry/pkg/naming"
	"parry/pkg/pcap"
)

// What a figure takes to be believed.
const (
	leastFlows   = 8 // sessions
	leastSources = 3
	exactFlows   = 20 // of one length, until no other is let in
)

// Bounds of what is kept of a capture.
const (
	maxFlows   = 1 << 16
	maxSources = 1 << 16
	keptBytes  = 192 // of a first packet

	longestStep = 24 * time.Hour // between two packets
)

// Options say what to learn from.
type Options struct {
	Files   []string
	Server  *Endpoint      // where players connect; nil = it is found
	Clients []netip.Prefix // where players are, to tell them from servers; none = anywhere
	Name    string         // of the game; "" = it is made of the port
	Service string         // its name in the file; "" = the game's
	// LoosenGate has the gate of a game that parry knows only watch: it refused some of this play.
	LoosenGate bool
}

// Endpoint is where a service listens.
type Endpoint struct {
	Protocol string         `json:"protocol"`
	Address  netip.AddrPort `json:"address"`
}

func (e Endpoint) String() string { return e.Protocol + " " + e.Address.String() }

var nameForm = regexp.MustCompile(`^[a-z0-9_][a-z0-9_.-]{0,30}$`)

// Learn reads captures of good play.
func Learn(o Options) (*Profile, error) {
	for _, name := range []string{o.Name, o.Service} {
		if name != "" && !nameForm.MatchString(name) {
			return nil, fmt.Errorf("%q is no name: want 1 to 31 of a-z 0-9 - _ . (no - or . first)", name)
		}
	}
	if _, known := game.Lookup(o.Name); known {
		return nil, fmt.Errorf("%s is a game that parry knows: give yours another name, or none (a known game is recognised by its packets)", o.Name)
	}
	if slices.Contains(o.Files, "-") {
		return nil, errors.New("a capture is read twice: it can't be standard input")
	}
	server, err := o.server()
	if err != nil {
		return nil, err
	}
	w := &watcher{server: server, flows: map[netip.AddrPort]*flow{}, sources: map[netip.Addr]*source{}}
	for _, file := range o.Files {
		w.anew()
		if err := each(file, w.packet); err != nil {
			return nil, err
		}
	}
	return w.profile(&o)
}

// server is the service's endpoint: the one that is named, or the one that the captures show.
func (o *Options) server() (Endpoint, error) {
	ends := newEnds(o.Clients)
	for _, file := range o.Files {
		if err := each(file, ends.packet); err != nil {
			return Endpoint{}, err
		}
	}
	return ends.service(o.Server)
}

// each hands out the packets of a capture that can be read.
func each(file string, tell func(at time.Time, wire int, p *frame.Packet)) error {
	r, err := pcap.Open(file)
	if err != nil {
		return err
	}
	var p frame.Packet
	var clock, last time.Time // as replay has it: it never goes back, and takes no leaps
	for {
		in, err := r.Next()
		switch {
		case errors.Is(err, pcap.ErrPacket):
		case err != nil:
			if end := r.Close(); errors.Is(err, io.EOF) {
				return end
			}
			return fmt.Errorf("%s: %w: learn from a capture that is whole (editcap or tcpdump -r … -w … keep what can be read of this one)", file, err)
		case frame.Parse(in.Data, &p):
			if last.IsZero() {
				clock, last = in.Time, in.Time
			}
			if step := in.Time.Sub(last); step > 0 {
				clock, last = clock.Add(min(step, longestStep)), in.Time
			}
			tell(clock, in.WireLen, &p)
		}
	}
}

// protocolOf names a transport; "" is none that has ports.
func protocolOf(p *frame.Packet) string {
	switch {
	case p.Src.Port() == 0 || p.Dst.Port() == 0:
		return ""
	case p.Proto == frame.UDP:
		return "udp"
	case p.Proto == frame.TCP:
		return "tcp"
	}
	return ""
}

// most is the value that most have, and how many.
func most(counts map[naming.Label]int) (label naming.Label, n int) {
	for l, c := range counts {
		if c > n || c == n && l < label {
			label, n = l, c
		}
	}
	return label, n
}

// round up to two digits that count: 1234 is 1300.
func round(n uint64) uint64 {
	unit := uint64(1)
	for n/unit >= 100 {
		unit *= 10
	}
	return (n + unit - 1) / unit * unit
}

func ceilSeconds(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }
