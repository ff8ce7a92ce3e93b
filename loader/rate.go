// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"math/big"
	"time"
)

const (
	loanPackets = 1<<12 - 1 // the most that a flow may borrow at once, and what it does where there is no limit
	loanBytes   = 1<<20 - 1
)

// rateOf turns units per window with a burst into the cost of one unit and the time that may be used ahead, both in
// 2^-8 ns (bpf/lib/rate.h). 0 units = no limit.
func rateOf(units uint64, window time.Duration, burst uint64) bpfRate {
	if units == 0 {
		return bpfRate{}
	}
	cost := (uint64(window)<<8 + units/2) / units
	ahead := new(big.Int).Mul(new(big.Int).SetUint64(max(cost, 1)), new(big.Int).SetUint64(max(burst, 1)))
	if limit := big.NewInt(1 << 62); ahead.Cmp(limit) > 0 {
		ahead = limit
	}
	return bpfRate{Cost: max(cost, 1), Burst: ahead.Uint64()}
}

// batchOf is how much a flow may borrow at once: 1/256 of the burst, so that a hundred flows overshoot little.
func batchOf(units, burst uint64, limit uint32) uint32 {
	if units == 0 {
		return limit
	}
	return uint32(min(max(burst/256, 1), uint64(limit)))
}
