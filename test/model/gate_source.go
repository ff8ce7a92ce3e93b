// SPDX-License-Identifier: Apache-2.0

package model

import "bytes"

// Source and GoldSrc: connectionless packets begin with four ff bytes; integers are little-endian.

const sourceGNS = 1 // params[0]: Steam networking begins here, too

var (
	four   = []byte{0xff, 0xff, 0xff, 0xff}
	a2sAsk = []byte("Source Engine Query\x00")
)

func gateSource(g *First) Said {
	b := g.Payload
	if len(b) < 5 || !bytes.Equal(b[:4], four) {
		if g.Params[0]&sourceGNS != 0 {
			return gateSteam(g)
		}
		return Said{}
	}
	for _, words := range []string{"getchallenge steam", "connect 47 ", "connect 48 "} { // GoldSrc's way in
		if bytes.HasPrefix(b[4:], []byte(words)) && len(b) >= 17 {
			return Said{Word: Admit}
		}
	}
	rest := b[5:]
	switch b[4] {
	case 'T': // A2S_INFO
		if !bytes.HasPrefix(rest, a2sAsk) {
			return Said{}
		}
		switch rest = rest[len(a2sAsk):]; {
		case len(rest) == 0:
			return g.a2s(0, -1)
		case len(rest) == 4, len(b) == 1200 && zeros(rest[4:]):
			return g.a2s(0, 25)
		}
	case 'U', 'V': // A2S_PLAYER, A2S_RULES
		if len(rest) == 4 {
			return g.a2s(int(b[4]-'U')+1, 5)
		}
	case 'W': // A2S_SERVERQUERY_GETCHALLENGE
		if len(rest) == 0 {
			return g.a2s(0, -1)
		}
	case 'i': // A2A_PING
		if len(rest) == 0 {
			return Said{Word: Query}
		}
	case 'q':
		if len(rest) == 18 && isConnectText(rest) {
			return Said{Word: Admit}
		}
	case 'k':
		if len(b) > 9 {
			return Said{Word: Admit}
		}
	}
	return Said{}
}

// isConnectText: "connect0x", eight hexadecimal digits, NUL.
func isConnectText(b []byte) bool {
	digits, ok := bytes.CutPrefix(b[:17], []byte("connect0x"))
	if !ok || b[17] != 0 {
		return false
	}
	for _, c := range digits {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}

// a2s is a query of a kind, whose challenge is at an offset (-1: it has none). Who has no good one is told one; who has gets
// the server's answer, or, where there is none to be had, goes on to the server as one that has none of the server's.
func (g *First) a2s(kind, at int) Said {
	if g.Watch || !g.Cached && !g.Cookies { // the server's own challenges serve
		return Said{Word: Query}
	}
	if at < 0 || !g.holds(PurposeChallenge, g.Payload[at:at+4]) {
		return Said{Word: Reply, Payload: append(append(append([]byte{}, four...), 'A'), g.cookie(PurposeChallenge)...)}
	}
	a := g.fresh(kind)
	switch {
	case a == nil:
		on := append([]byte{}, g.Payload[:at]...) // without padding
		return Said{Word: Query, Proof: Strong, Payload: append(on, four...)}
	case a.Several:
		return Said{Word: Ask, Proof: Strong, Kind: kind}
	}
	return Said{Word: Reply, Proof: Strong, Payload: a.Data}
}

// Steam networking over plain UDP. A ChallengeRequest is padded, so that what answers it is shorter.
func gateGNS(b []byte) Said {
	if len(b) < 512 || len(b) > 1300 || b[0] != 32 || b[3] != 0x0d {
		return Said{}
	}
	if body := int(b[1]) | int(b[2])<<8; body < 1 || body > len(b)-3 {
		return Said{}
	}
	return Said{Word: Admit}
}

// gateSteam: that, and a ping of Steam Datagram Relay, of 100 or 1300 bytes.
func gateSteam(g *First) Said {
	b := g.Payload
	if (len(b) == 100 || len(b) == 1300) && b[0] == 1 && (b[1] == 0x01 || b[1] == 0x81) && string(b[2:8]) == "sdping" {
		return Said{Word: Query}
	}
	return gateGNS(b)
}
