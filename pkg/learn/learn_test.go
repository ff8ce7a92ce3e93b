// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parry/pkg/pcap"
	"parry/test/packet"
)

var (
	server = netip.MustParseAddrPort("203.0.113.10:7777")
	other  = netip.MustParseAddrPort("203.0.113.20:5000")
	begun  = time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC)
)

func client(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), uint16(40000+n))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// capture is a file of frames, 10 ms apart.
func capture(t testing.TB, frames ...packet.Packet) string {
	t.Helper()
	var b bytes.Buffer
	w, err := pcap.NewWriter(&b, "test", "")
	must(t, err)
	_, err = w.AddInterface("eth0", 0, "")
	must(t, err)
	for i, f := range frames {
		data := f.Bytes()
		must(t, w.Write(&pcap.Record{Time: begun.Add(time.Duration(i) * 10 * time.Millisecond), Data: data, WireLen: len(data), XDP: -1}))
	}
	path := filepath.Join(t.TempDir(), "play.pcapng")
	must(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

// asked is a client's question, and its answer.
func asked(from, to netip.AddrPort, question string) []packet.Packet {
	return []packet.Packet{packet.NewUDP(from, to, question), packet.NewUDP(to, from, "well")}
}

func join(all ...[]packet.Packet) (out []packet.Packet) {
	for _, a := range all {
		out = append(out, a...)
	}
	return out
}

// What nothing can be learned from is refused in words, and nothing is written.
func TestWhatTeachesNothing(t *testing.T) {
	good := asked(client(1), server, "hello")
	whole, err := os.ReadFile(capture(t, good...))
	must(t, err)
	cut := filepath.Join(t.TempDir(), "cut.pcap")
	must(t, os.WriteFile(cut, whole[:len(whole)-7], 0o600))
	empty := filepath.Join(t.TempDir(), "empty.pcap")
	must(t, os.WriteFile(empty, nil, 0o600))
	var flood, scan []packet.Packet
	for i := range 50 {
		flood = append(flood, packet.NewUDP(client(i), server, "flood"))
		scan = append(scan, packet.NewTCP(client(i), server, packet.SYN, ""))
	}
	icmp := []packet.Packet{packet.NewICMP(client(1).Addr(), server.Addr(), 8, 0, 1, []byte("ping"))}
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"nothing in the file", Options{Files: []string{empty}}, "the capture is empty"},
		{"no such file", Options{Files: []string{"none.pcap"}}, "no such file"},
		{"cut off", Options{Files: []string{cut}}, "learn from a capture that is whole"},
		{"standard input", Options{Files: []string{"-"}}, "read twice"},
		{"no packets", Options{Files: []string{capture(t)}}, "no UDP or TCP"},
		{"no ports", Options{Files: []string{capture(t, icmp...)}}, "no UDP or TCP"},
		{"a flood", Options{Files: []string{capture(t, flood...)}}, "50 flows of 50 addresses, the most to udp 203.0.113.10:7777, and none was ever answered: that is an attack, a scan"},
		{"a scan by TCP", Options{Files: []string{capture(t, scan...)}}, "none was ever answered"},
		{"two services", Options{Files: []string{capture(t, join(good, asked(client(2), other, "hello"))...)}}, "more than one may be the service: say which\n  --server udp/203.0.113.10:7777"},
		{"another service", Options{Files: []string{capture(t, good...)}, Server: &Endpoint{"udp", other}}, "nobody speaks to udp 203.0.113.20:5000 there; the most is spoken to udp 203.0.113.10:7777"},
		{"the other protocol", Options{Files: []string{capture(t, good...)}, Server: &Endpoint{"tcp", server}}, "nobody speaks to tcp"},
		{"no client there", Options{Files: []string{capture(t, good...)}, Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, "by the clients that were named"},
		{"a name that is none", Options{Files: []string{capture(t, good...)}, Name: "My Game"}, "is no name"},
		{"a name that is taken", Options{Files: []string{capture(t, good...)}, Name: "quake3"}, "quake3 is a game that parry knows"},
	} {
		p, err := Learn(c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", c.name, p, err, c.want)
		}
	}
}

// A service that answers is found beside others; where that is not clear, clients' addresses tell.
func TestFindsTheService(t *testing.T) {
	dns := netip.MustParseAddrPort("203.0.113.53:53")
	var play, beside []packet.Packet
	for i := range 20 {
		play = append(play, asked(client(i), server, "hello")...)
		beside = append(beside, asked(server, dns, "who is that?")...)
	}
	for _, c := range []struct {
		name   string
		frames []packet.Packet
		o      Options
	}{
		{"alone", play, Options{}},
		{"beside a question or two of the server's own", join(play, beside[:4]), Options{}},
		{"beside as many", join(play, beside), Options{Clients: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}},
		{"begun before the capture", join([]packet.Packet{packet.NewUDP(server, client(1), "state")}, play), Options{}},
	} {
		c.o.Files = []string{capture(t, c.frames...)}
		p, err := Learn(c.o)
		if err != nil || p.Server != (Endpoint{"udp", server}) {
			t.Errorf("%s: %+v, %v", c.name, p, err)
		}
	}
}

// One flow shows how long packets were, and not what never changes: no first packet is told from another, and that is said.
func TestFewFlowsTeachLittle(t *testing.T) {
	for _, n := range []int{1, 7} {
		var frames []packet.Packet
		for i := range n {
			frames = append(frames, asked(client(i), server, "GAME always the same")...)
		}
		p, err := Learn(Options{Files: []string{capture(t, frames...)}})
		must(t, err)
		if len(p.First) > 0 || p.HeldOut != nil || p.Game != "generic_udp" || len(p.Limits) > 0 || !strings.Contains(p.YAML, "too few to tell what never changes") {
			t.Errorf("%d flows: %+v\n%s", n, p, p.YAML)
		}
	}
	var one []packet.Packet // sessions enough, but all of one player
	for i := range 30 {
		one = append(one, asked(netip.AddrPortFrom(client(1).Addr(), uint16(2000+i)), server, "GAME token-of-this-player")...)
	}
	p, err := Learn(Options{Files: []string{capture(t, one...)}})
	must(t, err)
	if len(p.First) > 0 {
		t.Errorf("one source's own bytes are taken for the game's: %v", p.First)
	}
}

// What is the same in every packet of a capture, and still no constant, is left out.
func TestNoOverfitting(t *testing.T) {
	u16, u32, u64 := binary.BigEndian.AppendUint16, binary.BigEndian.AppendUint32, binary.BigEndian.AppendUint64
	l16, l32, l64 := binary.LittleEndian.AppendUint16, binary.LittleEndian.AppendUint32, binary.LittleEndian.AppendUint64
	for _, c := range []struct {
		name string
		make func(r *rand.Rand, i int, at time.Time) []byte
		want string // bytes, from 0 on
	}{
		{"a constant", func(r *rand.Rand, _ int, _ time.Time) []byte { return u32([]byte("MAGIC\x02"), r.Uint32()) }, "4d4147494302"},
		{"seconds", func(_ *rand.Rand, _ int, at time.Time) []byte { return u32([]byte("MG"), uint32(at.Unix())) }, "4d47"},
		{"seconds, little-endian", func(_ *rand.Rand, _ int, at time.Time) []byte { return l32([]byte("MG"), uint32(at.Unix())) }, "4d47"},
		{"milliseconds", func(_ *rand.Rand, _ int, at time.Time) []byte { return u64([]byte("MG"), uint64(at.UnixMilli())) }, "4d47"},
		{"nanoseconds", func(_ *rand.Rand, _ int, at time.Time) []byte { return l64([]byte("MG"), uint64(at.UnixNano())) }, "4d47"},
		{"a counter", func(_ *rand.Rand, i int, _ time.Time) []byte { return u64([]byte("MG"), uint64(i)) }, "4d47"},
		{"a counter, little-endian", func(_ *rand.Rand, i int, _ time.Time) []byte { return append(l64([]byte("MG"), uint64(i)), "MH"...) }, "4d47................4d48"},
		{"the server's port", func(r *rand.Rand, _ int, _ time.Time) []byte {
			return u32(u16([]byte("MG"), server.Port()), r.Uint32())
		}, "4d47"},
		{"the server's address", func(r *rand.Rand, _ int, _ time.Time) []byte {
			return u32(append([]byte("MG"), server.Addr().AsSlice()...), r.Uint32())
		}, "4d47"},
		{"its own length", func(r *rand.Rand, _ int, _ time.Time) []byte { return u32(l16([]byte("MG"), 8), r.Uint32()) }, "4d47"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			var all []first
			for i := range 24 {
				at := begun.Add(time.Duration(i) * time.Minute)
				b := c.make(r, i, at)
				all = append(all, first{source: &source{answered: true}, at: at, payload: b, length: len(b)})
			}
			found, held, why := shapes(all, server)
			if len(found) != 1 || found[0].Bytes.String() != c.want || found[0].At != 0 {
				t.Fatalf("%v %s: want %s", found, why, c.want)
			}
			if held == nil || held.Passed != held.Asked {
				t.Errorf("held out: %+v", held)
			}
		})
	}
}

// Lengths of players yet to come are let in: a range gets room, and one length alone stays alone only where many show it.
func TestLengthsHaveRoom(t *testing.T) {
	for _, c := range []struct {
		n, least, most int
		want           string
	}{
		{24, 34, 34, "34"}, {10, 34, 34, "18-50"}, {24, 20, 60, "1-80"}, {24, 200, 300, "150-350"},
	} {
		var all []first
		for i := range c.n {
			length := c.least + (c.most-c.least)*i/(c.n-1)
			all = append(all, first{source: &source{}, payload: []byte{1, byte(i)}, length: length})
		}
		found, _, why := shapes(all, server)
		if len(found) != 1 || found[0].Length.String() != c.want {
			t.Errorf("%+v: %v %s", c, found, why)
		}
	}
}

// Hostile captures: no panic, an end, and what is proposed is a configuration.
func FuzzLearn(f *testing.F) {
	var frames []packet.Packet
	for i := range 12 {
		frames = append(frames, asked(client(i), server, fmt.Sprintf("GAME %d", i))...)
	}
	whole, err := os.ReadFile(capture(f, frames...))
	must(f, err)
	f.Add(whole)
	f.Add(whole[:200])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "play.pcap")
		must(t, os.WriteFile(path, data, 0o600))
		p, err := Learn(Options{Files: []string{path}})
		if (err == nil) == (p == nil) {
			t.Fatalf("%v, %v", p, err)
		}
		if err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
