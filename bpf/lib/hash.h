/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hashes of addresses. Neither is a MAC: a forger gains an uneven spread, no more. */
#pragma once

#include <linux/types.h>

/* The 64-bit finalizer of MurmurHash3: every input bit moves every output bit with probability near 1/2. */
static __always_inline __u64 hash_mix(__u64 h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	h ^= h >> 33;
	return h;
}

/* Two words of an address under a key; key 0 gives every edge the same answer. */
static __always_inline __u32 hash_addr(__u64 hi, __u64 lo, __u64 key)
{
	return hash_mix(hash_mix(hi ^ key) + lo) >> 32;
}
