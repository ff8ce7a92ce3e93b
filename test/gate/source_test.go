// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"testing"
)

const (
	a2sInfo    = 0
	a2sPlayers = 1
	a2sRules   = 2

	a2sPurpose = 1
)

var (
	all       = hx("ffffffff")
	infoBare  = join(all, []byte("TSource Engine Query\x00"))
	a2sQuery  = map[int][]byte{a2sInfo: infoBare, a2sPlayers: join(all, []byte("U")), a2sRules: join(all, []byte("V"))}
	infoReply = join(all, hx("4911"), []byte("a server\x00cp_badlands\x00tf\x00Team Fortress\x00"), hx("b801"), bytes.Repeat([]byte{1}, 181))
)

// challenged is a reply that carries a challenge.
func challenged(c []byte) []byte { return join(all, []byte("A"), c) }

func TestSourceShapes(t *testing.T) {
	r := newRig(t, "source")
	connect := join(all, []byte("qconnect0x0a1B2c3D\x00"))
	r.rows(t, []row{
		{"info", infoBare, query},
		{"info with a challenge", join(infoBare, hx("01020304")), query},
		{"info padded", join(infoBare, hx("01020304"), zeros(1171)), query},
		{"info padded with something", join(infoBare, hx("01020304"), zeros(1170), []byte{1}), refuse},
		{"info padded with something early", join(infoBare, hx("01020304"), []byte{1}, zeros(1170)), refuse},
		{"info padded to another length", join(infoBare, zeros(1174)), refuse},
		{"info of another engine", join(all, []byte("TSource engine Query\x00")), refuse},
		{"players", join(a2sQuery[a2sPlayers], all), query},
		{"rules", join(a2sQuery[a2sRules], zeros(4)), query},
		{"get a challenge", hx("ffffffff57"), query},
		{"ping", hx("ffffffff69"), query},
		{"connect's challenge", connect, pass},
		{"connect's challenge in capitals", put(connect, 5, 'C'), refuse},
		{"connect's challenge without an end", put(connect, 22, 'x'), refuse},
		{"connect's challenge, no digit", put(connect, 14, 'g'), refuse},
		{"connect", join(hx("ffffffff6b"), zeros(200)), pass},
		{"connect without a word", join(hx("ffffffff6b"), zeros(4)), refuse},
		{"GoldSrc's getchallenge", join(all, []byte("getchallenge steam\n")), pass},
		{"GoldSrc's connect", join(all, []byte("connect 48 12345 \"\\prot\\3\"\n")), pass},
		{"Quake's getchallenge", oob("getchallenge -1413938263 Quake3Arena"), refuse},
		{"Quake's connect", join(oob("connect "), bytes.Repeat(hx("f28a00ff"), 55)), refuse},
		{"GoldSrc's rcon", join(all, []byte("rcon 1 pass status")), refuse},
		{"Quake's getstatus", join(all, []byte("getstatus\n")), refuse},
		{"streaming discovery", hx("ffffffff 214c5fa0 00000000"), refuse},
		{"info's reply", infoReply, refuse},
		{"a split reply", join(hx("feffffff"), zeros(40)), refuse},
		{"in a connection", hx("01000000 00000000 01"), refuse},
		{"of Steam networking", gnsRequest(), refuse},
		{"a relay's ping", sdrPing(100), refuse},
	})
}

func TestSourceLengths(t *testing.T) {
	r := newRig(t, "source")
	r.exact(t, join(infoBare, hx("01020304")), len(infoBare))
	r.exact(t, join(a2sQuery[a2sPlayers], all))
	r.exact(t, join(all, []byte("qconnect0x0a1B2c3D\x00")))
	r.exact(t, hx("ffffffff57"))
}

func TestSourceWithSteamNetworking(t *testing.T) {
	r := newRig(t, "source")
	r.box.Params[0] = 1
	r.rows(t, []row{
		{"challenge request", gnsRequest(), pass},
		{"relay's ping", sdrPing(1300), pass},
		{"a DVR's reflection", join(hx("20000000 44484950"), zeros(600)), refuse},
		{"data", join(hx("81 01000000 0100"), zeros(600)), refuse},
		{"info", infoBare, query},
	})
}

// Who asks without a challenge, or with another's, gets one: nine bytes, never the answer.
func TestSourceChallengesFirst(t *testing.T) {
	for src, dst := range map[string]string{"192.0.2.7": "203.0.113.10", "2001:db8::7": "2001:db8:1::10"} {
		r := newRig(t, "source")
		r.from(src, dst)
		for kind := range a2sQuery {
			r.cache(uint32(kind), infoReply, now+1)
		}
		want := challenged(cookie(r.box, a2sPurpose, now))
		for kind, q := range a2sQuery {
			for _, c := range [][]byte{nil, all, zeros(4), hx("12345678"), hx("12345679")} {
				if kind != a2sInfo && c == nil {
					continue
				}
				got := r.run(join(q, c))
				if got.verdict != answer || got.proof != none || !bytes.Equal(got.payload, want) {
					t.Errorf("%s: kind %d, challenge %x: %+v, want the answer %x", src, kind, c, got, want)
				}
			}
		}
		for name, q := range map[string][]byte{"get a challenge": hx("ffffffff57"), "padded": join(infoBare, zeros(1175))} {
			if got := r.run(q); got.verdict != answer || !bytes.Equal(got.payload, want) {
				t.Errorf("%s: %+v, want the answer %x", name, got, want)
			}
		}
	}
}

func TestSourceServesTheCacheToARightChallenge(t *testing.T) {
	r := newRig(t, "source")
	replies := map[int][]byte{a2sInfo: infoReply, a2sPlayers: join(hx("ffffffff44"), zeros(700)), a2sRules: join(hx("ffffffff45"), zeros(1395))}
	for kind, reply := range replies {
		r.cache(uint32(kind), reply, now+1)
	}
	right := cookie(r.box, a2sPurpose, now)
	for kind, reply := range replies {
		for _, pad := range []int{0, 1171} {
			q := join(a2sQuery[kind], right, zeros(pad))
			if kind != a2sInfo && pad > 0 {
				continue
			}
			if got := r.run(q); got.verdict != answer || got.proof != strong || !bytes.Equal(got.payload, reply) {
				t.Errorf("kind %d: %+v, want the answer %x with strong proof", kind, got, head(reply))
			}
		}
	}
}

func TestSourceCookiesAreNobodyElses(t *testing.T) {
	for _, theft := range thefts() {
		r := newRig(t, "source")
		r.cache(a2sInfo, infoReply, now+100<<34)
		q := join(infoBare, cookie(r.box, a2sPurpose, now))
		theft.change(r)
		want := challenged(cookie(r.box, a2sPurpose, r.box.Now))
		if got := r.run(q); got.verdict != answer || got.proof != none || !bytes.Equal(got.payload, want) {
			t.Errorf("%s: %+v, want the challenge %x", theft.name, got, want)
		}
	}
	r := newRig(t, "source")
	r.cache(a2sInfo, infoReply, now+100<<34)
	right := cookie(r.box, a2sPurpose, now)
	r.box.Now += 1 << 34
	if got := r.run(join(infoBare, right)); got.proof != strong {
		t.Errorf("a step later: %+v, want it to hold still", got)
	}
	if got := r.run(join(infoBare, cookie(r.box, a2sPurpose+1, r.box.Now))); got.proof != none {
		t.Errorf("a cookie for another purpose: %+v", got)
	}
	for bit := range 32 {
		forged := bytes.Clone(right)
		forged[bit/8] ^= 1 << (bit % 8)
		if got := r.run(join(infoBare, forged)); got.proof != none {
			t.Errorf("bit %d forged: %+v", bit, got)
		}
	}
}

// Without a fresh answer the server is asked, as by one who has no challenge of the server's yet.
func TestSourceAsksTheServer(t *testing.T) {
	r := newRig(t, "source")
	r.cache(a2sInfo, infoReply, now) // stale
	r.several(a2sPlayers, now)
	right := cookie(r.box, a2sPurpose, now)
	for kind, q := range a2sQuery {
		want := join(q, all)
		for _, pad := range []int{0, 1171} {
			if kind != a2sInfo && pad > 0 {
				continue
			}
			got := r.run(join(q, right, zeros(pad)))
			if got.verdict != query || got.proof != strong || !got.changed || !bytes.Equal(got.payload, want) {
				t.Errorf("kind %d: %+v, want a query of strong proof, %x", kind, got, want)
			}
		}
	}
}

func TestSourceAsksTheDaemonForLongAnswers(t *testing.T) {
	r := newRig(t, "source")
	r.several(a2sRules, now+1)
	q := join(a2sQuery[a2sRules], cookie(r.box, a2sPurpose, now))
	if got := r.run(q); got.verdict != ask || got.kind != a2sRules || got.proof != strong || !bytes.Equal(got.payload, q) {
		t.Errorf("%+v, want ASK of kind %d with strong proof", got, a2sRules)
	}
	if got := r.run(join(a2sQuery[a2sRules], all)); got.verdict != answer || len(got.payload) != 9 {
		t.Errorf("%+v, want a challenge first", got)
	}
}

// Where the edge answers nothing, the server's challenges are left alone, unless sources have to be proven.
func TestSourceWithoutACache(t *testing.T) {
	r := newRig(t, "source")
	q := join(infoBare, cookie(r.box, a2sPurpose, now))
	if got := r.run(q); got.verdict != query || got.proof != none {
		t.Errorf("%+v, want a plain query", got)
	}
	r.box.Flags = cookies
	if got := r.run(infoBare); got.verdict != answer || !bytes.Equal(got.payload, challenged(q[25:])) {
		t.Errorf("under attack: %+v, want a challenge", got)
	}
	if got := r.run(q); got.verdict != query || got.proof != strong || !bytes.Equal(got.payload, join(infoBare, all)) {
		t.Errorf("under attack: %+v, want the server to be asked", got)
	}
	connect := join(all, []byte("qconnect0x0a1B2c3D\x00"))
	if got := r.run(connect); got.verdict != pass || got.proof != none {
		t.Errorf("connecting under attack: %+v, want PASS: the server checks its own number", got)
	}
}

// A service that doesn't enforce has the gate judge, and nothing else.
func TestSourceWatches(t *testing.T) {
	r := newRig(t, "source")
	r.cache(a2sInfo, infoReply, now+1)
	r.box.Flags = watch | cookies
	for _, c := range [][]byte{nil, all, cookie(r.box, a2sPurpose, now)} {
		if got := r.run(join(infoBare, c)); got.verdict != query || got.changed {
			t.Errorf("challenge %x: %+v, want a query as it is", c, got)
		}
	}
	if got := r.run(infoReply); got.verdict != refuse {
		t.Errorf("a reply: %+v, want to be told that it would be refused", got)
	}
}
