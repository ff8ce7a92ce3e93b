// SPDX-License-Identifier: Apache-2.0

package anticheat_test

import (
	"net/netip"
	"testing"
	"time"

	"parry/pkg/anticheat"
)

// Of sums suspects are found.
func TestSums(t *testing.T) {
	feed := func(each func(i int, up, down *anticheat.Way)) *rig {
		r := newRig(t)
		var up, down anticheat.Way
		up.Numbered = true
		for i := range 20 {
			up.Packets, up.Numbers, down.Packets = up.Packets+300, up.Numbers+300, down.Packets+100
			up.RecentGap, down.RecentGap = 40*time.Millisecond, 60*time.Millisecond
			each(i, &up, &down)
			u, d := up, down
			r.a.Sums(&anticheat.Sums{Time: r.now, Session: r.k, About: r.about, Up: &u, Down: &d})
			r.now += uint64(5 * second)
		}
		return r
	}
	feed(func(int, *anticheat.Way, *anticheat.Way) {}).want()
	fast := feed(func(_ int, up, _ *anticheat.Way) { up.Packets += 700 })
	fast.want(anticheat.Frequency)
	if f := fast.told[0]; f.Severity != 0.9 {
		t.Errorf("%+v", f)
	}
	feed(func(i int, up, _ *anticheat.Way) {
		if i == 9 { // what a line held back
			up.Packets += 700
		}
	}).want()
	feed(func(_ int, up, _ *anticheat.Way) { up.Repeat += 100 }).want(anticheat.Duplicate)
	lag := feed(func(_ int, up, _ *anticheat.Way) { up.RecentGap = 800 * time.Millisecond; up.Lost += 48 })
	lag.want(anticheat.LagDrop)
	for _, f := range lag.told {
		if f.Severity > anticheat.ActAbove {
			t.Errorf("sums alone convict: %+v", f)
		}
	}
	feed(func(_ int, up, down *anticheat.Way) {
		up.RecentGap, down.RecentGap = 800*time.Millisecond, 800*time.Millisecond
		up.Lost += 48
	}).want()
}

// The last 1,000 packets are kept, with time, size and type, and the rate of each type.
func TestSamples(t *testing.T) {
	r := newRig(t)
	r.play(20 * second)
	all := r.a.Samples(r.k)
	last := all[len(all)-1]
	if len(all) != 1000 || last.At != r.now || last.Size != 24 || last.Type != "play" || last.At-all[0].At != 999*16*uint64(time.Millisecond) {
		t.Errorf("%d: %+v to %+v", len(all), all[0], last)
	}
	rep, _ := r.a.Report(r.k)
	if got := rep.Types["play"]; got < 50 || got > 63 {
		t.Errorf("%v", rep.Types)
	}
}

// Clocks that go back, sessions beyond the room, any bytes: nothing breaks, and no more is kept than was said.
func TestBounds(t *testing.T) {
	r := newRig(t, func(p *anticheat.Policy) { p.Sizes = anticheat.Sizes{Sessions: 16, Players: 8} })
	for i := range 2000 {
		r.k.Client = netip.AddrPortFrom(client.Addr(), uint16(i%50+1))
		r.now = 1e12 + uint64(i*7919%5000)*uint64(time.Millisecond)
		r.packet(i%3 == 0, numbered(uint32(i*i)))
		r.packet(false, make([]byte, 1500))
	}
	r.now += uint64(100 * 365 * 24 * time.Hour) // and it takes no time to get there
	r.packet(false, numbered(1))
	c := r.a.Counts()
	if c.Sessions > 16 || c.Players > 8 || c.Evicted == 0 {
		t.Errorf("%+v", c)
	}
	for _, p := range []anticheat.Policy{{}, {Sizes: anticheat.Sizes{Sessions: 1, Players: 1}, Generic: anticheat.Rate{Flag: 2, Act: 1}}} {
		if _, err := anticheat.New(p, anticheat.Handler{}); err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}

// FuzzPacket tells of packets as bytes say: whatever comes, nothing breaks.
func FuzzPacket(f *testing.F) {
	f.Add([]byte("\x00\x10\x04\x01\x00\x00\x00\x10\x10\x04\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newRig(t, func(p *anticheat.Policy) { p.Sizes.Sessions = 4 })
		games := []string{"quake3", "raknet", "source", "", "enet"}
		for len(data) >= 7 {
			what, n := data[0], min(int(data[2])%32, len(data)-3)
			r.k.Client = netip.AddrPortFrom(client.Addr(), uint16(what>>6)+1)
			r.about.Game = games[int(what>>3)%len(games)]
			r.now += uint64(data[1]) * uint64(time.Millisecond) << (what & 3 * 3)
			r.a.Packet(&anticheat.Packet{Time: r.now, Session: r.k, Down: what&4 != 0, Whole: data[1] != 255, Length: n, Head: data[3 : 3+n], About: r.about})
			data = data[3+n:]
		}
		for _, f := range r.told {
			if f.Start > f.End || f.Severity < 0 || f.Severity > 1 || f.Confidence < 0 || f.Confidence > 1 || len(f.Facts) == 0 {
				t.Errorf("%+v", f)
			}
		}
	})
}
