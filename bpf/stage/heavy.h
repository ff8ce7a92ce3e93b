/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Of which prefixes do strangers come, over all services? A load that is spread thinly over the sources of a /24 (IPv6: /48) and over
 * services is none of a source's nor of a service's: the daemon tells by this. Of each service's strangers one in HEAVY_EVERY is looked at.
 * A cell is the prefix's that more than half of its packets in a window are of (Boyer, Moore 1991): however many others are made up, one
 * that sends much is found, at one cache line a packet that is looked at. Two CPUs in one cell may lose a count.
 */
#pragma once

#include "../lib/hash.h"
#include "count.h"

#define HEAVY_SHIFT 30 /* a window: 1.07 s */

static __always_inline void heavy_note(const struct pkt *p)
{
	struct secret *s = env_secret();
	__u32 i, window = p->now >> HEAVY_SHIFT;
	__u64 prefix = (__u64)p->family << 56;
	struct heavy *h;

	if (p->family == 4)
		prefix |= bpf_ntohl(addr4(p->src)) >> 8;
	else
		prefix |= bpf_be64_to_cpu(addr_hi(p->src)) >> 16;
	i = hash_addr(prefix, 0, s ? s->key[1] : 0) & (HEAVY_CELLS - 1);
	h = bpf_map_lookup_elem(&heavy, &i);
	if (!h)
		return;
	if (h->window != window) {
		h->window = window;
		h->votes = 0;
	}
	if (h->prefix == prefix) {
		h->votes++;
		h->hits++;
		h->services |= 1ULL << (p->service & 63);
	} else if (h->votes) {
		h->votes--;
	} else {
		h->prefix = prefix;
		h->services = 1ULL << (p->service & 63);
		h->votes = 1;
		h->hits = 1;
	}
}

/* Counts a packet of no session. */
static __always_inline void stranger_seen(const struct pkt *p)
{
	__u32 i = p->service;
	struct stranger_count *n = bpf_map_lookup_elem(&stranger_count, &i);

	/* Not each sixteenth: what comes in turns would be seen always, or never. Of the multiples of the golden ratio one in so many begins so. */
	if (n && ++n->strangers * 0x9e3779b97f4a7c15ULL < ~0ULL / HEAVY_EVERY)
		heavy_note(p);
}
