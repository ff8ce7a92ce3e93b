/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who has asked for this packet? Captures stand in slots, each with its filter and its rate; a packet that one of them wants, or that is
 * this source's sample of the second, becomes a record of the ring with the beginning of its frame. Bounded by the ring, by
 * the rate of each slot and CPU, and by what a frame may take; what is lost by either is counted.
 */
#pragma once

#include "note.h"

#define SAMPLE_ALWAYS_SLOT SAMPLE_SLOTS

static __always_inline struct sampler *sampler_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sampler, &zero);
}

/* How much of a frame is kept: 1 to SAMPLE_MAX, so that Linux 6.1's verifier sees it. No frame has less. */
static __always_inline __u32 sample_bytes(__u32 length, __u32 snap)
{
	__u32 taken = (length < snap ? length : snap) - 1;

	if (taken >= SAMPLE_MAX)
		taken = SAMPLE_MAX - 1;
	barrier_var(taken);
	return (taken & (SAMPLE_MAX - 1)) + 1;
}

/* Copies the beginning of a frame. Returns how much. */
static __always_inline __u32 sample_frame(struct xdp_md *ctx, struct noted *n, __u32 length, __u32 snap)
{
	__u32 taken = sample_bytes(length, snap);

	return bpf_xdp_load_bytes(ctx, 0, n->data, taken) ? 0 : taken;
}

/* As a packet comes in, where those that pass are told of, too: it will have changed by then. */
static NOINLINE int sample_enter(struct xdp_md *ctx)
{
	struct sampler *s = sampler_get();
	struct noted *n = noted_get();
	__u32 length = bpf_xdp_get_buff_len(ctx);

	if (!s || !n)
		return 0;
	n->have = 0;
	if (s->snap) {
		n->sample.taken = sample_frame(ctx, n, length, s->snap);
		n->have = 1;
	}
	return 0;
}

static __always_inline bool same16(const __u8 *a, const __u8 *b, __u64 mask0, __u64 mask1)
{
	return !(((addr_hi(a) ^ addr_hi(b)) & mask0) | ((addr_lo(a) ^ addr_lo(b)) & mask1));
}

static __always_inline bool slot_address(const struct sample_slot *s, const struct noted *n)
{
	const struct sample_tuple *e = &n->ends;

	if (!s->family)
		return true;
	return s->family == e->family &&
	       (same16(s->addr, n->sample.client, s->mask[0], s->mask[1]) ||
		same16(s->addr, e->src, s->mask[0], s->mask[1]) || same16(s->addr, e->dst, s->mask[0], s->mask[1]));
}

static __always_inline bool slot_way(const struct sample_tuple *w, const struct sample_tuple *e)
{
	return w->family == e->family && w->proto == e->proto && w->sport == e->sport && w->dport == e->dport &&
	       same16(w->src, e->src, ~0ULL, ~0ULL) && same16(w->dst, e->dst, ~0ULL, ~0ULL);
}

static __always_inline bool slot_wants(const struct sample_slot *s, const struct noted *n)
{
	const struct sample *m = &n->sample;

	if (!(s->want & (m->reason | m->shadow ? SAMPLE_WANT_DROPS : SAMPLE_WANT_PASSES)))
		return false;
	if ((s->by_service && s->service != m->service) ||
	    (s->reason && s->reason != m->reason && s->reason != m->shadow))
		return false;
	if (s->way[0].family && !slot_way(&s->way[0], &n->ends) && !slot_way(&s->way[1], &n->ends))
		return false;
	return slot_address(s, n);
}

/* Is it its turn, and within its rate? */
static __always_inline bool slot_takes(__u32 i, __u32 rate, __u32 every, __u64 now)
{
	struct sample_count *c = bpf_map_lookup_elem(&sample_count, &i);
	__u32 second = now >> SAMPLE_SECOND;

	if (!c)
		return false;
	if (every > 1 && ++c->turn < every)
		return false;
	c->turn = 0;
	if (c->second != second) {
		c->second = second;
		c->used = 0;
	}
	if (c->used >= rate) {
		c->over++;
		return false;
	}
	c->used++;
	return true;
}

static __always_inline void slot_count(__u32 i, bool lost)
{
	struct sample_count *c = bpf_map_lookup_elem(&sample_count, &i);

	if (c && lost)
		c->full++;
	else if (c)
		c->taken++;
}

/* Does it go to this slot? Returns how much of its frame, or -1. Global: verified once. */
NOINLINE int slot_asks(struct noted *n, __u32 i)
{
	struct sampler *s = sampler_get();
	struct sample_slot *slot;

	if (!s || !n || i >= SAMPLE_SLOTS)
		return -1;
	slot = &s->slot[i];
	if (!slot->want || !slot_wants(slot, n) || !slot_takes(i, slot->rate, slot->every, n->sample.time))
		return -1;
	if (!n->sample.kind)
		n->sample.every = slot->every;
	return slot->snap;
}

/* Is the reader to be woken? Where the ring fills up faster than it looks, and for what attacks are found by: the first of each 17 ms,
 * for then it looks again by itself. */
static __always_inline __u64 sample_wakes(const struct noted *n, __u64 waits, __u64 size)
{
	__u32 now = n->sample.time >> SAMPLE_STEP_SHIFT, i = SAMPLE_ALWAYS_SLOT + SAMPLE_KIND_STEP;
	struct sample_count *c;

	if (waits > size / 4)
		return BPF_RB_FORCE_WAKEUP;
	if (!(n->sample.step & ~(STEP_LASTS | STEP_QUERY | STEP_CALLED)))
		return BPF_RB_NO_WAKEUP;
	c = bpf_map_lookup_elem(&sample_count, &i);
	if (!c || c->woken == now)
		return BPF_RB_NO_WAKEUP;
	c->woken = now;
	return BPF_RB_FORCE_WAKEUP;
}

/* To the ring. The reader looks a few times a second by itself. */
static __always_inline void sample_put(struct noted *n, __u32 mask)
{
	__u64 waits = bpf_ringbuf_query(&samples, BPF_RB_AVAIL_DATA),
	      size = bpf_ringbuf_query(&samples, BPF_RB_RING_SIZE);
	__u32 taken = n->sample.taken;
	bool lost;

	if (taken > SAMPLE_MAX)
		return;
	barrier_var(taken);
	lost = bpf_ringbuf_output(&samples, &n->sample, sizeof(n->sample) + (taken & (2 * SAMPLE_MAX - 1)),
				  sample_wakes(n, waits, size));
	for (__u32 i = 0; i < SAMPLE_SLOTS; i++)
		if (mask >> i & 1)
			slot_count(i, lost);
	if (n->sample.flags & SAMPLE_REGULAR)
		slot_count(SAMPLE_ALWAYS_SLOT + SAMPLE_KIND_DROP, lost);
	if (n->sample.kind)
		slot_count(SAMPLE_ALWAYS_SLOT + n->sample.kind, lost);
}

/* Is it to be told, whoever captures? */
static __always_inline bool sample_always(const struct noted *n)
{
	return n->sample.flags & SAMPLE_REGULAR || n->sample.kind;
}

/* Would it have begun a session, had it not been refused? A query and a stray segment would not. */
static __always_inline bool sample_attempt(const struct noted *n)
{
	if (n->half || n->query || n->frag == FRAG_LATER || n->sample.flags & SAMPLE_DOWN || !n->sample.reason ||
	    n->sample.reason == DROP_REASON_SYN_PROXY || !n->sample.service)
		return false;
	return n->ends.proto == IPPROTO_UDP ||
	       (n->ends.proto == IPPROTO_TCP && (n->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN);
}

/* What a packet has that was not told by its kind (stage/told.h): of what goes down, nobody says here who speaks to whom. */
static __always_inline void sample_untold(struct sample *m)
{
	__builtin_memset(m->front, 0, sizeof(m->front));
	m->client_port = m->front_port = 0;
	m->every = 0;
	m->packets = 0;
}

/* What a step is told as, and with. */
static __always_inline void sample_step(struct noted *n)
{
	struct sample *m = &n->sample;

	if (m->step & (STEP_BEGAN | STEP_CALLED))
		m->flags |= SAMPLE_FIRST;
	if (!cfg.told)
		m->step = 0;
	if (m->step && !m->kind) {
		m->kind = m->step & ~(STEP_BEGAN | STEP_CALLED) ? SAMPLE_KIND_STEP : SAMPLE_KIND_BEGIN;
		m->every = m->packets = 0;
	}
	if (cfg.told && n->query)
		m->step |= STEP_QUERY;
}

static __always_inline void sample_ends(struct noted *n)
{
	struct sample *m = &n->sample;

	m->proto = n->ends.proto;
	sample_step(n);
	if (sample_attempt(n))
		m->flags |= SAMPLE_FIRST;
	if (!m->kind)
		sample_untold(m);
	if (!(m->flags & SAMPLE_DOWN)) {
		addr_copy(m->front, n->ends.dst);
		m->client_port = n->ends.sport;
		m->front_port = n->ends.dport;
	}
}

/* Is it a step that comes when its kind's rate is used up? */
static __always_inline bool step_over(const struct noted *n, const struct sampler *s)
{
	__u32 kind = n->sample.kind;

	if (kind < SAMPLE_KIND_STEP || kind >= SAMPLE_KINDS)
		return false;
	return !slot_takes(SAMPLE_ALWAYS_SLOT + kind, s->rate[kind], 0, n->sample.time);
}

/* Whose is it, and how much of its frame? Returns the slots' bits; 0 and not sample_always: nobody's. */
static __always_inline __u32 sample_begin(struct noted *n, __u32 *snap)
{
	struct sampler *s = sampler_get();
	__u32 mask = 0;

	if (!s)
		return 0;
	sample_ends(n);
	n->sample.time = env_precise();
	n->sample.cpu = env_cpu();
	if (step_over(n, s)) {
		n->sample.kind = n->sample.step = 0;
		sample_untold(&n->sample);
	}
	if (n->sample.flags & SAMPLE_REGULAR) {
		*snap = SAMPLE_HEADERS;
		if (!slot_takes(SAMPLE_ALWAYS_SLOT, s->rate[SAMPLE_KIND_DROP], 0, n->sample.time))
			n->sample.flags &= ~SAMPLE_REGULAR;
	}
	for (__u32 i = 0; i < SAMPLE_SLOTS; i++) {
		int wants = slot_asks(n, i);

		if (wants < 0)
			continue;
		mask |= 1 << i;
		if (wants > (int)*snap)
			*snap = wants;
	}
	n->sample.slots = mask;
	return mask;
}

/* Nothing of its frame was kept so far. */
static __always_inline bool sample_unkept(const struct noted *n)
{
	return !n->sample.kind || n->sample.kind >= SAMPLE_KIND_STEP;
}

/* A packet that came in. */
static __always_inline void sample_packet(struct xdp_md *ctx, struct noted *n)
{
	__u32 snap = 0, mask = sample_begin(n, &snap), length;

	if (!mask && !sample_always(n))
		return;
	length = bpf_xdp_get_buff_len(ctx);
	n->sample.ifindex = ctx->ingress_ifindex;
	if (!n->sample.length)
		n->sample.length = length;
	if (!n->have && sample_unkept(n))
		n->sample.taken = snap ? sample_frame(ctx, n, length, snap) : 0;
	sample_put(n, mask);
}

/* A local server's, as it leaves. */
static __always_inline void sample_reply(struct __sk_buff *skb, struct noted *n)
{
	__u32 snap = 0, mask = sample_begin(n, &snap), taken;

	if (!mask && !sample_always(n))
		return;
	n->sample.flags |= SAMPLE_OUT;
	n->sample.ifindex = skb->ifindex;
	if (sample_unkept(n)) {
		taken = sample_bytes(n->sample.length, snap);
		n->sample.taken = !snap || bpf_skb_load_bytes(skb, 0, n->data, taken) ? 0 : taken;
	}
	sample_put(n, mask);
}
