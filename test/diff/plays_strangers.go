// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"net/netip"
	"slices"
	"time"

	"parry/loader"
	"parry/test/model"
	"parry/test/packet"
)

// strangersMoves are what happens to services with gates, and between them and strangers.
func strangersMoves() []move {
	return []move{
		{300, func(d draw) []step { return d.frames(d.first().Bytes()) }},
		{120, draw.comesAgain},
		{80, draw.dances},
		{40, draw.crowd},
		{60, draw.answeredWeakly},
		{60, draw.netchan},
		{6, draw.undecided},
		{10, draw.lasts},
		{80, draw.connects},
		{60, draw.reflected},
		{6, draw.akin},
		{40, draw.fares},
		{20, draw.doubted},
		{4, draw.inGrace},
		{60, draw.cached},
		{1, draw.neighbours},
		{20, func(d draw) []step { return passing(pick(d, []time.Duration{199e6, 200e6, 3e9, 1 << 34, 30e9})) }},
	}
}

// guardedPort is a port of a service, of one with a gate more likely.
func (d draw) guardedPort() (port uint16, gate string) {
	ports, gates := d.w.served()
	for range 4 {
		if port = pick(d, ports); gates[port] != "" {
			break
		}
	}
	return port, gates[port]
}

// asFirst is what a gate would be told of a packet.
func (d draw) asFirst(from, to netip.AddrPort, proto uint8) *model.First {
	g := &model.First{Now: d.w.model.Now, Service: d.w.model.ServiceAt(to, proto), Proto: proto, From: from, To: to, Secret: cookieSecret}
	for _, s := range d.w.edge.plans[d.w.plan].Services {
		if s.Fronts[0].First == to.Port() {
			g.Params = s.GateParams
		}
	}
	return g
}

// stranger is an address that nobody has seen, of a few prefixes.
func (d draw) stranger() netip.Addr {
	if d.one(3) {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xee, byte(d.IntN(2)), byte(d.IntN(3)), byte(d.IntN(8)), 15: byte(d.IntN(3))})
	}
	return netip.AddrFrom4([4]byte{100, byte(64 + d.IntN(3)), byte(d.IntN(3)), byte(d.IntN(16))})
}

// asker is a player, or a stranger.
func (d draw) asker() netip.AddrPort {
	if d.one(3) {
		return d.from(d.stranger())
	}
	return d.from(d.player())
}

// first is somebody's first packet to some service, as its game has it, or nearly.
func (d draw) first() packet.Packet {
	from := d.asker()
	port, gate := d.guardedPort()
	return d.firstOf(from, at(vip(from.Addr()), port), gate)
}

func (d draw) firstOf(from, to netip.AddrPort, gate string) packet.Packet {
	p := packet.NewUDP(from, to, "")
	p.Payload = d.payload()
	if gate != "" {
		p.Payload = firsts{d.Rand}.payload(gate, d.asFirst(from, to, packet.UDP))
	}
	if d.one(6) {
		d.shape(&p)
	}
	return p
}

// comesAgain is one first packet, and the same again later.
func (d draw) comesAgain() []step {
	steps := d.frames(d.first().Bytes())
	for range 1 + d.IntN(3) {
		later := pick(d, []time.Duration{0, 90e6, 150e6, 199e6, 200e6, 200e6, 250e6, 1e9, 1600e6, 2900e6, 3300e6})
		steps = append(steps, step{op: "pass", pass: later}, steps[0])
	}
	return steps
}

// portOf is a port behind one of these gates, mostly, and its gate.
func (d draw) portOf(wanted ...string) (port uint16, gate string) {
	ports, gates := d.w.served()
	for range 30 {
		if port = pick(d, ports); slices.Contains(wanted, gates[port]) {
			break
		}
	}
	return port, gates[port]
}

// dances asks for a challenge and comes back with it, at once or too late, from where it was given or from elsewhere.
func (d draw) dances() []step {
	from := d.asker()
	port, gate := d.portOf("source", "raknet")
	to, back := at(vip(from.Addr()), port), from
	wait := pick(d, []time.Duration{0, 0, time.Millisecond, time.Second, 17 * time.Second, 18 * time.Second, 36 * time.Second})
	if d.one(6) {
		back = at(from.Addr(), from.Port()^1)
	}
	g := d.asFirst(from, to, packet.UDP)
	ask, echo := oob("TSource Engine Query\x00"), oob("TSource Engine Query\x00")
	switch {
	case gate == "raknet":
		ask = make([]byte, 500)
		ask[0], ask[17] = 5, 11
		copy(ask[1:], rakMagic)
		echo = append([]byte{7}, rakMagic...)
		echo = append(append(echo, g.CookieBytes(model.PurposeOpening)...), 0)
		echo = append(append(echo, 4), make([]byte, 16)...)
	case d.one(2):
		ask = oob("U\xff\xff\xff\xff")
		echo = append(oob(pick(d, []string{"U", "V"})), g.CookieBytes(model.PurposeChallenge)...)
	default:
		echo = append(echo, g.CookieBytes(model.PurposeChallenge)...)
	}
	frame := func(from netip.AddrPort, b []byte) step {
		return step{op: "receive", frame: packet.NewUDP(from, to, string(b)).Bytes()}
	}
	steps := []step{frame(from, ask), {op: "pass", pass: wait}, frame(back, echo)}
	if d.one(3) {
		steps = append(steps, frame(back, echo), step{op: "pass", pass: 100 * time.Millisecond}, frame(back, echo))
	}
	return steps
}

// crowd is many strangers at once.
func (d draw) crowd() []step {
	var all [][]byte
	port, gate := d.guardedPort()
	if d.one(2) {
		ports, gates := d.w.served()
		for range 40 {
			if port = pick(d, ports); gates[port] == "" {
				gate = ""
				break
			}
		}
	}
	proto := d.proto()
	for range 3 + d.IntN(30) {
		from := d.from(d.stranger())
		p := d.firstOf(from, at(vip(from.Addr()), port), gate)
		if proto == packet.TCP {
			p = packet.NewTCP(from, p.To, packet.SYN, "")
		}
		all = append(all, p.Bytes())
	}
	steps := d.frames(all...)
	if d.one(3) {
		steps = append(steps, step{op: "pass", pass: pick(d, []time.Duration{250e6, 1e9, 1100e6})})
		steps = append(steps, d.frames(all...)...)
	}
	return steps
}

// answeredWeakly is a session in which client and server speak in turn.
func (d draw) answeredWeakly() []step {
	s := d.session()
	if s == nil {
		return nil
	}
	up, down := d.voices(s, d.IntN(80), d.IntN(400))
	if s.Local && d.one(4) { // its server's answer is in parts
		p := packet.NewUDP(s.Front, s.Client, string(d.bytes(600+d.IntN(1200))))
		steps := []step{up}
		for _, part := range p.Fragments(uint32(d.IntN(4)), 8*(20+d.IntN(60))) {
			steps = append(steps, step{op: "send", n: 1, frame: part})
		}
		return steps
	}
	if s.Proto == packet.UDP && d.one(3) { // it asks as it plays
		_, gates := d.w.served()
		asks := d.frames(d.firstOf(s.Client, s.Front, gates[s.Front.Port()]).Bytes())
		return pick(d, [][]step{{down, asks[0], down}, {asks[0]}, {up, down, asks[0], asks[0], down}})
	}
	return pick(d, [][]step{{down, up}, {up, down, up}, {down, down, up, up}, {down}, {up, up, up, up, up, up, up, up}})
}

// voices are a packet of the client's and one of the server's.
func (d draw) voices(s *model.Session, ask, answer int) (up, down step) {
	frame := func(from, to netip.AddrPort, n int) []byte {
		p := packet.NewUDP(from, to, "")
		if s.Proto == packet.TCP {
			p = packet.NewTCP(from, to, packet.ACK, "")
		}
		p.Payload = d.bytes(n)
		return p.Bytes()
	}
	up = step{op: "receive", frame: frame(s.Client, s.Front, ask)}
	down = step{op: "receive", frame: frame(s.Server, s.Face, answer)}
	if s.Local {
		down = step{op: "send", n: 1, frame: frame(s.Front, s.Client, answer)}
	}
	return up, down
}

// lasts is a session that goes on until it is lasting, or nearly.
func (d draw) lasts() []step {
	s := d.session()
	if s == nil {
		return nil
	}
	up, down := d.voices(s, 20, 20)
	var steps []step
	pause := pick(d, []time.Duration{1400 * time.Millisecond, 1600 * time.Millisecond, 1700 * time.Millisecond})
	for range pick(d, []int{18, 19, 20, 21, 22}) {
		steps = append(steps, up, down, step{op: "pass", pass: pause})
	}
	steps = append(steps, up, step{op: "look"})
	if d.one(2) {
		return steps
	}
	return append(steps, step{op: "pass", pass: 2100 * time.Millisecond}, up, down, step{op: "look"})
}

// connects is a TCP client that says something first, to a service whose gate wants to hear it.
func (d draw) connects() []step {
	from := d.asker()
	port, gate := d.portOf("minecraft_java", "mumble")
	to := at(vip(from.Addr()), port)
	seg := func(flags uint8, b []byte) step {
		p := packet.NewTCP(from, to, flags, string(b))
		if d.one(8) {
			d.shape(&p)
		}
		return step{op: "receive", frame: p.Bytes()}
	}
	says := func() []byte {
		if gate == "" {
			return d.bytes(20)
		}
		return firsts{d.Rand}.payload(gate, d.asFirst(from, to, packet.TCP))
	}
	steps := []step{seg(packet.SYN, nil)}
	if d.one(4) {
		return append(steps, seg(packet.ACK, nil), seg(packet.ACK|packet.PSH, says()))
	}
	s := d.w.model.Find(model.Key{Client: from, Front: to, Proto: packet.TCP})
	if s != nil { // it is in a session already: its server may have answered
		_, down := d.voices(s, 0, d.IntN(2)*10)
		steps = append(steps, down)
	}
	steps = append(steps, seg(packet.ACK, nil), seg(packet.ACK|packet.PSH, says()))
	if d.one(2) {
		steps = append(steps, seg(packet.ACK|packet.PSH, d.bytes(d.IntN(30))))
	}
	if d.one(4) {
		steps = append(steps, step{op: "pass", pass: 5100 * time.Millisecond}, step{op: "sweep"})
		if d.one(2) { // and connects again, by the same port
			steps = append(steps, seg(packet.SYN, nil), seg(packet.ACK, nil), seg(packet.ACK|packet.PSH, says()))
		}
	}
	return steps
}

// reflected is a reflector's answer, or nearly.
func (d draw) reflected() []step {
	from := d.asker()
	port, _ := d.guardedPort()
	r := firsts{d.Rand}
	b := r.random(pick(d, []int{4, 8, 12, 19, 20, 24, 40, 50, 60, 64, 468, 1000, 1400}))
	heads := []string{"\x12\x34\x81\x80", "\xd7\x00\x03\x2a", "\x16\x82", "\x30\x84", "HTTP/1.1", "\x00\x01\x00\x00\x00\x01\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x01",
		"\x02\x01", "<?xml", "<SOAP", "\x60\x45", "\x20\x00\x00\x00DHIP", "\x81\x0a", "\xff\xff\xff\xffstatusResponse", ""}
	copy(b, pick(d, heads))
	if d.one(2) { // a whole one, so that no seed goes without
		b = append([]byte("HTTP/1.1"), b...)
		return d.frames(packet.NewUDP(at(from.Addr(), 1900), at(vip(from.Addr()), port), string(b)).Bytes())
	}
	p := packet.NewUDP(at(from.Addr(), pick(d, []uint16{53, 5353, 123, 389, 161, 1900, 11211, 19, 17, 111, 137, 520, 3283, 3702, 5683, 37810, 47808, 27960, 27015})),
		at(vip(from.Addr()), port), string(b))
	return d.frames(p.Bytes())
}

// akin are two sources that share a counter of the sketch, and send to a service that lets strangers send little.
func (d draw) akin() []step {
	port, gate := d.guardedPort()
	service := d.w.model.ServiceAt(at(vip4, port), packet.UDP)
	a, b, ok := d.w.kin(service)
	if !ok {
		return nil
	}
	var steps []step
	for range 4 + d.IntN(60) {
		from := d.from(pick(d, []netip.Addr{a, a, b}))
		p := packet.NewUDP(from, at(vip4, port), "hello")
		if gate != "" {
			p.Payload = firsts{d.Rand}.payload(gate, d.asFirst(from, p.To, packet.UDP))
		}
		steps = append(steps, d.frames(p.Bytes())...)
	}
	return steps
}

// kin are two addresses that share a line of the sketch in a service's eyes, and some counter, but not all.
func (w *world) kin(service int) (a, b netip.Addr, ok bool) {
	if pair, known := w.akin[service]; known {
		return pair[0], pair[1], pair[0].IsValid()
	}
	a = netip.AddrFrom4([4]byte{100, 66, 7, 7})
	line, cells := w.model.SketchCells(a, service)
	for i := range uint32(1 << 19) {
		b = netip.AddrFrom4([4]byte{100, 72 | byte(i>>16), byte(i >> 8), byte(i)})
		shared := 0
		if l, other := w.model.SketchCells(b, service); l == line {
			for row := range cells {
				if slices.Contains(cells[:], other[row]) {
					shared++
				}
			}
		}
		if ok = shared > 0 && shared < len(cells); ok {
			break
		}
	}
	if !ok {
		a, b = netip.Addr{}, netip.Addr{}
	}
	w.akin[service] = [2]netip.Addr{a, b}
	return a, b, ok
}

// fares is a service that comes under attack, or is over it.
func (d draw) fares() []step {
	return []step{{op: "state", service: 1 + d.IntN(len(d.w.model.Names)-1), n: pick(d, []int{0, 0, 1, 2, 2})}}
}

// doubted is a source or a network of which an attack comes that anybody may have forged.
func (d draw) doubted() []step {
	a := d.player()
	bits := pick(d, []int{32, 24})
	if a.Is6() {
		bits *= 2
	}
	return []step{{op: "doubt", entry: model.EntryKey{Prefix: netip.PrefixFrom(a, bits).Masked(), Service: d.IntN(len(d.w.model.Names))},
		ttl: pick(d, []time.Duration{0, time.Second, 10 * time.Second, time.Minute})}}
}

func (d draw) inGrace() []step {
	return []step{{op: "grace", service: 1 + d.IntN(len(d.w.model.Names)-1), ttl: pick(d, []time.Duration{0, time.Second, time.Minute})}}
}

// cached is a server's answer that the daemon has got, for each kind that the service's gate has.
func (d draw) cached() []step {
	var of loader.Service
	for range 40 {
		of = pick(d, d.w.edge.plans[d.w.plan].Services)
		if of.Answers && (of.Gate == "source" || of.Gate == "quake3" || of.Gate == "raknet") {
			break
		}
	}
	cell := loader.AnswerCell{Server: of.Name}
	if of.Forward != loader.Local {
		cell = loader.AnswerCell{Pool: of.Pool}
		for _, p := range d.w.edge.plans[d.w.plan].Pools {
			if p.Name == of.Pool && len(p.Servers) > 0 {
				cell.Server = pick(d, p.Servers).Name
			}
		}
	}
	var steps []step
	r := firsts{d.Rand}
	for kind := range 3 {
		if of.Gate == "raknet" && kind > 0 || d.one(3) || of.Gate == "" {
			continue
		}
		a := r.answer(of.Gate, kind, 0)
		steps = append(steps, step{op: "answer", cell: cell, n: kind, frame: a.Data, several: a.Several,
			ttl: pick(d, []time.Duration{0, 200 * time.Millisecond, 5 * time.Second, time.Minute, time.Hour})})
	}
	return steps
}
