// SPDX-License-Identifier: Apache-2.0

// Package offline shows captures to pkg/anticheat: each flow's packets, all of them, with what pkg/naming says of its game and player.
// Captures come from strangers: however many flows one holds, memory is bounded.
package offline

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"parry/pkg/anticheat"
	"parry/pkg/frame"
	"parry/pkg/game"
	"parry/pkg/naming"
	"parry/pkg/pcap"
)

// maxFlows is how many flows are followed at once. Beyond it the one that began first is told, and forgotten: what comes of it
// later is told as another.
const maxFlows = 8192

// Flow is one flow of a capture, in the direction of its first packet. That is taken for the client's, unless what is said, or its ports, say
// otherwise.
type Flow struct {
	File     string
	Proto    string // udp or tcp
	Src, Dst netip.AddrPort
	Began    uint64        // ns since 1970: its first packet
	Lasted   time.Duration // until its last
	Packets  int           // both ways
	Game     naming.Label  // by its packets
	Taken    string        // for what it was taken: its game, or that of Options
	Player   string        // "": it has not said
	Report   anticheat.Report
}

// follower is a flow that is being followed.
type follower struct {
	session anticheat.Session
	src     netip.AddrPort // of its first packet
	turned  bool           // it was taken the wrong way at first
	began   uint64
	last    uint64
	packets int
	naming  naming.Flow
	login   naming.Login
	about   anticheat.About
	seq     [2]uint32 // of TCP: what comes next, each way
	synced  [2]bool
}

// looker is shown each packet with a payload of a flow.
type looker func(f *follower, p *frame.Packet, in *pcap.Packet, down bool) error

// reader reads one capture.
type reader struct {
	file     string
	game     string // of flows that nothing names
	analyser *anticheat.Analyser
	flows    map[anticheat.Session]*follower
	order    []*follower // as they began
	ports    map[uint16]bool
	room     int
	tell     func(*Flow) error
	look     looker
	namer    naming.Namer
	p        frame.Packet
	clock    uint64
}

// File tells each flow of a capture, in the order in which they began; "-" is standard input. A capture that is cut or damaged
// is told as far as it goes, and the error says where that is.
func File(path string, opt Options, tell func(*Flow) error) error {
	r, err := pcap.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(read(r, path, opt, maxFlows, tell, nil), r.Close())
}

func read(in *pcap.Reader, file string, opt Options, room int, tell func(*Flow) error, look looker) error {
	opt.Policy.Sizes.Sessions = room
	a, err := anticheat.New(opt.Policy, anticheat.Handler{})
	if err != nil {
		return fmt.Errorf("the anti-cheat: %w", err)
	}
	r := &reader{file: file, game: opt.Game, analyser: a, flows: map[anticheat.Session]*follower{}, ports: serverPorts(), room: room, tell: tell, look: look}
	var unusable error
	bad := 0
	for {
		p, err := in.Next()
		switch {
		case err == nil:
			if err := r.packet(&p); err != nil {
				return err
			}
		case errors.Is(err, pcap.ErrPacket):
			if bad++; unusable == nil {
				unusable = err
			}
		default:
			if err != io.EOF {
				err = fmt.Errorf("%s: %w; the flows until there are told", file, err)
			} else {
				err = nil
			}
			if bad > 0 {
				err = errors.Join(err, fmt.Errorf("%s: %d packets could not be read, the first: %w", file, bad, unusable))
			}
			return errors.Join(r.end(), err)
		}
	}
}

// serverPorts are those that servers of games use.
func serverPorts() map[uint16]bool {
	all := map[uint16]bool{}
	for _, p := range game.Profiles() {
		if p.Port != 0 {
			all[p.Port] = true
		}
	}
	return all
}

// packet shows one to the analyser.
func (r *reader) packet(in *pcap.Packet) error {
	p := &r.p
	if !frame.Parse(in.Data, p) || p.Proto != frame.UDP && p.Proto != frame.TCP || p.Src.Port() == 0 && p.Dst.Port() == 0 {
		return nil
	}
	if t := in.Time.UnixNano(); !in.Time.IsZero() && t > 0 {
		r.clock = max(r.clock, uint64(t)) // captures of several queues go back a little
	}
	f, down := r.flows[anticheat.Session{Client: p.Src, Front: p.Dst, Proto: p.Proto}], false
	if f == nil {
		f, down = r.flows[anticheat.Session{Client: p.Dst, Front: p.Src, Proto: p.Proto}], true
	}
	if f == nil {
		var err error
		if f, err = r.begin(p); err != nil {
			return err
		}
		down = p.Src != f.session.Client
	}
	f.packets++
	down = r.turn(f, p, down)
	f.last = r.clock
	r.name(f, p, down)
	if p.Length == 0 || p.Proto == frame.TCP && !f.news(p, down) {
		return nil
	}
	if r.look != nil {
		return r.look(f, p, in, down)
	}
	r.analyser.Packet(&anticheat.Packet{
		Time: r.clock, Session: f.session, Down: down, Whole: true, Length: p.Length, Head: p.Payload, About: f.about,
	})
	return nil
}

func (r *reader) begin(p *frame.Packet) (*follower, error) {
	if len(r.flows) >= r.room {
		if err := r.told(r.order[0]); err != nil {
			return nil, err
		}
	}
	proto := naming.UDP
	if p.Proto == frame.TCP {
		proto = naming.TCP
	}
	session := r.begins(p)
	f := &follower{
		session: session, src: p.Src, began: r.clock,
		naming: naming.Begin(proto, p.Dst.Port(), false), about: anticheat.About{Game: r.game},
	}
	r.flows[f.session] = f
	r.order = append(r.order, f)
	return f, nil
}

// name finds out which game a flow is, and who plays.
func (r *reader) name(f *follower, p *frame.Packet, down bool) {
	proto := naming.UDP
	if p.Proto == frame.TCP {
		proto = naming.TCP
		r.namer.Segment(&f.naming, &naming.Segment{Up: p.Src == f.src, Seq: p.Seq, Flags: p.Flags, Options: p.Options, Payload: p.Payload, Length: p.Length})
	} else {
		r.namer.Feed(&f.naming, p.Src == f.src, p.Payload, p.Length)
	}
	if n := f.naming.Name(); n.Game.Plays() {
		f.about.Game = n.Game.String()
	}
	if !down && p.Length > 0 && f.packets <= loginWithin && f.about.Player == "" {
		f.about.Player = f.login.Feed(proto, p.Payload)
	}
}

// loginWithin is in how many packets of a flow a player says who he is.
const loginWithin = 64

// news tells whether a segment holds bytes that were not seen yet: what is sent again is TCP's business.
func (f *follower) news(p *frame.Packet, down bool) bool {
	way := 0
	if down {
		way = 1
	}
	end := p.Seq + uint32(p.Length)
	if f.synced[way] && int32(end-f.seq[way]) <= 0 {
		return false
	}
	f.seq[way], f.synced[way] = end, true
	return true
}

// end tells the flows that are left.
func (r *reader) end() error {
	for len(r.order) > 0 {
		if err := r.told(r.order[0]); err != nil {
			return err
		}
	}
	return nil
}

// told tells the flow that began first. append makes room anew for the others, now and then.
func (r *reader) told(f *follower) error {
	out := &Flow{File: r.file, Proto: "udp", Src: f.src, Dst: f.session.Front, Began: f.began, Lasted: time.Duration(f.last - f.began), Packets: f.packets, Game: f.naming.Name().Game, Taken: f.about.Game, Player: f.about.Player}
	if f.src == out.Dst { // its first packet was its server's
		out.Dst = f.session.Client
	}
	if f.session.Proto == frame.TCP {
		out.Proto = "tcp"
	}
	out.Report, _ = r.analyser.End(f.session, f.last)
	r.order[0], r.order = nil, r.order[1:]
	delete(r.flows, f.session)
	return r.tell(out)
}
