// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"

	"parry/test/model"
)

// firsts makes first packets' payloads: good ones of a gate's protocol, and what is nearly one.
type firsts struct{ *rand.Rand }

func (r firsts) one(of int) bool { return r.IntN(of) == 0 }

func choose[T any](r firsts, all ...T) T { return all[r.IntN(len(all))] }

// payload is what somebody sends to a service of a gate. g says who asks when, and which cookies hold.
func (r firsts) payload(gate string, g *model.First) []byte {
	makers := map[string]func(*model.First) []byte{
		"source": r.source, "raknet": r.raknet, "quake3": r.quake, "stun": r.stun, "minecraft_java": r.minecraft, "enet": r.enet,
		"wireguard": r.wireguard, "quic": r.quic, "unreal": r.unreal, "teamspeak3": r.teamspeak, "mumble": r.mumble, "photon": r.photon,
		"steam_sdr": r.steam, "shape": r.shaped,
	}
	b := makers[gate](g)
	for r.one(4) {
		b = r.spoil(b)
	}
	if len(b) > longestPayload {
		b = b[:longestPayload]
	}
	return b
}

const longestPayload = 1500

// spoil changes a good payload a little.
func (r firsts) spoil(b []byte) []byte {
	b = append([]byte{}, b...)
	if len(b) == 0 {
		return r.random(r.IntN(60))
	}
	at := r.IntN(len(b))
	if r.one(2) {
		at = r.IntN(min(len(b), 40))
	}
	switch r.IntN(9) {
	case 0, 1:
		b[at] ^= 1 << r.IntN(8)
	case 2:
		b[at] = byte(r.Uint32())
	case 3:
		b[at] = choose[byte](r, 0, 1, 4, 5, 6, 7, 0x0a, 0x20, 0x40, 0x7f, 0x80, 0xfe, 0xff)
	case 4:
		return b[:at]
	case 5:
		return append(b, r.random(1+r.IntN(20))...)
	case 6:
		return append(b, make([]byte, r.IntN(64))...)
	case 7:
		b[len(b)-1] ^= 1 << r.IntN(8)
	default:
		return append(append(append([]byte{}, b[:at]...), byte(r.Uint32())), b[at:]...)
	}
	return b
}

func (r firsts) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// cookie is one that holds, or one that nearly does: of another port or service, for another purpose, a step too old or not
// there yet, none, or invented.
func (r firsts) cookie(g *model.First, p model.Purpose) []byte {
	who, step := *g, g.Now>>model.CookieStep
	if r.one(3) {
		step--
	}
	switch r.IntN(16) {
	case 0:
		who.From = netip.AddrPortFrom(g.From.Addr(), g.From.Port()^1)
	case 1:
		who.Service ^= 1
	case 2:
		p ^= 2
	case 3:
		step -= 2
	case 4:
		step++
	case 5:
		return choose(r, []byte{0, 0, 0, 0}, []byte{0xff, 0xff, 0xff, 0xff}, r.random(4))
	case 6:
		who.To = netip.AddrPortFrom(g.To.Addr(), g.To.Port()+1)
	case 7:
		who.Secret[0]++
	}
	return binary.LittleEndian.AppendUint32(nil, who.Cookie(p, step))
}

var ffff = []byte{0xff, 0xff, 0xff, 0xff}

func oob(text string) []byte { return append(append([]byte{}, ffff...), text...) }

func (r firsts) source(g *model.First) []byte {
	info := "TSource Engine Query\x00"
	switch r.IntN(12) {
	case 0:
		return oob(info)
	case 1, 2:
		return append(oob(info), r.cookie(g, model.PurposeChallenge)...)
	case 3:
		b := append(oob(info), r.cookie(g, model.PurposeChallenge)...)
		if r.one(3) {
			b = oob(info)
		}
		return append(b, make([]byte, 1200-len(b))...)
	case 4, 5:
		return append(oob("U"), r.cookie(g, model.PurposeChallenge)...)
	case 6, 7:
		return append(oob("V"), r.cookie(g, model.PurposeChallenge)...)
	case 8:
		return oob(choose(r, "W", "i", "X", "l", "getchallenge steam\n", "connect 48 1", "connec", "getchallengE"))
	case 9:
		return oob("qconnect0x0" + choose(r, "1234567", "abcdefA", "0000000", "xyz1234") + "\x00")
	case 10:
		return append(oob("k"), r.random(r.IntN(300))...)
	}
	return r.gns()
}

func (r firsts) gns() []byte {
	b := make([]byte, choose(r, 512, 512, 511, 700, 1300, 1301))
	b[0], b[3] = 32, 0x0d
	binary.LittleEndian.PutUint16(b[1:], uint16(choose(r, 1, 20, 0, len(b)-3, len(b)-2, 60000)))
	return b
}

func (r firsts) steam(*model.First) []byte {
	if r.one(2) {
		return r.gns()
	}
	b := r.random(choose(r, 100, 1300, 99, 101))
	copy(b, "\x01"+choose(r, "\x01", "\x81", "\x41")+"sdping")
	return b
}

const rakMagic = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"

func (r firsts) raknet(g *model.First) []byte {
	switch r.IntN(4) {
	case 0:
		return append(append(append([]byte{choose[byte](r, 1, 1, 2)}, r.random(8)...), rakMagic...), r.random(8)...)
	case 1:
		b := make([]byte, choose(r, 399, 400, 548, 1172, 1464, 1492, 1493, 700))
		b[0], b[17] = 5, choose[byte](r, 11, 10, 6, 8, 7, 12, 5, 63, 64, 255)
		copy(b[1:], rakMagic)
		if r.one(6) {
			b[18+r.IntN(len(b)-18)] = 1
		}
		return b
	case 2:
		b := append([]byte{7}, rakMagic...)
		if !r.one(5) {
			b = append(append(b, r.cookie(g, model.PurposeOpening)...), byte(r.IntN(8)/7))
		}
		if r.one(3) {
			return append(append(b, 6), r.random(28+10)...)
		}
		return append(append(b, 4), r.random(6+10)...)
	}
	b := r.random(1 + r.IntN(60))
	b[0] = choose[byte](r, 0x84, 0x80, 0xc0, 9, 0x7b)
	return b
}

func (r firsts) quake(*model.First) []byte {
	ends := choose(r, "", "\n", "\n", "\x00", "\n\x00", "\x00\n", "\n\n")
	argument := func() string {
		long := choose(r, 1, 3, 8, 8, 31, 127, 128, 129, 140)
		b := make([]byte, long)
		for i := range b {
			b[i] = byte('!' + r.IntN('~'-'!'+1))
			if r.one(60) {
				b[i] = choose[byte](r, ' ', '"', '\\', ';', '%', '\n', 0x7f, 0, 0x80, '\t')
			}
			if r.one(2) {
				b[i] = byte('a' + r.IntN(26))
			}
		}
		return choose(r, "", " ", " ", " ", "  ") + string(b)
	}
	switch r.IntN(8) {
	case 0:
		return oob("getinfo" + ends)
	case 1:
		return oob("getstatus" + ends)
	case 2, 3:
		return oob("getinfo" + argument() + ends)
	case 4, 5:
		return oob("getstatus" + argument() + ends)
	case 6:
		return oob("getchallenge" + choose(r, "", " 12345 Quake3Arena", " -5", argument()) + ends)
	}
	return append(oob(choose(r, "connect ", "connect", "connect \"", "rcon x status", "disconnect", "ipAuthorize 1", "getinf", "getinfos")),
		r.random(choose(r, 0, 10, 240, 1387, 1388, 1389))...)
}

func (r firsts) stun(*model.First) []byte {
	var attributes []byte
	for range choose(r, 0, 0, 1, 2, 5, 23, 24, 25) {
		if r.one(6) { // no more of them
			break
		}
		n := choose(r, 0, 4, 8, 3, 17)
		kind := choose[uint16](r, 0x8022, 0x802a, 0x0006, 0x0024, 0x8028, 0x0019, 0xc001)
		attributes = binary.BigEndian.AppendUint16(attributes, kind)
		attributes = binary.BigEndian.AppendUint16(attributes, uint16(n))
		attributes = append(attributes, r.random((n+3)&^3)...)
	}
	b := binary.BigEndian.AppendUint16(nil, choose[uint16](r, 1, 1, 1, 3, 0x0101, 4, 0x4000))
	b = binary.BigEndian.AppendUint16(b, uint16(len(attributes)))
	b = binary.BigEndian.AppendUint32(b, 0x2112a442)
	return append(append(b, r.random(12)...), attributes...)
}

func appendVarInt(b []byte, v uint32) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func framed(b []byte) []byte { return append(appendVarInt(nil, uint32(len(b))), b...) }

func (r firsts) minecraft(*model.First) []byte {
	if r.one(8) {
		old := []byte{0xfe, 1, 0xfa, 0, 11}
		for _, c := range "MC|PingHost" {
			old = append(old, 0, byte(c))
		}
		host := r.IntN(20)
		old = binary.BigEndian.AppendUint16(old, uint16(7+2*host+r.IntN(8)/7))
		old = binary.BigEndian.AppendUint16(append(old, 74), uint16(host))
		old = append(old, r.random(2*host+4)...)
		return choose(r, []byte{0xfe}, []byte{0xfe, 1}, old)
	}
	version := choose[uint32](r, 4, 47, 340, 765, 766, 772, ^uint32(0), 3, 0, 1_000_000, 1_000_001, 1<<30+200, 1<<30-1, 1<<31, 1<<29)
	next := choose[uint32](r, 1, 1, 2, 2, 3, 0, 4, 200)
	host := choose(r, 0, 1, 9, 30, 255, 300, 765, 766)
	b := appendVarInt([]byte{0}, version)
	b = append(appendVarInt(b, uint32(host)), r.random(host+2)...)
	b = framed(appendVarInt(b, next))
	name := choose(r, 0, 1, 16, 17, 64, 65)
	login := append(appendVarInt([]byte{0}, uint32(name)), r.random(name+choose(r, 0, 1, 16, 17, 600))...)
	return append(b, choose(r, nil, nil, []byte{1, 0}, []byte{1, 0}, append([]byte{1, 0, 9, 1}, r.random(8)...), framed(login), framed(login))...)
}

func (r firsts) enet(*model.First) []byte {
	if r.one(6) {
		return r.quake(nil)
	}
	flags := choose[uint16](r, 0x8fff, 0x8fff, 0xbfff, 0xcfff, 0x0fff, 0x8ffe, 0x9fff)
	b := binary.BigEndian.AppendUint16(nil, flags)
	b = append(b, r.random(2)...)
	if r.one(3) {
		b = append(b, r.random(4)...)
	}
	b = append(b, 0x82, 0xff, 0, 1, 0, 0, 0xff, 0xff)
	b = binary.BigEndian.AppendUint32(b, choose[uint32](r, 1200, 1392, 576, 575, 4096, 4097))
	b = binary.BigEndian.AppendUint32(b, choose[uint32](r, 65536, 4096, 4095, 65537))
	b = binary.BigEndian.AppendUint32(b, choose[uint32](r, 1, 2, 255, 256, 0))
	return append(b, r.random(28)...)
}

func (r firsts) wireguard(*model.First) []byte {
	b := r.random(choose(r, 148, 148, 148, 92, 147, 149))
	copy(b, []byte{choose[byte](r, 1, 1, 1, 2, 4), 0, 0, 0})
	return b
}

func (r firsts) quic(*model.First) []byte {
	version := choose[uint32](r, 1, 1, 0x6b3343cf, 0xff00001d, 0, 2)
	first := byte(0xc0)
	if version == 0x6b3343cf {
		first = 0xd0
	}
	b := binary.BigEndian.AppendUint32([]byte{first | byte(r.IntN(16))}, version)
	id := choose(r, 8, 8, 20, 7, 21, 0)
	b = append(append(b, byte(id)), r.random(id)...)
	id = choose(r, 0, 0, 8, 20, 21)
	b = append(append(b, byte(id)), r.random(id)...)
	token := choose(r, 0, 0, 20, 64, 300, 1100)
	b = append(r.quicInt(b, token), r.random(token)...)
	total := choose(r, 1200, 1200, 1250, 1199, 1472)
	rest := max(total-len(b)-2, 0)
	b = r.quicInt(b, choose(r, rest, rest, rest-1, rest+1, 20, 21, 0))
	return append(b, r.random(max(total-len(b), 0))...)
}

func (r firsts) quicInt(b []byte, v int) []byte {
	switch {
	case r.one(12):
		return binary.BigEndian.AppendUint64(b, 3<<62|uint64(v))
	case r.one(8):
		return binary.BigEndian.AppendUint32(b, 2<<30|uint32(v))
	case v < 64 && v >= 0:
		return append(b, byte(v))
	}
	return binary.BigEndian.AppendUint16(b, 1<<14|uint16(v&0x3fff))
}

func (r firsts) teamspeak(*model.First) []byte {
	b := append([]byte("TS3INIT1\x00\x65\x00\x00\x88"), r.random(4)...)
	b = append(append(b, choose[byte](r, 0, 0, 0, 0, 1, 2, 4)), r.random(8)...)
	return append(b, make([]byte, 8)...)
}

func (r firsts) mumble(*model.First) []byte {
	switch r.IntN(3) {
	case 0:
		return append([]byte{0, 0, 0, choose[byte](r, 0, 0, 0, 1)}, r.random(8)...)
	case 1:
		return r.random(choose(r, 5, 6, 12, 40, 1024, 1025))
	}
	b := r.random(choose(r, 5, 6, 9, 200, 517))
	copy(b, []byte{22, choose[byte](r, 3, 3, 3, 2), 1, choose[byte](r, 0, 2, 63, 64), 0, choose[byte](r, 1, 1, 1, 2)})
	return b
}

func (r firsts) photon(*model.First) []byte {
	b := append([]byte{0xff, 0xff, choose[byte](r, 0, 0, 1, 2), 1}, r.random(8)...)
	b = append(b, 2, 0xff, 1, 4, 0, 0, 0, 0x2c, 0, 0, 0, 1)
	return append(b, r.random(56-24)...)
}

// shaped is a payload that the windows of params mean, as long as they agree.
func (r firsts) shaped(g *model.First) []byte {
	n := r.IntN(3)
	place := g.Params[2*n+1]
	least, most := int(place&0xffff), int(place>>16&0xffff)
	b := r.random(min(least+r.IntN(max(min(most, least+40)-least, 0)+1), 1500))
	for i := range 3 {
		value, place := g.Params[2*i], g.Params[2*i+1]
		for j := range 8 {
			if at := int(place>>32&0xffff) + j; (i == n || r.one(2)) && place>>(48+j)&1 != 0 && at < len(b) {
				b[at] = byte(value >> (8 * j))
			}
		}
	}
	return b
}

// windows are params of the gate that is told of shapes.
func (r firsts) windows() (p [6]uint64) {
	tcp := choose[uint64](r, 0, 0, 4)
	for i := range 3 {
		least := choose(r, 0, 1, 4, 8, 20, 33, 1400)
		most := choose(r, least, least+1, least+40, 65535, 65535)
		at := choose(r, 0, 0, 0, max(least-8, 0), max(least-3, 0), r.IntN(least+4), 65535-r.IntN(4))
		flags := choose[uint64](r, 1, 1, 1, 3, 3, 0) | tcp
		p[2*i], p[2*i+1] = r.Uint64(), uint64(least)|uint64(most)<<16|uint64(at)<<32|choose[uint64](r, 0, 0x0f, 0xff, 0x81, uint64(r.IntN(256)))<<48|flags<<56
	}
	return p
}

// answer is what a daemon may have cached of a kind.
func (r firsts) answer(gate string, kind int, now uint64) *model.Answer {
	a := &model.Answer{Until: now + uint64(choose(r, int64(1), int64(5e9), int64(5e9), int64(0), -int64(1e9)))}
	switch {
	case gate == "source" && r.one(4):
		a.Several = true
	case gate == "raknet":
		text := r.IntN(120)
		a.Data = append(append([]byte{0x1c}, make([]byte, 8)...), r.random(8)...)
		a.Data = append(append(a.Data, rakMagic...), 0, byte(text))
		a.Data = append(a.Data, r.random(text)...)
	case gate == "quake3":
		a.Data = oob([]string{"infoResponse\n", "statusResponse\n"}[min(kind, 1)] + "\\sv_hostname\\" + strings.Repeat("x", choose(r, 1, 2, 33, 500, 1240, 1250, 1300)))
	default:
		a.Data = r.random(1 + r.IntN(choose(r, 40, 250, 1400)))
	}
	return a
}
