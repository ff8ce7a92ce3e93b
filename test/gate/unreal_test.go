// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"testing"
)

// bitstream is written least significant bit first.
type bitstream struct {
	b []byte
	n int
}

func (s *bitstream) put(v uint64, width int) *bitstream {
	for i := range width {
		if s.n%8 == 0 {
			s.b = append(s.b, 0)
		}
		s.b[s.n/8] |= byte(v>>i&1) << (s.n % 8)
		s.n++
	}
	return s
}

// ue5 is the fields of an initial packet of Unreal Engine 5.
type ue5 struct {
	magicBits                            int
	magic, handshake, restart            uint64
	least, version, kind, sent           uint64
	secret, timestamp, cookie, lastZeros uint64
	padding                              []byte
}

func (u ue5) bytes() []byte {
	s := &bitstream{}
	s.put(u.magic, u.magicBits).put(0, 2).put(1, 3).put(u.handshake, 1).put(u.restart, 1)
	s.put(u.least, 8).put(u.version, 8).put(u.kind, 8).put(u.sent, 8).put(0x0cae3144, 32).put(0, 16)
	s.put(u.secret, 1).put(u.timestamp, 64).put(u.cookie, 64).put(0, 64).put(u.lastZeros, 32)
	for _, b := range u.padding {
		s.put(uint64(b), 8)
	}
	return s.put(1, 1).b
}

func goodUE5(magicBits int, magic uint64) ue5 {
	return ue5{magicBits: magicBits, magic: magic, handshake: 1, least: 3, version: 4, sent: 1, padding: bytes.Repeat([]byte{0xa5}, 10)}
}

// ue4 is the initial packet of Unreal Engine 4.
func ue4(magicBits int, magic uint64) []byte {
	s := &bitstream{}
	return s.put(magic, magicBits).put(1, 1).put(0, 64).put(0, 64).put(0, 64).put(0, 34).put(1, 1).b
}

func ue5Rows(magicBits int, magic uint64) []row {
	with := func(change func(*ue5)) []byte {
		u := goodUE5(magicBits, magic)
		change(&u)
		return u.bytes()
	}
	return []row{
		{"initial", goodUE5(magicBits, magic).bytes(), pass},
		{"the tenth try", with(func(u *ue5) { u.sent = 10 }), pass},
		{"no padding", with(func(u *ue5) { u.padding = nil }), pass},
		{"the newest version", with(func(u *ue5) { u.version = 8 }), pass},
		{"longer than a handshake", with(func(u *ue5) { u.padding = bytes.Repeat([]byte{1}, 30) }), refuse},
		{"no handshake", with(func(u *ue5) { u.handshake = 0 }), refuse},
		{"a restart", with(func(u *ue5) { u.restart = 1 }), refuse},
		{"a response", with(func(u *ue5) { u.kind = 2 }), refuse},
		{"none sent", with(func(u *ue5) { u.sent = 0 }), refuse},
		{"a version to come", with(func(u *ue5) { u.version = 9 }), refuse},
		{"a version of old", with(func(u *ue5) { u.least, u.version = 2, 2 }), refuse},
		{"least above the version", with(func(u *ue5) { u.least = 5 }), refuse},
		{"a secret", with(func(u *ue5) { u.secret = 1 }), refuse},
		{"a timestamp", with(func(u *ue5) { u.timestamp = 1 }), refuse},
		{"a timestamp's last bit", with(func(u *ue5) { u.timestamp = 1 << 63 }), refuse},
		{"a cookie", with(func(u *ue5) { u.cookie = 1 << 20 }), refuse},
		{"a cookie's last bit", with(func(u *ue5) { u.lastZeros = 1 << 31 }), refuse},
	}
}

func TestUnreal5(t *testing.T) {
	for _, header := range []struct {
		bits  int
		magic uint64
	}{{0, 0}, {4, 7}, {13, 0x1abc}, {32, 0xdeadbeef}} {
		r := newRig(t, "unreal")
		r.box.Params = [6]uint64{uint64(header.bits), header.magic, 5}
		r.rows(t, ue5Rows(header.bits, header.magic))
		if header.bits > 0 {
			r.rows(t, []row{
				{"another header", goodUE5(header.bits, header.magic^1).bytes(), refuse},
				{"another header's last bit", goodUE5(header.bits, header.magic^1<<(header.bits-1)).bytes(), refuse},
				{"Unreal Engine 4", ue4(header.bits, header.magic), refuse},
			})
		}
		r.box.Params[3], r.box.Params[4] = 5, 6
		if got := r.run(goodUE5(header.bits, header.magic).bytes()); got.verdict != refuse {
			t.Errorf("version 4, with 5 and 6 let in: %+v", got)
		}
	}
}

func TestUnreal4(t *testing.T) {
	for _, bits := range []int{0, 4, 32} {
		r := newRig(t, "unreal")
		r.box.Params = [6]uint64{uint64(bits), 5 & (1<<bits - 1), 4}
		good := ue4(bits, 5&(1<<bits-1))
		if got := r.run(good); got.verdict != pass || got.proof != none {
			t.Errorf("%d bits of header: %+v, want PASS: %x", bits, got, good)
		}
		r.exact(t, good)
		r.each(t, good)
		r.rows(t, []row{{"Unreal Engine 5", goodUE5(bits, 5&(1<<bits-1)).bytes(), refuse}})
	}
}

// Of an engine and a header that nobody named, what every variant has in common is held to.
func TestUnrealUnnamed(t *testing.T) {
	r := newRig(t, "unreal")
	for _, bits := range []int{0, 1, 4, 17, 32} {
		magic := uint64(0x5a5a5a5a) & (1<<bits - 1)
		r.rows(t, []row{
			{"4", ue4(bits, magic), pass},
			{"5", goodUE5(bits, magic).bytes(), pass},
			{"a challenge", ue5{magicBits: bits, magic: magic, handshake: 1, least: 3, version: 4, kind: 1, sent: 1,
				timestamp: 0x40c81c8000000000, cookie: 0x1234567890abcdef}.bytes(), refuse},
			{"data", bytes.Repeat([]byte{0x47, 0x13}, 25), refuse},
		})
	}
	r.rows(t, []row{
		{"no end", append(goodUE5(0, 0).bytes(), 0), refuse},
		{"all zeros", zeros(40), refuse},
		{"too short", ue4(0, 0)[:28], refuse},
		{"too long", append(goodUE5(0, 0).bytes(), bytes.Repeat([]byte{1}, 20)...), refuse},
		{"STUN", stunRequest(1), refuse},
		{"RakNet's ping", ping, refuse},
	})
	r.box.Params[0] = 33
	r.rows(t, []row{{"more header than there is", ue4(32, 0), refuse}})
}
