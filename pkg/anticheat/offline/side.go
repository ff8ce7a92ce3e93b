// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bytes"

	"parry/pkg/anticheat"
	"parry/pkg/frame"
)

// side is who sent a packet, by what it says.
type side uint8

const (
	unknown side = iota
	byClient
	byServer
)

// sideWithin is in how many packets of a flow it shows who is its client.
const sideWithin = 64

// sideOf tells by a packet itself who sent it: by TCP's handshake, and by what only clients, or only servers, of Quake III, Source and RakNet say.
func sideOf(p *frame.Packet) side {
	if p.Proto == frame.TCP {
		switch p.Flags & 0x12 {
		case 0x02:
			return byClient
		case 0x12:
			return byServer
		}
		return unknown
	}
	b := p.Payload
	if word, ok := bytes.CutPrefix(b, []byte("\xff\xff\xff\xff")); ok {
		for _, w := range []string{"getchallenge", "connect ", "getinfo", "getstatus", "rcon", "TSource Engine Query", "q"} {
			if bytes.HasPrefix(word, []byte(w)) {
				return byClient
			}
		}
		for _, w := range []string{"challengeResponse", "connectResponse", "infoResponse", "statusResponse", "print", "A", "I", "D", "E"} {
			if bytes.HasPrefix(word, []byte(w)) {
				return byServer
			}
		}
		return unknown
	}
	magic := []byte("\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78")
	if len(b) >= 17 && bytes.Equal(b[1:17], magic) {
		switch b[0] {
		case 0x05, 0x07:
			return byClient
		case 0x06, 0x08:
			return byServer
		}
	}
	return unknown
}

// ephemeral is from which port on systems pick one for a client.
const ephemeral = 32768

// begins tells which way a flow goes by its first packet: its sender is the client, unless the packet says otherwise, or says nothing and comes from
// a port of a server's.
func (r *reader) begins(p *frame.Packet) anticheat.Session {
	k := anticheat.Session{Client: p.Src, Front: p.Dst, Proto: p.Proto}
	from, to := p.Src.Port(), p.Dst.Port()
	who := sideOf(p)
	if who == byServer || who == unknown && (r.ports[from] && !r.ports[to] || !r.ports[to] && from < ephemeral && to >= ephemeral) {
		k.Client, k.Front = p.Dst, p.Src
	}
	return k
}

// turn turns a flow around that was taken the wrong way: what was judged of its few packets until now is forgotten.
func (r *reader) turn(f *follower, p *frame.Packet, down bool) (isDown bool) {
	who := sideOf(p)
	if f.packets > sideWithin || who == unknown || f.turned || down == (who == byServer) {
		return down
	}
	r.analyser.End(f.session, f.last)
	delete(r.flows, f.session)
	f.session.Client, f.session.Front = f.session.Front, f.session.Client
	f.turned = true
	r.flows[f.session] = f
	return !down
}
