/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is a packet that passes told of, though nobody captures? The first ones of a session are, each way, with what they say, so that its
 * game can be named; after those the one at which it is judged again, every two seconds at most, so that the ordinary packet pays nothing.
 * The frame is kept here as it came in, for by the exit it has been rewritten. Each kind has its rate a second and CPU (struct sampler). A
 * session that begins when that is used up is not marked: sessions are told whole or not at all, and one of a flood costs a look.
 */
#pragma once

#include "sample.h"

static __always_inline struct sample_count *told_count(__u32 kind)
{
	__u32 i = SAMPLE_ALWAYS_SLOT + kind;

	return bpf_map_lookup_elem(&sample_count, &i);
}

/* Another second may have begun. Turns are thinned out by how many there were in the one before, so that those of its end are told as
 * often as those of its beginning. */
static __always_inline void told_second(struct sample_count *c, __u32 rate, __u64 now)
{
	__u32 second = now >> SAMPLE_SECOND;

	if (c->second == second)
		return;
	c->every = c->second + 1 == second && rate ? c->offered / rate + 1 : 1;
	c->second = second;
	c->offered = c->used = 0;
}

/* What both halves of a new session are marked with: it uses up as many of its second's as it may have. Global: verified once. */
NOINLINE int told_mark(struct pkt *p)
{
	struct sample_count *c = told_count(SAMPLE_KIND_FIRST);
	struct sampler *s = sampler_get();
	__u32 rate;

	if (!p || !c || !s)
		return 0;
	rate = s->rate[SAMPLE_KIND_FIRST];
	told_second(c, rate, p->now);
	if (c->used + 2 * SAMPLE_FIRSTS <= rate) {
		c->used += 2 * SAMPLE_FIRSTS;
		return FLOW_FRESH;
	}
	c->over++;
	return 0;
}

/* Is there room for it within its kind's rate? Returns 0, or how many it stands for. First ones have had it since their session began,
 * in this second or in one before; but what is dropped further on is not counted by its half, so they are bounded here, too. */
static __always_inline __u32 told_takes(__u32 kind, __u32 rate, __u64 now)
{
	struct sample_count *c = told_count(kind);

	if (!c)
		return 0;
	told_second(c, rate, now);
	if (kind == SAMPLE_KIND_FIRST && c->offered++ < 2 * rate)
		return 1;
	if (kind == SAMPLE_KIND_TURN) {
		c->offered++;
		if (++c->turn >= c->every && c->used < rate) {
			c->turn = 0;
			c->used++;
			return c->every;
		}
	}
	c->over++;
	return 0;
}

/* Does it say anything? A datagram does; of a segment the header is in the copy. */
static __always_inline bool told_says(const struct pkt *p, const struct noted *n)
{
	__u32 l4 = p->l4;

	if (p->proto != IPPROTO_TCP)
		return true;
	barrier_var(l4); /* bounded as it is used, for the verifier: parse has seen to it */
	if (l4 > L4_MAX)
		return false;
	return l4 + (n->data[l4 + 12] >> 4) * 4 < (__u32)p->l3 + p->l3_len;
}

/* Returns how many bytes of its frame are to be kept; 0: nothing is told of it. */
static __always_inline __u32 told_begin(const struct pkt *p, struct noted *n, __u32 kind)
{
	struct sampler *s = sampler_get();
	__u32 every;

	if (!s || kind >= SAMPLE_KINDS)
		return 0;
	every = told_takes(kind, s->rate[kind], p->now);
	if (!every)
		return 0;
	n->sample.every = kind == SAMPLE_KIND_TURN ? every : 0;
	return s->snap > SAMPLE_PAYLOAD ? s->snap : SAMPLE_PAYLOAD; /* a capture may want it, too */
}

/* Its frame is kept: it is told of at the exit. But for the one that begins its session, segments that say nothing are not. */
static __always_inline int told_end(struct pkt *p, struct noted *n, __u32 kind, __u32 packets)
{
	if ((packets || p->down || kind != SAMPLE_KIND_FIRST) && !told_says(p, n))
		return 0;
	n->sample.packets = packets;
	addr_copy(n->sample.front, p->as); /* of what goes down; else its ends say it */
	n->sample.client_port = p->to_port;
	n->sample.front_port = p->as_port;
	p->told = kind;
	return 0;
}

NOINLINE int tell(struct xdp_md *ctx, struct pkt *p, __u32 kind, __u32 packets)
{
	struct noted *n = noted_get();
	__u32 snap;

	if (!p || !n)
		return 0;
	snap = told_begin(p, n, kind);
	if (!snap)
		return 0;
	n->sample.taken = sample_frame(ctx, n, p->len, snap);
	return told_end(p, n, kind, packets);
}

/* The same of a local server's, as it leaves. */
NOINLINE int tell_reply(struct __sk_buff *skb, struct pkt *p, __u32 kind, __u32 packets)
{
	struct noted *n = noted_get();
	__u32 snap;

	if (!p || !n)
		return 0;
	snap = told_begin(p, n, kind);
	if (!snap)
		return 0;
	n->sample.taken = sample_bytes(p->len, snap);
	if (bpf_skb_load_bytes(skb, 0, n->data, n->sample.taken))
		return 0;
	return told_end(p, n, kind, packets);
}

/* Why a packet of a half would be told. The last of its first ones clears its mark. Of TCP a few more are looked at, for its handshake says
 * nothing: to count those that do would take a word that a half has no room for, and one that says nothing for long would stay marked. */
static __always_inline __u32 told_kind(struct pkt *p, struct flow *f)
{
	__u32 state = *(volatile __u32 *)&f->state, all = SAMPLE_FIRSTS;

	if (!(state & FLOW_FRESH)) {
		if (!p->down && state & FLOW_LASTING && !(p->step & STEP_LASTING))
			p->step |= STEP_LASTS;
		return SAMPLE_KIND_TURN;
	}
	if (p->proto == IPPROTO_TCP)
		all += SAMPLE_HANDSHAKE;
	if (f->packets + 1 >= all)
		__sync_fetch_and_and(&f->state, ~FLOW_FRESH);
	if (!f->packets && p->down && state & FLOW_SERVER_STARTED)
		p->step |= STEP_CALLED;
	return SAMPLE_KIND_FIRST;
}

/* Of a marked half's packet, and of one at which its session was judged again. */
NOINLINE int flow_tell(struct xdp_md *ctx, struct pkt *p, struct flow *f)
{
	__u32 packets;

	if (!p || !f)
		return 0;
	packets = f->packets;
	return tell(ctx, p, told_kind(p, f), packets);
}
