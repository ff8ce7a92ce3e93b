// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// RakNet, as far as a join and a ping need it: offline messages with a magic, then datagrams. The server is one of those
// that know no cookie (security 0): where its players are asked for one, it is the edge's. Nothing here is sent
// reliably, so there is nothing to acknowledge.
const (
	rakMagic = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"

	rakPing      = 0x01
	rakPong      = 0x1c
	rakOpen1     = 0x05
	rakReply1    = 0x06
	rakOpen2     = 0x07
	rakReply2    = 0x08
	rakDatagram  = 0x84
	rakConnect   = 0x09 // in a datagram
	rakAccepted  = 0x10
	rakUser      = 0x86
	rakProtocol  = 11
	rakMTU       = 1492
	rakUDPSize   = rakMTU - 28 // of request 1: padded to what the way must carry
	rakFirstByte = 7           // of a message in a datagram: kind, number, flags, length before it
	rakGUID      = 0x70617272796c6162
	rakMotd      = "MCPE;parry lab;390;1.14.60;24;64;8100000000000000;lab;Survival;1;19132;19133;"
)

// raknetPlayer is a client: request 1, request 2 with the cookie if there is one, connection request, play.
type raknetPlayer struct {
	id     uint32
	step   byte // the offline message that came last
	cookie []byte
	out    uint32
}

func (c *raknetPlayer) hello(packet) []byte {
	switch c.step {
	case rakReply1:
		b := append([]byte{rakOpen2}, rakMagic...)
		if c.cookie != nil {
			b = append(append(b, c.cookie...), 0)
		}
		b = append(b, 4, ^byte(127), ^byte(0), ^byte(0), ^byte(1), 0x4a, 0xbc) // an address: v4, inverted
		b = binary.BigEndian.AppendUint16(b, rakMTU)
		return binary.BigEndian.AppendUint64(b, uint64(c.id))
	case rakReply2:
		m := binary.BigEndian.AppendUint64([]byte{rakConnect}, uint64(c.id))
		return c.datagram(append(m, make([]byte, 9)...)) // time, no security
	}
	b := append([]byte{rakOpen1}, rakMagic...)
	return append(append(b, rakProtocol), make([]byte, rakUDPSize-18)...)
}

func (c *raknetPlayer) hear(b []byte) (heard, packet) {
	switch {
	case len(b) >= 28 && b[0] == rakReply1 && string(b[1:17]) == rakMagic:
		c.cookie = nil
		if b[25] != 0 && len(b) >= 32 {
			c.cookie = bytes.Clone(b[26:30])
		}
		c.step = rakReply1
		return heardStep, packet{}
	case len(b) >= 35 && b[0] == rakReply2 && string(b[1:17]) == rakMagic:
		c.step = rakReply2
		return heardStep, packet{}
	case len(b) > rakFirstByte && b[0] == rakDatagram && b[rakFirstByte] == rakAccepted:
		return heardWelcome, packet{player: c.id}
	case len(b) > gameHead && b[0] == rakDatagram && b[rakFirstByte] == rakUser:
		p, ok := decode(b[gameHead:])
		if ok && p.kind == kindState {
			return heardState, p
		}
	}
	return heardNothing, packet{}
}

func (c *raknetPlayer) move(p packet) []byte { return c.datagram(rakUserMessage(p)) }

func (c *raknetPlayer) datagram(message []byte) []byte {
	c.out++
	return rakDatagramOf(c.out-1, message)
}

// rakDatagramOf is a datagram with one unreliable message.
func rakDatagramOf(number uint32, message []byte) []byte {
	b := []byte{rakDatagram, byte(number), byte(number >> 8), byte(number >> 16), 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(message)*8))
	return append(b, message...)
}

// rakUserMessage is the lab's packet as a message of its own, at gameHead of the datagram.
func rakUserMessage(p packet) []byte {
	m := make([]byte, gameHead-rakFirstByte, gameHead-rakFirstByte+packetSize)
	m[0] = rakUser
	return append(m, p.bytes()...)
}

type raknetServer struct{ lobby lobby }

func (s *raknetServer) serve(from netip.AddrPort, b []byte) ([]byte, packet, bool) {
	switch {
	case len(b) == 33 && b[0] == rakPing && string(b[9:25]) == rakMagic:
		a := append([]byte{rakPong}, b[1:9]...)
		a = append(binary.BigEndian.AppendUint64(a, rakGUID), rakMagic...)
		return append(binary.BigEndian.AppendUint16(a, uint16(len(rakMotd))), rakMotd...), packet{}, false
	case len(b) >= 18 && b[0] == rakOpen1 && string(b[1:17]) == rakMagic:
		a := append([]byte{rakReply1}, rakMagic...)
		a = append(binary.BigEndian.AppendUint64(a, rakGUID), 0)
		return binary.BigEndian.AppendUint16(a, uint16(len(b)+28)), packet{}, false
	case len(b) == 34 && b[0] == rakOpen2 && string(b[1:17]) == rakMagic:
		return s.open(from), packet{}, false
	case len(b) > rakFirstByte && b[0] == rakDatagram:
		return s.play(from, b)
	}
	return nil, packet{}, false
}

// open gives out a slot, as the original does: the address is all that it has seen of the client.
func (s *raknetServer) open(from netip.AddrPort) []byte {
	if s.lobby.enter(from, 0) == nil {
		return binary.BigEndian.AppendUint64(append([]byte{0x14}, rakMagic...), rakGUID) // no free slots
	}
	a := append([]byte{rakReply2}, rakMagic...)
	a = binary.BigEndian.AppendUint64(a, rakGUID)
	a = append(a, 4)
	ip := from.Addr().As4()
	for _, v := range ip {
		a = append(a, ^v)
	}
	a = binary.BigEndian.AppendUint16(a, from.Port())
	return append(binary.BigEndian.AppendUint16(a, rakMTU), 0)
}

func (s *raknetServer) play(from netip.AddrPort, b []byte) ([]byte, packet, bool) {
	g := s.lobby.find(from)
	if g == nil {
		return nil, packet{}, false
	}
	g.out++
	if b[rakFirstByte] == rakConnect {
		return rakDatagramOf(g.out-1, append([]byte{rakAccepted}, make([]byte, 23)...)), packet{}, false
	}
	if len(b) <= gameHead || b[rakFirstByte] != rakUser {
		return nil, packet{}, false
	}
	p, ok := decode(b[gameHead:])
	if !ok || p.kind != kindMove {
		return nil, p, false
	}
	p.kind = kindState
	return rakDatagramOf(g.out-1, rakUserMessage(p)), p, true
}
