// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

var (
	ssh4  = packet.NewTCP(player4, at(host4, 22), packet.SYN, "")
	ssh6  = packet.NewTCP(player6, at(host6, 22), packet.SYN, "")
	arp   = packet.Frame(packet.EdgeSide, packet.ClientSide, packet.TypeARP, make([]byte, 46))
	lldp  = packet.Frame(packet.EdgeSide, packet.ClientSide, 0x88cc, make([]byte, 46))
	ns    = packet.NewICMP(player6.Addr(), host6, 135, 0, 0, host6.AsSlice())
	shut4 = packet.NewUDP(player4, at(host4, 9), "anybody?") // a closed port
	shut6 = packet.NewUDP(player6, at(host6, 9), "anybody?")
)

func TestHost(t *testing.T) { hostGroup().run(t) }

// spendHost empties this host's own budget, a packet a source.
func spendHost(t *testing.T, w *world) {
	t.Helper()
	for n := range 100 {
		w.quietly(t, packet.NewUDP(client(n), at(host4, 9), "anybody?").Bytes())
	}
}

func spendFrames(n int, frame []byte) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		t.Helper()
		for range n {
			w.quietly(t, frame)
		}
	}
}

// hostFrames are what this host may be sent that is no service's.
func hostFrames() map[string][]byte {
	gre := shut4.With(func(p *packet.Packet) { p.Proto = 47 })
	noNext := shut6.With(func(p *packet.Packet) { p.Proto, p.Payload = packet.NoNext, []byte{0} })
	return map[string][]byte{
		"ARP": arp, "LLDP": lldp, "neighbour solicitation": ns.Bytes(), "ssh": ssh4.Bytes(), "ssh, IPv6": ssh6.Bytes(),
		"a closed port": shut4.Bytes(), "a closed port, IPv6": shut6.Bytes(), "GRE": gre.Bytes(), "no next header": noNext.Bytes(),
		"ping to a service's address":         packet.NewICMP(player4.Addr(), vip4, 8, 0, 1, nil).Bytes(),
		"ping to a service's address, IPv6":   packet.NewICMP(player6.Addr(), vip6, 128, 0, 1, nil).Bytes(),
		"another port of a service's address": packet.NewUDP(player4, at(vip4, 9), "").Bytes(),
		"TCP from a service's port":           packet.NewTCP(at(player4.Addr(), natPort), at(host4, 40000), packet.ACK, "").Bytes(),
		"a fragment to the host":              shut4.Part(1, 64, 8, false),
		"a fragment to the host, IPv6":        shut6.Part(1, 64, 8, false),
		"a NAT port that is free":             packet.NewUDP(at(server4, gamePort), at(nat4, natFirst+5), "").Bytes(),
		"a NAT port that is free, IPv6":       packet.NewUDP(at(server6, gamePort), at(nat6, natFirst+5), "").Bytes(),
	}
}

// What is no service's is this host's, within four budgets that are apart from each other.
func hostGroup() group {
	g := group{name: "TestHost", plan: basePlan}
	passes := func(name string, in []byte, set func(*testing.T, *world)) {
		want := outcome{verdict: "pass"}
		if packet.Length(in) == 0 {
			want.bytes = len(in)
		}
		g.rows = append(g.rows, row{name: name, set: set, in: is(in), want: want, after: func(t *testing.T, w *world) { w.unlistAll(t) }})
	}
	drops := func(name, reason string, in []byte, set func(*testing.T, *world)) {
		want := outcome{verdict: "drop", reason: reason}
		if packet.Length(in) == 0 {
			want.bytes = len(in)
		}
		g.rows = append(g.rows, row{name: name, set: set, in: is(in), want: want, after: func(t *testing.T, w *world) { w.unlistAll(t) }})
	}
	for name, frame := range hostFrames() {
		passes(name, frame, nil)
	}
	drops("one source's share", "host_source_rate", shut4.Bytes(), spendFrames(20, shut4.Bytes()))
	drops("one source's share, IPv6", "host_source_rate", shut6.Bytes(), spendFrames(20, shut6.Bytes()))
	drops("one /64's share", "host_source_rate", shut6.Bytes(), spendFrames(20, shut6.With(func(p *packet.Packet) {
		p.From = netip.MustParseAddrPort("[2001:db8:c::9]:1")
	}).Bytes()))
	passes("another source's share", packet.NewUDP(other4, at(host4, 9), "").Bytes(), spendFrames(30, shut4.Bytes()))
	passes("one source's share, later", shut4.Bytes(), func(t *testing.T, w *world) {
		spendFrames(30, shut4.Bytes())(t, w)
		w.pass(t, 10*time.Millisecond) // two packets' worth
	})
	drops("all of the host's", "host_rate", shut4.Bytes(), spendHost)
	drops("all of the host's, to a service's address", "host_rate", packet.NewUDP(player6, at(vip6, 9), "").Bytes(), spendHost)
	drops("a damaged packet over the host's", "host_rate", packet.Frame(packet.EdgeSide, packet.ClientSide, packet.TypeIPv4, patch(shut4.Bytes(), 0, 0x44)[14:]), spendHost)
	passes("ssh while the host's is spent", ssh4.Bytes(), spendHost)
	passes("ARP while the host's is spent", arp, spendHost)
	passes("neighbour solicitation while the host's is spent", ns.Bytes(), spendHost)
	drops("ssh", "host_always_rate", ssh6.Bytes(), spendFrames(10_000, ssh4.Bytes()))
	passes("a closed port while ssh's is spent", shut4.Bytes(), spendFrames(10_000, ssh4.Bytes()))
	drops("ARP", "host_link_rate", arp, spendFrames(1000, lldp))
	drops("neighbour solicitation", "host_link_rate", ns.Bytes(), spendFrames(1000, arp))
	passes("ssh while the link's is spent", ssh4.Bytes(), spendFrames(1000, arp))
	blocked := func(t *testing.T, w *world) { w.list(t, deny("192.0.2.1/32"), deny("2001:db8:c::/48")) }
	drops("a blocked source", "denied", shut4.Bytes(), blocked)
	drops("a blocked source, IPv6", "denied", shut6.Bytes(), blocked)
	drops("a blocked source's ping", "denied", packet.NewICMP(player4.Addr(), vip4, 8, 0, 1, nil).Bytes(), blocked)
	passes("a blocked source's ssh", ssh4.Bytes(), blocked)
	passes("a source that a service blocks", shut4.Bytes(), func(t *testing.T, w *world) { w.list(t, deny("192.0.2.1/32").of("nat")) })
	passes("an allowed source has more than one source's share", shut4.Bytes(), func(t *testing.T, w *world) {
		w.list(t, allow("192.0.2.1/32"))
		spendFrames(50, shut4.Bytes())(t, w)
	})
	// The row's world: what the host's rows leave is spent, and a player does not notice.
	g.rows = append(g.rows, row{name: "a session while the host's is spent",
		set:  func(t *testing.T, w *world) { w.prove(t, hello(player4, natPort)); spendHost(t, w) },
		in:   is(hello(player4, natPort).Bytes()),
		want: outcome{verdict: "tx", service: "nat"},
	})
	return g
}

// Where policy only watches, no budget drops anything.
func TestMonitorHost(t *testing.T) {
	t.Parallel()
	plan := basePlan()
	plan.Enforce = false
	w := newWorld(t, plan)
	spendFrames(20, shut4.Bytes())(t, w)
	w.send(t, shut4.Bytes(), outcome{verdict: "pass", shadow: "host_source_rate"}, nil)
	spendHost(t, w)
	w.send(t, packet.NewUDP(other4, at(host4, 9), "").Bytes(), outcome{verdict: "pass", shadow: "host_rate"}, nil)
	w.list(t, deny("192.0.2.77/32"))
	w.send(t, packet.NewUDP(other4, at(host4, 9), "").Bytes(), outcome{verdict: "pass", shadow: "denied"}, nil)
}

// A rate of 0 is no bound.
func TestHostWithoutBudget(t *testing.T) {
	t.Parallel()
	plan := basePlan()
	plan.Host = loader.HostBudget{}
	w := newWorld(t, plan)
	for range 500 {
		if r := w.quietly(t, shut4.Bytes()); r.Verdict != "pass" {
			t.Fatalf("%s %s", r.Verdict, r.Reason)
		}
	}
}
