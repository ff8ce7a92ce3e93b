// SPDX-License-Identifier: Apache-2.0

// Package game holds the table of games that a service can name: protocol
// families (source, quake3, raknet ...) and the titles that stand for one
// (cs2, openarena, bedrock ...), with the latency class and the usual ports.
// It names games; recognising one in traffic is the question of pkg/naming.
package game

import (
	"slices"
	"strings"

	"parry/pkg/spell"
)

// Latency classes, from the most to the least demanding. They choose the latency,
// jitter and loss that a route must meet, and the marking of packets.
const (
	ClassFPS    = "fps"
	ClassMOBA   = "moba"
	ClassRTS    = "rts"
	ClassMMORPG = "mmorpg" // the default
)

// Auto is the family of services whose game is to be named from their traffic.
const Auto = "auto"

// Profile is what parry knows about one game by its name alone.
type Profile struct {
	// Name is the word a configuration uses: a family's own name or a title's.
	Name string
	// Family is the protocol family: the game value that decides gate and probe.
	// For a family it equals Name.
	Family string
	// Class is the latency class: fps, moba, rts or mmorpg.
	Class string
	// Aliases are further names of the same.
	Aliases []string
	// Title is the name for people, e.g. "Counter-Strike 2".
	Title string
	// Proto is the transport that carries play, "udp" or "tcp"; "" for auto.
	Proto string
	// Protos are the transports a service of this game listens on unless it says
	// otherwise, Proto first. Empty for auto.
	Protos []string
	// Port is the port that the game's server uses by default, 0 where none is usual.
	Port uint16
	// QueryPort is where the server answers queries (probes); 0 means on Port.
	QueryPort uint16
	// Gate is the name of the program that a stranger's first packets are shown to; "" where none
	// can tell a believable first packet from another.
	Gate string
	// GateParams are what that gate is told of this game.
	GateParams []uint64
	// Proof is the strongest proof of a source's address that the protocol and its gate give:
	// "strong", "weak" or "netchan"; "" for auto.
	Proof string
	// First bounds the payload of a stranger's first packet over Proto, as the gate does. Zero where
	// there is no gate.
	First Bounds
	// MaxPayload is the longest payload over UDP that a player's client sends, in bytes; 0 where
	// that isn't known.
	MaxPayload uint16
	// Rate is the most packets a second that a player's client sends in play, over Proto and with a payload each; 0 where that isn't known.
	Rate uint16
}

// Bounds are a least and a most, in bytes of payload; a most of 0 is none.
type Bounds struct{ Min, Max uint16 }

// Proofs of a source's address.
const (
	ProofStrong = "strong" // it echoed a secret that was sent to it, or finished a TCP handshake
	ProofWeak   = "weak"   // it spoke, was answered, and spoke again: a blind sender may guess that
	// ProofNetchan is weak at first, and strong by the first right checksum of Quake III's netchan, if the server's protocol has it.
	ProofNetchan = "netchan"
)

// IsFamily reports whether the profile is a protocol family, not a title.
func (p Profile) IsFamily() bool { return p.Name == p.Family }

// Classes returns the latency classes, the most demanding first.
func Classes() []string { return []string{ClassFPS, ClassMOBA, ClassRTS, ClassMMORPG} }

// Lookup returns the profile of a family or title. Names are lower-case and exact;
// Nearest finds the one that was meant.
func Lookup(name string) (Profile, bool) {
	for _, table := range [][]row{families[:], titles[:]} {
		for _, r := range table {
			if r.name == name || slices.Contains(r.aliases, name) {
				return r.profile(name), true
			}
		}
	}
	return Profile{}, false
}

// Open reports whether the name leaves it to traffic which game is played.
func (p *Profile) Open() bool {
	return p.Name == Auto || p.Name == "generic_udp" || p.Name == "generic_tcp"
}

// Nearest returns the known name closest to a misspelt one, if any is close.
func Nearest(name string) (string, bool) { return spell.Nearest(name, Names()) }

// Names returns every name that Lookup knows: the families in the order of the
// documentation, then the titles and their aliases in alphabetical order.
func Names() []string {
	return append(Families(), Titles()...)
}

// Families returns the names of the protocol families in the order of the documentation.
func Families() []string {
	names := make([]string, 0, len(families))
	for _, r := range families {
		names = append(names, r.name)
	}
	return names
}

// Titles returns the names and aliases of the titles, in alphabetical order.
func Titles() []string {
	var names []string
	for _, r := range titles {
		names = append(append(names, r.name), r.aliases...)
	}
	slices.Sort(names)
	return names
}

// Profiles returns all profiles: the families in the order of the documentation, then the titles in that of the table.
func Profiles() []Profile {
	var all []Profile
	for _, table := range [][]row{families[:], titles[:]} {
		for _, r := range table {
			all = append(all, r.profile(r.name))
		}
	}
	return all
}

// GatePattern is what a gate may be called, besides the words auto and off. Nothing in it leads out of a folder.
const GatePattern = `^[a-z][a-z0-9_]{0,22}$`

// Gates returns the names of the gates that families are served by, in alphabetical order.
func Gates() []string {
	var names []string
	for _, w := range wires {
		if w.gate != "" {
			names = append(names, w.gate)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// row is one line of the table. protos are separated by a space.
type row struct {
	name, family, class, title, protos string
	port, query                        uint16
	aliases                            []string
	params                             []uint64 // of its family's gate
	legacy                             bool     // Quake III's packets of play, without their checksum
	open                               bool     // its first packets are not, or not surely, those of its family's gate
}

// wire is what a family's protocol shows on the wire.
type wire struct {
	family, gate, proof string
	first               Bounds
	payload             uint16
	rate                uint16
}

func (r row) profile(name string) Profile {
	p := Profile{
		Name: name, Family: r.family, Class: r.class, Title: r.title,
		Protos: strings.Fields(r.protos), Port: r.port, QueryPort: r.query, Aliases: slices.Clone(r.aliases),
	}
	if len(p.Protos) > 0 {
		p.Proto = p.Protos[0]
	}
	for _, w := range wires {
		if w.family != r.family {
			continue
		}
		p.Proof, p.MaxPayload, p.Rate = w.proof, w.payload, w.rate
		if r.legacy {
			p.Proof = ProofWeak
		}
		if !r.open {
			p.Gate, p.GateParams, p.First = w.gate, slices.Clone(r.params), w.first
		} else if p.Proto == "udp" {
			p.Proof, p.MaxPayload, p.Rate = ProofWeak, 0, 0
		}
	}
	return p
}
