// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
)

var sameHop = cmp.Options{
	cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty(),
}

func TestAWantedGatewayBecomesAHop(t *testing.T) {
	edge, peer := pair(t)
	w := watch(edge, Options{})
	for _, gw := range []string{"192.0.2.2", "2001:db8::2"} {
		k := key(edge, "eth0", gw)
		w.Want(k)
		got := awaitHop(t, w, k, "first answer", func(Hop) bool { return true })
		if !got.Valid { // else it was resolved before anybody was told
			if got.Reason == "" {
				t.Errorf("a hop that nobody resolved yet is %+v", got)
			}
			got = awaitHop(t, w, k, "hop", valid)
		}
		want := Hop{
			Key: k, Kind: "veth", Phys: edge.index("eth0"), MTU: 1500,
			Dst: peer.mac("eth0"), Src: edge.mac("eth0"), Valid: true,
		}
		if diff := cmp.Diff(want, got, sameHop); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if n := edge.neighs()[k]; n.FlagsExt&netlink.NTF_EXT_MANAGED == 0 {
			t.Errorf("the kernel does not keep %s resolved: %+v", gw, n)
		}
	}
}

func TestAMappedGatewayWithAZoneIsTheSameKey(t *testing.T) {
	edge, _ := pair(t)
	w := watch(edge, Options{})
	k := key(edge, "eth0", "192.0.2.2")
	w.Want(Key{Ifindex: k.Ifindex, Gateway: netip.MustParseAddr("::ffff:192.0.2.2")})
	awaitHop(t, w, k, "hop", valid)
}

func TestANewMACOfThePeerIsSeen(t *testing.T) {
	edge, peer := pair(t)
	w := watch(edge, Options{})
	k := key(edge, "eth0", "192.0.2.2")
	w.Want(k)
	awaitHop(t, w, k, "hop", valid)
	mac := [6]byte{2, 0, 0, 0, 0, 0x77}
	must(t, peer.nl.LinkSetHardwareAddr(peer.link("eth0"), net.HardwareAddr(mac[:])))
	peer.speak("192.0.2.1")
	awaitHop(t, w, k, "new MAC", func(h Hop) bool { return h.Valid && h.Dst == mac })
}

func TestOurOwnMACAndMTUAreSeen(t *testing.T) {
	edge, _ := pair(t)
	w := watch(edge, Options{})
	k := key(edge, "eth0", "192.0.2.2")
	w.Want(k)
	awaitHop(t, w, k, "hop", valid)
	mac := [6]byte{2, 0, 0, 0, 0, 0x11}
	must(t, edge.nl.LinkSetHardwareAddr(edge.link("eth0"), net.HardwareAddr(mac[:])))
	must(t, edge.nl.LinkSetMTU(edge.link("eth0"), 1400))
	awaitHop(t, w, k, "new source MAC and MTU", func(h Hop) bool { return h.Valid && h.Src == mac && h.MTU == 1400 })
}

func TestAGatewayThatMovesIsSeen(t *testing.T) {
	edge, peer := pair(t)
	peer.addr("eth0", "192.0.2.3/24")
	edge.route("198.51.100.0/24", "192.0.2.2")
	w := watch(edge, Options{})
	dst := netip.MustParseAddr("198.51.100.9")
	k, src, err := w.Resolve(dst)
	if err != nil || k != key(edge, "eth0", "192.0.2.2") || src != netip.MustParseAddr("192.0.2.1") {
		t.Fatalf("Resolve: %v %v %v", k, src, err)
	}
	await(t, w, "routes of the start", func(e Event) bool { return e.Kind == RoutesChanged })
	edge.route("198.51.100.0/24", "192.0.2.3")
	await(t, w, "routes changed", func(e Event) bool {
		if e.Kind != RoutesChanged {
			return false
		}
		k, _, err := w.Resolve(dst)
		return err == nil && k == key(edge, "eth0", "192.0.2.3")
	})
}

func TestALinkThatReturnsUnderItsNameIsSeen(t *testing.T) {
	edge, peer := pair(t)
	w := watch(edge, Options{})
	k := key(edge, "eth0", "192.0.2.2")
	w.Want(k)
	awaitHop(t, w, k, "hop", valid)

	must(t, edge.nl.LinkDel(edge.link("eth0")))
	gone, lost := false, false
	await(t, w, "link and hop gone", func(e Event) bool {
		gone = gone || e.Kind == LinkChanged && e.Gone && e.Link.Name == "eth0" && e.Change&LinkGone != 0
		lost = lost || e.Kind == HopChanged && e.Hop.Key == k && strings.Contains(e.Hop.Reason, "does not exist")
		return gone && lost
	})

	join(edge, peer, "eth0")
	edge.addr("eth0", "192.0.2.1/24")
	peer.addr("eth0", "192.0.2.2/24")
	back := awaitLink(t, w, "eth0", LinkAppeared)
	again := key(edge, "eth0", "192.0.2.2")
	if back.Link.Ifindex != again.Ifindex || again == k {
		t.Fatalf("appeared as %d, is %d, was %d", back.Link.Ifindex, again.Ifindex, k.Ifindex)
	}
	w.Forget(k)
	w.Want(again)
	awaitHop(t, w, again, "hop back", valid)
}

func TestALinkThatComesBackFromAnotherNamespaceIsWhole(t *testing.T) {
	edge, peer := pair(t)
	other := newHost(t)
	w := watch(edge, Options{})
	k := key(edge, "eth0", "192.0.2.2")
	w.Want(k)
	awaitHop(t, w, k, "hop", valid)
	must(t, edge.nl.LinkSetNsFd(edge.link("eth0"), int(other.ns)))
	awaitHop(t, w, k, "hop lost", invalid)
	must(t, other.nl.LinkSetNsFd(other.link("eth0"), int(edge.ns)))
	must(t, edge.nl.LinkSetUp(edge.link("eth0")))
	edge.addr("eth0", "192.0.2.1/24")
	if edge.index("eth0") != k.Ifindex {
		t.Skip("this kernel gave the link a new index")
	}
	if h := awaitHop(t, w, k, "hop back", valid); h.Dst != peer.mac("eth0") {
		t.Errorf("got %+v", h)
	}
}

func TestDownAndUp(t *testing.T) {
	edge, _ := pair(t)
	w := watch(edge, Options{})
	k4, k6 := key(edge, "eth0", "192.0.2.2"), key(edge, "eth0", "2001:db8::2")
	w.Want(k4, k6)
	awaitHop(t, w, k4, "hop", valid)
	must(t, edge.nl.LinkSetDown(edge.link("eth0")))
	if e := awaitLink(t, w, "eth0", LinkDown); e.Link.Up {
		t.Errorf("down, and yet up: %+v", e.Link)
	}
	awaitHop(t, w, k4, "hop lost", func(h Hop) bool { return !h.Valid && h.Reason == "eth0 is down" })
	must(t, edge.nl.LinkSetUp(edge.link("eth0")))
	edge.addr("eth0", "2001:db8::1/64") // IPv6 addresses go with the link
	up := map[Key]bool{}
	await(t, w, "both hops back", func(e Event) bool {
		if e.Kind == HopChanged {
			up[e.Hop.Key] = e.Hop.Valid
		}
		return up[k4] && up[k6]
	})
}

func TestACarrierThatFailsIsADownLink(t *testing.T) {
	edge, peer := pair(t)
	w := watch(edge, Options{})
	k := key(edge, "eth0", "192.0.2.2")
	w.Want(k)
	awaitHop(t, w, k, "hop", valid)
	must(t, peer.nl.LinkSetDown(peer.link("eth0")))
	awaitHop(t, w, k, "hop lost", invalid)
	must(t, peer.nl.LinkSetUp(peer.link("eth0")))
	awaitHop(t, w, k, "hop back", valid)
}

func TestAGatewayThatIsSilentAndThenAnswers(t *testing.T) {
	edge, peer := pair(t)
	edge.sysctl("ipv4/neigh/eth0/retrans_time_ms", "20")
	edge.sysctl("ipv4/neigh/eth0/delay_first_probe_time", "1")
	w := watch(edge, Options{})
	k := key(edge, "eth0", "192.0.2.77")
	w.Want(k)
	awaitHop(t, w, k, "failure", func(h Hop) bool { return strings.Contains(h.Reason, "does not answer") })
	peer.addr("eth0", "192.0.2.77/24")
	awaitHop(t, w, k, "hop", valid)
}

func TestAFlushedNeighbourIsAskedForAgain(t *testing.T) {
	for name, opts := range map[string]Options{"managed": {}, "by refresh": {NoManaged: true, RefreshEvery: 50e6}} {
		t.Run(name, func(t *testing.T) {
			edge, _ := pair(t)
			w := watch(edge, opts)
			k := key(edge, "eth0", "192.0.2.2")
			w.Want(k)
			awaitHop(t, w, k, "hop", valid)
			must(t, edge.nl.NeighDel(&netlink.Neigh{LinkIndex: k.Ifindex, IP: k.Gateway.AsSlice()}))
			awaitHop(t, w, k, "hop lost", invalid)
			awaitHop(t, w, k, "hop back", valid)
			if n := edge.neighs()[k]; opts.NoManaged != (n.FlagsExt&netlink.NTF_EXT_MANAGED == 0) {
				t.Errorf("managed or not is wrong: %+v", n)
			}
		})
	}
}

func TestAPermanentNeighbourIsLeftAlone(t *testing.T) {
	edge, _ := pair(t)
	k := key(edge, "eth0", "192.0.2.50")
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 0x50}
	must(t, edge.nl.NeighAdd(&netlink.Neigh{
		LinkIndex: k.Ifindex, IP: k.Gateway.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT,
	}))
	before := edge.neighs()[k]
	w := open(edge, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	w.Want(k)
	h := awaitHop(t, w, k, "hop", valid)
	if h.Dst != [6]byte(mac) {
		t.Errorf("got %+v", h)
	}
	cancel()
	must(t, <-done)
	must(t, w.Close())
	after, ok := edge.neighs()[k]
	if !ok || after.State != before.State || after.FlagsExt != before.FlagsExt {
		t.Errorf("it was %+v and is %+v", before, after)
	}
}

func TestAnOperatorMayTakeANeighbourOver(t *testing.T) {
	edge, peer := pair(t)
	w := watch(edge, Options{})
	k := key(edge, "eth0", "192.0.2.2")
	w.Want(k)
	awaitHop(t, w, k, "hop", valid)
	set := func(state int, mac [6]byte) {
		must(t, edge.nl.NeighSet(&netlink.Neigh{
			LinkIndex: k.Ifindex, IP: k.Gateway.AsSlice(), HardwareAddr: mac[:], State: state,
		}))
	}
	mac := [6]byte{2, 0, 0, 0, 0, 0x51}
	set(netlink.NUD_PERMANENT, mac)
	awaitHop(t, w, k, "the operator's MAC", func(h Hop) bool { return h.Valid && h.Dst == mac })
	must(t, edge.nl.NeighDel(&netlink.Neigh{LinkIndex: k.Ifindex, IP: k.Gateway.AsSlice()}))
	awaitHop(t, w, k, "the real MAC", func(h Hop) bool { return h.Valid && h.Dst == peer.mac("eth0") })
}

func TestNothingIsLeftBehind(t *testing.T) {
	edge, peer := pair(t)
	peer.addr("eth0", "192.0.2.3/24", "192.0.2.4/24")
	edge.speak("192.0.2.4") // a neighbour of the host's own
	w := open(edge, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	two, three, four := key(edge, "eth0", "192.0.2.2"), key(edge, "eth0", "192.0.2.3"), key(edge, "eth0", "192.0.2.4")
	w.Want(two, three, four)
	ready := map[Key]bool{}
	await(t, w, "all hops", func(e Event) bool {
		ready[e.Hop.Key] = e.Hop.Valid
		return ready[two] && ready[three] && ready[four]
	})
	w.Forget(three)
	cancel()
	must(t, <-done)
	must(t, w.Close())
	left := edge.neighs()
	for _, k := range []Key{two, three} {
		if n, ok := left[k]; ok {
			t.Errorf("%s is left behind: %+v", k, n)
		}
	}
	if n, ok := left[four]; !ok || n.FlagsExt != 0 {
		t.Errorf("the host's own neighbour is %+v (there: %t)", n, ok)
	}
}

func TestForgetReleasesWhileRunning(t *testing.T) {
	edge, _ := pair(t)
	w := watch(edge, Options{})
	k := key(edge, "eth0", "192.0.2.2")
	w.Want(k)
	awaitHop(t, w, k, "hop", valid)
	watcher := watch(edge, Options{}) // sees what the kernel does
	watcher.Want(k)
	awaitHop(t, watcher, k, "hop", valid)
	w.Forget(k)
	// It goes, and the one who still wants it has it made again.
	awaitHop(t, watcher, k, "release", invalid)
	awaitHop(t, watcher, k, "hop again", valid)
}

func TestAKeptNeighbourIsPurged(t *testing.T) {
	edge, _ := pair(t)
	w := open(edge, Options{KeepNeighbours: true})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	k := key(edge, "eth0", "192.0.2.2")
	w.Want(k)
	awaitHop(t, w, k, "hop", valid)
	cancel()
	must(t, <-done)
	must(t, w.Close())
	if n := edge.neighs()[k]; n.FlagsExt&netlink.NTF_EXT_MANAGED == 0 {
		t.Fatalf("not kept: %+v", n)
	}
	edge.in(func() error {
		n, err := Purge()
		if err == nil && n != 1 {
			t.Errorf("purged %d", n)
		}
		return err
	})
	if n, ok := edge.neighs()[k]; ok {
		t.Errorf("still there: %+v", n)
	}
}

func TestLostMessagesCostAResyncAndNothingElse(t *testing.T) {
	edge, _ := pair(t)
	w := open(edge, Options{ReceiveBuffer: 1}) // the kernel's least
	a := netip.MustParseAddr("10.0.0.1")
	for range 100 { // more than fits while nobody reads
		edge.addr("eth0", a.String()+"/32")
		a = a.Next()
	}
	must(t, edge.nl.LinkSetMTU(edge.link("eth0"), 1400))
	run(t, w)
	await(t, w, "resync", func(e Event) bool { return e.Kind == Resynced })
	if w.Resyncs() == 0 {
		t.Error("not counted")
	}
	for _, l := range w.Links() {
		if l.Name == "eth0" && l.MTU == 1400 && len(l.Addrs) >= 101 {
			return
		}
	}
	t.Errorf("links after the resync: %+v", w.Links())
}
