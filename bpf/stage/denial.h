/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Was it denied a moment ago? To find an entry of a large list takes three misses of the caches, and a flood from listed
 * sources takes them for each packet, to hear the same each time. What was heard is noted in a cell, and believed for as long as
 * a session's check is: two seconds, in which what bpftool allows or takes off may go unnoticed. An entry's expiry is in the cell, and
 * what parry itself changes is seen at once: a cell of before policy was loosened is none.
 *
 * A cell is near (a small part of the lines, that stays in the cache while attackers are few) or, when that line is full, far.
 * It holds for one address, or for the whole /24 where the entry covers that and no allow entry is around (allow_hosts4), which
 * is believed for two seconds since the daemon looked. Its packets are hits of the entry that it was made by, which hears of
 * them when the cell is renewed, given away or settled.
 *
 * A cell changes hands by its first word: claimed, filled, then named. Who reads a name, the time and the same name again has
 * read that one's time; or, where a CPU reorders what is stored or loaded (arm64), for some nanoseconds the time of who had it
 * before. That is over, or at most two seconds away: nobody is denied for longer by it than by a name of its own.
 */
#pragma once

#include "deny.h"

#define DENIAL_SHIFT 24 /* time in cells: 16 ticks. They wrap after two years; the daemon settles before */
#define DENIAL_LIFE 118 /* of these, just under RECHECK_TICKS */
#define DENIAL_NEAR 8 /* one near line for so many far ones */
#define DENIAL_CLAIMED (~0ULL) /* changes hands at this moment: nobody's */
#define DENIAL_NET (1ULL << 48) /* above address and service: it holds for the /24 */
#define DENIAL_LOOSER_SHIFT 49 /* above that: how often policy was loosened before the judgement */
#define DENIAL_NETS_BITS 24 /* how long a net's prefix is */

static __always_inline __u64 denial_whom(__u32 service, __be32 addr)
{
	return addr | (__u64)service << 32 | (__u64)policy_looser() << DENIAL_LOOSER_SHIFT;
}

static __always_inline __u64 denial_net(__u64 whom)
{
	return (whom & ~0xff000000ULL) | DENIAL_NET; /* the last octet, as it lies on the wire */
}

/* Are both about the same? */
static __always_inline bool denial_same(__u64 a, __u64 b)
{
	return !((a ^ b) << (64 - DENIAL_LOOSER_SHIFT));
}

/* Fibonacci hashing. Who forges collisions gains what a list without cells costs. */
static __always_inline __u32 denial_hash(__u32 addr)
{
	return addr * 0x9e3779b1u >> cfg.denial_shift;
}

static __always_inline struct denial_line *denial_near(__u32 addr)
{
	__u32 i = denial_hash(addr & 0x00ffffff) / DENIAL_NEAR;

	return bpf_map_lookup_elem(&denial, &i);
}

/* The first or the second of the two lines where it may be. */
static __always_inline struct denial_line *denial_far(__u32 addr, __u32 second)
{
	__u32 i = (1u << (32 - cfg.denial_shift)) / DENIAL_NEAR + (denial_hash(addr) ^ second);

	return bpf_map_lookup_elem(&denial, &i);
}

static __always_inline bool denial_before(__u32 until, __u32 now)
{
	return until - now - 1 < DENIAL_LIFE;
}

static __always_inline bool denial_lives(const struct denial *c, __u32 now)
{
	return denial_before(*(volatile const __u32 *)&c->until, now);
}

/* Until when allow_hosts4 is believed. One less: its clock is a finer one, and may be ahead by one. */
static __always_inline __u32 denial_net_until(void)
{
	__u32 zero = 0;
	__u64 *looked = bpf_map_lookup_elem(&allow_looked, &zero);

	return looked && *looked ? (*looked >> DENIAL_SHIFT) + DENIAL_LIFE - 1 : 0;
}

static __always_inline bool denial_full(const struct denial_line *line, __u32 now)
{
	return denial_lives(&line->cell[3], now) && denial_lives(&line->cell[2], now) &&
	       denial_lives(&line->cell[1], now);
}

static __always_inline bool denial_hit(struct denial *c, __u64 whom, __u32 now)
{
	if (!denial_lives(c, now))
		return false;
	barrier();
	if (*(volatile __u64 *)&c->whom != whom) /* it changed hands meanwhile */
		return false;
	c->hits++;
	return true;
}

static __always_inline bool denial_is(struct denial *c, __u64 whom, __u64 net, __u32 now)
{
	__u64 w = *(volatile __u64 *)&c->whom;

	return (w == whom || w == net) && denial_hit(c, w, now);
}

static __always_inline bool denial_in(struct denial_line *line, __u64 whom, __u64 net, __u32 now)
{
	return denial_is(&line->cell[0], net, net, now) || denial_is(&line->cell[3], whom, net, now) ||
	       denial_is(&line->cell[2], whom, net, now) || denial_is(&line->cell[1], whom, net, now);
}

/* Out of line: it is for crowds, whom the caches cost more. */
static NOINLINE int denied_far(__u64 whom, __u32 now)
{
	for (__u32 second = 0; second < 2; second++) {
		struct denial_line *far = denial_far(whom, second);

		if (!far)
			return false;
		if (denial_in(far, whom, whom, now))
			return true;
		if (!denial_full(far, now))
			return false;
	}
	return false;
}

/* Does a cell say so? */
static __always_inline bool denied_lately(__u64 whom, __u32 now)
{
	struct denial_line *near = denial_near(whom);

	return near &&
	       (denial_in(near, whom, denial_net(whom), now) || (denial_full(near, now) && denied_far(whom, now)));
}

/* The entry that denies it, if it is still there: as denied4 (stage/quick.h) looks for it. */
static NOINLINE struct list_entry *denial_entry(__u64 whom)
{
	__u32 service = (__u16)(whom >> 32), bits = whom & DENIAL_NET ? DENIAL_NETS_BITS : 32;
	struct net_key4 k = { .prefixlen = 32 + bits, .addr = whom };
	__u64 all = whom << 32, one = all | service; /* struct host_key4, by one store */
	struct list_entry *e = NULL;

	if (bits == 32)
		e = bpf_map_lookup_elem(&deny_host4, &all) ?: bpf_map_lookup_elem(&deny_host4, &one);
	if (!e)
		e = bpf_map_lookup_elem(&deny_net4, &k);
	if (e)
		return e;
	k.service = service;
	return bpf_map_lookup_elem(&deny_net4, &k);
}

/* Hits of a cell go to the entry; where it is gone, with it. One that was put back since gets those of the one before. */
static __always_inline void denial_flush(__u64 whom, __u32 hits)
{
	struct list_entry *e = denial_entry(whom);

	if (e)
		e->hits += hits;
}

/* The cell that is to be whom's: the one that it had, or else one that nobody needs any more. Of a near line the first cell is kept
 * for nets: a crowd of hosts is not to make each packet of theirs ask the tries. */
static __always_inline struct denial *denial_cell(struct denial_line *line, __u64 whom, __u32 now, bool near,
						  __u64 *was)
{
	__u32 flip = whom & DENIAL_NET ? 0 : 3, n = flip && near ? 3 : 4, i;
	struct denial *c = NULL, *x;
	__u64 w;

	for (i = 0; i < 4; i++) {
		if (i >= n)
			break;
		x = &line->cell[(i ^ flip) & 3];
		w = *(volatile __u64 *)&x->whom;
		if (denial_same(w, whom)) {
			*was = w;
			return x;
		}
		if (!c && w != DENIAL_CLAIMED && (!denial_lives(x, now) || (w ^ whom) >> DENIAL_LOOSER_SHIFT)) {
			c = x;
			*was = w;
		}
	}
	return c;
}

/* Static, and with few arguments: 6.1 loses track of more. */
static NOINLINE struct denial *denial_place(__u64 whom, __u32 now, __u64 *was)
{
	struct denial_line *line = denial_near(whom);
	struct denial *c = line ? denial_cell(line, whom, now, true, was) : NULL;

	for (__u32 second = 0; !c && !(whom & DENIAL_NET) && second < 2; second++) {
		line = denial_far(whom, second);
		c = line ? denial_cell(line, whom, now, false, was) : NULL;
	}
	return c;
}

/* What a filter with a bit for each prefix of this length says of an address; `unsaid` where it says nothing. A function for each map, for
 * of a map in a register the kernel inlines no lookup; out of line, as 6.1 has no more stack for what calls them. */
#define FILTER4(name, map, length, unsaid)                                               \
	static NOINLINE int name(__be32 addr)                                            \
	{                                                                                \
		__u32 bit = __builtin_bswap32(addr) >> (32 - (length)), word = bit >> 6; \
		__u64 *w = bpf_map_lookup_elem(&map, &word);                             \
                                                                                         \
		return w ? *w >> (bit & 63) & 1 : unsaid;                                \
	}

FILTER4(net_listed4, net_filter4, 24, false)
FILTER4(net_allowed4, allow_filter4, 16, true)
FILTER4(host_allowed4, allow_hosts4, 16, true)

/* Is its whole /24 denied by this prefix, for no allow entry is in sight, and somebody looks? */
static __always_inline bool net_denied4(const struct list_entry *e, __be32 addr, __u32 now)
{
	return e->bits && e->bits <= DENIAL_NETS_BITS && !host_allowed4(addr) && denial_before(denial_net_until(), now);
}

/* Counts a denial by e, and notes it for those that follow; with DENIAL_NET in whom, for all of the /24 if it can be. Where there
 * is no room, the next is judged likewise. */
static NOINLINE int denial_note(__u64 whom, struct list_entry *e, __u64 ns)
{
	__u32 now = ns >> DENIAL_SHIFT, until = now + DENIAL_LIFE, hits;
	struct denial *c;
	__u64 was = 0;

	if (!e)
		return 0;
	e->hits++;
	if (whom & DENIAL_NET && net_denied4(e, whom, now)) {
		whom = denial_net(whom);
		until = denial_net_until();
	} else {
		whom &= ~DENIAL_NET;
	}
	if (e->expires && e->expires >> DENIAL_SHIFT < (ns >> DENIAL_SHIFT) + (until - now))
		until = e->expires >> DENIAL_SHIFT;
	if (until == now)
		return 0;
	c = denial_place(whom, now, &was);
	if (!c || __sync_val_compare_and_swap(&c->whom, was, DENIAL_CLAIMED) != was)
		return 0;
	hits = c->hits;
	c->hits = 0;
	c->until = until;
	barrier(); /* the name comes last */
	*(volatile __u64 *)&c->whom = whom;
	if (!hits || !was)
		return 0;
	if (denial_same(was, whom))
		e->hits += hits;
	else
		denial_flush(was, hits);
	return 0;
}

/* ---- for the daemon ------------------------------------------------------------------------------------ */

/* Hands on the hits of a cell and frees it: what is in use is not counted and cleared beside packets that count. */
static __always_inline void settle_cell(struct denial *c)
{
	__u64 w = *(volatile __u64 *)&c->whom;

	if (!w || w == DENIAL_CLAIMED || __sync_val_compare_and_swap(&c->whom, w, DENIAL_CLAIMED) != w)
		return;
	if (c->hits)
		denial_flush(w, c->hits);
	c->hits = 0;
	c->until = 0;
	__sync_lock_test_and_set(&c->whom, 0);
}

static long settle_line(__u32 i, __u32 *first)
{
	__u32 n = *first + i;
	struct denial_line *line = bpf_map_lookup_elem(&denial, &n);

	if (!line)
		return 1;
	settle_cell(&line->cell[0]);
	settle_cell(&line->cell[1]);
	settle_cell(&line->cell[2]);
	settle_cell(&line->cell[3]);
	return 0;
}

/* Which lines: the first eight bytes of the frame that the daemon runs it with, first and how many. */
static __always_inline int settle_lines(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 *order = data, first, n;

	if ((void *)(order + 2) > end)
		return XDP_ABORTED;
	first = order[0];
	n = order[1];
	bpf_loop(n < SETTLE_BATCH ? n : SETTLE_BATCH, settle_line, &first, 0);
	return XDP_DROP;
}
