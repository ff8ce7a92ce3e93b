// SPDX-License-Identifier: Apache-2.0

// Package classify finds the flows of a capture and names each by pkg/naming: what a live session would be named by
// the same packets. Captures come from strangers: however many flows one holds, memory is bounded.
package classify

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"parry/pkg/frame"
	"parry/pkg/naming"
	"parry/pkg/pcap"
)

// maxFlows is how many flows are followed at once. Beyond it the one that began first is told, and forgotten: what comes of it
// later is told as another.
const maxFlows = 1 << 16

// Flow is one flow of a capture, in the direction of its first packet.
type Flow struct {
	File     string
	Proto    string // udp, tcp, icmp, or a number
	Src, Dst string
	Packets  int   // both ways
	Bytes    int64 // of frames as long as they were on the wire, both ways
	Name     naming.Name
}

// key is a flow whichever way a packet goes: the lower address and port first.
type key struct {
	proto uint8
	a, b  netip.AddrPort
}

func keyOf(p *frame.Packet) key {
	if p.Src.Compare(p.Dst) > 0 {
		return key{p.Proto, p.Dst, p.Src}
	}
	return key{p.Proto, p.Src, p.Dst}
}

// follower is a flow that is being followed.
type follower struct {
	key     key
	src     netip.AddrPort
	packets int
	bytes   int64
	naming  naming.Flow
}

// table holds flows in the order in which they began.
type table struct {
	file  string
	flows map[key]*follower
	order []*follower // a ring once it is full
	at    int         // in the ring: the one that began first
	room  int
	tell  func(*Flow) error
	namer naming.Namer
	p     frame.Packet
}

// File tells each flow of a capture, in the order in which they began; "-" is standard input. A capture that is cut or damaged
// is told as far as it goes, and the error says where that is.
func File(path string, tell func(*Flow) error) error {
	r, err := pcap.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(read(r, path, maxFlows, tell), r.Close())
}

func read(r *pcap.Reader, file string, room int, tell func(*Flow) error) error {
	t := &table{file: file, flows: map[key]*follower{}, room: room, tell: tell}
	var unusable error
	bad := 0
	for {
		p, err := r.Next()
		switch {
		case err == nil:
			if err := t.packet(&p); err != nil {
				return err
			}
		case errors.Is(err, pcap.ErrPacket):
			if bad++; unusable == nil {
				unusable = err
			}
		default:
			return errors.Join(t.end(), whatEnded(file, err), whatWasNotRead(file, bad, unusable))
		}
	}
}

func whatEnded(file string, err error) error {
	if err == io.EOF {
		return nil
	}
	return fmt.Errorf("%s: %w; the flows until there are told", file, err)
}

func whatWasNotRead(file string, bad int, first error) error {
	if bad == 0 {
		return nil
	}
	return fmt.Errorf("%s: %d packets could not be read, the first: %w", file, bad, first)
}

// packet counts one, and shows it to its flow.
func (t *table) packet(in *pcap.Packet) error {
	p := &t.p
	if !frame.Parse(in.Data, p) {
		return nil
	}
	k := keyOf(p)
	f := t.flows[k]
	if f == nil {
		var err error
		if f, err = t.begin(k, p); err != nil {
			return err
		}
	}
	f.packets++
	f.bytes += int64(in.WireLen)
	up := p.Src == f.src
	switch {
	case p.Src.Port() == 0 && p.Dst.Port() == 0:
	case p.Proto == frame.UDP:
		t.namer.Feed(&f.naming, up, p.Payload, p.Length)
	case p.Proto == frame.TCP:
		t.namer.Segment(&f.naming, &naming.Segment{Up: up, Seq: p.Seq, Flags: p.Flags, Options: p.Options, Payload: p.Payload, Length: p.Length})
	}
	return nil
}

func (t *table) begin(k key, p *frame.Packet) (*follower, error) {
	f := &follower{}
	if len(t.order) < t.room {
		t.order = append(t.order, f)
	} else {
		f = t.order[t.at] // the oldest makes room
		t.at = (t.at + 1) % t.room
		if err := t.told(f); err != nil {
			return nil, err
		}
		delete(t.flows, f.key)
	}
	proto := naming.UDP
	if p.Proto == frame.TCP {
		proto = naming.TCP
	}
	*f = follower{key: k, src: p.Src, naming: naming.Begin(proto, p.Dst.Port(), false)}
	t.flows[k] = f
	return f, nil
}

// end tells the flows that are left.
func (t *table) end() error {
	for i := range t.order {
		if err := t.told(t.order[(t.at+i)%len(t.order)]); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) told(f *follower) error {
	dst := f.key.b
	if f.src == f.key.b {
		dst = f.key.a
	}
	out := &Flow{File: t.file, Packets: f.packets, Bytes: f.bytes, Src: f.src.String(), Dst: dst.String()}
	switch f.key.proto {
	case frame.UDP:
		out.Proto, out.Name = "udp", f.naming.Name()
	case frame.TCP:
		out.Proto, out.Name = "tcp", f.naming.Name()
	default:
		out.Proto, out.Src, out.Dst = strconv.Itoa(int(f.key.proto)), f.src.Addr().String(), dst.Addr().String()
		if f.key.proto == 1 || f.key.proto == 58 {
			out.Proto = "icmp"
		}
		out.Name = naming.Name{Game: naming.L3Other, Confidence: 1, Reason: "neither TCP nor UDP"}
	}
	return t.tell(out)
}
