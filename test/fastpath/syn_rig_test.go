// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// Services behind the SYN proxy and with a PROXY header.
const (
	shakenPort    = 29000 // nat, always
	shakenOpen    = 29001 // transparent, always
	attackedPort  = 29002 // nat, auto
	attackedOpen  = 29003 // transparent, auto
	headerPort    = 29004 // nat, header alone
	headerOpen    = 29005 // transparent, header alone
	bothPort      = 29006 // nat, always, header
	bothOpen      = 29007 // transparent, always, header
	shakenWatched = 29008 // nat, always, not enforced
)

var everything = loader.TCPOptions{MSS: 1460, WindowScale: 7, SACK: true, Timestamps: true}

// shakenPlan has a service of each kind; its servers take all that TCP has.
func shakenPlan() *loader.Plan {
	p := basePlan()
	add := func(name string, f loader.Forward, port uint16, proxy loader.SynProxy, header bool) {
		pool := map[loader.Forward]string{loader.NAT: "nat", loader.Transparent: "open"}[f]
		s := service(name, f, pool, port)
		s.SynProxy, s.ProxyHeader = proxy, header
		p.Services = append(p.Services, s)
	}
	add("shaken", loader.NAT, shakenPort, loader.SynProxyAlways, false)
	add("shaken-open", loader.Transparent, shakenOpen, loader.SynProxyAlways, false)
	add("attacked", loader.NAT, attackedPort, loader.SynProxyAuto, false)
	add("attacked-open", loader.Transparent, attackedOpen, loader.SynProxyAuto, false)
	add("header", loader.NAT, headerPort, loader.SynProxyOff, true)
	add("header-open", loader.Transparent, headerOpen, loader.SynProxyOff, true)
	add("both", loader.NAT, bothPort, loader.SynProxyAlways, true)
	add("both-open", loader.Transparent, bothOpen, loader.SynProxyAlways, true)
	add("watched", loader.NAT, shakenWatched, loader.SynProxyAlways, false)
	p.Services[len(p.Services)-1].Enforce = false
	for i := range p.Pools {
		for j := range p.Pools[i].Servers {
			p.Pools[i].Servers[j].TCP = &everything
		}
	}
	return p
}

func shakenSizes() loader.Sizes {
	s := smallSizes()
	s.Services = 32
	return s
}

// segment is a TCP segment as a test looks at it.
type segment struct {
	from, to     netip.AddrPort
	flags        uint8
	seq, ack     uint32
	window       uint16
	options      []byte
	mss          int // 0 = it says none
	scale        int // -1 = none
	sack, times  bool
	tsval, tsecr uint32
	payload      []byte
	bad          error // what is wrong with its checksums
}

func look(t *testing.T, frame []byte) segment {
	t.Helper()
	v, err := packet.Look(frame)
	must(t, err)
	b := frame[v.L4 : v.L3+v.Len]
	addr := func(off, n int) netip.Addr {
		a, _ := netip.AddrFromSlice(frame[v.L3+off : v.L3+off+n])
		return a
	}
	s := segment{scale: -1, seq: binary.BigEndian.Uint32(b[4:]), ack: binary.BigEndian.Uint32(b[8:]), flags: b[13],
		window: binary.BigEndian.Uint16(b[14:]), bad: packet.Check(frame)}
	from, to := addr(12, 4), addr(16, 4)
	if v.Version == 6 {
		from, to = addr(8, 16), addr(24, 16)
	}
	s.from, s.to = at(from, binary.BigEndian.Uint16(b)), at(to, binary.BigEndian.Uint16(b[2:]))
	header := int(b[12]>>4) * 4
	s.options, s.payload = b[20:header], b[header:]
	for o := s.options; len(o) > 0 && o[0] != 0; {
		if o[0] == 1 {
			o = o[1:]
			continue
		}
		switch o[0] {
		case 2:
			s.mss = int(binary.BigEndian.Uint16(o[2:]))
		case 3:
			s.scale = int(o[2])
		case 4:
			s.sack = true
		case 8:
			s.times, s.tsval, s.tsecr = true, binary.BigEndian.Uint32(o[2:]), binary.BigEndian.Uint32(o[6:])
		}
		o = o[o[1]:]
	}
	return s
}

// Options as stacks write them.
func linuxOptions(tsval uint32) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{2, 4, 5, 0xb4, 4, 2, 8, 10}, tsval), 0, 0, 0, 0, 1, 3, 3, 7)
}

func windowsOptions() []byte { return []byte{2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2} }

func appleOptions(tsval uint32) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10}, tsval), 0, 0, 0, 0, 4, 2, 0, 0)
}

func times(tsval, tsecr uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{1, 1, 8, 10}, tsval), tsecr)
}

// tcpFrom is a client's segment to a service.
func tcpFrom(client netip.AddrPort, port uint16, flags uint8, seq, ack uint32, options []byte, payload string) packet.Packet {
	p := packet.NewTCP(client, vip(client, port), flags, payload)
	p.Seq, p.Ack, p.TCPOptions = seq, ack, options
	return p
}

// shaken is a connection through the SYN proxy, whose server has answered.
type shaken struct {
	client  netip.AddrPort
	port    uint16
	session loader.Session
	isn     uint32 // the client's
	cookie  uint32 // the edge's
	server  uint32 // the server's
	given   uint32 // timestamp that the edge gave the client
	times   bool

	answer segment       // the edge's to the SYN
	syn    segment       // to the server
	shaken loader.Shaken // the two packets at the end
}

const (
	clientTime = 0x01020304
	serverTime = 0x7fff0000
	clientISN  = 0xfffffff0 // wraps soon
	serverISN  = 0x80001234
)

// shakeTo does the part that the edge does alone: SYN, cookie, ACK, SYN to the server.
func (w *world) shakeTo(t *testing.T, client netip.AddrPort, port uint16, options []byte) shaken {
	t.Helper()
	c := shaken{client: client, port: port, isn: clientISN, server: serverISN}
	r := w.quietly(t, tcpFrom(client, port, packet.SYN, c.isn, 0, options, "").Bytes())
	if r.Verdict != "tx" {
		t.Fatalf("the SYN: %s %s", r.Verdict, r.Reason)
	}
	c.answer = look(t, r.Out)
	c.cookie, c.given, c.times = c.answer.seq, c.answer.tsval, c.answer.times
	r = w.quietly(t, c.up(packet.ACK, 0, "").Bytes())
	if r.Verdict != "tx" {
		t.Fatalf("the ACK: %s %s", r.Verdict, r.Reason)
	}
	c.syn = look(t, r.Out)
	c.session = w.session(t, client)
	return c
}

// up is a segment of the client's, n bytes after its first.
func (c *shaken) up(flags uint8, n uint32, payload string) packet.Packet {
	var o []byte
	if c.times {
		o = times(clientTime+1, c.given)
	}
	return tcpFrom(c.client, c.port, flags, c.isn+1+n, c.cookie+1, o, payload)
}

// down is one of the server's, as the server sends it.
func (c *shaken) down(flags uint8, n uint32, options []byte, payload string) packet.Packet {
	p := packet.NewTCP(c.session.Server, c.session.Face, flags, payload)
	p.Src, p.Seq, p.Ack, p.TCPOptions = serverSide, c.server+1+n, c.isn+1, options
	return p
}

// answers is the server's answer to the SYN.
func (c *shaken) answers(options []byte) packet.Packet {
	p := c.down(packet.SYN|packet.ACK, 0, options, "")
	p.Seq, p.Ack = c.server, c.syn.seq+1
	return p
}

// serverOptions are what a server with `everything` answers to the edge's SYN.
func (c *shaken) serverOptions() []byte {
	o := []byte{2, 4, 5, 0xb4}
	if c.times {
		o = append(o, times(serverTime, clientTime+1)...)
	}
	if c.answer.sack {
		o = append(o, 1, 1, 4, 2)
	}
	if c.answer.scale >= 0 {
		o = append(o, 1, 3, 3, 7)
	}
	return o
}

// shake is shakeTo and the server's answer.
func (w *world) shake(t *testing.T, client netip.AddrPort, port uint16, options []byte) shaken {
	t.Helper()
	c := w.shakeTo(t, client, port, options)
	w.answered(t, &c, c.serverOptions())
	return c
}

func (w *world) answered(t *testing.T, c *shaken, options []byte) {
	t.Helper()
	in := c.answers(options).Bytes()
	if r := w.quietly(t, in); r.Verdict != "pass" {
		t.Fatalf("the server's answer: %s %s", r.Verdict, r.Reason)
	}
	var err error
	c.shaken, err = w.edge.Shake(in)
	must(t, err)
	if c.shaken.Code != loader.TCRedirect {
		t.Fatalf("the server's answer at ingress: code %d", int32(c.shaken.Code))
	}
	c.session = w.session(t, c.client)
}

func (w *world) attack(t *testing.T, service string, s loader.State) {
	t.Helper()
	for i, name := range w.edge.ServiceNames() {
		if name == service {
			must(t, w.edge.SetState(uint16(i), s))
		}
	}
}

const cookieLife = 2 * (1 << 34) * time.Nanosecond // of which at least half is left to a new one
