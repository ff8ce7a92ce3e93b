// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// entry is one on a list, for the named service ("" = all).
type entry struct {
	list    loader.List
	prefix  string
	service string
	ttl     time.Duration // 0 = for ever
	free    bool          // unlimited
}

func deny(prefix string) entry  { return entry{list: loader.Deny, prefix: prefix} }
func allow(prefix string) entry { return entry{list: loader.Allow, prefix: prefix} }

func (e entry) of(service string) entry       { e.service = service; return e }
func (e entry) lasts(ttl time.Duration) entry { e.ttl = ttl; return e }

func (e entry) key(t *testing.T, w *world) loader.EntryKey {
	t.Helper()
	numbers, err := w.edge.Lists().Services()
	must(t, err)
	return loader.EntryKey{Prefix: netip.MustParsePrefix(e.prefix), Service: numbers[e.service]}
}

func (w *world) list(t *testing.T, entries ...entry) {
	t.Helper()
	for _, e := range entries {
		x := loader.Entry{EntryKey: e.key(t, w), Unlimited: e.free, Reason: "a test"}
		if e.ttl != 0 {
			x.Expires = time.Now().Add(e.ttl)
		}
		must(t, w.edge.Lists().Add(e.list, []loader.Entry{x}))
		w.nets = w.nets || !x.Prefix.IsSingleIP()
	}
}

func (w *world) unlist(t *testing.T, entries ...entry) {
	t.Helper()
	for _, e := range entries {
		if n, err := w.edge.Lists().Del(e.list, []loader.EntryKey{e.key(t, w)}); err != nil || n != 1 {
			t.Errorf("took %d entries of %s off the list: %v", n, e.prefix, err)
		}
	}
}

// hits are how often an entry has judged a packet; -1 = it is not on the list.
func (w *world) hits(t *testing.T, e entry) int {
	t.Helper()
	k := e.key(t, w)
	for x, err := range w.edge.Lists().Entries(e.list) {
		must(t, err)
		if x.EntryKey == k {
			return int(x.Hits)
		}
	}
	return -1
}

func TestDenied(t *testing.T) { deniedGroup().run(t) }

// deniedCase is one new session, judged by what is on the lists.
type deniedCase struct {
	name    string
	client  netip.AddrPort
	entries []entry
	hits    []int
	age     time.Duration // of the entries when the packet comes
	want    outcome
}

func deniedCases() []deniedCase {
	denied, welcome := outcome{verdict: "drop", reason: "denied", service: "nat"}, outcome{verdict: "tx", service: "nat"}
	return []deniedCase{
		{"host", player4, []entry{deny("192.0.2.1/32")}, []int{1}, 0, denied},
		{"host, IPv6", player6, []entry{deny("2001:db8:c::1/128")}, []int{1}, 0, denied},
		{"prefix", player4, []entry{deny("192.0.2.0/24")}, []int{1}, 0, denied},
		{"prefix, IPv6", player6, []entry{deny("2001:db8:c::/64")}, []int{1}, 0, denied},
		{"long prefix", player4, []entry{deny("192.0.2.0/31")}, []int{1}, 0, denied},
		{"long prefix, IPv6", player6, []entry{deny("2001:db8:c::/127")}, []int{1}, 0, denied},
		{"short prefix", player4, []entry{deny("192.0.0.0/2")}, []int{1}, 0, denied},
		{"short prefix, IPv6", player6, []entry{deny("2000::/3")}, []int{1}, 0, denied},
		{"everybody", player4, []entry{deny("0.0.0.0/0")}, []int{1}, 0, denied},
		{"everybody, IPv6", player6, []entry{deny("::/0")}, []int{1}, 0, denied},
		{"another host", player4, []entry{deny("192.0.2.2/32")}, []int{0}, 0, welcome},
		{"another host, IPv6", player6, []entry{deny("2001:db8:c::2/128")}, []int{0}, 0, welcome},
		{"another prefix", player4, []entry{deny("192.0.2.2/31"), deny("192.0.3.0/24")}, []int{0, 0}, 0, welcome},
		{"another prefix, IPv6", player6, []entry{deny("2001:db8:c:1::/64")}, []int{0}, 0, welcome},
		{"host, by this service", player4, []entry{deny("192.0.2.1/32").of("nat")}, []int{1}, 0, denied},
		{"host, by this service, IPv6", player6, []entry{deny("2001:db8:c::1/128").of("nat")}, []int{1}, 0, denied},
		{"host, by another service", player4, []entry{deny("192.0.2.1/32").of("open")}, []int{0}, 0, welcome},
		{"prefix, by this service", player4, []entry{deny("192.0.0.0/16").of("nat")}, []int{1}, 0, denied},
		{"prefix, by another service", player6, []entry{deny("2001:db8::/32").of("open")}, []int{0}, 0, welcome},
		{"another service's longer entry hides nothing", player4, []entry{deny("192.0.2.0/30").of("open"), deny("192.0.2.0/24").of("nat")}, []int{0, 1}, 0, denied},
		{"this service's entry hides not that of all", player4, []entry{deny("192.0.2.0/24"), allow("192.0.3.0/24").of("nat")}, []int{1, 0}, 0, denied},
		{"allowed host in a denied prefix", player4, []entry{deny("192.0.2.0/24"), allow("192.0.2.1/32")}, []int{0, 1}, 0, welcome},
		{"allowed prefix around a denied host", player4, []entry{deny("192.0.2.1/32"), allow("192.0.0.0/16")}, []int{0, 1}, 0, welcome},
		{"allowed by this service, denied by all", player6, []entry{deny("2001:db8:c::1/128"), allow("2001:db8:c::/48").of("nat")}, []int{0, 1}, 0, welcome},
		{"allowed by all, denied by this service", player4, []entry{deny("192.0.2.1/32").of("nat"), allow("192.0.2.1/32")}, []int{0, 1}, 0, welcome},
		{"allowed by another service", player4, []entry{deny("192.0.2.1/32"), allow("192.0.2.1/32").of("open")}, []int{1, 0}, 0, denied},
		{"host, not expired yet", player4, []entry{deny("192.0.2.1/32").lasts(time.Hour)}, []int{1}, 30 * time.Minute, denied},
		{"host, expired", player4, []entry{deny("192.0.2.1/32").lasts(time.Hour)}, nil, 2 * time.Hour, welcome},
		{"host, expired, IPv6", player6, []entry{deny("2001:db8:c::1/128").lasts(time.Hour)}, nil, 2 * time.Hour, welcome},
		{"expired host in a live prefix", player4, []entry{deny("192.0.2.1/32").lasts(time.Hour), deny("192.0.2.0/24")}, []int{-1, 1}, 2 * time.Hour, denied},
		{"prefix, expired", player4, []entry{deny("192.0.2.0/24").lasts(time.Hour)}, nil, 2 * time.Hour, welcome},
		{"expired prefix in a live one", player4, []entry{deny("192.0.2.0/24").lasts(time.Hour), deny("192.0.0.0/16")}, []int{-1, 1}, 2 * time.Hour, denied},
		{"expired prefixes in a live one, IPv6", player6, []entry{
			deny("2001:db8:c::/127").lasts(time.Hour), deny("2001:db8:c::/64").lasts(time.Hour), deny("2001:db8:c::/63").lasts(time.Hour), deny("2001:db8::/32"),
		}, []int{-1, -1, -1, 1}, 2 * time.Hour, denied},
		{"expired prefixes in an expired one", player4, []entry{
			deny("192.0.2.0/31").lasts(time.Hour), deny("192.0.2.0/24").lasts(time.Hour), deny("0.0.0.0/0").lasts(time.Hour),
		}, nil, 2 * time.Hour, welcome},
		{"expired allow, live deny", player4, []entry{allow("192.0.2.1/32").lasts(time.Hour), deny("192.0.2.0/24")}, []int{-1, 1}, 2 * time.Hour, denied},
	}
}

func deniedGroup() group {
	g := group{name: "TestDenied", plan: basePlan}
	for _, x := range deniedCases() {
		g.rows = append(g.rows, row{
			name: x.name,
			set:  func(t *testing.T, w *world) { w.list(t, x.entries...); w.pass(t, x.age) },
			in:   is(hello(x.client, natPort).Bytes()),
			want: x.want,
			after: func(t *testing.T, w *world) {
				for i, n := range x.hits {
					if got := w.hits(t, x.entries[i]); got != n {
						t.Errorf("%+v has %d hits, not %d", x.entries[i], got, n)
					}
				}
				w.unlistAll(t)
			},
		})
	}
	return g
}

// unlistAll empties the lists, expired entries included.
func (w *world) unlistAll(t *testing.T) {
	t.Helper()
	for _, l := range []loader.List{loader.Deny, loader.Allow} {
		var keys []loader.EntryKey
		for x, err := range w.edge.Lists().Entries(l) {
			must(t, err)
			keys = append(keys, x.EntryKey)
		}
		if len(keys) > 0 {
			_, err := w.edge.Lists().Del(l, keys)
			must(t, err)
		}
	}
	w.sweep(t)
	if !w.nets { // to derive the prefixes' filters anew takes longer than a row
		return
	}
	w.nets = false
	if n, err := w.edge.Lists().Refilter(); err != nil || n != 0 {
		t.Errorf("%d prefixes are left: %v", n, err)
	}
}

// A block is enforced on a live session at its next packet, in both directions, and lifted at the next.
func TestBlockOnALiveSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, m := range modes() {
		for _, e := range []entry{
			deny(netip.PrefixFrom(m.first.From.Addr(), m.first.From.Addr().BitLen()).String()),
			deny(netip.PrefixFrom(m.first.From.Addr(), m.first.From.Addr().BitLen()-9).Masked().String()).of(m.service),
		} {
			t.Run(m.name+" "+e.prefix, func(t *testing.T) {
				defer w.clear(t)
				s := w.prove(t, m.first)
				up, down := m.first.With(func(p *packet.Packet) { p.Flags = packet.ACK }), reply(s, "an answer")
				w.list(t, e)
				for range 3 {
					w.send(t, up.Bytes(), outcome{verdict: "drop", reason: "denied", service: m.service}, nil)
					w.send(t, down.Bytes(), outcome{verdict: "drop", reason: "denied", service: m.service, down: true}, nil)
				}
				if n := w.hits(t, e); n != 6 {
					t.Errorf("%d hits, not 6", n)
				}
				w.unlist(t, e)
				w.send(t, down.Bytes(), outcome{verdict: "tx", service: m.service, down: true}, returned(down, s).Bytes())
				w.send(t, up.Bytes(), outcome{verdict: "tx", service: m.service}, forwarded(up, s).Bytes())
			})
		}
	}
}

// A block that expires lets go of a live session by itself.
func TestBlockThatExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	s := w.prove(t, hello(player4, natPort))
	w.list(t, deny("192.0.2.1/32").lasts(30*time.Second))
	up, down := hello(player4, natPort), reply(s, "an answer")
	w.send(t, up.Bytes(), outcome{verdict: "drop", reason: "denied", service: "nat"}, nil)
	w.pass(t, 29*time.Second)
	w.send(t, down.Bytes(), outcome{verdict: "drop", reason: "denied", service: "nat", down: true}, nil)
	w.pass(t, 5*time.Second)
	w.send(t, down.Bytes(), outcome{verdict: "tx", service: "nat", down: true}, returned(down, s).Bytes())
	w.send(t, up.Bytes(), outcome{verdict: "tx", service: "nat"}, forwarded(up, s).Bytes())
	w.pass(t, time.Second)
	if s := w.sweep(t); s.Entries != 1 {
		t.Errorf("a sweep removed %d expired entries", s.Entries)
	}
}

// rawKey is a list's key as a person types it to bpftool: service, then address; ahead of them, for a prefix, 32 + its length.
func rawKey(service uint32, p netip.Prefix) []byte {
	var b []byte
	if !p.IsSingleIP() {
		b = binary.NativeEndian.AppendUint32(b, 32+uint32(p.Bits()))
	}
	b = binary.NativeEndian.AppendUint32(b, service)
	return append(b, p.Addr().AsSlice()...)
}

// An entry that bpftool wrote, everything but its key zero, holds at once for new sessions, and within two seconds for
// live ones. A prefix waits for the daemon's next look.
func TestEntryByBpftool(t *testing.T) {
	t.Parallel()
	w := newWorld(t, basePlan())
	for _, x := range []struct {
		list   string
		prefix string
		client netip.AddrPort
	}{
		{"deny_host4", "192.0.2.1/32", player4}, {"deny_host6", "2001:db8:c::1/128", player6},
		{"deny_net4", "192.0.2.0/24", player4}, {"deny_net6", "2001:db8:c::/48", player6},
	} {
		t.Run(x.list, func(t *testing.T) {
			defer w.clear(t)
			p := netip.MustParsePrefix(x.prefix)
			s := w.prove(t, hello(x.client, natPort))
			up, down := hello(x.client, natPort), reply(s, "an answer")
			w.nets = true
			must(t, w.edge.Poke(x.list, rawKey(0, p), make([]byte, 72)))
			if !p.IsSingleIP() {
				if n, err := w.edge.Lists().Refilter(); err != nil || n != 1 {
					t.Fatalf("the daemon's look found %d prefixes: %v", n, err)
				}
			}
			stranger := netip.AddrPortFrom(x.client.Addr(), 1)
			w.send(t, hello(stranger, natPort).Bytes(), outcome{verdict: "drop", reason: "denied", service: "nat"}, nil)
			w.pass(t, 1900*time.Millisecond)
			w.send(t, up.Bytes(), outcome{verdict: "tx", service: "nat"}, forwarded(up, s).Bytes())
			w.pass(t, 110*time.Millisecond)
			w.send(t, up.Bytes(), outcome{verdict: "drop", reason: "denied", service: "nat"}, nil)
			w.send(t, down.Bytes(), outcome{verdict: "drop", reason: "denied", service: "nat", down: true}, nil)
			var all []loader.Entry
			for e, err := range w.edge.Lists().Entries(loader.Deny) {
				must(t, err)
				all = append(all, e)
			}
			if len(all) != 1 || all[0].Prefix != p || all[0].Source != loader.FromMap || all[0].Hits != 3 || !all[0].Expires.IsZero() {
				t.Errorf("listed as %+v", all)
			}
			w.unlistAll(t)
		})
	}
}

// What is not enforced drops nothing, and counts every packet that it would have dropped.
func TestMonitorDeny(t *testing.T) {
	t.Parallel()
	everywhere, here := basePlan(), with(basePlan(), "nat", func(s *loader.Service) { s.Enforce = false })
	everywhere.Enforce = false
	for name, plan := range map[string]*loader.Plan{"everywhere": everywhere, "on this service": here} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, plan)
			w.list(t, deny("192.0.2.1/32"))
			up := hello(player4, natPort)
			would := outcome{verdict: "tx", shadow: "denied", service: "nat"}
			w.send(t, up.Bytes(), would, nil)
			s := w.session(t, player4)
			for range 3 {
				w.send(t, up.Bytes(), would, forwarded(up, s).Bytes())
				down := reply(s, "an answer")
				w.send(t, down.Bytes(), outcome{verdict: "tx", shadow: "denied", service: "nat", down: true}, returned(down, s).Bytes())
			}
			w.unlist(t, deny("192.0.2.1/32"))
			w.send(t, up.Bytes(), outcome{verdict: "tx", service: "nat"}, forwarded(up, s).Bytes())
		})
	}
}
