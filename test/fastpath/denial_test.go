// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"parry/loader"
)

// What is denied again and again is noted in a cell, and believed for a while (bpf/stage/denial.h).

// stranger is a new tuple of an address each time.
func (w *world) stranger(addr string) netip.AddrPort {
	w.strangers++
	return netip.AddrPortFrom(netip.MustParseAddr(addr), 1024+w.strangers)
}

// tries has strangers from an address ask the service behind a port, and fails unless each is refused, or welcome.
func (w *world) tries(t *testing.T, addr string, port uint16, times int, refused bool) {
	t.Helper()
	want := outcome{verdict: "tx", service: services[port]}
	if refused {
		want.verdict, want.reason = "drop", "denied"
	}
	for range times {
		w.send(t, hello(w.stranger(addr), port).Bytes(), want, nil)
	}
}

var services = map[uint16]string{natPort: "nat", openPort: "open"}

// told are the hits that an entry of one IPv4 address has been told of.
func (w *world) told(t *testing.T, addr netip.Addr) uint64 {
	t.Helper()
	v, err := w.edge.Peek("deny_host4", rawKey(0, netip.PrefixFrom(addr, 32)))
	must(t, err)
	return binary.NativeEndian.Uint64(v[8:])
}

func (w *world) wantHits(t *testing.T, want int, e entry) {
	t.Helper()
	if got := w.hits(t, e); got != want {
		t.Errorf("%+v has %d hits, not %d", e, got, want)
	}
}

func TestDenialsAreNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	host := deny("192.0.2.1/32")
	for _, x := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"each packet is a hit", func(t *testing.T) {
			w.list(t, host)
			w.tries(t, "192.0.2.1", natPort, 7, true)
			if n := w.told(t, netip.MustParseAddr("192.0.2.1")); n != 1 {
				t.Errorf("the entry was told of %d packets at once: nothing was noted", n)
			}
			w.wantHits(t, 7, host)
			w.tries(t, "192.0.2.1", natPort, 2, true)
			w.wantHits(t, 9, host)
		}},
		{"the entry is told when the cell is renewed", func(t *testing.T) {
			w.list(t, host)
			w.tries(t, "192.0.2.1", natPort, 3, true)
			w.pass(t, 2*time.Second)
			w.tries(t, "192.0.2.1", natPort, 1, true)
			if n := w.told(t, netip.MustParseAddr("192.0.2.1")); n != 4 {
				t.Errorf("the entry was told of %d packets, not 4", n)
			}
		}},
		{"and when the lists are swept", func(t *testing.T) {
			w.list(t, host)
			w.tries(t, "192.0.2.1", natPort, 3, true)
			w.sweep(t)
			if n := w.told(t, netip.MustParseAddr("192.0.2.1")); n != 3 {
				t.Errorf("the entry was told of %d packets, not 3", n)
			}
		}},
		{"taken off: at once", func(t *testing.T) {
			w.list(t, host)
			w.tries(t, "192.0.2.1", natPort, 3, true)
			w.unlist(t, host)
			w.tries(t, "192.0.2.1", natPort, 1, false)
			w.list(t, host)
			w.tries(t, "192.0.2.1", natPort, 2, true)
		}},
		{"allowed: at once", func(t *testing.T) {
			for _, a := range []entry{allow("192.0.2.1/32"), allow("192.0.2.0/28"), allow("192.0.2.1/32").of("nat"), allow("192.0.0.0/12").of("nat")} {
				w.list(t, host)
				w.tries(t, "192.0.2.1", natPort, 3, true)
				w.list(t, a)
				w.tries(t, "192.0.2.1", natPort, 1, false)
				w.unlist(t, a)
				w.tries(t, "192.0.2.1", natPort, 2, true)
			}
		}},
		{"allowed by one service", func(t *testing.T) {
			w.list(t, host, allow("192.0.2.1/32").of("open"))
			for range 2 {
				w.tries(t, "192.0.2.1", natPort, 2, true)
				w.tries(t, "192.0.2.1", openPort, 2, false)
			}
		}},
		{"denied by one service", func(t *testing.T) {
			w.list(t, host.of("nat"))
			for range 2 {
				w.tries(t, "192.0.2.1", natPort, 2, true)
				w.tries(t, "192.0.2.1", openPort, 2, false)
			}
			w.wantHits(t, 4, host.of("nat"))
		}},
		{"expired: to the moment", func(t *testing.T) {
			w.list(t, host.lasts(5*time.Second))
			w.pass(t, 4*time.Second)
			w.tries(t, "192.0.2.1", natPort, 3, true)
			w.pass(t, 990*time.Millisecond)
			w.tries(t, "192.0.2.1", natPort, 3, true)
			w.pass(t, 10*time.Millisecond)
			w.tries(t, "192.0.2.1", natPort, 1, false)
		}},
		{"replaced by one that ends sooner", func(t *testing.T) {
			w.list(t, host)
			w.tries(t, "192.0.2.1", natPort, 3, true)
			w.list(t, host.lasts(500*time.Millisecond))
			w.tries(t, "192.0.2.1", natPort, 1, true)
			w.pass(t, 510*time.Millisecond)
			w.tries(t, "192.0.2.1", natPort, 1, false)
		}},
		{"a service that only watches", func(t *testing.T) {
			w.list(t, host)
			w.tries(t, "192.0.2.1", natPort, 3, true)
			w.load(t, with(basePlan(), "nat", func(s *loader.Service) { s.Enforce = false }))
			w.send(t, hello(w.stranger("192.0.2.1"), natPort).Bytes(), outcome{verdict: "tx", service: "nat", shadow: "denied"}, nil)
			w.load(t, basePlan())
			w.tries(t, "192.0.2.1", natPort, 3, true)
			w.wantHits(t, 8, host) // who begins a session and is only watched is judged as a stranger, and then as a player
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			defer w.clear(t)
			defer w.unlistAll(t)
			x.do(t)
		})
	}
}

// What bpftool denies holds at once. What it takes off or allows is heard within two seconds; a host that it allows amid a
// denied prefix as soon as the daemon notices.
func TestDenialsAndBpftool(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	p := netip.MustParsePrefix("192.0.2.1/32")
	zero, over := make([]byte, 72), binary.NativeEndian.AppendUint64(nil, 1)
	over = append(over, zero[8:]...)
	for _, x := range []struct {
		name, list string
		value      []byte
	}{{"taken off", "deny_host4", over}, {"allowed", "allow_host4", zero}} {
		t.Run(x.name, func(t *testing.T) {
			defer w.clear(t)
			defer w.unlistAll(t)
			must(t, w.edge.Poke("deny_host4", rawKey(0, p), zero))
			w.tries(t, "192.0.2.1", natPort, 2, true)
			must(t, w.edge.Poke(x.list, rawKey(0, p), x.value))
			w.pass(t, 2*time.Second)
			w.tries(t, "192.0.2.1", natPort, 1, false)
		})
	}
	t.Run("allowed amid a denied prefix", func(t *testing.T) {
		defer w.clear(t)
		defer w.unlistAll(t)
		must(t, w.lists.NoticeAllowed())
		w.list(t, deny("192.0.2.0/24"))
		w.tries(t, "192.0.2.7", natPort, 2, true)
		must(t, w.edge.Poke("allow_host4", rawKey(0, p), zero))
		must(t, w.lists.NoticeAllowed())
		w.tries(t, "192.0.2.1", natPort, 1, false)
		w.tries(t, "192.0.2.7", natPort, 2, true)
		w.tries(t, "192.0.2.1", natPort, 1, false)
		w.unlistAll(t)
		must(t, w.lists.NoticeAllowed())
	})
}

// A crowd that has no room in the cells, and one that comes after it: each packet is refused, and each is somebody's hit.
func TestDenialsOfCrowds(t *testing.T) {
	t.Parallel()
	const crowd, times = 12_000, 3
	s := smallSizes()
	s.Blocks = 2 * crowd
	w := newWorldOf(t, basePlan(), s)
	var entries []loader.Entry
	for i := range 2 * crowd {
		a := netip.AddrFrom4([4]byte{16 + byte(i>>16), byte(i >> 8), byte(i), byte(i * 7)})
		entries = append(entries, loader.Entry{EntryKey: loader.EntryKey{Prefix: netip.PrefixFrom(a, 32)}})
	}
	must(t, w.edge.Lists().Add(loader.Deny, entries))
	for first := 0; first < len(entries); first += crowd {
		for range times {
			for _, e := range entries[first : first+crowd] {
				r := w.quietly(t, hello(netip.AddrPortFrom(e.Prefix.Addr(), 1024), natPort).Bytes())
				if r.Reason != "denied" {
					t.Fatalf("%v: %+v", e.Prefix, r)
				}
			}
		}
		w.pass(t, 3*time.Second)
	}
	behind := 0
	for _, e := range entries {
		if w.told(t, e.Prefix.Addr()) < times {
			behind++
		}
	}
	if behind == 0 || behind == len(entries) {
		t.Errorf("%d of %d entries don't know of all their packets: cells never change hands, or were not used", behind, len(entries))
	}
	n := 0
	for e, err := range w.edge.Lists().Entries(loader.Deny) {
		must(t, err)
		n++
		if e.Hits != times {
			t.Fatalf("%v has %d hits, not %d", e.Prefix, e.Hits, times)
		}
	}
	if n != len(entries) {
		t.Errorf("%d entries", n)
	}
}

// While cells change hands on one CPU, are settled and run out, nobody is refused on the other who is on no list.
func TestDenialsBesideEachOther(t *testing.T) {
	t.Parallel()
	const crowd, rounds, welcome = 6000, 4, 64
	s := smallSizes()
	s.Blocks, s.Sessions, s.Sources = crowd, 1<<16, 1<<16
	w := newWorldOf(t, basePlan(), s)
	var entries []loader.Entry
	var others []netip.Addr
	for i := range crowd + welcome {
		a := netip.AddrFrom4([4]byte{16, byte(i), byte(i >> 8), byte(i * 7)})
		if i >= crowd {
			others = append(others, a)
			continue
		}
		entries = append(entries, loader.Entry{EntryKey: loader.EntryKey{Prefix: netip.PrefixFrom(a, 32)}})
	}
	must(t, w.edge.Lists().Add(loader.Deny, entries))
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for range rounds {
			for _, e := range entries {
				if r, err := w.edge.Process(hello(at(e.Prefix.Addr(), 1024), localPort).Bytes()); err != nil || r.Code != loader.XDPDrop {
					t.Errorf("%v: code %d, %v", e.Prefix, r.Code, err)
					return
				}
			}
			env, err := w.edge.Env()
			if env.Now += 3 * time.Second; err != nil || w.edge.SetEnv(env) != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for n := uint16(0); ; n++ {
			select {
			case <-done:
				return
			default:
			}
			a := others[int(n)%len(others)]
			if r, err := w.edge.Process(hello(at(a, 1024+n%32768), localPort).Bytes()); err != nil || r.Code != loader.XDPPass {
				t.Errorf("%v, who is on no list: code %d, %v", a, r.Code, err)
				return
			}
			for _, err := range w.lists.Entries(loader.Deny) { // which settles
				if err != nil {
					t.Error(err)
				}
				break
			}
		}
	})
	wg.Wait()
}

// Cells outlive the daemon: the next one's changes are seen, and so are those that are made without any.
func TestDenialsOutliveTheDaemon(t *testing.T) {
	t.Parallel()
	pin, host := pinFolder(t), deny("192.0.2.1/32")
	var env loader.Env
	t.Run("one", func(t *testing.T) {
		w := openWorld(t, basePlan(), smallSizes(), pin)
		w.list(t, host)
		w.tries(t, "192.0.2.1", natPort, 4, true)
		l, err := loader.OpenLists(pin)
		must(t, err)
		defer l.Close()
		for e, err := range l.Entries(loader.Deny) {
			must(t, err)
			if e.Hits != 4 {
				t.Errorf("%d hits", e.Hits)
			}
		}
		if n, err := l.Del(loader.Deny, []loader.EntryKey{host.key(t, w)}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		w.tries(t, "192.0.2.1", natPort, 1, false)
		w.list(t, host)
		w.tries(t, "192.0.2.1", natPort, 3, true)
		env = w.env
	})
	t.Run("the next", func(t *testing.T) {
		w := openWorld(t, basePlan(), smallSizes(), pin)
		must(t, w.edge.SetEnv(env))
		w.tries(t, "192.0.2.1", natPort, 2, true)
		if n := w.told(t, netip.MustParseAddr("192.0.2.1")); n != 1 {
			t.Errorf("the entry was told of %d packets: what was noted before is not believed", n)
		}
		w.wantHits(t, 5, host)
		w.unlist(t, host)
		w.send(t, hello(at(netip.MustParseAddr("192.0.2.1"), 999), natPort).Bytes(), outcome{verdict: "tx", service: "nat"}, nil)
	})
}
