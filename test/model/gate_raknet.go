// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"encoding/binary"
)

// RakNet's offline messages: all else needs a session.

const rakOwnCookies = 1 // params[0]: the server makes cookies itself

var rakMagic = []byte{0x00, 0xff, 0xff, 0x00, 0xfe, 0xfe, 0xfe, 0xfe, 0xfd, 0xfd, 0xfd, 0xfd, 0x12, 0x34, 0x56, 0x78}

func gateRakNet(g *First) Said {
	b := g.Payload
	hasMagic := func(at int) bool { return len(b) >= at+16 && bytes.Equal(b[at:at+16], rakMagic) }
	if len(b) == 0 {
		return Said{}
	}
	switch b[0] {
	case 1, 2:
		if len(b) == 33 && hasMagic(9) {
			return g.rakPing()
		}
	case 5:
		if hasMagic(1) && len(b) >= 400 && len(b) <= 1492 && rakVersion(b[17], g.Params[1]) && zeros(b[18:]) {
			return g.rakOpen()
		}
	case 7:
		if hasMagic(1) {
			return g.rakOpen2()
		}
	}
	return Said{}
}

func rakVersion(v byte, more uint64) bool {
	return v == 6 || v >= 8 && v <= 11 || v < 64 && more>>v&1 != 0
}

// rakPing: the pong is the server's, but for the time that it echoes.
func (g *First) rakPing() Said {
	a := g.fresh(0)
	if g.Watch || a == nil || len(a.Data) < 35 {
		return Said{Word: Query}
	}
	pong := append([]byte{}, a.Data...)
	copy(pong[1:9], g.Payload[1:9])
	return Said{Word: Reply, Payload: pong}
}

// rakKnowsCookies: clients of older versions may take a cookie for an MTU.
const rakKnowsCookies = 11

// rakOpen is the first request. What answers it offers the MTU that its length tried out, as its sender counts it.
func (g *First) rakOpen() Said {
	a := g.fresh(0)
	if !g.Cookies || g.Watch || g.Payload[17] < rakKnowsCookies || g.Params[0]&rakOwnCookies != 0 || a == nil || len(a.Data) < 35 {
		return Said{Word: Admit}
	}
	most := uint64(1492)
	if g.Params[2] != 0 {
		most = g.Params[2]
	}
	reply := append(append([]byte{6}, rakMagic...), a.Data[9:17]...)
	reply = append(append(reply, 1), g.cookie(PurposeOpening)...)
	reply = binary.BigEndian.AppendUint16(reply, uint16(min(uint64(len(g.Payload)+28), most)))
	return Said{Word: Reply, Payload: reply}
}

// rakOpen2 is the second, with the cookie: the server gets it without.
func (g *First) rakOpen2() Said {
	b := g.Payload
	own := g.Params[0]&rakOwnCookies != 0
	switch len(b) { // address, MTU and GUID take 17 bytes or, IPv6's, 39
	case 17 + 17, 17 + 39:
		if g.Cookies && !own {
			return Said{}
		}
		return Said{Word: Admit}
	case 17 + 5 + 17, 17 + 5 + 39:
	default:
		return Said{}
	}
	switch {
	case b[21] > 1: // the client's own challenge: yes or no
		return Said{}
	case own || g.Watch:
		return Said{Word: Admit}
	case !g.holds(PurposeOpening, b[17:21]):
		if g.Cookies {
			return Said{}
		}
		return Said{Word: Admit} // one of the server's
	}
	return Said{Word: Admit, Proof: Strong, Payload: append(append([]byte{}, b[:17]...), b[22:]...)}
}
