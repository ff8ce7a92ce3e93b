// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"bytes"
	"encoding/binary"
	"time"

	"parry/loader"
	"parry/test/model"
	"parry/test/packet"
)

// shakenPort is where the first of the services with a SYN proxy or a PROXY header listens; the others follow.
const shakenPort = 28200

// shakenServices are those, one of each kind.
func shakenServices() []loader.Service {
	var all []loader.Service
	add := func(name string, f loader.Forward, proxy loader.SynProxy, header bool, change func(*loader.Service)) {
		pool := map[loader.Forward]string{loader.NAT: "nat", loader.Transparent: "open"}[f]
		s := service(name, f, pool, uint16(shakenPort+len(all)))
		s.SynProxy, s.ProxyHeader = proxy, header
		s.Strangers = loader.Strangers{Packets: 400, Sessions: 20, Admissions: 600, Unanswered: 12, Weak: 6, WeakPrefix: 4}
		s.Timeouts.Silent = 5 * time.Second
		if change != nil {
			change(&s)
		}
		all = append(all, s)
	}
	add("shaken", loader.NAT, loader.SynProxyAlways, false, nil)
	add("shaken-open", loader.Transparent, loader.SynProxyAlways, false, nil)
	add("auto", loader.NAT, loader.SynProxyAuto, false, func(s *loader.Service) { s.Strangers.Sessions = 2 })
	add("auto-open", loader.Transparent, loader.SynProxyAuto, false, func(s *loader.Service) { s.Strangers.Sessions = 2 })
	add("header", loader.NAT, loader.SynProxyOff, true, nil)
	add("header-open", loader.Transparent, loader.SynProxyOff, true, nil)
	add("both", loader.NAT, loader.SynProxyAlways, true, nil)
	add("both-open", loader.Transparent, loader.SynProxyAuto, true, nil)
	add("shaken-watched", loader.Transparent, loader.SynProxyAlways, true, func(s *loader.Service) { s.Enforce = false })
	add("shaken-gated", loader.NAT, loader.SynProxyAlways, false, func(s *loader.Service) { s.Gate = "minecraft_java" })
	add("both-gated", loader.Transparent, loader.SynProxyAlways, true, func(s *loader.Service) { s.Gate = "minecraft_java" })
	add("shaken-limited", loader.Transparent, loader.SynProxyAlways, false, func(s *loader.Service) {
		s.Limits = loader.Limits{Packets: 100, PacketBurst: 20, NewSessions: 3, Window: 10 * time.Second, Sessions: 3, Prefix4: 32, Prefix6: 64}
	})
	add("shaken-members", loader.NAT, loader.SynProxyAlways, false, func(s *loader.Service) { s.Allowlist = true })
	return all
}

// shakenPlan has them, beside some others; its servers take more or less of TCP.
func shakenPlan(change func(*loader.Plan)) *loader.Plan {
	p := guarded(func(*loader.Plan) {})
	p.Services = append(p.Services[:4:4], shakenServices()...)
	takes := []*loader.TCPOptions{
		{MSS: 1460, WindowScale: 7, SACK: true, Timestamps: true}, nil, {MSS: 1440, WindowScale: loader.NoWindowScale, SACK: true},
		{MSS: 536, WindowScale: 0, Timestamps: true}, {MSS: 9000, WindowScale: 14, SACK: true, Timestamps: true},
	}
	n := 0
	for i := range p.Pools {
		for j := range p.Pools[i].Servers {
			p.Pools[i].Servers[j].TCP = takes[n%len(takes)]
			n++
		}
	}
	if change != nil {
		change(p)
	}
	return p
}

func shakenEdges() map[string]edge {
	s := sizes(4096, 4096)
	s.Unproven, s.Greylist = 64, 1<<20
	few := s
	few.Sessions = 24
	all := []*loader.Plan{
		shakenPlan(nil),
		shakenPlan(func(p *loader.Plan) { // other ways
			for i := range p.Services {
				s := &p.Services[i]
				s.ProxyHeader = !s.ProxyHeader && s.Forward != loader.Local
				s.SynProxy = (s.SynProxy + 1) % 3
			}
		}),
		shakenPlan(func(p *loader.Plan) { p.Enforce = false }),
		shakenPlan(func(p *loader.Plan) { // other servers' options
			for i := range p.Pools {
				for j := range p.Pools[i].Servers {
					p.Pools[i].Servers[j].TCP = nil
				}
			}
		}),
	}
	enforced := shakenPlan(func(p *loader.Plan) { // ordinary segments have a way of their own (bpf/stage/syn_brief.h)
		for i := range p.Services {
			p.Services[i].Enforce = true
		}
	})
	return map[string]edge{
		"shaken":       {s, []*loader.Plan{all[0]}, all},
		"shaken-brief": {s, []*loader.Plan{enforced}, []*loader.Plan{enforced, all[0]}},
		"shaken-full":  {few, []*loader.Plan{all[0]}, []*loader.Plan{all[0], enforced}},
	}
}

// cellsOf is how many cells there are for so many sessions.
func cellsOf(sessions uint32) int {
	n := 1
	for n < int(sessions) {
		n *= 2
	}
	return n
}

// shaken has a server's answer to the SYN proxy, which XDP has passed up, become two packets.
func (w *world) shaken(frame []byte, want model.Outcome) error {
	if !want.Handshake || binary.BigEndian.Uint16(frame[12:]) == packet.TypeVLAN || binary.BigEndian.Uint16(frame[12:]) == packet.TypeQinQ {
		return nil // of tags the kernel would have taken the first off
	}
	got, err := w.real.Shake(frame)
	if err != nil {
		return err
	}
	if code := map[bool]uint32{true: loader.TCShot, false: loader.TCRedirect}[want.ToClient == nil]; got.Code != code {
		return differ("a server's answer at ingress: code %d, want %d", int32(got.Code), code)
	}
	if !bytes.Equal(got.Server, want.ToServer) {
		return differ("the ACK to the server:\ngot  %x\nwant %x", got.Server, want.ToServer)
	}
	if want.ToClient != nil && !bytes.Equal(untagged(got.Client), want.ToClient) {
		return differ("the window to the client:\ngot  %x\nwant %x", untagged(got.Client), want.ToClient)
	}
	return nil
}

// untagged is a frame without VLAN tags.
func untagged(frame []byte) []byte {
	for len(frame) > 18 {
		if t := binary.BigEndian.Uint16(frame[12:]); t != packet.TypeVLAN && t != packet.TypeQinQ {
			break
		}
		frame = append(append([]byte{}, frame[:12]...), frame[16:]...)
	}
	return frame
}

// ---- moves ----

func shakenMoves() []move {
	return []move{
		{120, draw.shakes},
		{80, draw.shakenAnswer},
		{200, draw.shakenTalk},
	}
}

// tcpOptions are as stacks write them, or nearly.
func (d draw) tcpOptions() []byte {
	word := func() []byte { return binary.BigEndian.AppendUint32(nil, d.Uint32()) }
	all := [][]byte{
		nil, {2, 4, 5, 0xb4},
		append(append([]byte{2, 4, 5, 0xb4, 4, 2, 8, 10}, word()...), 0, 0, 0, 0, 1, 3, 3, byte(d.IntN(16))), // Linux
		{2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2},                                                           // Windows
		append(append([]byte{2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10}, word()...), 0, 0, 0, 0, 4, 2, 0, 0), // Apple
		append(append([]byte{8, 10}, append(word(), word()...)...), 4, 2, 3, 3, byte(d.IntN(20))),
		{2, 4, byte(d.IntN(8)), byte(d.IntN(256))},
		{1, 1, 1, 3, 3, 2, 4, 2}, {2, 0}, {2, 1}, {1, 2, 4}, {0, 4, 2}, {2, 4, 1, 1, 2, 4, 5, 0xb4}, {5, 10, 0, 0, 0, 1, 0, 0, 0, 9}, {254, 4, 1, 1, 4, 2},
	}
	o := pick(d, all)
	if d.one(8) {
		o = append(append([]byte{}, o...), d.bytes(d.IntN(max(1, 40-len(o))))...)
	}
	return o
}

// shakes is somebody's SYN to a service, and what comes back for its answer.
func (d draw) shakes() []step {
	from := d.from(d.player())
	port := uint16(shakenPort + d.IntN(13))
	if d.one(20) {
		port = pick(d, d.w.ports())
	}
	p := packet.NewTCP(from, at(vip(from.Addr()), port), packet.SYN, "")
	p.Seq, p.TCPOptions = d.Uint32(), d.tcpOptions()
	if d.one(4) {
		p.Seq = pick(d, []uint32{0, 0xffffffff, 0xfffffff0})
	}
	if d.one(10) {
		p.Payload = d.bytes(d.IntN(30))
	}
	if d.one(15) {
		d.shape(&p)
	}
	frame := p.Bytes()
	steps := d.frames(frame)
	cookie, given, times, ok := d.w.model.CookieOf(frame)
	if !ok || d.one(8) {
		return steps
	}
	p.Flags, p.Payload, p.TCPOptions = packet.ACK, nil, nil
	p.Seq, p.Ack = p.Seq+1, cookie+1
	if times != d.one(30) {
		p.TCPOptions = binary.BigEndian.AppendUint32(append([]byte{1, 1, 8, 10}, binary.BigEndian.AppendUint32(nil, d.Uint32())...), given)
	}
	switch d.IntN(24) {
	case 0:
		p.Ack = (cookie ^ 1<<d.IntN(32)) + 1
	case 1:
		p.Seq--
	case 2:
		p.Seq++
	case 3:
		p.Payload = d.bytes(1 + d.IntN(20))
	case 4:
		p.Flags |= packet.PSH
	case 5:
		p.Flags = d.flags()
	case 6:
		d.shape(&p)
	case 7:
		steps = append(steps, step{op: "pass", pass: time.Duration(d.IntN(40)) * time.Second})
	}
	ack := p.Bytes()
	steps = append(steps, d.frames(ack)...)
	if d.one(4) {
		steps = append(steps, step{op: "pass", pass: time.Duration(d.IntN(500)) * time.Millisecond})
		steps = append(steps, d.frames(ack)...)
	}
	return steps
}

// shakenSession is one of those whose numbers are looked at, nil if there is none.
func (d draw) shakenSession() (*model.Session, model.Handshake) {
	for range 8 {
		if s := d.session(); s != nil {
			if h, ok := s.Handshake(); ok {
				return s, h
			}
		}
	}
	return nil, model.Handshake{}
}

// shakenAnswer is what a server says to its SYN.
func (d draw) shakenAnswer() []step {
	s, h := d.shakenSession()
	if s == nil {
		return nil
	}
	p := packet.NewTCP(s.Server, s.Face, packet.SYN|packet.ACK, "")
	p.Src, p.Seq, p.Ack, p.TCPOptions = serverSide, d.Uint32(), h.First+1, d.tcpOptions()
	if h.Connected && !d.one(4) {
		p.Seq = h.Server
	}
	if h.Times && !d.one(20) {
		p.TCPOptions = append([]byte{1, 1, 8, 10}, d.bytes(8)...)
		if d.one(2) {
			p.TCPOptions = append(p.TCPOptions, 2, 4, 5, 0xb4, 1, 3, 3, byte(d.IntN(16)))
		}
	}
	switch d.IntN(16) {
	case 0:
		p.Ack += uint32(d.IntN(3)) - 1
	case 1:
		p.Flags = packet.RST | packet.ACK
	case 2:
		p.Flags = d.flags()
	case 3:
		d.shape(&p)
	case 4:
		p.Payload = d.bytes(d.IntN(20))
	}
	return d.frames(p.Bytes())
}

// shakenTalk is a segment or more of a session whose numbers are looked at, either way.
func (d draw) shakenTalk() []step {
	s, h := d.shakenSession()
	if s == nil {
		return nil
	}
	var steps []step
	for range 1 + d.IntN(4) {
		p := packet.NewTCP(s.Client, s.Front, packet.ACK, "")
		p.Seq, p.Ack = h.ISN+1+pick(d, []uint32{0, 0, 0, 0xffffffff, 1, 100, d.Uint32()}), h.Cookie+1+pick(d, []uint32{0, 0, 0, 1, 1000, d.Uint32()})
		base := h.Cookie
		if d.one(2) {
			p = packet.NewTCP(s.Server, s.Face, packet.ACK, "")
			p.Src = serverSide
			p.Seq, p.Ack = h.Server+1+pick(d, []uint32{0, 1, 1000, d.Uint32()}), h.ISN+1+pick(d, []uint32{0, 0, 1, 0xffffffff, 0xffffffe0, 0xffffffc0, 0xffffff00, 500})
			base = h.ISN
		}
		p.Flags = pick(d, []uint8{packet.ACK, packet.ACK, packet.ACK, packet.ACK | packet.PSH, packet.ACK | packet.PSH, packet.ACK | packet.FIN, packet.RST,
			packet.RST | packet.ACK, packet.SYN, packet.SYN | packet.ACK, 0})
		if p.Flags == packet.ACK && d.one(40) {
			p.Flags = d.flags()
		}
		block := func(n int) []byte {
			o := []byte{5, byte(2 + 8*n)}
			for range 2 * n {
				o = binary.BigEndian.AppendUint32(o, base+d.Uint32()%5000)
			}
			return o
		}
		switch d.IntN(9) {
		case 0, 1, 2:
			p.TCPOptions = append([]byte{1, 1, 8, 10}, d.bytes(8)...)
		case 3:
			p.TCPOptions = append(append([]byte{1, 1, 8, 10}, d.bytes(8)...), append([]byte{1, 1}, block(1+d.IntN(3))...)...)
		case 4:
			p.TCPOptions = append(make([]byte, 0, 40), block(1+d.IntN(4))...)
		case 5:
			p.TCPOptions = append(append([]byte{1}, block(1+d.IntN(2))...), append([]byte{8, 10}, d.bytes(8)...)...)
		case 6:
			p.TCPOptions = d.tcpOptions()
		}
		if d.one(2) {
			p.Payload = d.bytes(d.IntN(60))
		}
		if d.one(60) {
			p.Payload = make([]byte, 1380+d.IntN(100))
		}
		if d.one(12) {
			d.shape(&p)
		}
		steps = append(steps, d.frames(p.Bytes())...)
	}
	return steps
}
