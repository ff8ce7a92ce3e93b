// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"net/netip"

	"parry/test/model"
	"parry/test/packet"
)

// serverSide is the link address that servers' frames come from.
var serverSide = packet.MAC{2, 0, 0, 0, 0, 0x5e}

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

func (d draw) proto() uint8 {
	if d.IntN(5) < 3 {
		return packet.UDP
	}
	return packet.TCP
}

func (d draw) from(a netip.Addr) netip.AddrPort { return at(a, 40000+uint16(d.IntN(5))) }

// vip is the service's address of the client's family.
func vip(client netip.Addr) netip.Addr { return addrOf(client.Is4(), vip4, vip6) }

// fromClient is somebody's packet to some service.
func (d draw) fromClient() packet.Packet {
	from := d.from(d.anybody())
	to := at(vip(from.Addr()), pick(d, d.w.ports()))
	if d.one(60) { // where a service may come to listen
		to = at(addrOf(from.Addr().Is4(), nat4, nat6), withinPort)
	}
	p := d.packet(from, to, d.proto())
	if p.Proto == packet.TCP && d.one(2) {
		p.Flags = packet.SYN
	}
	return p
}

// up is a packet of somebody's session, down an answer to it.
func (d draw) up() packet.Packet {
	s := d.session()
	if s == nil {
		return d.fromClient()
	}
	return d.packet(s.Client, s.Front, s.Proto)
}

func (d draw) down() packet.Packet {
	s := d.session()
	if s == nil {
		return d.firstWord()
	}
	from, to := s.Server, s.Face
	switch {
	case d.one(50):
		from = at(from.Addr(), from.Port()+1)
	case d.one(50):
		to = at(to.Addr(), to.Port()+uint16(d.IntN(3)))
	}
	p := d.packet(from, to, s.Proto)
	p.Src = serverSide
	return p
}

// servers are the addresses that servers have, by family and where the pools say.
func (d draw) server() netip.AddrPort {
	pools := d.w.edge.plans[d.w.plan].Pools
	pool := pools[d.IntN(3)%len(pools)]
	s := pick(d, pool.Servers)
	port := s.Port
	if d.one(4) {
		port += uint16(d.IntN(6))
	}
	return at(s.Addr, port)
}

// firstWord is what a server says to somebody of itself.
func (d draw) firstWord() packet.Packet {
	from := d.server()
	to := d.from(d.anybody())
	for to.Addr().Is4() != from.Addr().Is4() {
		to = d.from(d.anybody())
		if d.w.kind == "plain" {
			from = at(d.w.edge.plans[0].Pools[0].Servers[0].Addr, gamePort)
		}
	}
	p := d.packet(from, to, d.proto())
	if p.Proto == packet.TCP && d.one(2) {
		p.Flags = packet.SYN
	}
	p.Src = serverSide
	return p
}

// packet is a good one, of any shape.
func (d draw) packet(from, to netip.AddrPort, proto uint8) packet.Packet {
	if from.Addr().Is4() != to.Addr().Is4() {
		to = at(vip(from.Addr()), to.Port())
	}
	p := packet.NewUDP(from, to, "")
	if proto == packet.TCP {
		p = packet.NewTCP(from, to, packet.ACK, "")
		p.Flags = d.flags()
		if d.one(6) {
			p.TCPOptions = d.bytes(d.IntN(40))
		}
	}
	p.Payload = d.payload()
	d.shape(&p)
	return p
}

func (d draw) flags() uint8 {
	if d.one(12) {
		return uint8(d.Uint32())
	}
	return pick(d, []uint8{packet.ACK, packet.ACK, packet.ACK | packet.PSH, packet.SYN, packet.SYN | packet.ACK, packet.FIN | packet.ACK, packet.RST,
		packet.RST | packet.ACK})
}

func (d draw) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7) ^ byte(n)
	}
	if n > 0 {
		b[d.IntN(n)] ^= byte(d.Uint32())
	}
	return b
}

func (d draw) payload() []byte {
	switch d.IntN(24) {
	case 0:
		return nil
	case 1, 2:
		return d.bytes(200 + d.IntN(400))
	case 3:
		return d.bytes(1300 + d.IntN(200)) // about an MTU
	case 4:
		return d.bytes(d.IntN(3000))
	case 5: // sums that come out as 0 or ffff are likeliest where there is nothing
		return make([]byte, d.IntN(3)*2)
	}
	return d.bytes(d.IntN(60))
}

// shape changes what may differ between two packets of one session.
func (d draw) shape(p *packet.Packet) {
	if d.one(2) {
		return
	}
	p.TTL = pick(d, []uint8{64, 64, 64, 64, 255, 2, 2, 1, 0})
	p.TOS = uint8(d.Uint32())
	p.ID = uint16(d.Uint32())
	p.DF = d.one(2)
	p.NoSum = p.Proto == packet.UDP && p.From.Addr().Is4() && d.one(4)
	switch d.IntN(8) {
	case 0:
		p.Tags = []packet.Tag{{Proto: packet.TypeVLAN, TCI: uint16(d.Uint32())}}
	case 1:
		p.Tags = []packet.Tag{{Proto: packet.TypeQinQ, TCI: uint16(d.Uint32())}, {Proto: packet.TypeVLAN, TCI: uint16(d.Uint32())}}
	}
	if d.one(6) {
		p.Trailer = d.bytes(d.IntN(20))
	}
	switch {
	case !d.one(3):
	case p.From.Addr().Is4():
		p.Options = d.bytes(4 * d.IntN(11))
	default:
		p.Exts = d.extensions()
	}
}

// extensions are a chain that may pass, or just not.
func (d draw) extensions() []packet.Ext {
	var all []packet.Ext
	for range 1 + d.IntN(3) {
		all = append(all, d.extension())
	}
	switch d.IntN(12) {
	case 0: // at most six
		for len(all) < 5+d.IntN(3) {
			all = append(all, d.extension())
		}
	case 1: // so long that what follows begins too late
		for range 4 {
			all = append(all, packet.Ext{Type: packet.Destination, Body: make([]byte, 214+8*d.IntN(5))})
		}
	}
	return all
}

func (d draw) extension() packet.Ext {
	switch d.IntN(6) {
	case 0:
		return packet.Ext{Type: packet.HopByHop, Body: make([]byte, 6)}
	case 1:
		return packet.Ext{Type: packet.Auth, Body: make([]byte, 6+8*d.IntN(3))}
	case 2:
		left := byte(0)
		if d.one(5) {
			left = 1
		}
		return packet.Ext{Type: packet.Routing, Body: []byte{4, left, 0, 0, 0, 0}}
	case 3: // on a whole datagram
		return packet.Ext{Type: packet.Fragment, Body: []byte{0, 0, 1, 2, 3, 4}}
	}
	return packet.Ext{Type: packet.Destination, Body: make([]byte, 6+8*d.IntN(4))}
}

// toHost is traffic of no service.
func (d draw) toHost() []step {
	a := d.anybody()
	from, host := d.from(a), addrOf(a.Is4(), host4, host6)
	to := pick(d, []netip.Addr{host, host, vip(a), addrOf(a.Is4(), nat4, nat6)})
	var frame []byte
	switch d.IntN(9) {
	case 0:
		frame = packet.Frame(packet.EdgeSide, packet.ClientSide, pick(d, []uint16{packet.TypeARP, 0x88cc, 0, 0x05ff}), d.bytes(d.IntN(60)))
	case 1:
		frame = d.packet(from, at(to, 22), packet.TCP).Bytes()
	case 2:
		frame = d.packet(from, at(to, pick(d, []uint16{4789, 22, 53, 0, withinPort, 2000})), packet.UDP).Bytes()
	case 3:
		p := d.ping(a, to)
		frame = p.Bytes()
		if d.one(4) { // and less than its header
			frame = p.Part(1, 0, d.IntN(8), false)
		}
	case 4:
		if a.Is4() {
			a, to = d.w.six[0], host6
		}
		frame = packet.NewICMP(a, to, 132+uint8(d.IntN(7)), 0, 0, d.bytes(d.IntN(30))).Bytes()
	case 5:
		p := d.packet(from, at(to, 9), packet.UDP)
		p.Proto = pick(d, []uint8{47, 50, 59, 132, 1, 58})
		frame = p.Bytes()
	default:
		frame = d.packet(from, at(to, 9), d.proto()).Bytes()
	}
	n := 1
	if d.one(4) {
		n = 1 + d.IntN(60)
	}
	var steps []step
	for range n {
		steps = append(steps, d.frames(frame)...)
	}
	return steps
}

func (d draw) ping(from, to netip.Addr) packet.Packet {
	kind := uint8(8)
	if from.Is6() {
		kind = 128
	}
	return packet.NewICMP(from, to, kind, 0, 1, d.payload())
}

// fromHost is what this host's own servers answer, say first, or something else that it sends.
func (d draw) fromHost() []step {
	if d.w.kind == "plain" {
		return nil
	}
	to := d.from(d.player())
	from := at(vip(to.Addr()), pick(d, []uint16{localPort, looserPort, natPort, openPort}))
	proto := d.proto()
	if s := d.localSession(); s != nil && !d.one(4) {
		from, to, proto = s.Front, s.Client, s.Proto
	}
	p := d.packet(from, to, proto)
	p.Dst, p.Src = packet.ClientSide, packet.EdgeSide
	s := step{op: "send", frame: p.Bytes(), n: 1}
	if d.one(5) {
		s.n = d.IntN(5)
	}
	if len(s.frame) > longest {
		return nil
	}
	return []step{s}
}

func (d draw) localSession() *model.Session {
	for range 4 {
		if s := d.session(); s != nil && s.Local {
			return s
		}
	}
	return nil
}

// addrOf is an address of a family.
func addrOf(is4 bool, four, six netip.Addr) netip.Addr {
	if is4 {
		return four
	}
	return six
}
