// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// First is a stranger's first packet, as a gate is shown it.
type First struct {
	Now      uint64
	Service  int
	Proto    uint8
	From, To netip.AddrPort
	Payload  []byte
	State    State
	Watch    bool // the service does not enforce: judge, and neither change nor answer anything
	Cookies  bool // sources are to be proven by the edge's cookies
	Regular  bool
	Params   [6]uint64
	Cached   bool // its server has a cache
	Answers  [4]*Answer
	Secret   [2]uint64
}

// State is how a service fares.
type State int

// The states.
const (
	Normal State = iota
	Elevated
	Attack
)

// Word is what a gate says of a packet.
type Word int

// The words.
const (
	Refuse Word = iota
	Admit       // a believable first packet
	Query       // a query that the server is to answer
	Reply       // the payload is the answer
	Ask         // a query whose answer takes several packets
)

// Proof is what is known of a source's address.
type Proof int

// The proofs.
const (
	Unknown Proof = iota
	Weak
	Strong
)

// Said is a gate's word, and what it makes of the payload: nil = it stays as it is.
type Said struct {
	Word    Word
	Proof   Proof
	Kind    int
	Payload []byte
}

// Answer is one answer in a server's cache.
type Answer struct {
	Data    []byte
	Several bool
	Until   uint64
}

// fresh is the cached answer of a kind, nil if there is none that may be served.
func (g *First) fresh(kind int) *Answer {
	if !g.Cached {
		return nil
	}
	if a := g.Answers[kind]; a != nil && int64(a.Until-g.Now) > 0 && (len(a.Data) > 0 || a.Several) {
		return a
	}
	return nil
}

// Gates are parry's own, by name.
func Gates() map[string]func(*First) Said {
	shape := func(sound func(*First) bool) func(*First) Said {
		return func(g *First) Said {
			if sound(g) {
				return Said{Word: Admit}
			}
			return Said{}
		}
	}
	all := map[string]func(*First) Said{
		"source": gateSource, "quake3": gateQuake3, "raknet": gateRakNet, "stun": gateSTUN, "minecraft_java": shape(gateMinecraft),
		"enet": gateENet, "wireguard": shape(gateWireGuard), "quic": shape(gateQUIC), "unreal": shape(gateUnreal),
		"teamspeak3": shape(gateTeamSpeak), "mumble": gateMumble, "photon": shape(gatePhoton), "steam_sdr": gateSteam,
		"shape": shape(gateShape),
	}
	spoken := map[string]uint8{"minecraft_java": tcp, "mumble": 0, "shape": 0}
	for name, gate := range all {
		proto, ok := spoken[name]
		if !ok {
			proto = udp
		}
		all[name] = func(g *First) Said {
			if proto != 0 && g.Proto != proto { // its protocol is not spoken there: it isn't the gate's to judge
				return Said{Word: Admit}
			}
			return gate(g)
		}
	}
	return all
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
