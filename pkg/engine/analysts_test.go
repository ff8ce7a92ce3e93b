// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"parry/loader"
	"parry/pkg/sample"
)

// noting is an analyser that writes down what it is told.
type noting struct {
	packets []sample.Packet
	ends    []sample.End
}

func (n *noting) Packet(p *sample.Packet) { n.packets = append(n.packets, *p) }
func (n *noting) Ended(e *sample.End)     { n.ends = append(n.ends, *e) }

func TestAnalystsAreTold(t *testing.T) {
	n := &noting{}
	a := &analysts{all: []sample.Analyser{n}}
	for _, s := range []sample.Sample{
		{Service: 1, Kind: sample.KindFirst},
		{Service: 2, Kind: sample.KindTurn},
		{Service: 3, Reason: 10, Flags: sample.Regular},
		{Service: 4, Reason: 10, Slots: 1}, // a capture's
		{Service: 5, Slots: 1},
	} {
		a.packet(&s)
	}
	var services []uint16
	for _, p := range n.packets {
		services = append(services, p.Service)
	}
	if diff := cmp.Diff([]uint16{1, 2, 3}, services); diff != "" {
		t.Errorf("packets: %s", diff)
	}
	client, front := netip.MustParseAddrPort("198.51.100.7:40000"), netip.MustParseAddrPort("203.0.113.10:27960")
	gone := a.gone(uint64(time.Hour))
	gone(&loader.Session{Client: client, Front: front, Service: 1, Proto: 17, Age: time.Minute, Idle: time.Second, Up: loader.Direction{Packets: 3, Bytes: 90}, End: loader.EndKilled})
	gone(&loader.Session{Age: 2 * time.Hour}) // the clock was read before
	if len(n.ends) != 0 {
		t.Error("an end was told before the ring was read")
	}
	a.looked()
	a.looked() // and once
	want := []sample.End{
		{Client: client, Front: front, Service: 1, Proto: 17, By: "killed", Began: uint64(59 * time.Minute), Last: uint64(time.Hour - time.Second), Up: sample.Way{Packets: 3, Bytes: 90}},
		{Last: uint64(time.Hour)},
	}
	if diff := cmp.Diff(want, n.ends, cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.IgnoreFields(sample.End{}, "Time")); diff != "" {
		t.Errorf("ends: %s", diff)
	}
}

func TestAnalystsLoseEndsThatAreTooMany(t *testing.T) {
	n := &noting{}
	a := &analysts{all: []sample.Analyser{n}}
	gone := a.gone(0)
	for range maxEnds + 3 {
		gone(&loader.Session{})
	}
	a.looked()
	if a.endsLost() != 3 || len(n.ends) != maxEnds {
		t.Errorf("%d ends were told, %d lost", len(n.ends), a.endsLost())
	}
}

func TestNobodyAnalyses(t *testing.T) {
	var a analysts
	a.packet(&sample.Sample{Kind: sample.KindFirst})
	if a.gone(0) != nil {
		t.Error("sweeps tell of sessions that nobody wants to know of")
	}
	a.looked()
}

// Both enums have one order.
func TestKindsHaveOneNumber(t *testing.T) {
	for kind, is := range map[loader.SampleKind]sample.Kind{loader.SampleDrop: sample.KindDrop, loader.SampleFirst: sample.KindFirst, loader.SampleTurn: sample.KindTurn} {
		if sample.Kind(kind) != is {
			t.Errorf("kind %d is %d", kind, is)
		}
	}
}
