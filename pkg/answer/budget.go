// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// What answers of several packets may cost: by themselves they are as long as a server likes, and who asks has but proven his
// address. A reply of rules of 6 packets is given 20 times a second to one, and 3,000 times to all.
const (
	sourcePackets = 128    // a second, each IPv4 address or IPv6 /64
	sourceBurst   = 256    // at once
	totalPackets  = 20_000 // a second
	totalBurst    = 4_000
	sourceCells   = 4096 // sources by hash: bounded, colliding ones share
)

// bucket is the time at which all that was taken would have come at its rate (GCRA), in ns of a clock of the owner's.
type bucket int64

// take takes n units at now from a bucket of rate a second and burst; false takes nothing.
func (b *bucket) take(now int64, n, rate, burst int) bool {
	at := max(int64(*b), now)
	at += int64(n) * int64(time.Second) / int64(rate)
	if at > now+int64(burst)*int64(time.Second)/int64(rate) {
		return false
	}
	*b = bucket(at)
	return true
}

// budget bounds the packets of a Responder.
type budget struct {
	began   time.Time
	seed    maphash.Seed
	total   bucket
	sources [sourceCells]bucket
}

func newBudget() *budget { return &budget{began: time.Now(), seed: maphash.MakeSeed()} }

// take takes n packets for a client; false takes nothing.
func (b *budget) take(client netip.Addr, n int) bool {
	if client.Is6() {
		p, _ := client.Prefix(64) // an IPv6 address has one
		client = p.Addr()
	}
	now := int64(time.Since(b.began))
	source := &b.sources[maphash.Comparable(b.seed, client)%sourceCells]
	before := *source
	if !source.take(now, n, sourcePackets, sourceBurst) {
		return false
	}
	if !b.total.take(now, n, totalPackets, totalBurst) {
		*source = before
		return false
	}
	return true
}
