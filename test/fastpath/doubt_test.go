// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

func doubtPlan() *loader.Plan {
	p := basePlan()
	p.Doubts = true
	return p
}

// Of a doubted source no stranger gets in, wherever the doubt is for; it ends by itself. Its neighbours are let be, unless their network is
// doubted.
func TestDoubtedStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, doubtPlan())
	number := uint32(0)
	for n, name := range w.edge.ServiceNames() {
		if name == "open" {
			number = uint32(n)
		}
	}
	zero, near := netip.MustParseAddr("198.51.7.0"), netip.MustParseAddr("198.51.7.9")
	six, far := netip.MustParseAddr("2001:db8:c:1::5"), netip.MustParseAddr("2001:db8:c:2::5")
	rows := []struct {
		prefix  string
		service uint32
		who     netip.Addr
		port    uint16
		want    string
	}{
		{"198.51.7.0/32", 0, zero, natPort, "doubted"},
		{"198.51.7.0/32", 0, near, natPort, ""}, // /24 and address are not mixed up
		{"198.51.7.0/24", 0, near, natPort, "doubted"},
		{"198.51.7.0/32", number, zero, openPort, "doubted"},
		{"198.51.7.0/32", number, zero, natPort, ""},
		{"2001:db8:c:1::/64", 0, six, openPort, "doubted"},
		{"2001:db8:c:1::/64", 0, far, openPort, ""},
		{"2001:db8:c::/48", number, far, openPort, "doubted"},
	}
	for _, r := range rows {
		t.Run(r.prefix+" "+r.who.String(), func(t *testing.T) {
			p := netip.MustParsePrefix(r.prefix)
			must(t, w.edge.AddDoubt(loader.Doubt{Prefix: p, Service: r.service, For: 10 * time.Second}))
			who := at(r.who, 40000)
			if got := w.quietly(t, hello(who, r.port).Bytes()).Reason; got != r.want {
				t.Errorf("%s, want %s", got, r.want)
			}
			w.pass(t, 10*time.Second)
			if got := w.quietly(t, hello(at(r.who, 40001), r.port).Bytes()).Reason; got != "" {
				t.Errorf("once it is over: %s", got)
			}
			left, err := w.edge.SweepDoubts()
			if must(t, err); left != 0 {
				t.Errorf("%d are left", left)
			}
			w.clear(t)
		})
	}
}

// Sessions that proved themselves strongly, and those that last, go on; others don't. An allow entry lifts it, and so does who takes it back.
func TestDoubtedSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, doubtPlan())
	weak, player := player4, at(player4.Addr(), 50000)
	shake := func() {
		w.quietly(t, packet.NewTCP(player, vip4Port(natPort), packet.SYN, "").Bytes())
		s := w.session(t, player)
		w.quietly(t, packet.NewTCP(s.Server, s.Face, packet.SYN|packet.ACK, "").Bytes())
		w.quietly(t, packet.NewTCP(player, vip4Port(natPort), packet.ACK, "").Bytes())
		w.quietly(t, packet.NewTCP(s.Server, s.Face, packet.ACK, "hello").Bytes())
	}
	shake()
	w.talk(t, weak, natPort, 3)
	lasting := at(player4.Addr(), 50001)
	for range 4 {
		w.talk(t, lasting, openPort, 8)
		w.talk(t, weak, natPort, 1)
		w.pass(t, 11*time.Second)
	}
	w.talk(t, lasting, openPort, 1)
	// Who has played there is a regular: at the other service he is not.
	must(t, w.edge.AddDoubt(loader.Doubt{Prefix: netip.PrefixFrom(player4.Addr(), 32), For: time.Minute}))
	w.pass(t, 2100*time.Millisecond)
	for _, r := range []struct {
		what  string
		frame []byte
		want  string
	}{
		{"one of a weak session", hello(weak, natPort).Bytes(), "doubted"},
		{"the next of it", hello(weak, natPort).Bytes(), "doubted"},
		{"one of a strong one", packet.NewTCP(player, vip4Port(natPort), packet.ACK, "up").Bytes(), ""},
		{"one of a lasting one", hello(lasting, openPort).Bytes(), ""},
		{"a stranger's", hello(at(player4.Addr(), 50002), natPort).Bytes(), "doubted"},
		{"a regular's", hello(at(player4.Addr(), 50003), openPort).Bytes(), ""},
		{"its server's to the weak one", reply(w.session(t, weak), "down").Bytes(), ""},
	} {
		if got := w.quietly(t, r.frame).Reason; got != r.want {
			t.Errorf("%s: %s, want %s", r.what, got, r.want)
		}
	}
	must(t, w.edge.DelDoubt(netip.PrefixFrom(player4.Addr(), 32), 0))
	if got := w.quietly(t, hello(weak, natPort).Bytes()).Reason; got != "" {
		t.Errorf("taken back: %s", got)
	}
}
