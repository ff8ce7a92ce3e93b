// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func linkEvent(i int, c Change, name string) Event {
	return Event{Kind: LinkChanged, Link: Link{Ifindex: i, Name: name}, Change: c, Gone: c&LinkGone != 0}
}

func hopEvent(i, mtu int) Event {
	return Event{Kind: HopChanged, Hop: Hop{Key: Key{Ifindex: i}, MTU: mtu}}
}

func takeAll(q *queue) (all []Event) {
	for e, ok := q.take(); ok; e, ok = q.take() {
		all = append(all, e)
	}
	return all
}

func TestEventsAboutOneThingBecomeOne(t *testing.T) {
	renamed := linkEvent(1, LinkRenamed, "b")
	renamed.OldName = "a"
	twice := linkEvent(1, LinkRenamed, "c")
	twice.OldName = "b"
	both := linkEvent(1, LinkRenamed, "c")
	both.OldName = "a"
	tests := []struct {
		name     string
		in, want []Event
	}{
		{"nothing", nil, nil},
		{"the last hop counts, in its first place", []Event{hopEvent(1, 1), hopEvent(2, 1), hopEvent(1, 2)}, []Event{hopEvent(1, 2), hopEvent(2, 1)}},
		{"changes add up", []Event{linkEvent(1, LinkMAC, "a"), linkEvent(1, LinkMTU, "a")}, []Event{linkEvent(1, LinkMAC|LinkMTU, "a")}},
		{"up and down: the last counts", []Event{linkEvent(1, LinkUp, "a"), linkEvent(1, LinkDown, "a")}, []Event{linkEvent(1, LinkDown, "a")}},
		{"never seen, never told", []Event{linkEvent(1, LinkAppeared, "a"), linkEvent(1, LinkUp, "a"), linkEvent(1, LinkGone, "a")}, nil},
		{"new is new", []Event{linkEvent(1, LinkAppeared, "a"), linkEvent(1, LinkMTU, "a")}, []Event{linkEvent(1, LinkAppeared, "a")}},
		{"gone and back is both", []Event{linkEvent(1, LinkGone, "a"), linkEvent(1, LinkAppeared, "a")}, []Event{{Kind: LinkChanged, Link: Link{Ifindex: 1, Name: "a"}, Change: LinkGone | LinkAppeared}}},
		{"gone, back and gone is gone", []Event{linkEvent(1, LinkGone, "a"), linkEvent(1, LinkAppeared, "a"), linkEvent(1, LinkGone, "a")},
			[]Event{{Kind: LinkChanged, Link: Link{Ifindex: 1, Name: "a"}, Change: LinkGone | LinkAppeared, Gone: true}}},
		{"the name last told", []Event{renamed, twice}, []Event{both}},
		{"routes once", []Event{{Kind: RoutesChanged}, {Kind: RoutesChanged}}, []Event{{Kind: RoutesChanged}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := newQueue(10)
			for _, e := range tt.in {
				q.put(e)
			}
			if diff := cmp.Diff(tt.want, takeAll(q), sameHop); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsTakenIsNotMergedInto(t *testing.T) {
	q := newQueue(10)
	q.put(linkEvent(1, LinkAppeared, "a"))
	first, _ := q.take()
	q.put(linkEvent(1, LinkGone, "a"))
	second, ok := q.take()
	if first.Change != LinkAppeared || !ok || !second.Gone {
		t.Errorf("got %+v, %+v (%t)", first, second, ok)
	}
}

func TestTooManyEventsBecomeOne(t *testing.T) {
	q := newQueue(3)
	for i := range 5 {
		q.put(hopEvent(i, 1))
	}
	want := []Event{{Kind: Overflowed}, hopEvent(4, 1)}
	if diff := cmp.Diff(want, takeAll(q), sameHop); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAQueueNobodyReadsStaysSmall(t *testing.T) {
	q := newQueue(10)
	for i := range 100_000 {
		q.put(linkEvent(i, LinkAppeared, "a"))
		q.put(linkEvent(i, LinkGone, "a"))
	}
	if len(q.order) > 200 || len(q.waiting) > 0 {
		t.Errorf("%d names of %d events", len(q.order), len(q.waiting))
	}
	q.put(hopEvent(1, 1))
	if got := takeAll(q); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
}

func attr(typ uint16, v ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(v)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, v...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestDecodeNeigh(t *testing.T) {
	head := []byte{unix.AF_INET, 0, 0, 0, 7, 0, 0, 0, netlink.NUD_REACHABLE, 0, 0, 0}
	binary.NativeEndian.PutUint32(head[4:], 7)
	binary.NativeEndian.PutUint16(head[8:], netlink.NUD_REACHABLE)
	b := slices.Concat(head, attr(netlink.NDA_DST, 192, 0, 2, 2), attr(netlink.NDA_LLADDR, 2, 0, 0, 0, 0, 1),
		attr(ndaProtocol, Protocol), attr(ndaFlagsExt, binary.NativeEndian.AppendUint32(nil, 1)...))
	n, ok, err := decodeNeigh(b)
	want := neigh{
		key: Key{7, netip.MustParseAddr("192.0.2.2")}, state: netlink.NUD_REACHABLE, managed: true,
		protocol: Protocol, mac: [6]byte{2, 0, 0, 0, 0, 1}, hasMAC: true,
	}
	if !ok || err != nil || n != want || !n.usable() {
		t.Errorf("got %+v %t %v", n, ok, err)
	}
	head[0] = unix.AF_BRIDGE
	if _, ok, err := decodeNeigh(head); ok || err != nil {
		t.Errorf("a bridge's entry: %t %v", ok, err)
	}
}

// Messages come from the kernel; a bug of either side must not end the daemon.
func FuzzDecode(f *testing.F) {
	f.Add(slices.Concat([]byte{unix.AF_INET, 24, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0}, attr(netlink.NDA_DST, 192, 0, 2, 2)))
	f.Add([]byte{2, 24, 0, 0, 1, 0, 0, 0, 255, 255, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, ok, err := decodeNeigh(b); ok && (err != nil || !n.key.Gateway.IsValid()) {
			t.Errorf("%+v %v", n, err)
		}
		if _, p, _, err := decodeAddr(b); err == nil && !p.IsValid() {
			t.Errorf("%v", p)
		}
	})
}
