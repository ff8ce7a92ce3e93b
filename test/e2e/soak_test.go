// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/lab"
)

const (
	quickSoak    = 20 * time.Second
	soakEvery    = 40 * time.Millisecond // between two packets of a player
	targetPort   = 28000                 // of the services that are attacked
	soakPatience = 30 * time.Second
	soakCrowd    = 40 // more UDP players than that are not let in
	// soakStrangers are of each family. However many attacks follow one another, theirs leave half of the tables (edge.configure)
	// and most of NAT's ports to those who come in: a try that is refused would be a packet that the books miss.
	soakStrangers = 8192
)

// soak is a crowd that plays while everything else happens, at random.
type soak struct {
	*crowd
	rng    *rand.Rand
	began  ledger
	sum    ledger // since then, at the last check
	start  time.Time
	counts map[string]int // of what happened
	events []event

	base       []service // what is served all the time
	added      bool      // the service that comes and goes is there
	victim     *stream   // who is blocked and thrown out
	attacks    []attack
	packets    uint64 // of attacks
	blocks     int
	first, now usage
	// programs are the ids of what ran on the interfaces and may still be in the kernel.
	programs map[uint32]bool
	lives    time.Time // from then on the daemon is let live, so that what it loses by the way adds up
}

// event is one thing that happens, as often as its weight says.
type event struct {
	name   string
	weight int
	do     func()
}

// ends tells whether it is the daemon's end.
func (e event) ends() bool { return e.name == "kills" || e.name == "restarts" }

type attack struct {
	name string
	gen  *lab.Generator
}

// TestSoak plays, attacks, kills, reloads and blocks at random, and looks for what is lost or left behind. PARRY_SOAK is how
// long; `make soak` sets it.
func TestSoak(t *testing.T) {
	t.Parallel()
	duration, between := quickSoak, quickSoak/2
	if text := os.Getenv("PARRY_SOAK"); text != "" {
		var err error
		duration, err = time.ParseDuration(text)
		must(t, err)
		between = min(time.Minute, duration/2)
	}
	k := newSoak(t)
	next := k.start.Add(between)
	k.lives = k.start.Add(duration / 2)
	for time.Since(k.start) < duration && !t.Failed() {
		k.happen()
		if time.Now().After(next) {
			k.check()
			t.Log(k)
			next = time.Now().Add(between)
		}
	}
	if !t.Failed() {
		k.check()
		t.Log(k)
	}
	k.finish()
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := newSite(t, "soak", siteOptions{counted: true})
	attackers := s.withAttackers()
	s.defaults(s.gate, "198.18.0.2", "2001:db8:bad::2") // where answers to forged addresses go
	k := &soak{start: time.Now(), counts: map[string]int{}, base: []service{
		{name: "target4", listen: `"203.0.113.10:28000"`, forward: "nat", servers: []string{"10.0.1.11:28000"}, more: "limits: {source: {packets_per_second: 1000, new_sessions: 0, sessions: 0}}"},
		{name: "target6", listen: `"[2001:db8:edfe::10]:28000"`, forward: "nat", servers: []string{"[fd00:1::11]:28000"}},
	}}
	s.edge.metrics = "127.0.0.1:9590"
	s.edge.run(k.config(true)) // so that its port is none of NAT's
	k.added = true
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("PARRY_SEED"); text != "" {
		_, err := fmt.Sscan(text, &seed)
		must(t, err)
	}
	t.Logf("PARRY_SEED=%d plays the same again", seed)
	k.rng = rand.New(rand.NewPCG(seed, 0))
	k.began = s.books.read()
	ways := s.ways()
	k.crowd = s.newCrowd(ways, 3, soakEvery)
	s.udpServer(s.servers, at(server4, targetPort), "")
	s.udpServer(s.servers, at(server6, targetPort), "")
	k.servers = append(k.servers, s.udpServer(s.servers, at(server4, laterPort), ""))
	k.victim = s.udpPlayer(s.players, s.playerAt(9), at(vip4, targetPort)).playUnless(&k.hold, soakEvery)
	k.victim.more(3)
	far, err := attackers.Interface("up0")
	must(t, err)
	near, err := s.gate.Interface("attackers")
	must(t, err)
	for _, a := range soakAttacks() {
		gen, err := lab.NewGenerator(far, near.MAC, a.streams)
		must(t, err)
		t.Cleanup(func() { must(t, gen.Close()) })
		k.attacks = append(k.attacks, attack{a.name, gen})
	}
	k.events = k.possible()
	k.first = k.measure()
	return k
}

func (k *soak) config(later bool) string {
	all := k.base
	if later {
		all = append(slices.Clone(all), service{
			name: "later", listen: `"203.0.113.10:27990"`, forward: "nat", servers: []string{"10.0.1.11:27990"},
		})
	}
	return guarded + "timeouts: {udp: 20s, opening: 5s, closing: 2s}\n" + everyMode("", all...)
}

// soakAttacks are floods on what the crowd doesn't play on, and on the edge itself.
func soakAttacks() []struct {
	name    string
	streams []lab.Stream
} {
	var anyone4, anyone6 []lab.Source
	for i := range soakStrangers { // each of a prefix of its own, as sources are told apart
		a4, a6 := netip.AddrFrom4([4]byte{16, byte(i >> 8), byte(i), 1}), netip.AddrFrom16([16]byte{0: 0x2a, 6: byte(i >> 8), 7: byte(i), 15: 1})
		anyone4 = append(anyone4, lab.Source{Prefix: netip.PrefixFrom(a4, 32), FirstPort: 30000, LastPort: 30000})
		anyone6 = append(anyone6, lab.Source{Prefix: netip.PrefixFrom(a6, 128), FirstPort: 30000, LastPort: 30000})
	}
	few := []lab.Source{{Prefix: prefix("198.18.1.1/32"), FirstPort: 20001, LastPort: 20001}, {Prefix: prefix("198.18.1.2/32"), FirstPort: 20002, LastPort: 20002}}
	target4, target6, closed := at(vip4, targetPort), at(vip6, targetPort), at(vip4, 9)
	junk := make([]byte, 64)
	return []struct {
		name    string
		streams []lab.Stream
	}{
		{"random-udp", []lab.Stream{
			{Sources: anyone4, Target: target4, Protocol: lab.UDP, Payload: junk, Random: true},
			{Sources: anyone6, Target: target6, Protocol: lab.UDP, Payload: junk, Random: true},
		}},
		{"fixed-udp", []lab.Stream{{Sources: few, Target: target4, Protocol: lab.UDP, Payload: junk, Random: true}}},
		{"fragments", []lab.Stream{
			{Sources: anyone4, Target: target4, Protocol: lab.UDP, Payload: make([]byte, 1440), Fragment: &lab.Fragment{More: true}},
			{Sources: anyone4, Target: target4, Protocol: lab.UDP, Payload: junk, Fragment: &lab.Fragment{Offset: 1448}},
			{Sources: anyone6, Target: target6, Protocol: lab.UDP, Payload: junk, Fragment: &lab.Fragment{Offset: 1448}},
		}},
		{"host-udp", []lab.Stream{{Sources: anyone4, Target: closed, Protocol: lab.UDP, Payload: junk}}},
		{"host-icmp", []lab.Stream{{Sources: anyone4, Target: target4, Protocol: lab.Ping, Payload: junk}, {Sources: anyone6, Target: target6, Protocol: lab.Ping, Payload: junk}}},
	}
}

// possible is all that may happen.
func (k *soak) possible() []event {
	e := k.s.edge
	return []event{
		{"joins", 10, func() {
			if len(k.streams) < soakCrowd {
				k.arrive(k.ways[k.rng.IntN(len(k.ways))])
			}
		}},
		{"leaves", 8, func() {
			if len(k.streams) > len(k.ways) {
				k.leave(k.rng.IntN(len(k.streams)))
			}
		}},
		{"connects", 3, func() {
			if len(k.pulses) < soakCrowd {
				w := k.ways[k.rng.IntN(len(k.ways))]
				k.pulses = append(k.pulses, k.s.dialUntil(w.player, w.vip, soakPatience).pulse(&k.hold, k.every))
			}
		}},
		{"disconnects", 2, func() {
			if len(k.pulses) > 0 {
				k.hangUp(k.rng.IntN(len(k.pulses)))
			}
		}},
		{"attacks", 5, k.attack},
		{"kills", 2, func() { e.kill(); k.more(2); e.start() }},
		{"restarts", 2, func() { e.term(); k.more(2); e.start() }},
		{"reloads", 5, func() {
			k.added = !k.added
			e.configure(k.config(k.added))
			e.reload(k.rng.IntN(2) == 0)
			if k.added {
				k.arrive(way{name: "later", vip: at(vip4, laterPort), player: player4})
			}
		}},
		{"blocks", 5, k.block},
		{"blocked players", 2, func() {
			e.ok("block", "add", k.victim.p.addr().Addr().String(), "--reason", "soak")
			k.silenced()
			e.ok("block", "del", k.victim.p.addr().Addr().String())
			k.revived()
		}},
		{"ended sessions", 2, func() {
			_, err := e.client.EndSessions(k.t.Context(), api.Filter{Service: "target4", Client: netip.PrefixFrom(k.victim.p.addr().Addr(), 32)})
			must(k.t, err)
			k.revived()
		}},
	}
}

// happen does one thing, after which everybody plays on.
func (k *soak) happen() {
	k.t.Helper()
	sum := 0
	for _, e := range k.events {
		sum += e.weight
	}
	n := k.rng.IntN(sum)
	for _, e := range k.events {
		if n -= e.weight; n < 0 {
			if !e.ends() || time.Now().Before(k.lives) {
				k.counts[e.name]++
				e.do()
			}
			break
		}
	}
	k.more(1 + k.rng.IntN(5))
}

// arrive lets somebody in.
func (k *soak) arrive(w way) {
	k.t.Helper()
	p := k.s.udpPlayer(k.s.players, w.player, w.vip)
	if p.tryJoin(soakPatience) == 0 {
		k.t.Errorf("nobody is let in to %s any more", w.name)
		return
	}
	k.streams = append(k.streams, p.playUnless(&k.hold, k.every))
}

func (k *soak) hangUp(n int) {
	k.t.Helper()
	p := k.pulses[n]
	if err := p.end(); err != nil {
		k.t.Errorf("the connection of %v broke: %v", p.p.addr(), err)
	}
	delete(k.ids, tcpKey(p))
	_ = p.p.conn.Close()
	k.pulses = slices.Delete(k.pulses, n, n+1)
	k.departed++
}

func (k *soak) attack() {
	k.t.Helper()
	a := k.attacks[k.rng.IntN(len(k.attacks))]
	load := lab.Load{Rate: uint64(2000 + k.rng.IntN(10000)), Duration: time.Duration(200+k.rng.IntN(1800)) * time.Millisecond}
	f, err := a.gen.Run(k.t.Context(), load)
	must(k.t, err)
	k.packets += f.Packets
	k.counts[a.name]++
}

// block lists bystanders, for a while or until somebody takes them off.
func (k *soak) block() {
	k.t.Helper()
	var entries []blocklist.Entry
	for range 1 + k.rng.IntN(50) {
		soon := time.Now().Add(time.Duration(1+k.rng.IntN(10)) * time.Second)
		a := netip.AddrFrom4([4]byte{100, 64, byte(k.rng.Uint32()), byte(k.rng.Uint32())})
		e := blocklist.Entry{Prefix: netip.PrefixFrom(a, 32), Reason: "soak", Source: "cli", Confidence: 1, Added: time.Now(), Expires: &soon}
		if k.rng.IntN(4) == 0 {
			e.Prefix = netip.PrefixFrom(a, 24).Masked()
		}
		entries = append(entries, e)
	}
	must(k.t, k.s.edge.client.Add(k.t.Context(), api.Block, entries))
	k.blocks += len(entries)
}

// silenced wants the victim to hear nothing any more.
func (k *soak) silenced() {
	k.t.Helper()
	await(k.t, patience, "a blocked player to be silenced", func() bool {
		before := k.victim.sum().echoed
		k.victim.awaitSent(5)
		return k.victim.sum().echoed == before
	})
}

// revived waits until the victim plays again.
func (k *soak) revived() {
	k.t.Helper()
	k.victim.alive(soakPatience)
	k.victim.forgive()
}

func (k *soak) String() string {
	var what []string
	for _, name := range slices.Sorted(maps.Keys(k.counts)) {
		what = append(what, fmt.Sprintf("%d %s", k.counts[name], name))
	}
	return fmt.Sprintf("%v: %d packets in, %d lost; %d play, %d have left; %d packets of attacks, %d blocks; %s; %s",
		time.Since(k.start).Round(time.Second), k.sum.cameIn(), k.sum.lost(), len(k.streams)+len(k.pulses), k.departed, k.packets, k.blocks,
		strings.Join(what, ", "), k.now)
}
