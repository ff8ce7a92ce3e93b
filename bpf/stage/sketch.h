/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How much does this stranger send? A count-min sketch with conservative update (Estan, Varghese 2002), blocked: the
 * counters of a source lie in one cache line. Each has the window that it counts for in its high byte, so that none is ever
 * cleared. It may count too much where sources collide, and too little where two CPUs write one line at once; it limits strangers
 * alone. Above SKETCH_NOISE packets in a window its own noise would be taken for a source's: then it is skipped (the daemon says so).
 */
#pragma once

#include "../lib/hash.h"
#include "count.h"

#define SKETCH_SHIFT 29 /* a window: 0.54 s */
#define SKETCH_ROWS 3
#define SKETCH_COUNT 0xffffff

static __always_inline __u32 sketch_count(__u32 cell, __u32 window)
{
	return cell >> 24 == (window & 0xff) ? cell & SKETCH_COUNT : 0;
}

/* Counts one packet of a source; true: it has sent `limit` in this window already. */
static __always_inline bool sketch_over(const struct pkt *p, __u32 limit)
{
	struct secret *s = env_secret();
	__u32 window = p->now >> SKETCH_SHIFT, low = ~0u, line;
	struct sketch_line *l;
	__u64 h;

	if (!s)
		return false;
	h = hash_mix((p->family == 4 ? addr4(p->src) : addr_hi(p->src)) ^ s->key[1]);
	h = hash_mix(h + p->service);
	line = h & (SKETCH_LINES - 1);
	l = bpf_map_lookup_elem(&sketch, &line);
	if (!l)
		return false;
	for (int i = 0; i < SKETCH_ROWS; i++) {
		__u32 n = sketch_count(l->cell[h >> (32 + 4 * i) & 15], window);

		low = n < low ? n : low;
	}
	if (low >= limit)
		return true;
	for (int i = 0; i < SKETCH_ROWS; i++) {
		__u32 *c = &l->cell[h >> (32 + 4 * i) & 15];

		if (sketch_count(*c, window) <= low)
			*c = window << 24 | (low + 1);
	}
	return false;
}
