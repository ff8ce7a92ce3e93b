// SPDX-License-Identifier: Apache-2.0

package roster_test

import (
	"net/netip"
	"runtime"
	"testing"

	"parry/pkg/naming"
	"parry/pkg/roster"
	"parry/pkg/sample"
	"parry/test/firsts"
)

var front = netip.MustParseAddrPort("203.0.113.10:27960")

func client(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 40000)
}

// tell has a roster see the beginning of a session.
func tell(r *roster.Roster, who netip.AddrPort, f *firsts.Flow) roster.Key {
	k := roster.Key{Client: who, Front: netip.AddrPortFrom(front.Addr(), f.Port), Proto: uint8(naming.UDP)}
	if f.TCP {
		k.Proto = uint8(naming.TCP)
	}
	for i, p := range f.Packets {
		r.Packet(&sample.Packet{
			Client: k.Client, Front: k.Front, Proto: k.Proto, Down: !p.Up, First: i == 0, Payload: p.Payload, Length: len(p.Payload), Kind: sample.KindFirst,
		})
	}
	return k
}

// What play is named by its first packets stays with its session until it ends.
func TestSessionsAreNamed(t *testing.T) {
	for i, f := range firsts.Flows(7, 20) {
		r := roster.New(64)
		k := tell(r, client(i), &f)
		got, ok := r.Named(k)
		if f.Label == "minecraft_java" || f.Label == "quake3" || f.Label == "raknet" {
			if !ok || got.Game.String() != f.Label || got.Confidence == 0 || got.Reason == "" {
				t.Errorf("%s (%s) is taken for %+v", f.Label, f.What, got)
			}
		}
		r.Ended(&sample.End{Client: k.Client, Front: k.Front, Proto: k.Proto})
		if got, ok := r.Named(k); ok {
			t.Errorf("%s: it ended, and is still named %v", f.What, got.Game)
		}
	}
}

// Who a player says that he is stays with his session until it ends, also where the game was named before he said so.
func TestPlayersAreKnown(t *testing.T) {
	const handshake = "\x10\x00\xfd\x05\x09localhost\x63\xdd\x02"
	r := roster.New(64)
	k := roster.Key{Client: client(1), Front: front, Proto: uint8(naming.TCP)}
	say := func(first, down bool, kind sample.Kind, payload string) {
		r.Packet(&sample.Packet{Client: k.Client, Front: k.Front, Proto: k.Proto, First: first, Down: down, Kind: kind, Payload: []byte(payload), Length: len(payload)})
	}
	known := func(want string) {
		t.Helper()
		if got, ok := r.Player(k); got != want || ok != (want != "") {
			t.Errorf("the player is %q (%v), want %q", got, ok, want)
		}
	}
	say(false, false, sample.KindFirst, handshake)
	known("")
	say(false, true, sample.KindFirst, "\x07\x00\x05Alex")
	say(false, false, sample.KindTurn, "\x07\x00\x05Bob..")
	say(false, false, sample.KindFirst, "\x07\x00\x05Steve")
	known("Steve")
	say(false, false, sample.KindFirst, "\x07\x00\x05Other")
	known("Steve")
	r.Ended(&sample.End{Client: k.Client, Front: k.Front, Proto: k.Proto})
	known("")
	say(false, false, sample.KindFirst, handshake+"\x07\x00\x05Steve")
	known("Steve")
	say(true, false, sample.KindFirst, handshake) // the next one of that tuple
	known("")
}

func flowOf(t *testing.T, label string) *firsts.Flow {
	t.Helper()
	for _, f := range firsts.Flows(3, 1) {
		if f.Label == label && !f.TCP {
			return &f
		}
	}
	t.Fatalf("no sessions of %s are made", label)
	return nil
}

// A tuple that plays something else next time has no name of its past; what was refused names nothing.
func TestNamesAreOfOneSession(t *testing.T) {
	r := roster.New(64)
	k := tell(r, client(1), flowOf(t, "quake3"))
	if n, _ := r.Named(k); n.Game != naming.Quake3 {
		t.Fatalf("taken for %v", n.Game)
	}
	r.Packet(&sample.Packet{Client: k.Client, Front: k.Front, Proto: k.Proto, First: true, Payload: []byte("hello"), Length: 5})
	if n, ok := r.Named(k); ok {
		t.Errorf("the next one is taken for %v", n.Game)
	}
	f := flowOf(t, "quake3")
	refused := roster.Key{Client: client(2), Front: front, Proto: uint8(naming.UDP)}
	for _, shadow := range []bool{false, true} {
		r.Packet(&sample.Packet{Client: refused.Client, Front: front, Proto: refused.Proto, First: true, Reason: 3, Shadow: shadow, Payload: f.Packets[0].Payload, Length: len(f.Packets[0].Payload)})
		if _, ok := r.Named(refused); ok != shadow {
			t.Errorf("refused (only in shadow: %v): named %v", shadow, ok)
		}
	}
}

// However many sessions come and never end, memory is bounded, and those that are sampled keep their names.
func TestMemoryIsBounded(t *testing.T) {
	const most = 1024
	r := roster.New(most)
	f := flowOf(t, "quake3")
	kept := tell(r, client(0), f)
	turn := sample.Packet{Client: kept.Client, Front: kept.Front, Proto: kept.Proto, Payload: []byte("play"), Length: 4, Kind: sample.KindTurn}
	named := 0
	var all []roster.Key
	for i := 1; i <= 100_000; i++ {
		all = append(all, tell(r, client(i), f))
		if i%100 == 0 {
			r.Packet(&turn)
		}
	}
	for _, k := range all {
		if _, ok := r.Named(k); ok {
			named++
		}
	}
	if named > most {
		t.Errorf("%d names are kept, of at most %d", named, most)
	}
	if _, ok := r.Named(kept); !ok {
		t.Error("a session that goes on lost its name")
	}
	all = nil
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 24<<20 {
		t.Errorf("%d bytes are in use", m.HeapAlloc)
	}
	runtime.KeepAlive(r)
}
