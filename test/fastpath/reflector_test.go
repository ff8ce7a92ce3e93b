// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// The reflector guarantee: what comes back to a source that has not proven its address, by every way there is.

const (
	rakPort   = 28100
	stunPort  = 28101
	synPort   = 28104 // NAT, behind the SYN proxy
	plainPort = 28102 // NAT, no gate
	bluntPort = 28103 // transparent, no gate

	perPrefix = 8000 // bytes per second: 64 kbit/s
	perAll    = 40_000
	// What a budget gives at once, beside its rate: a quarter of a second's.
	prefixBurst = perPrefix / 4
	allBurst    = perAll / 4

	weakGain = 8

	rakMagic = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"
)

func reflectorPlan() *loader.Plan {
	p := gatedPlan()
	p.NATPorts = [2]uint16{2000, 9999}
	p.Gates = append(p.Gates, ourGate("raknet"), ourGate("stun"))
	p.Pools = append(p.Pools, pool("rak", netip.MustParseAddr("198.51.100.41"), netip.MustParseAddr("2001:db8:5::41"), 19132))
	rak, stun := service("rak", loader.NAT, "rak", rakPort), service("stun", loader.NAT, "nat", stunPort)
	rak.Gate, rak.Answers, stun.Gate = "raknet", true, "stun"
	p.Services = append(p.Services, rak, stun, service("plain", loader.NAT, "range", plainPort), service("blunt", loader.Transparent, "open", bluntPort))
	behind := service("behind", loader.NAT, "nat", synPort)
	behind.SynProxy = loader.SynProxyAlways
	p.Services = append(p.Services, behind)
	for i := range p.Pools {
		for j := range p.Pools[i].Servers {
			p.Pools[i].Servers[j].TCP = &everything
		}
	}
	p.Services[2].Gate, p.Services[2].Answers = "", false // local
	p.Answers = loader.AnswerBudget{Prefix: perPrefix, Total: perAll}
	for i := range p.Services {
		p.Services[i].Strangers.WeakGain = weakGain
	}
	return p
}

// talk is one exchange with a client: the bytes of IP packets that came from it, and that went to it.
type talk struct {
	t      *testing.T
	w      *world
	client netip.AddrPort
	in     int
	out    int
}

// ask is a packet of the client's.
func (k *talk) ask(p packet.Packet) loader.Result {
	k.in += packet.Length(p.Bytes())
	return k.tell(p.Bytes())
}

// tell is a frame, and what becomes of it.
func (k *talk) tell(frame []byte) loader.Result {
	k.t.Helper()
	r := k.w.quietly(k.t, frame)
	if (r.Verdict == "tx" || r.Verdict == "redirect") && leavesFor(k.t, r.Out) == k.client.Addr() {
		k.out += packet.Length(r.Out)
	}
	return r
}

func leavesFor(t *testing.T, frame []byte) netip.Addr {
	t.Helper()
	v, err := packet.Look(frame)
	must(t, err)
	if v.Version == 4 {
		return netip.AddrFrom4([4]byte(frame[v.L3+16:]))
	}
	return netip.AddrFrom16([16]byte(frame[v.L3+24:]))
}

// session is the one that a client's packet begins; ok: it does.
func (k *talk) session(p packet.Packet) (s loader.Session, ok bool) {
	if r := k.ask(p); r.Reason != "" {
		return s, false
	}
	must(k.t, k.w.edge.Sessions(func(x *loader.Session) bool {
		if x.Client == k.client {
			s, ok = *x, true
		}
		return !ok
	}))
	return s, ok
}

// way is one row of docs/reflector.md.
type way struct {
	name   string
	attack uint16        // number of the service that is to be under attack for it; 0 = none
	ask    func(k *talk) // a client asks, as one that has proven nothing can
	gain   int           // that many bytes it may get for each of its own; 0 = one
}

// given is what came out beyond what may.
func (w way) given(k *talk) int { return max(k.out-max(w.gain, 1)*k.in, 0) }

func (k *talk) says(port uint16, payload string) loader.Result {
	return k.ask(says(k.client, port, payload))
}

func (k *talk) serverSays(port uint16, times int) {
	if s, ok := k.session(says(k.client, port, "hello")); ok {
		for range times {
			k.tell(reply(s, strings.Repeat("x", 700)).Bytes())
		}
	}
}

// weakly is a session that is proven weakly: as somebody blind can, too.
func (k *talk) weakly(port uint16, first, second string) (s loader.Session, ok bool) {
	if s, ok = k.session(says(k.client, port, first)); ok {
		k.tell(reply(s, "ok").Bytes())
		ok = k.says(port, second).Reason == ""
	}
	return s, ok
}

// ways are those of strangers, and of those who are proven weakly.
func ways() []way {
	return append(strangersWays(), []way{
		{name: "the answer to a query of somebody weakly proven", ask: func(k *talk) {
			s, ok := k.weakly(quakePort, "\xff\xff\xff\xffgetchallenge", "\xff\xff\xff\xffconnect 1")
			if ok && k.says(quakePort, getinfo).Reason == "" {
				k.tell(reply(s, strings.Repeat("x", 1300)).Bytes())
			}
		}},
		{name: "play of somebody weakly proven", ask: func(k *talk) {
			if s, ok := k.weakly(plainPort, "hello", "hello"); ok {
				for range 2 {
					k.tell(reply(s, strings.Repeat("x", 700)).Bytes())
				}
			}
		}, gain: weakGain},
		{name: "play of somebody weakly proven, in parts", ask: func(k *talk) {
			if s, ok := k.weakly(bluntPort, "hello", "hello"); ok {
				for _, part := range reply(s, strings.Repeat("x", 1500)).Fragments(uint32(k.client.Port())<<8|uint32(k.client.Addr().As16()[15]), 400) {
					k.tell(part)
				}
			}
		}, gain: weakGain},
		{name: "play of somebody weakly proven, local", ask: func(k *talk) {
			s, ok := k.session(says(k.client, localPort, "hello"))
			for range 3 {
				if !ok {
					return
				}
				answer := packet.NewUDP(s.Front, s.Client, strings.Repeat("x", 600)).Bytes()
				code, err := k.w.edge.Reply(answer, 1)
				must(k.t, err)
				if code == loader.TCNext {
					k.out += packet.Length(answer)
				}
				k.says(localPort, "hello")
			}
		}, gain: weakGain},
	}...)
}

func strangersWays() []way {
	return []way{
		{name: "the SYN proxy's answer to a SYN", ask: func(k *talk) {
			for _, o := range [][]byte{nil, {2, 4, 5, 0xb4}, linuxOptions(1), windowsOptions(), appleOptions(1), {3, 3, 7, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 4, 2}} {
				k.ask(tcpFrom(k.client, synPort, packet.SYN, 1, 0, o, ""))
			}
		}},
		{name: "a challenge to an A2S query", ask: func(k *talk) {
			k.says(sourcePort, infoQuery)
			k.says(sourcePort, "\xff\xff\xff\xffU\xff\xff\xff\xff")
			k.says(sourcePort, "\xff\xff\xff\xffV1234")
		}},
		{name: "a challenge to an A2S query for one", ask: func(k *talk) { k.says(sourcePort, "\xff\xff\xff\xffW") }},
		{name: "a cached A2S answer", ask: func(k *talk) {
			for _, c := range []string{"", "\x00\x00\x00\x00", "\xff\xff\xff\xff", "abcd"} {
				k.says(sourcePort, infoQuery+c)
			}
		}},
		{name: "A2S answers of several packets", ask: func(k *talk) {
			if r := k.says(sourcePort, "\xff\xff\xff\xffVabcd"); r.Reason == "answer_queued" {
				k.t.Error("the daemon is asked to answer somebody who has proven nothing")
			}
		}},
		{name: "a cookie to a RakNet connection request", attack: 7, ask: func(k *talk) {
			k.says(rakPort, "\x05"+rakMagic+"\x0b"+strings.Repeat("\x00", 500))
		}},
		{name: "a RakNet pong", ask: func(k *talk) { k.says(rakPort, "\x01"+"12345678"+rakMagic+"87654321") }},
		{name: "a Quake III info", ask: func(k *talk) { k.says(quakePort, getinfo) }},
		{name: "a Quake III status", ask: func(k *talk) { k.says(quakePort, "\xff\xff\xff\xffgetstatus\n") }},
		{name: "a STUN binding", ask: func(k *talk) { k.says(stunPort, "\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl") }},
		{name: "a UDP server's answer, NAT", ask: func(k *talk) { k.serverSays(plainPort, 3) }},
		{name: "a UDP server's answer, transparent", ask: func(k *talk) { k.serverSays(bluntPort, 3) }},
		{name: "a UDP server's answer, local", ask: func(k *talk) {
			if s, ok := k.session(says(k.client, localPort, "hello")); ok {
				answer := packet.NewUDP(s.Front, s.Client, strings.Repeat("x", 700)).Bytes()
				code, err := k.w.edge.Reply(answer, 1)
				must(k.t, err)
				if code == loader.TCNext {
					k.out += packet.Length(answer)
				}
			}
		}},
		{name: "a UDP server's answer in parts", ask: func(k *talk) {
			if s, ok := k.session(says(k.client, plainPort, "hello")); ok {
				for _, part := range reply(s, strings.Repeat("x", 1500)).Fragments(uint32(k.client.Port())<<8|uint32(k.client.Addr().As16()[15]), 400) {
					k.tell(part)
				}
			}
		}},
		{name: "a UDP server's answer in parts, local", ask: func(k *talk) {
			if s, ok := k.session(says(k.client, localPort, "hello")); ok {
				answer := packet.NewUDP(s.Front, s.Client, strings.Repeat("x", 1500))
				for _, part := range answer.Fragments(uint32(k.client.Port())<<8|uint32(k.client.Addr().As16()[15]), 400) {
					code, err := k.w.edge.Reply(part, 1)
					must(k.t, err)
					if code == loader.TCNext {
						k.out += packet.Length(part)
					}
				}
			}
		}},
		{name: "a TCP server's SYN and ACK", ask: func(k *talk) {
			p := packet.NewTCP(k.client, vip(k.client, plainPort), packet.SYN, "") // as forgers send it: no option
			if s, ok := k.session(p); ok {
				for range 5 { // it is sent again where no ACK comes
					k.tell(reply(s, "").With(func(q *packet.Packet) {
						q.Flags, q.TCPOptions = packet.SYN|packet.ACK, []byte{2, 4, 5, 0xb4, 1, 1, 4, 2}
					}).Bytes())
				}
			}
		}},
		{name: "an ICMP error about what a client sent", ask: func(k *talk) {
			p := says(k.client, plainPort, "hello")
			if s, ok := k.session(p); ok {
				quoted := forwarded(p, s).L3()
				typ, code := uint8(3), uint8(3)
				if k.client.Addr().Is6() {
					typ, code = 1, 4
				}
				k.tell(packet.NewICMP(s.Server.Addr(), s.Face.Addr(), typ, code, 0, quoted).Bytes())
			}
		}},
		{name: "an ICMP error of the edge's own: too big", ask: func(k *talk) {
			k.says(plainPort, "hello")
			k.says(plainPort, strings.Repeat("x", 1500))
		}},
	}
}

// kept is what docs/reflector.md says of each way.
func kept(t *testing.T) map[string]string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/reflector.md")
	must(t, err)
	rows := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| (.+) \| (shrinks|challenge first|budget|gain, then budget) \|$`).FindAllStringSubmatch(string(doc), -1) {
		rows[m[1]] = m[2]
	}
	return rows
}

func reflectorWorld(t *testing.T) *world {
	t.Helper()
	s := strangerSizes()
	s.Sessions, s.Sources, s.Unproven, s.Greylist = 8192, 8192, 4096, 1<<15
	return newWorldOf(t, reflectorPlan(), s)
}

// cache has every answer fresh.
func (w *world) cache(t *testing.T) {
	t.Helper()
	env, err := w.edge.Env()
	must(t, err)
	put := func(pool, family string, kind int, data string, several bool) {
		must(t, w.edge.SetAnswer(loader.AnswerCell{Pool: pool, Server: pool + family}, kind, []byte(data), several, uint64(env.Now+5*time.Second)))
	}
	for _, f := range []string{"4", "6"} {
		put("nat", f, 0, "\xff\xff\xff\xffI"+strings.Repeat("i", 250), false)
		put("nat", f, 2, "", true)
		put("open", f, 0, "\xff\xff\xff\xffinfoResponse\n\\hostname\\"+strings.Repeat("x", 200), false)
		put("open", f, 1, "\xff\xff\xff\xffstatusResponse\n\\hostname\\"+strings.Repeat("x", 900), false)
		put("rak", f, 0, "\x1c\x00\x00\x00\x00\x00\x00\x00\x00ABCDEFGH"+rakMagic+"\x00\x50"+strings.Repeat("m", 80), false)
	}
}

// asker is the n-th client of a prefix: of a /24, or of a /48.
func asker(prefix, n int, six bool) netip.AddrPort {
	port := uint16(20000 + n/250)
	if six {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb9, 0, byte(prefix), byte(n % 250), 15: 1}), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(prefix), byte(1 + n%250)}), port)
}

// Each way alone: what shrinks, shrinks; what needs a challenge, gives nothing more without; what has a budget, keeps to it.
func TestReplyPaths(t *testing.T) {
	t.Parallel()
	doc, all := kept(t), ways()
	if len(doc) != len(all) {
		t.Errorf("docs/reflector.md has %d ways, the test %d", len(doc), len(all))
	}
	for _, way := range all {
		t.Run(way.name, func(t *testing.T) {
			w := reflectorWorld(t)
			if way.attack > 0 {
				must(t, w.edge.SetState(way.attack, loader.StateAttack))
			}
			for _, six := range []bool{false, true} {
				w.pass(t, time.Second) // ICMP errors have a budget of their own, too
				w.cache(t)
				given, came := 0, 0
				for n := range 150 {
					k := &talk{t: t, w: w, client: asker(1, n, six)}
					way.ask(k)
					given += way.given(k)
					came += k.out
				}
				switch doc[way.name] {
				case "shrinks", "challenge first":
					if given > 0 {
						t.Errorf("%d bytes came out beyond what went in", given)
					}
				case "budget", "gain, then budget":
					if given > prefixBurst || given == 0 {
						t.Errorf("at once, %d bytes came out beyond what went in: want some, and %d at most", given, prefixBurst)
					}
				default:
					t.Errorf("docs/reflector.md does not say how it is kept")
				}
				if came == 0 && way.name != "A2S answers of several packets" {
					t.Error("nothing came back: the test is blind")
				}
			}
		})
	}
}

// All ways together, for ten seconds: one prefix gets its budget and no more, and all prefixes theirs.
func TestReflectorBudget(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		prefixes int
		six      bool
		most     int
		least    int
	}{
		{"one /24", 1, false, 10*perPrefix + prefixBurst, 7 * perPrefix},
		{"one /48", 1, true, 10*perPrefix + prefixBurst, 7 * perPrefix},
		{"a hundred prefixes", 100, false, 10*perAll + allBurst, 4 * perAll}, // half of it is for those who ask again
	} {
		t.Run(row.name, func(t *testing.T) {
			w := reflectorWorld(t)
			given, n := 0, 0
			all := ways()
			for range 500 { // of 20 ms
				w.cache(t)
				for range 4 {
					for _, i := range []int{n % len(all), n * 7 % len(all)} {
						k := &talk{t: t, w: w, client: asker(n%row.prefixes, n/row.prefixes, row.six)}
						all[i].ask(k)
						given += all[i].given(k)
						n++
					}
				}
				w.pass(t, 20*time.Millisecond)
				if n%400 == 0 {
					w.sweep(t)
				}
			}
			if given > row.most || given < row.least {
				t.Errorf("within 10 s %d bytes came out beyond what went in: want %d at most, and %d at least", given, row.most, row.least)
			}
		})
	}
}
