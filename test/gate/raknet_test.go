// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"encoding/binary"
	"testing"
)

const (
	raknetPong    = 0
	raknetPurpose = 3
)

var (
	magic = hx("00ffff00fefefefefdfdfdfd12345678")
	guid  = hx("1122334455667788")
	ping  = join(hx("01 0000000001a2b3c4"), magic, hx("c1c2c3c4c5c6c7c8"))
	pong  = join(hx("1c 0000000000000000"), guid, magic, hx("0012"), []byte("MCPE;a server;1;2;"))
)

// open1 is the first request, of that many bytes.
func open1(version byte, length int) []byte {
	return join([]byte{5}, magic, []byte{version}, zeros(length-18))
}

// open2 is the second request, with what a server's cookie adds, or nothing.
func open2(v6 bool, cookie []byte) []byte {
	addr := hx("04 34ff8ef5 4abc")
	if v6 {
		addr = join(hx("06 1700 4abc 00000000"), bytes.Repeat([]byte{0x20}, 16), zeros(4))
	}
	return join([]byte{7}, magic, cookie, addr, hx("05d4"), hx("c1c2c3c4c5c6c7c8"))
}

func TestRakNetShapes(t *testing.T) {
	r := newRig(t, "raknet")
	r.rows(t, []row{
		{"ping", ping, query},
		{"ping if there is room", put(ping, 0, 2), query},
		{"ping without the magic", put(ping, 12, 1), refuse},
		{"pong", pong, refuse},
		{"first request, 1464", open1(11, 1464), pass},
		{"first request, 1172, version 6", open1(6, 1172), pass},
		{"first request, the least", open1(8, 400), pass},
		{"first request, the most", open1(10, 1492), pass},
		{"first request, too short", open1(11, 399), refuse},
		{"first request, too long", open1(11, 1493), refuse},
		{"first request, version 7", open1(7, 1464), refuse},
		{"first request, version 200", open1(200, 1464), refuse},
		{"first request, something at its end", put(open1(11, 1464), 1463, 1), refuse},
		{"first request, something in it", put(open1(11, 1464), 700, 1), refuse},
		{"first request, something behind its head", put(open1(11, 1464), 18, 1), refuse},
		{"first request, another magic", put(open1(11, 1464), 16, 0x79), refuse},
		{"second request", open2(false, nil), pass},
		{"second request, v6", open2(true, nil), pass},
		{"second request with a server's cookie", open2(false, hx("0102030400")), pass},
		{"second request with a server's cookie, v6", open2(true, hx("0102030400")), pass},
		{"second request, another magic", put(open2(false, nil), 3, 1), refuse},
		{"second request with a challenge that is none", open2(false, hx("0102030402")), refuse},
		{"a reply", join(hx("06"), magic, guid, hx("0005d4")), refuse},
		{"connected", hx("84000000600300000000000000001004a5457b7aad"), refuse},
		{"ACK", hx("c0000101000000"), refuse},
		{"Roblox", join(hx("7b"), magic, hx("05"), zeros(1338)), refuse},
	})
	r.exact(t, ping)
	padded := open1(11, 1001)
	for at := 18; at < len(padded); at++ {
		if got := r.run(put(padded, at, 1)); got.verdict != refuse {
			t.Errorf("first request, not zero at %d: verdict %d", at, got.verdict)
		}
	}
	r.box.Params[1] = 1<<7 | 1<<20
	r.rows(t, []row{
		{"a version that was let in", open1(7, 1464), pass},
		{"another that was let in", open1(20, 1464), pass},
		{"one of the usual ones", open1(11, 1464), pass},
		{"one that was not", open1(19, 1464), refuse},
	})
}

func TestRakNetPongEchoesTheTime(t *testing.T) {
	r := newRig(t, "raknet")
	for _, text := range []string{"", "MCPE;even;", "MCPE;an odd;"} {
		stored := join(pong[:33], binary.BigEndian.AppendUint16(nil, uint16(len(text))), []byte(text))
		copy(stored[1:9], "\x10\x20\x30\x40\x50\x60\x70\x80") // whatever time the daemon asked with
		r.cache(raknetPong, stored, now+1)
		for _, id := range []byte{1, 2} {
			want := put(stored, 1, ping[1:9]...)
			if got := r.run(put(ping, 0, id)); got.verdict != answer || got.proof != none || !bytes.Equal(got.payload, want) {
				t.Errorf("%q: %+v, want the answer %x", text, got, want)
			}
		}
	}
	r.box.Flags = watch
	if got := r.run(ping); got.verdict != query {
		t.Errorf("where nothing is enforced: %+v, want a query", got)
	}
	r.box.Flags, r.box.Now = 0, now+1
	if got := r.run(ping); got.verdict != query {
		t.Errorf("a stale pong: %+v, want a query", got)
	}
}

// Under attack the first request is answered as the server would, with a cookie; the second one's right cookie proves
// its source, and the server sees a request without one.
func TestRakNetCookies(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		r := newRig(t, "raknet")
		if v6 {
			r.from("2001:db8::7", "2001:db8:1::10")
		}
		r.cache(raknetPong, pong, now+1)
		r.box.Flags = cookies
		c := cookie(r.box, raknetPurpose, now)
		for length, mtu := range map[int][]byte{1464: hx("05d4"), 1492: hx("05d4"), 1172: hx("04b0"), 548: hx("0240")} {
			want := join(hx("06"), magic, guid, hx("01"), c, mtu)
			if got := r.run(open1(11, length)); got.verdict != answer || got.proof != none || !bytes.Equal(got.payload, want) {
				t.Errorf("first request of %d: %+v, want the answer %x", length, got, want)
			}
		}
		if got := r.run(open1(10, 1399)); got.verdict != pass || got.proof != none {
			t.Errorf("a version that may not know cookies: %+v, want PASS", got)
		}
		r.box.Params[2] = 1400
		if got := r.run(open1(11, 1464)); !bytes.Equal(got.payload[30:], hx("0578")) {
			t.Errorf("the largest MTU is 1400: %x", got.payload)
		}
		for _, flag := range []uint8{cookies, 0} { // in peace, too: a moment ago there was none
			r.box.Flags = flag
			got := r.run(open2(v6, join(c, []byte{0})))
			if want := open2(v6, nil); got.verdict != pass || got.proof != strong || !got.changed || !bytes.Equal(got.payload, want) {
				t.Errorf("flags %d: %+v, want strong proof and %x", flag, got, want)
			}
		}
		r.box.Flags = cookies
		for name, p := range map[string][]byte{"none": nil, "a forged one": hx("0102030400"), "all ones": hx("ffffffff00")} {
			if got := r.run(open2(v6, p)); got.verdict != refuse || got.proof != none {
				t.Errorf("a second request with %s: %+v, want it refused", name, got)
			}
		}
	}
}

func TestRakNetCookiesAreNobodyElses(t *testing.T) {
	for _, theft := range thefts() {
		r := newRig(t, "raknet")
		r.box.Flags = cookies
		p := open2(false, join(cookie(r.box, raknetPurpose, now), []byte{0}))
		theft.change(r)
		if got := r.run(p); got.verdict != refuse || got.proof != none {
			t.Errorf("%s: %+v, want it refused", theft.name, got)
		}
	}
}

func TestRakNetLeavesItToTheServer(t *testing.T) {
	r := newRig(t, "raknet")
	r.box.Flags = cookies
	if got := r.run(open1(11, 1464)); got.verdict != pass || got.proof != none {
		t.Errorf("without a pong there is no GUID: %+v, want PASS", got)
	}
	r.cache(raknetPong, pong, now+1)
	mine := open2(false, join(cookie(r.box, raknetPurpose, now), []byte{0}))
	for name, set := range map[string]func(){
		"a server with cookies of its own": func() { r.box.Params[0] = 1 },
		"nothing is enforced":              func() { r.box.Params[0], r.box.Flags = 0, cookies|watch },
	} {
		set()
		for _, p := range [][]byte{open1(11, 1464), open2(false, hx("0102030400")), mine} {
			if got := r.run(p); got.verdict != pass || got.proof != none || got.changed {
				t.Errorf("%s: %+v, want PASS as it is: %x", name, got, head(p))
			}
		}
	}
}
