/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Did this very tuple come before? A game's client that gets no answer tries again by the same address and port; a forger
 * that makes up addresses doesn't. Bits of a keyed hash of the whole tuple, all of a key in one cache line: two generations of 1.6 s
 * (so a stranger is remembered for 1.6 to 3.2 s), and two slices of 0.1 s by which a second packet is told that comes too soon
 * (a doubled one, or a sender that sends everything twice). Lines turn over when they are next touched; nobody clears them.
 * Two CPUs in one line may lose one of both marks: that client comes a third time.
 */
#pragma once

#include "../lib/hash.h"
#include "count.h"

/* 1.6 s are three times 2^29 ns: counted from the time itself, for ticks wrap after 52 days. */
#define GREY_GENERATION_SHIFT 29
#define GREY_SLICE_TICKS 95 /* too soon: within this or the last one, so that 200 ms are never too soon */
#define GREY_BITS 4 /* of 192, in a generation */
#define GREY_RECENT_BITS 2 /* of 32, in a slice */

static __always_inline __u64 grey_hash(const struct pkt *p)
{
	struct secret *s = env_secret();
	__u64 h = s ? s->key[1] : 0;

	if (p->family == 4) {
		h = hash_mix(h ^ (addr4(p->src) | (__u64)addr4(p->dst) << 32));
	} else {
		h = hash_mix(h ^ addr_hi(p->src));
		h = hash_mix(h ^ addr_lo(p->src));
		h = hash_mix(h ^ addr_hi(p->dst));
		h = hash_mix(h ^ addr_lo(p->dst));
	}
	return hash_mix(h ^ (p->sport | (__u32)p->dport << 16 | (__u64)p->proto << 32));
}

/* The line as it is at this time. */
static __always_inline void grey_turn(struct grey_line *l, const struct pkt *p)
{
	__u32 generation = (__u32)(p->now >> GREY_GENERATION_SHIFT) / 3, slice = p->tick / GREY_SLICE_TICKS;

	if (l->generation != generation) {
		bool next = l->generation + 1 == generation;

		for (int i = 0; i < 3; i++) {
			l->before[i] = next ? l->now[i] : 0;
			l->now[i] = 0;
		}
		l->generation = generation;
	}
	if (l->slice != slice) {
		l->recent = l->slice + 1 == slice ? l->recent << 32 : 0;
		l->slice = slice;
	}
}

/* The bits of a key, spread over the three words. */
static __always_inline void grey_bits(__u64 h, __u64 *bits)
{
	bits[0] = 1ULL << (h & 63) | 1ULL << (h >> 18 & 63);
	bits[1] = 1ULL << (h >> 6 & 63);
	bits[2] = 1ULL << (h >> 12 & 63);
}

static __always_inline __u64 grey_recent(__u64 h)
{
	return 1ULL << (h >> 24 & 31) | 1ULL << (h >> 29 & 7) << 8;
}

/* Its line, where the hash is h. */
static __always_inline struct grey_line *grey_line(const struct pkt *p, __u64 h)
{
	__u32 i = (h >> 32) & (cfg.greylist - 1);

	return bpf_map_lookup_elem(&greylist, &i);
}

/* Did it come before? */
static __always_inline bool grey_known(const struct grey_line *l, __u64 h)
{
	__u64 bits[3], now, before;

	grey_bits(h, bits);
	now = (~l->now[0] & bits[0]) | (~l->now[1] & bits[1]) | (~l->now[2] & bits[2]);
	before = (~l->before[0] & bits[0]) | (~l->before[1] & bits[1]) | (~l->before[2] & bits[2]);
	return !now || !before;
}

/* If so, a moment ago? */
static __always_inline bool grey_soon(const struct grey_line *l, __u64 h)
{
	return !(~(l->recent | l->recent >> 32) & grey_recent(h));
}

static __always_inline void grey_note(struct grey_line *l, __u64 h)
{
	__u64 bits[3];

	grey_bits(h, bits);
	for (int n = 0; n < 3; n++)
		l->now[n] |= bits[n];
	l->recent |= grey_recent(h);
}

/* Notes a stranger. True: it came before, long enough ago and not too long. */
static __always_inline bool grey_again(const struct pkt *p)
{
	__u64 h = grey_hash(p);
	struct grey_line *l = grey_line(p, h);

	if (!l)
		return true;
	grey_turn(l, p);
	if (grey_known(l, h))
		return !grey_soon(l, h);
	grey_note(l, h);
	return false;
}
