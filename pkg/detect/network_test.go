// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// leave has a source make a connection that it leaves after a second.
func (r *rig) leave(from string, o Observation) {
	o.Kind, o.Proof = Attempt, Strong
	r.see(from, o)
	r.now += time.Second
	o.Kind, o.Lived, o.EndedBy = Ended, time.Second, ByClient
	r.see(from, o)
}

func host(i int) string { return fmt.Sprintf("198.51.100.%d", i) }

// Bots of one network, each too little to be noticed: the network is blocked, once, when it has been looked at for long enough.
func TestNetworkOfBots(t *testing.T) {
	r := newRig(t)
	for i := range 20 {
		r.leave(host(i), Observation{})
		r.now += time.Second
	}
	r.want(t) // forty seconds: who came to play with them has not had the time to show
	r.now += 10 * time.Second
	for i := 20; i < 40; i++ {
		r.leave(host(i), Observation{})
	}
	r.want(t, "198.51.100.0/24 prefix_joins all 0.90")
	if v := r.Judge(netip.MustParseAddr(host(250))); !v.Refuse {
		t.Error("a neighbour is not flagged")
	}
	w, _ := r.Explain(netip.MustParseAddr(host(1)))
	if !w.Blocked || !w.Network.Blocked || w.Network.Prefix.String() != "198.51.100.0/24" {
		t.Errorf("it stands as %+v", w)
	}
}

// The same where somebody plays: nothing is done to the network, and its other sources are blocked each for what it did.
func TestNetworkOfBotsWithAPlayer(t *testing.T) {
	r := newRig(t)
	r.see(host(222), Observation{Kind: Attempt, Proof: Strong})
	r.now += 30 * time.Second
	r.see(host(222), Observation{Kind: Lasting})
	for range 2 {
		for i := range 20 {
			r.leave(host(i), Observation{})
			r.now += time.Second
		}
		r.now += 20 * time.Second
	}
	if len(r.made) == 0 {
		t.Fatal("nothing is decided")
	}
	for _, v := range r.made {
		if !v.Prefix.IsSingleIP() || v.Reason != PrefixMember || v.Prefix.Addr().String() == host(222) {
			t.Errorf("decided %+v", v)
		}
	}
}

// Regulars count as players before they do anything.
func TestNetworkOfBotsWithARegular(t *testing.T) {
	r := newRig(t)
	r.see(host(222), Observation{Kind: Query, Regular: true})
	for i := range 80 {
		r.leave(host(i), Observation{})
		r.now += time.Second
	}
	r.want(t)
	if w, _ := r.Explain(netip.MustParseAddr(host(1))); w.Network.Players != 1 {
		t.Errorf("it stands as %+v", w.Network)
	}
}

// When most of a network's sources were blocked one by one, the network is.
func TestNetworkOfAttackers(t *testing.T) {
	r := newRig(t)
	for i := range 8 {
		r.connect(host(i), 11, time.Second)
	}
	if n := len(r.made); n != 9 || r.made[8].Reason != PrefixAttack || r.made[8].Prefix.Bits() != 24 {
		t.Fatalf("%d decisions, the last %+v", n, r.made[n-1])
	}
	quiet := newRig(t)
	for i := range 40 { // of a network where others connect and stay, it is not most
		quiet.see(host(100+i), Observation{Kind: Attempt, Proof: Strong})
	}
	for i := range 8 {
		quiet.connect(host(i), 11, time.Second)
	}
	if n := len(quiet.made); n != 8 {
		t.Errorf("%d decisions, the last %+v", n, quiet.made[n-1])
	}
}

// Sources of one network over many destinations, each a little: one attack, said as such.
func TestCarpetOfProvenSources(t *testing.T) {
	r := newRig(t)
	for i := range 60 {
		r.leave(host(i), Observation{Service: uint16(i%40 + 1), Port: uint16(20000 + i), Game: "source"})
	}
	r.want(t, "198.51.100.0/24 carpet all 0.90")
}

// The same by forged packets alone: what is unproven of the network is blocked, shortly, and who plays there is named.
func TestCarpetOfUnprovenSources(t *testing.T) {
	r := newRig(t)
	r.see(host(222), Observation{Kind: Lasting})
	for i := range 400 {
		r.see(host(i%200), Observation{Kind: Refused, Reason: "greylisted", Service: uint16(i%30 + 1), Port: uint16(20000 + i%30), Weight: 64})
		r.now += 10 * time.Millisecond
	}
	r.want(t, "198.51.100.0/24 carpet unproven 0.70")
	one := newRig(t) // one source's flood is not its network's
	for i := range 400 {
		one.see(victim, Observation{Kind: Refused, Reason: "greylisted", Service: uint16(i%30 + 1), Port: uint16(20000 + i%30), Weight: 64})
		one.now += 10 * time.Millisecond
	}
	if len(one.made) == 0 || one.made[0].Reason != HeavyHitter || one.made[0].Scope != Unproven || one.made[0].Prefix.Bits() != 32 {
		t.Errorf("decided %+v", one.made)
	}
	for _, v := range one.made {
		if v.Prefix.Bits() != 32 {
			t.Errorf("decided %+v", v)
		}
	}
}

func TestACarpetNamesWhoPlays(t *testing.T) {
	r := newRig(t)
	r.see(host(222), Observation{Kind: Lasting})
	for i := range 400 {
		r.see(host(i%200), Observation{Kind: Refused, Reason: "greylisted", Service: uint16(i%30 + 1), Port: uint16(20000 + i%30), Weight: 64})
		r.now += 10 * time.Millisecond
	}
	if len(r.made) != 1 || r.made[0].Players != 1 || !strings.Contains(r.made[0].Text(), "1 who play there go on") {
		t.Errorf("decided %+v", r.made)
	}
}

// Forgers can have many sources questioned, but not more than so many a second.
func TestQuestionsAreBounded(t *testing.T) {
	r := newRig(t)
	for i := range 5000 {
		for range 2 {
			r.see(fmt.Sprintf("203.%d.%d.9", i/250, i%250), Observation{Kind: Dropped, Reason: "unproven_rate", Weight: 300})
		}
	}
	if n, s := len(r.made), r.Counts().Suppressed; n != 1000 || s != 4000 {
		t.Errorf("%d are questioned at once, %d are not", n, s)
	}
	r.now += 2 * time.Second
	for i := range 1000 {
		r.see(fmt.Sprintf("203.99.%d.9", i%250), Observation{Kind: Dropped, Reason: "unproven_rate", Weight: 600})
	}
	if n := len(r.made); n != 1200 {
		t.Errorf("%d are questioned in all, want 1200", n)
	}
}
