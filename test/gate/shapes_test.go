// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// gnsRequest is Steam networking's ChallengeRequest.
func gnsRequest() []byte { return join(hx("20 1600 0d"), bytes.Repeat([]byte{7}, 21), zeros(487)) }

// sdrPing is a ping for a relay.
func sdrPing(length int) []byte { return join(hx("0101"), []byte("sdping"), zeros(length-8)) }

func TestSteam(t *testing.T) {
	r := newRig(t, "steam_sdr")
	r.rows(t, []row{
		{"challenge request", gnsRequest(), pass},
		{"challenge request, the longest", join(gnsRequest(), zeros(1300-512)), pass},
		{"challenge request, too long", join(gnsRequest(), zeros(1301-512)), refuse},
		{"challenge request, too short", gnsRequest()[:511], refuse},
		{"challenge request, no body", put(gnsRequest(), 1, 0, 0), refuse},
		{"challenge request, a body too long", put(gnsRequest(), 1, 0xfe, 1), refuse},
		{"challenge request, the longest body", put(gnsRequest(), 1, 0xfd, 1), pass},
		{"challenge request, another tag", put(gnsRequest(), 3, 8), refuse},
		{"challenge reply", put(gnsRequest(), 0, 33), refuse},
		{"a DVR's reflection", join(hx("20000000 44484950"), zeros(600)), refuse},
		{"data", join(hx("81 01000000 0100"), zeros(600)), refuse},
		{"relay's ping", sdrPing(100), query},
		{"relay's long ping", put(sdrPing(1300), 1, 0x81), query},
		{"relay's ping of another length", sdrPing(101), refuse},
		{"relay's ping, other flags", put(sdrPing(100), 1, 2), refuse},
		{"relay's ping, another word", put(sdrPing(100), 4, 'q'), refuse},
		{"info", infoBare, refuse},
	})
}

func TestWireGuard(t *testing.T) {
	r := newRig(t, "wireguard")
	good := join(hx("01000000"), bytes.Repeat([]byte{0x33}, 144))
	if got := r.run(good); got.verdict != pass || got.proof != none {
		t.Errorf("%+v, want PASS", got)
	}
	r.exact(t, good)
	r.each(t, good, [2]int{4, 148})
	r.rows(t, []row{
		{"response", join(hx("02000000"), zeros(88)), refuse},
		{"data", join(hx("04000000"), zeros(144)), refuse},
	})
}

func TestTeamSpeak3(t *testing.T) {
	r := newRig(t, "teamspeak3")
	good := join([]byte("TS3INIT1"), hx("0065 0000 88 09833392 00 5c000000 01020304"), zeros(8))
	if got := r.run(good); got.verdict != pass || got.proof != none {
		t.Errorf("%+v, want PASS", got)
	}
	r.exact(t, good)
	r.each(t, good, [2]int{13, 17}, [2]int{18, 26}) // version; time and chance
	r.rows(t, []row{{"step 2", put(good, 17, 2), refuse}, {"voice", hx("0180840102030405 0001 0001 00 aabb"), refuse}})
}

func TestPhoton(t *testing.T) {
	r := newRig(t, "photon")
	good := join(hx("ffff 00 01 00000004 22b6e6ba 02ff0104 0000002c 00000001 0000 04b0 00008000 00000002"), zeros(8), hx("00001388 00000002 00000002"))
	if got := r.run(good); got.verdict != pass || got.proof != none {
		t.Errorf("%+v, want PASS", got)
	}
	r.exact(t, good)
	r.each(t, good, [2]int{4, 12}, [2]int{24, 56}) // time and challenge; what the connection is to be like
}

func TestENet(t *testing.T) {
	r := newRig(t, "enet")
	command := hx("82ff0001 0000 ff ff 00000578 00010000 00000002 00000000 00000000 00001388 00000002 00000002 e109f2a1 00000000")
	good := join(hx("8fff 42f3"), command)
	withCRC := join(hx("8fff 42f8 4f05aee2"), command)
	r.rows(t, []row{
		{"connect", good, pass},
		{"connect with a CRC", withCRC, pass},
		{"MTU too small", put(good, 12, 0, 0, 2, 0x3f), refuse},
		{"the least MTU", put(good, 12, 0, 0, 2, 0x40), pass},
		{"MTU too large", put(good, 12, 0, 0, 0x10, 1), refuse},
		{"window too small", put(good, 16, 0, 0, 0x0f, 0xff), refuse},
		{"window too large", put(good, 16, 0, 1, 0, 1), refuse},
		{"no channel", put(good, 20, 0, 0, 0, 0), refuse},
		{"255 channels", put(good, 20, 0, 0, 0, 255), pass},
		{"256 channels", put(good, 20, 0, 0, 1, 0), refuse},
		{"another sequence", put(good, 6, 0, 2), refuse},
		{"of a peer", put(good, 0, 0x80, 3), refuse},
		{"ping", hx("8003 0001 85ff0002"), refuse},
		{"compressed", hx("cfff42f7837b88b1fdf1df576b999b36fcbb243e"), refuse},
		{"Quake's getinfo", oob("getinfo k7w"), refuse},
	})
	r.exact(t, good)
	r.exact(t, withCRC)
	r.each(t, good, [2]int{2, 4}, [2]int{8, 12}, [2]int{15, 16}, [2]int{23, 52}) // time; peer, sessions; small change; the rest
	r.box.Params[0] = 1 | 2
	r.rows(t, []row{
		{"compressed, where hosts compress", hx("cfff42f7837b88b1fdf1df576b999b36fcbb243e"), pass},
		{"compressed, longer than what it holds", join(hx("cfff42f7"), zeros(52)), refuse},
		{"getinfo, where it is answered", oob("getinfo k7w"), query},
		{"getstatus, where it is answered", oob("getstatus\n"), query},
		{"getstatus, not printable", oob("getstatus \x01"), refuse},
		{"rcon", oob("rcon secret quit"), refuse},
		{"connect, still", good, pass},
	})
}

// initial is a QUIC client's first packet of that length: destination id, source id, token.
func initial(first byte, version uint32, dst, src, token, length int) []byte {
	p := append([]byte{first}, binary.BigEndian.AppendUint32(nil, version)...)
	p = join(p, []byte{byte(dst)}, zeros(dst), []byte{byte(src)}, zeros(src))
	if token < 64 {
		p = append(p, byte(token))
	} else {
		p = append(p, 0x40|byte(token>>8), byte(token))
	}
	p = append(p, zeros(token)...)
	rest := length - len(p) - 2
	return join(p, []byte{0x40 | byte(rest>>8), byte(rest)}, zeros(rest))
}

func TestQUIC(t *testing.T) {
	r := newRig(t, "quic")
	v1 := initial(0xc3, 1, 8, 0, 0, 1200)
	rows := []row{
		{"version 1", v1, pass},
		{"version 2", initial(0xd3, 0x6b3343cf, 8, 8, 0, 1250), pass},
		{"a retry's token", initial(0xc3, 1, 20, 20, 300, 1472), pass},
		{"too short", initial(0xc3, 1, 8, 0, 0, 1199), refuse},
		{"no fixed bit", put(v1, 0, 0x83), refuse},
		{"a short header", put(v1, 0, 0x43), refuse},
		{"0-RTT", put(v1, 0, 0xd3), refuse},
		{"version 2's type is another", initial(0xc3, 0x6b3343cf, 8, 8, 0, 1250), refuse},
		{"a draft", initial(0xc3, 0xff00001d, 8, 0, 0, 1250), refuse},
		{"version negotiation", initial(0xc3, 0, 8, 0, 0, 1250), refuse},
		{"an id too short", initial(0xc3, 1, 7, 0, 0, 1250), refuse},
		{"an id too long", initial(0xc3, 1, 21, 0, 0, 1250), refuse},
		{"a source id too long", initial(0xc3, 1, 8, 21, 0, 1250), refuse},
		{"a token that is longer than the packet", put(v1, 15, 0x44, 0xb1), refuse},
		{"a token to the end", put(v1, 15, 0x44, 0x9e), refuse},
		{"a token of a length of eight bytes", put(v1, 15, 0xc0), refuse},
		{"longer than the datagram", put(v1, 16, 0x44, 0x9f), refuse},
		{"shorter: another packet follows", put(v1, 16, 0x44, 0x00), pass},
		{"too short for a tag", put(v1, 16, 0x40, 0x14), refuse},
		{"another's magic", join(magic, zeros(1300)), refuse},
		{"RakNet's", open1(11, 1464), refuse},
	}
	r.rows(t, rows)
	for n := range v1 {
		if got := r.run(v1[:n]); got.verdict != refuse {
			t.Errorf("%d of %d bytes: verdict %d", n, len(v1), got.verdict)
		}
	}
	r.box.Params = [6]uint64{0xff00001d, 0, 0, 0, 0, 0xface}
	r.rows(t, []row{
		{"a draft that was let in", initial(0xc3, 0xff00001d, 8, 0, 0, 1250), pass},
		{"the last of the list", initial(0xc3, 0xface, 8, 0, 0, 1250), pass},
		{"version negotiation, still", initial(0xc3, 0, 8, 0, 0, 1250), refuse},
		{"version 1, still", v1, pass},
	})
}

func TestMumble(t *testing.T) {
	r := newRig(t, "mumble")
	r.rows(t, []row{
		{"ping", hx("00000000 03d72000fa76287e"), query},
		{"what may be voice", hx("1f 010203 aabbcc"), pass},
		{"too short for any", hx("1f 010203 aa"), refuse},
		{"the longest", zeros(1024), pass},
		{"too long", zeros(1025), refuse},
	})
	r.box.Proto = tcp
	hello := join(hx("160301 0200 01 0001fc 0303"), zeros(507))
	r.rows(t, []row{
		{"ClientHello", hello, pass},
		{"a part of one", hello[:60], pass},
		{"alert", put(hello, 0, 21), refuse},
		{"another handshake", put(hello, 5, 2), refuse},
		{"a TLS to come", put(hello, 2, 5), refuse},
		{"SSL 2", put(hello, 1, 2), refuse},
		{"a record longer than records are", put(hello, 3, 0x40, 1), refuse},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), refuse},
	})
}

// What a game's gate knows nothing of, it doesn't judge.
func TestOtherTransportsPass(t *testing.T) {
	for _, name := range []string{"source", "quake3", "raknet", "enet", "wireguard", "quic", "unreal", "teamspeak3", "photon", "steam_sdr", "stun"} {
		r := newRig(t, name)
		r.box.Proto = tcp
		if got := r.run([]byte("GET / HTTP/1.1\r\n\r\n")); got.verdict != pass || got.proof != none {
			t.Errorf("%s: %+v, want PASS", name, got)
		}
	}
	r := newRig(t, "minecraft_java")
	r.box.Proto = udp
	if got := r.run(hx("fefd09 00000001")); got.verdict != pass || got.proof != none {
		t.Errorf("minecraft_java: %+v, want PASS", got)
	}
}

// window are the two words of one of the shape gate's windows: lengths, bytes (at most eight) from a place on, which of them count.
func window(least, most, at int, value []byte, count, flags uint64) (uint64, uint64) {
	v := make([]byte, 8)
	copy(v, value)
	return binary.LittleEndian.Uint64(v), uint64(least) | uint64(most)<<16 | uint64(at)<<32 | count<<48 | flags<<56
}

func TestShape(t *testing.T) {
	const used, more, stream = 1, 2, 4
	r := newRig(t, "shape")
	r.rows(t, []row{{"no shape is told", hx("00"), pass}, {"none, and nothing in it", nil, pass}})
	p := &r.box.Params
	p[0], p[1] = window(6, 9, 0, []byte("MG"), 3, used)
	r.rows(t, []row{
		{"the least", []byte("MG....")[:6], pass}, {"one less", []byte("MG..."), refuse},
		{"the most", []byte("MG......."), pass}, {"one more", []byte("MG........"), refuse},
		{"another byte", []byte("MH...."), refuse}, {"nothing", nil, refuse},
	})
	p[2], p[3] = window(12, 65535, 9, []byte("xyz"), 5, used)
	r.rows(t, []row{
		{"the first shape still", []byte("MG....."), pass},
		{"the second, cut within its window", []byte("---------x-z"), pass},
		{"the second, a byte that counts", []byte("---------x-y"), refuse},
		{"the second, longer than its window", join([]byte("---------x-z"), zeros(40)), pass},
		{"the second, as long as a frame", join([]byte("---------x-z"), zeros(1400)), pass},
		{"of neither length", []byte("MG------x-"), refuse},
	})
	p[0], p[1] = window(6, 64, 0, []byte("MG"), 3, used|more)
	p[2], p[3] = window(6, 64, 4, []byte{1, 2}, 3, used)
	p[4], p[5] = window(3, 3, 0, nil, 0, used)
	r.rows(t, []row{
		{"one shape of two windows", []byte("MG..\x01\x02"), pass}, {"its first window alone", []byte("MG..\x01\x03"), refuse},
		{"its second alone", []byte("MH..\x01\x02"), refuse}, {"the shape behind it, a length alone", []byte("abc"), pass},
	})
	p[5] |= more << 56
	r.rows(t, []row{{"a shape without its end", []byte("abc"), refuse}})
	r.box.Proto = tcp
	r.rows(t, []row{{"what isn't its protocol", []byte("GET /"), pass}})
	p[1] |= stream << 56
	r.rows(t, []row{{"over TCP", []byte("MG..\x01\x02"), pass}, {"over TCP, another", []byte("GET / HTTP"), refuse}})
}
