// SPDX-License-Identifier: Apache-2.0

package model

import "bytes"

// Gates that look at a first packet's shape.

const (
	enetCompressed = 1 // params[0]
	enetOOB        = 2
)

// gateENet: CONNECT, alone in its packet, with the host's CRC behind the header or not.
func gateENet(g *First) Said {
	b := g.Payload
	if g.Params[0]&enetOOB != 0 && len(b) >= 4 && bytes.Equal(b[:4], four) {
		word, argument := oobWord(b[4:])
		if (word == "getinfo" || word == "getstatus") && printable(argument) && len(argument) <= argumentMost+1 {
			return Said{Word: Query}
		}
		return Said{}
	}
	if len(b) >= 4 && len(b) < 56 && be16(b) == 0xcfff && g.Params[0]&enetCompressed != 0 {
		return Said{Word: Admit}
	}
	if len(b) < 4 || be16(b) != 0x8fff {
		return Said{}
	}
	switch len(b) {
	case 52:
		b = b[4:]
	case 56:
		b = b[8:]
	default:
		return Said{}
	}
	mtu, window, channels := be32(b[8:]), be32(b[12:]), be32(b[16:])
	if b[0] != 0x82 || b[1] != 0xff || be16(b[2:]) != 1 || mtu < 576 || mtu > 4096 || window < 4096 || window > 65536 || channels < 1 || channels > 255 {
		return Said{}
	}
	return Said{Word: Admit}
}

// gateWireGuard: an initiation.
func gateWireGuard(g *First) bool { return len(g.Payload) == 148 && be32(g.Payload) == 1<<24 }

// gateQUIC: an Initial of version 1 or 2, or of those that params name.
func gateQUIC(g *First) bool {
	b := g.Payload
	if len(b) < 1200 || b[0]&0xc0 != 0xc0 {
		return false
	}
	version, initial := be32(b[1:]), byte(0)
	switch {
	case version == 0x6b3343cf:
		initial = 1
	case version != 1 && !names(g.Params, version):
		return false
	}
	if b[0]>>4&3 != initial {
		return false
	}
	n := int(b[5])
	if n < 8 || n > 20 {
		return false
	}
	b = b[6+n:]
	if n = int(b[0]); n > 20 {
		return false
	}
	b = b[1+n:]
	token, b, ok := quicInt(b)
	if !ok || token > len(b) {
		return false
	}
	length, b, ok := quicInt(b[token:])
	return ok && length >= 21 && length <= len(b)
}

func names(params [6]uint64, version uint32) bool {
	for _, p := range params {
		if p != 0 && p == uint64(version) {
			return true
		}
	}
	return false
}

// quicInt is an integer of variable length, of up to four bytes: nothing in a datagram needs eight.
func quicInt(b []byte) (v int, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	n := 1 << (b[0] >> 6)
	if n == 8 || len(b) < n {
		return 0, nil, false
	}
	v = int(b[0] & 0x3f)
	for _, c := range b[1:n] {
		v = v<<8 | int(c)
	}
	return v, b[n:], true
}

// gateTeamSpeak: TS3INIT1, step 0.
func gateTeamSpeak(g *First) bool {
	b := g.Payload
	return len(b) == 34 && string(b[:8]) == "TS3INIT1" && be16(b[8:]) == 0x65 && be16(b[10:]) == 0 && b[12] == 0x88 && b[17] == 0 && zeros(b[26:])
}

// gateMumble: TLS's first segment; over UDP a ping, or what can be encrypted voice.
func gateMumble(g *First) Said {
	b := g.Payload
	word := Refuse
	switch {
	case g.Proto == tcp:
		if len(b) >= 6 && b[0] == 22 && b[1] == 3 && b[2] <= 4 && b[3] < 64 && b[5] == 1 {
			word = Admit
		}
	case len(b) == 12 && be32(b) == 0:
		word = Query
	case len(b) >= 6 && len(b) <= 1024:
		word = Admit
	}
	return Said{Word: word}
}

// gatePhoton: CONNECT, alone in its packet.
func gatePhoton(g *First) bool {
	b := g.Payload
	return len(b) == 56 && be16(b) == 0xffff && b[2] == 0 && b[3] == 1 &&
		bytes.Equal(b[12:16], []byte{2, 0xff, 1, 4}) && be32(b[16:]) == 0x2c && be32(b[20:]) == 1
}

// gateShape: of the shapes that params tell, in three windows of two words each. A window is a least and a greatest length, and up to
// eight bytes from a place on; a shape is all windows up to the first that says no further one is of it.
func gateShape(g *First) bool {
	flags := func(i int) byte { return byte(g.Params[2*i+1] >> 56) }
	if flags(0)&1 == 0 || g.Proto != map[bool]uint8{true: tcp, false: udp}[flags(0)&4 != 0] {
		return true // nothing is told, or not of this protocol
	}
	fits := true
	for i := 0; i < 3 && flags(i)&1 != 0; i++ {
		fits = fits && inWindow(g.Payload, g.Params[2*i], g.Params[2*i+1])
		if flags(i)&2 != 0 {
			continue
		}
		if fits {
			return true
		}
		fits = true
	}
	return false
}

func inWindow(b []byte, value, place uint64) bool {
	if len(b) < int(place&0xffff) || len(b) > int(place>>16&0xffff) {
		return false
	}
	at := int(place >> 32 & 0xffff)
	for n := range 8 {
		if place>>(48+n)&1 == 0 {
			continue
		}
		var seen byte // behind the packet's end there are zeros, as long as the window begins in it
		if at >= len(b) {
			return false
		}
		if at+n < len(b) {
			seen = b[at+n]
		}
		if seen != byte(value>>(8*n)) {
			return false
		}
	}
	return true
}
