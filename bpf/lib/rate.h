/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Token buckets as GCRA (ITU-T I.371 A.1): one 64-bit word holds the theoretical arrival time in 2^-8 ns and is
 * moved by compare-and-swap, so that every CPU and flow shares one exact bucket. 2^-8 ns keep the cost of a
 * byte at 1 GB/s exact to 0.4 % and reach 833 days of uptime before the sign bit is touched.
 */
#pragma once

#include <bpf/bpf_helpers.h>

#include "../abi.h"
#include "fault.h"

#define RATE_TRIES 4

/* Takes `units` from the bucket, having first given `back` units that were borrowed and not used. Returns
 * true where they were to be had. Lost compare-and-swaps pass and are counted: a bucket never stops play. */
static __always_inline bool rate_take(__u64 *word, const struct rate *r, __u64 now, __u64 units, __u64 back)
{
	__u64 cost = r->cost, burst = r->burst;
	__u64 t = now << 8;

	if (!cost)
		return true;
	for (int i = 0; i < RATE_TRIES; i++) {
		__u64 old = *(volatile __u64 *)word;
		__u64 tat = old - back * cost;

		if ((__s64)(tat - t) < 0)
			tat = t;
		tat += units * cost;
		if ((__s64)(tat - t) > (__s64)burst)
			return false;
		if (__sync_val_compare_and_swap(word, old, tat) == old)
			return true;
	}
	fault(FAULT_BUCKET_CONTENDED);
	return true;
}

/* Would a unit be to be had? */
static __always_inline bool rate_has(const __u64 *word, const struct rate *r, __u64 now)
{
	__u64 t = now << 8, tat = *(volatile const __u64 *)word;

	if ((__s64)(tat - t) < 0)
		tat = t;
	return (__s64)(tat + r->cost - t) <= (__s64)r->burst || !r->cost;
}

/* Gives back what was taken and not used. */
static __always_inline void rate_give(__u64 *word, const struct rate *r, __u64 units)
{
	__sync_fetch_and_add(word, -(units * r->cost));
}
