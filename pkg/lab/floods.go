// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// The packets of the lab's attacks: each function is one kind of flood.

const (
	// fixedAttackers is how many addresses a flood of fixed sources comes from: few enough that each is far over any
	// sensible limit.
	fixedAttackers = 50
	// cycled is how many forged addresses a flood goes through over and over.
	cycled = 10_000_000
	// blindGuests is how many forged addresses a blind exchange is played with at a time: few enough that each packet of
	// one comes within the time that a retry is waited for, many enough to fill tables.
	blindGuests = 200_000
)

// anyone is the sources of a flood with forged addresses: 2^28 IPv4 addresses, 2^52 IPv6 networks, any port.
func anyone(v6 bool) []Source {
	if v6 {
		return []Source{{Prefix: netip.MustParsePrefix("2a00::/12"), FirstPort: 1024, LastPort: 65535}}
	}
	return []Source{{Prefix: netip.MustParsePrefix("16.0.0.0/4"), FirstPort: 1024, LastPort: 65535}}
}

// cycling is n forged addresses in turn, each with its port.
func cycling(n uint32) []Source {
	return []Source{{Prefix: netip.MustParsePrefix("20.0.0.0/8"), FirstPort: 1024, LastPort: 65535, Cycle: n}}
}

// aFew is the sources of a flood from real machines, or of one that forges the addresses of a few victims.
func aFew() []Source {
	var all []Source
	addr := victims.Addr().Next()
	for i := range uint16(fixedAttackers) {
		all = append(all, Source{Prefix: netip.PrefixFrom(addr, 32), FirstPort: 20000 + i, LastPort: 20000 + i})
		addr = addr.Next()
	}
	return all
}

// reflectors are the sources of what thousands of abused servers send: their port is their service's.
func reflectors(port uint16) []Source {
	return []Source{{Prefix: netip.MustParsePrefix("25.16.0.0/19"), FirstPort: port, LastPort: port}}
}

// junk is a payload of a size that games use, but which no server of the lab understands.
func junk(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 31)
	}
	return b
}

// randomUDP goes to every game, so that newcomers of each are met in the flood.
func randomUDP() []Stream {
	all := []Stream{
		{Sources: anyone(false), Target: arena4, Protocol: UDP, Payload: junk(18), Random: true},
		{Sources: anyone(true), Target: arena6, Protocol: UDP, Payload: junk(64), Random: true},
	}
	for _, to := range []netip.AddrPort{arena4, strike, quake, craft} {
		all = append(all, Stream{Sources: anyone(false), Target: to, Protocol: UDP, Payload: junk(64), Random: true, RandomBytes: 64})
	}
	return all
}

func cyclingUDP() []Stream {
	return []Stream{{Sources: cycling(cycled), Target: arena4, Protocol: UDP, Payload: junk(64), Random: true}}
}

func fixedUDP() []Stream {
	return []Stream{{Sources: aFew(), Target: arena4, Protocol: UDP, Payload: junk(64), Random: true}}
}

// blindTwoWay says what a player of the lab's own game says, hello and moves, from addresses that can't hear the answers.
func blindTwoWay() []Stream {
	say := func(kind byte) []byte { return packet{cell: noCell, kind: kind}.bytes() }
	return []Stream{
		{Sources: cycling(blindGuests), Target: arena4, Protocol: UDP, Payload: say(kindHello)},
		{Sources: cycling(blindGuests), Target: arena4, Protocol: UDP, Payload: say(kindMove), Random: true, RandomAt: 16},
	}
}

// a2s asks and connects as Source clients do, some with a challenge that they guess.
func a2s() []Stream {
	guess := func(s string) []byte { return append([]byte(s), 0, 0, 0, 0) }
	connect := (&sourcePlayer{id: 7, challenge: 1}).hello(packet{})
	return []Stream{
		{Sources: anyone(false), Target: strike, Protocol: UDP, Payload: []byte(a2sInfo)},
		{Sources: aFew(), Target: strike, Protocol: UDP, Payload: []byte(a2sInfo)},
		{Sources: anyone(false), Target: strike, Protocol: UDP, Payload: guess(a2sInfo + "\x00"), Random: true, RandomAt: 26},
		{Sources: anyone(false), Target: strike, Protocol: UDP, Payload: []byte(a2sPlayers + a2sNone)},
		{Sources: anyone(false), Target: strike, Protocol: UDP, Payload: []byte(a2sRules + a2sNone)},
		{Sources: aFew(), Target: strike, Protocol: UDP, Payload: guess(a2sRules)},
		{Sources: anyone(false), Target: strike, Protocol: UDP, Payload: (&sourcePlayer{}).hello(packet{})},
		{Sources: anyone(false), Target: strike, Protocol: UDP, Payload: connect, Random: true, RandomAt: 14},
	}
}

func raknetPing() []Stream {
	ping := raknetPingOf(0)
	var opening raknetPlayer
	return []Stream{
		{Sources: anyone(false), Target: craft, Protocol: UDP, Payload: ping, Random: true, RandomAt: 2},
		{Sources: anyone(false), Target: craft, Protocol: UDP, Payload: ping, Random: true, RandomAt: 26},
		{Sources: aFew(), Target: craft, Protocol: UDP, Payload: ping, Random: true, RandomAt: 2},
		{Sources: anyone(false), Target: craft, Protocol: UDP, Payload: opening.hello(packet{})[:400]},
	}
}

// getstatus asks for what is dozens of times longer than the question.
func getstatus() []Stream {
	return []Stream{
		{Sources: anyone(false), Target: quake, Protocol: UDP, Payload: []byte(quakeGetStatus + "\n")},
		{Sources: anyone(false), Target: quake, Protocol: UDP, Payload: []byte(quakeGetInfo + " lab\n")},
		{Sources: aFew(), Target: quake, Protocol: UDP, Payload: []byte(quakeGetStatus + "\n")},
		{Sources: anyone(false), Target: quake, Protocol: UDP, Payload: (&quakePlayer{id: 7}).hello(packet{})},
	}
}

func fragments() []Stream {
	first, last := &Fragment{More: true}, &Fragment{Offset: 1448}
	return []Stream{
		{Sources: anyone(false), Target: arena4, Protocol: UDP, Payload: junk(1440), Fragment: first},
		{Sources: anyone(false), Target: arena4, Protocol: UDP, Payload: junk(80), Fragment: last},
		{Sources: anyone(true), Target: arena6, Protocol: UDP, Payload: junk(80), Fragment: last},
	}
}

// reflection is what abused servers answer to questions asked in the edge's name, on every UDP service.
func reflection() []Stream {
	pad := func(head string, size int) []byte { return append([]byte(head), junk(size-len(head))...) }
	answers := []struct {
		port  uint16
		shape []byte
	}{
		{53, pad("\x00\x00\x81\x80\x00\x01\x00\x14\x00\x00\x00\x01\x04isc\x00\x00\xff\x00\x01\xc0\x0c", 1400)},
		{123, pad("\xd7\x00\x03\x2a\x00\x06\x00\x48", 440)},
		{389, pad("\x30\x84\x00\x00\x0b\x2d\x02\x01\x07\x64\x84\x00\x00\x0b\x24\x04\x00\x30\x84", 1400)},
		{1900, pad("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: upnp:rootdevice\r\nUSN: uuid:", 300)},
		{11211, pad("\x00\x00\x00\x00\x00\x01\x00\x00VALUE a 0 1024\r\n", 1400)},
	}
	var all []Stream
	for _, to := range []netip.AddrPort{arena4, strike, quake, craft} {
		for _, a := range answers {
			s := Stream{Sources: reflectors(a.port), Target: to, Protocol: UDP, Payload: a.shape}
			if a.port != 1900 { // transaction numbers
				s.Random, s.RandomAt = true, len(a.shape)-len(a.shape)%2-4
			}
			all = append(all, s)
		}
	}
	return append(all, Stream{Sources: reflectors(53), Target: arena4, Protocol: UDP, Payload: junk(1400), Fragment: &Fragment{Offset: 1480}})
}

func hostUDP() []Stream {
	return []Stream{
		{Sources: anyone(false), Target: netip.AddrPortFrom(arena4.Addr(), closedPort), Protocol: UDP, Payload: junk(18)},
		{Sources: anyone(true), Target: netip.AddrPortFrom(arena6.Addr(), closedPort), Protocol: UDP, Payload: junk(18)},
	}
}

func hostICMP() []Stream {
	return []Stream{
		{Sources: anyone(false), Target: arena4, Protocol: Ping, Payload: junk(56)},
		{Sources: aFew(), Target: arena4, Protocol: Ping, Payload: junk(56)},
		{Sources: anyone(true), Target: arena6, Protocol: Ping, Payload: junk(56)},
	}
}

// Each room gets more than is usual and less than what an attack on it begins at; all of them together many times that.
const (
	carpetRooms = 40
	carpetRate  = 250 // packets a second to each
)

func carpetUDP() []Stream {
	var all []Stream
	for n := range carpetRooms {
		all = append(all, Stream{Sources: anyone(false), Target: room(n), Protocol: UDP, Payload: junk(64), Random: true, RandomBytes: 64})
	}
	return all
}

// synOptions are a Linux client's: MSS, SACK, timestamps, window scale.
var synOptions = []byte{2, 4, 5, 180, 4, 2, 8, 10, 7, 11, 13, 17, 0, 0, 0, 0, 1, 3, 3, 7}

// synFlood begins connections that nobody goes on with. SYNs of one kind go to one service, so that answers can be weighed.
func synFlood() []Stream {
	return []Stream{
		{Sources: anyone(false), Target: outpost, Protocol: TCPSYN},
		{Sources: anyone(false), Target: realm, Protocol: TCPSYN, Options: synOptions},
		{Sources: anyone(false), Target: realm, Protocol: TCPSYN, Options: synOptions},
		{Sources: aFew(), Target: realm, Protocol: TCPSYN, Options: synOptions},
	}
}

// ackFlood says what is said in connections, in none. Some guesses a cookie.
func ackFlood() []Stream {
	return []Stream{
		{Sources: anyone(false), Target: realm, Protocol: TCPACK},
		{Sources: anyone(false), Target: realm, Protocol: TCPACK, Options: []byte{1, 1, 8, 10, 7, 11, 13, 17, 19, 23, 29, 31}, Payload: junk(120)},
		{Sources: aFew(), Target: realm, Protocol: TCPACK, Payload: junk(40)},
		{Sources: anyone(false), Target: outpost, Protocol: TCPACK},
	}
}

// synackReflection is what web servers all over answer to SYNs that were sent in the edge's name.
func synackReflection() []Stream {
	options := []byte{2, 4, 5, 180, 4, 2, 8, 10, 7, 11, 13, 17, 19, 23, 29, 31, 1, 3, 3, 7}
	var all []Stream
	for _, port := range []uint16{80, 443, 22} {
		all = append(all, Stream{Sources: reflectors(port), Target: realm, Protocol: TCPSYNACK, Options: options},
			Stream{Sources: anyone(false), Target: realm, Protocol: TCPSYNACK, Options: options})
	}
	return append(all, Stream{Sources: reflectors(443), Target: outpost, Protocol: TCPSYNACK, Options: options})
}

func rstFlood() []Stream {
	return []Stream{
		{Sources: anyone(false), Target: realm, Protocol: TCPRST},
		{Sources: anyone(false), Target: outpost, Protocol: TCPRST},
		{Sources: aFew(), Target: realm, Protocol: TCPRST},
	}
}

func mixed() []Stream {
	return slices.Concat(randomUDP(), fixedUDP(), blindTwoWay(), a2s(), raknetPing(), getstatus(), fragments(), reflection(), hostUDP(), hostICMP(),
		synFlood(), ackFlood(), synackReflection(), rstFlood())
}

// raknetPingOf is an unconnected ping with a client's time.
func raknetPingOf(clock uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{rakPing}, clock)
	return binary.BigEndian.AppendUint64(append(b, rakMagic...), rakGUID)
}

// requests are the shortest that streams ask of each service, in bytes with their IP and L4 headers, by port. Of TCP they are SYNs.
func requests(streams []Stream) map[uint16]int {
	short := map[uint16]int{}
	for _, s := range streams {
		if s.Protocol != UDP && s.Protocol != TCPSYN || s.Fragment != nil || s.Target.Addr().Is6() {
			continue
		}
		port, n := s.Target.Port(), ipv4Len+s.l4Size()
		if old, ok := short[port]; !ok || n < old {
			short[port] = n
		}
	}
	return short
}
