// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parry/pkg/learn"
	"parry/pkg/naming"
	"parry/test/firsts"
	"parry/test/need"
	"parry/test/packet"
)

const (
	sources  = 12
	sessions = 24
)

// inFull: every kind and capture, not some of each, whose programs take minutes to load.
func inFull() bool { return os.Getenv("PARRY_E2E") == "all" }

// Each kind of first packets that test/firsts makes (every fourth in a quick run): what is learned of it passes whole, whether parry knows
// the game or not.
func TestMadeUpGames(t *testing.T) {
	need.Root(t)
	kinds := map[string][]firsts.Flow{}
	var order []string
	for _, f := range firsts.Flows(7, sessions) {
		what := f.Label + ", " + f.What
		if kinds[what] == nil {
			order = append(order, what)
		}
		kinds[what] = append(kinds[what], f)
	}
	for i, what := range order {
		if i%4 != 0 && !inFull() {
			continue
		}
		t.Run(what, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			var p play
			label := kinds[what][0].Label
			for i, f := range kinds[what] {
				packets := f.Packets
				if isGame(label) {
					packets = append(packets, match(r, 10)...)
				} else {
					packets = append(packets, firsts.Packet{Payload: noise(r, 20)}) // whoever asks is answered
				}
				p.session(time.Duration(i)*3*time.Second, client(server4, 1+i%sources, 40000+i), server4, f.TCP, packets)
			}
			got := prove(t, learn.Options{Files: []string{p.write(t)}})
			if got.Sessions < sessions || got.Sources != sources {
				t.Errorf("%d sessions of %d sources", got.Sessions, got.Sources)
			}
			t.Logf("%s: game %s, first %v, held out %v %s", label, got.Game, got.First, got.HeldOut, got.WhyNot)
		})
	}
}

func isGame(label string) bool {
	for _, l := range naming.Labels() {
		if l.String() == label {
			return l.Plays()
		}
	}
	return false
}

// blob is a hello of a game that nobody knows: a magic of five bytes, the time, a counter, the server's port, a name.
func blob(r *rand.Rand, at time.Duration, n int) []byte {
	b := []byte("BLOB\x01")
	b = binary.BigEndian.AppendUint32(b, uint32(begun.Add(at).Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint16(b, server4.Port())
	name := 3 + r.IntN(13)
	return append(append(b, byte(name)), noise(r, name)...)
}

// unknown is a capture of a game that nobody knows.
func unknown(server netip.AddrPort, tcp bool, tags ...packet.Tag) *play {
	r := rand.New(rand.NewPCG(2, 2))
	p := &play{tags: tags}
	for i := range 40 {
		at := time.Duration(i) * 2 * time.Second
		packets := append([]firsts.Packet{{Up: true, Payload: blob(r, at, i)}}, match(r, 40)...)
		p.session(at, client(server, 1+i%sources, 50000+i), server, tcp, packets)
	}
	return p
}

func TestUnknownGame(t *testing.T) {
	need.Root(t)
	tag := packet.Tag{Proto: packet.TypeVLAN, TCI: 42}
	for _, c := range []struct {
		name   string
		server netip.AddrPort
		tcp    bool
		tags   []packet.Tag
	}{
		{"IPv4", server4, false, nil}, {"IPv6", server6, false, nil}, {"TCP", server4, true, nil}, {"TCP over IPv6", server6, true, nil},
		{"VLAN", server4, false, []packet.Tag{tag}},
	} {
		t.Run(c.name, func(t *testing.T) {
			good := unknown(c.server, c.tcp, c.tags...).write(t)
			got := prove(t, learn.Options{Files: []string{good}, Name: "blobs"})
			if len(got.First) != 1 || got.First[0].Bytes != "424c4f4201" || got.First[0].At != 0 {
				t.Fatalf("learned %+v (%s): want the magic, and neither time, counter, port nor name", got.First, got.WhyNot)
			}
			if h := got.HeldOut; h == nil || h.Passed != h.Asked || h.Asked < 10 {
				t.Errorf("held out %+v", h)
			}
			hostile(t, got, c.server, c.tcp)
		})
	}
}

// hostile floods what was learned: what hasn't the shape is dropped, and a player who comes meanwhile gets in.
func hostile(t *testing.T, got *learn.Profile, server netip.AddrPort, tcp bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 3))
	var flood play
	for i := range 500 {
		payload := noise(r, 20+r.IntN(20))
		if i%2 == 1 {
			payload = append([]byte("BLOB\x01"), noise(r, 600)...) // the magic, but far too long
		}
		flood.session(time.Duration(i)*20*time.Millisecond, client(server, 1000+i, 1024+i), server, tcp, []firsts.Packet{{Up: true, Payload: payload}})
	}
	seen := replayText(t, got.Enforced(), flood.write(t))
	if n := seen.Dropped["gate_refused"]; n+seen.Dropped["packet_size"] != 500 || n < 250 {
		t.Errorf("of 500 that have not the shape: %+v", seen)
	}
	var player play
	at := 100 * time.Second
	player.session(at, client(server, 3000, 4000), server, tcp, append([]firsts.Packet{{Up: true, Payload: blob(r, at, 1<<20)}}, match(r, 5)...))
	if seen := replayText(t, got.Enforced(), player.write(t)); len(seen.Dropped) > 0 {
		t.Errorf("a player of tomorrow: %+v", seen)
	}
}

// Kinds of first packets that have nothing in common but their first byte's few values are shapes of their own.
func TestSeveralKinds(t *testing.T) {
	need.Root(t)
	r := rand.New(rand.NewPCG(4, 4))
	var p play
	for i := range 60 {
		hello := append([]byte{0x11, 0xaa, 0xbb, 0xcc}, noise(r, 40)...)
		if i%2 == 1 {
			hello = append([]byte{0x22, 0xdd, 0xee, 0xff}, noise(r, 12)...)
		}
		p.session(time.Duration(i)*time.Second, client(server4, 1+i%20, 50000+i), server4, false, append([]firsts.Packet{{Up: true, Payload: hello}}, match(r, 5)...))
	}
	got := prove(t, learn.Options{Files: []string{p.write(t)}})
	want := "[{44 0 11aabbcc} {16 0 22ddeeff}]"
	if fmt.Sprint(got.First) != "[44 bytes, 11aabbcc from byte 0 on 16 bytes, 22ddeeff from byte 0 on]" {
		t.Errorf("learned %v, want %s", got.First, want)
	}
}

// Play in which players are silent for long, burst, and come by the dozen from one address: limits that parry has by default would
// have dropped it, those that are learned don't.
func TestUncommonPlay(t *testing.T) {
	need.Root(t)
	for name, make := range map[string]func(p *play, r *rand.Rand){
		"a dozen sessions of one address within a minute": func(p *play, r *rand.Rand) {
			for i := range 30 {
				p.session(time.Duration(i)*time.Second, client(server4, 1, 50000+i), server4, false, append([]firsts.Packet{{Up: true, Payload: blob(r, 0, i)}}, match(r, 3)...))
			}
		},
		"2000 packets a second": func(p *play, r *rand.Rand) {
			from := client(server4, 1, 50000)
			p.session(0, from, server4, false, append([]firsts.Packet{{Up: true, Payload: blob(r, 0, 1)}}, match(r, 900)...))
			for i := range 10_000 {
				p.add(75*time.Second+time.Duration(i)*500*time.Microsecond, packet.NewUDP(from, server4, "x"))
			}
		},
		"silence for 100 seconds": func(p *play, r *rand.Rand) {
			*p = *unknown(server4, false)
			from := client(server4, 1, 60000)
			p.session(0, from, server4, false, append([]firsts.Packet{{Up: true, Payload: blob(r, 0, 1)}}, match(r, 500)...))
			p.session(140*time.Second, from, server4, false, []firsts.Packet{{Up: true, Payload: noise(r, 9)}, {Payload: noise(r, 9)}})
		},
		"a client that says much before it is answered": func(p *play, r *rand.Rand) {
			from := client(server4, 1, 50000)
			var packets []firsts.Packet
			for i := range 60 {
				packets = append(packets, firsts.Packet{Up: true, Payload: blob(r, 0, i)})
			}
			p.session(0, from, server4, false, append(packets, match(r, 5)...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var p play
			make(&p, rand.New(rand.NewPCG(5, 5)))
			capture := p.write(t)
			got := prove(t, learn.Options{Files: []string{capture}})
			plain := got.Enforced()
			plain = plain[:strings.Index(plain, "    # (the server's")]
			if seen := replayText(t, plain, capture); len(seen.Dropped) == 0 {
				t.Error("without what was learned nothing is dropped either: the test shows nothing")
			}
		})
	}
}

// Captures as they are: only the beginnings of packets kept, what the server's NIC has yet to cut, put together of years.
func TestRoughCaptures(t *testing.T) {
	need.Root(t)
	r := rand.New(rand.NewPCG(8, 8))
	for _, c := range []struct {
		name   string
		server netip.AddrPort
		tcp    bool
		make   func(p *play)
	}{
		{"64 bytes of each packet", server4, false, func(p *play) { p.snap = 64 }},
		{"64 bytes of each segment", server4, true, func(p *play) { p.snap = 64 }},
		{"a large send", server4, true, func(p *play) {
			p.session(0, client(server4, 1, 61000), server4, true, []firsts.Packet{{Up: true, Payload: blob(r, 0, 1)}, {Payload: noise(r, 20_000)}, {Up: true, Payload: noise(r, 9)}})
		}},
		{"a large send over IPv6", server6, true, func(p *play) {
			p.session(0, client(server6, 1, 61000), server6, true, []firsts.Packet{{Up: true, Payload: blob(r, 0, 1)}, {Payload: noise(r, 20_000)}, {Up: true, Payload: noise(r, 9)}})
		}},
		{"three years between", server4, false, func(p *play) {
			at := 3 * 365 * 24 * time.Hour
			p.session(at, client(server4, 1, 61000), server4, false, append([]firsts.Packet{{Up: true, Payload: blob(r, at, 1)}}, match(r, 40)...))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := unknown(c.server, c.tcp)
			c.make(p)
			if got := prove(t, learn.Options{Files: []string{p.write(t)}}); len(got.First) != 1 || got.First[0].Bytes != "424c4f4201" {
				t.Errorf("learned %v (%s)", got.First, got.WhyNot)
			}
		})
	}
}

// An attack in the same capture teaches nothing.
func TestAttackBesidePlay(t *testing.T) {
	need.Root(t)
	p := unknown(server4, false)
	r := rand.New(rand.NewPCG(6, 6))
	for i := range 3000 {
		p.add(time.Duration(i)*20*time.Millisecond, packet.NewUDP(client(server4, 1000+i, 1024+i%3000), server4, string(noise(r, 900))))
	}
	got, err := learn.Prove(t.Context(), learn.Options{Files: []string{p.write(t)}, Name: "blobs"}, replay)
	must(t, err)
	if len(got.First) != 1 || got.First[0].Bytes != "424c4f4201" || got.LeftOut.Sources != 3000 || got.Sources != sources {
		t.Errorf("learned %v of %d sources, %d were left out", got.First, got.Sources, got.LeftOut.Sources)
	}
	if got.Replay.Dropped["gate_refused"] != 3000 || len(got.Replay.Dropped) != 1 {
		t.Errorf("replayed: %+v", got.Replay)
	}
}

// Each game's flows in the labelled captures: a service of a label, or all of them.
func TestCaptures(t *testing.T) {
	need.Root(t)
	dir := need.Captures(t)
	count := map[string]int{}
	unanswered := 0
	for _, row := range gameFlows(t, dir) {
		if count[row.label] >= 1 && !inFull() {
			continue
		}
		t.Run(fmt.Sprintf("%s/%s/%v", row.label, row.file, row.server), func(t *testing.T) {
			o := learn.Options{Files: []string{filepath.Join(dir, row.file)}, Server: &row.server}
			_, err := learn.Learn(o)
			if err != nil && (strings.Contains(err.Error(), "none was ever answered") || strings.Contains(err.Error(), "loopback")) {
				unanswered++
				return // it holds one direction, or what parry never sees
			}
			count[row.label]++
			got := prove(t, o)
			t.Logf("%d packets, %d sessions: game %s, first %v", got.Packets, got.Sessions, got.Game, got.First)
		})
	}
	if len(count) < 12 {
		t.Errorf("services of %d labels only: %v", len(count), count)
	}
	t.Logf("services by label: %v; %d flows are of one direction or on loopback, and refused", count, unanswered)
}

type gameFlow struct {
	label, file string
	server      learn.Endpoint
}

// gameFlows are the services that players speak to in labels.tsv.
func gameFlows(t *testing.T, dir string) (all []gameFlow) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "labels.tsv"))
	must(t, err)
	defer f.Close()
	seen := map[gameFlow]bool{}
	for in := bufio.NewScanner(f); in.Scan(); {
		cell := strings.Split(in.Text(), "\t")
		words := strings.Fields(cell[1])
		if len(cell) < 3 || !isGame(cell[2]) || len(words) != 4 {
			continue
		}
		to, err := netip.ParseAddrPort(words[3])
		if err != nil {
			continue
		}
		one := gameFlow{cell[2], cell[0], learn.Endpoint{Protocol: words[0], Address: to}}
		if !seen[one] {
			seen[one] = true
			all = append(all, one)
		}
	}
	if len(all) < 50 {
		t.Fatalf("labels.tsv has %d services of games only", len(all))
	}
	return all
}
