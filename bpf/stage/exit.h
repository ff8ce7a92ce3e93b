/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one exit: counts and returns XDP_*. A packet is counted here once, whatever happened to it. */
#pragma once

#include "note.h"
#include "watch.h"

/* Policy refuses the packet. Where that is enforced the caller drops it; else it is noted (the first refusal
 * is the one that would have dropped it) and goes on. */
static __always_inline bool refuse(struct pkt *p, enum drop_reason reason, bool enforced)
{
	if (cfg.enforce && enforced) {
		p->reason = reason;
		return true;
	}
	if (!p->shadow)
		p->shadow = reason;
	return false;
}

static __always_inline enum verdict drop(struct pkt *p, enum drop_reason reason)
{
	p->reason = reason;
	return VERDICT_DROP;
}

/* After the first write a surprise is an abort: a half-changed packet must reach nobody. */
static __always_inline enum verdict abort_changed(struct pkt *p)
{
	p->reason = DROP_REASON_INTERNAL;
	return VERDICT_ABORT;
}

static __always_inline void count_reason(const struct pkt *p, __u32 bytes)
{
	struct reason_count *n;
	__u32 i;

	if (p->reason) {
		i = p->service * REASONS_MAX + (p->reason & (REASONS_MAX - 1));
		n = bpf_map_lookup_elem(&reason_count, &i);
		if (n) {
			n->packets++;
			n->bytes += bytes;
		}
	}
	if (p->shadow) {
		i = p->service * REASONS_MAX + (p->shadow & (REASONS_MAX - 1));
		n = bpf_map_lookup_elem(&reason_count, &i);
		if (n) {
			n->shadow_packets++;
			n->shadow_bytes += bytes;
		}
	}
}

/* Bytes are those of the IP packet; of a frame that has none, the frame's. `packets` is 1 but for what a NIC has
 * yet to cut. */
static __always_inline void count(const struct pkt *p, enum verdict v, __u32 packets)
{
	__u32 bytes = p->l3_len ?: p->len;
	struct service_count *n;
	__u32 i = p->service;
	__u64 *way;

	n = bpf_map_lookup_elem(&service_count, &i);
	if (n) {
		way = p->down ? &n->down_packets : &n->up_packets; /* their bytes lie behind */
		way[0] += packets;
		way[1] += bytes;
		if (v == VERDICT_TX)
			n->tx += packets;
		else if (v == VERDICT_REDIRECT)
			n->redirect += packets;
		else if (v == VERDICT_PASS)
			n->pass += packets;
		else
			n->drop += packets;
	}
	if (p->reason | p->shadow)
		count_reason(p, bytes);
}

/* Is this what a player loses to the edge? Not what its own source is held to, what an operator wants kept out, or what the sender is
 * told of or has to do otherwise. */
static __always_inline bool is_loss(const struct pkt *p)
{
	switch (p->reason) {
	case DROP_REASON_DENIED:
	case DROP_REASON_NOT_ALLOWED:
	case DROP_REASON_PACKET_SIZE:
	case DROP_REASON_RATE_PACKETS:
	case DROP_REASON_RATE_BYTES:
	case DROP_REASON_BAD_ADDRESS: /* forged: a local server's own packets never come in */
	case DROP_REASON_TOO_BIG:
	case DROP_REASON_TTL:
	case DROP_REASON_GEO:
	case DROP_REASON_RULE:
	case DROP_REASON_RULE_LIMIT:
	case DROP_REASON_TCP_FLAGS:
	case DROP_REASON_TCP_STATE:
		return false;
	}
	return p->playing && p->reason && !p->query;
}

/* A packet did not leave. Were it a player's, that is counted. */
static __always_inline void count_loss(const struct pkt *p, __u32 packets)
{
	struct stranger_count *n;
	__u32 i = p->service;

	if (!is_loss(p))
		return;
	n = bpf_map_lookup_elem(&stranger_count, &i);
	if (n)
		n->lost += packets;
}

static __always_inline void note_trace(const struct pkt *p, enum verdict v)
{
	__u32 zero = 0;
	struct trace *t;

	if (!cfg.traced)
		return;
	t = bpf_map_lookup_elem(&trace, &zero);
	if (t) {
		t->verdict = v;
		t->reason = p->reason;
		t->service = p->service;
		t->shadow = p->shadow;
	}
}

static __always_inline int code_of(enum verdict v)
{
	switch (v) {
	case VERDICT_PASS:
		return XDP_PASS;
	case VERDICT_TX:
		return XDP_TX;
	case VERDICT_REDIRECT:
		return XDP_REDIRECT;
	case VERDICT_DROP:
		return XDP_DROP;
	default:
		return XDP_ABORTED;
	}
}

/* Of which nothing is told. */
static __always_inline int exit_counted(const struct pkt *p, enum verdict v)
{
	int code = code_of(v);

	count(p, v, 1);
	if (code == XDP_DROP || code == XDP_ABORTED)
		count_loss(p, 1);
	note_trace(p, v);
	return code;
}

/* Returns XDP_*, marked with NOTED where something is to be told of the packet: a program ends by `finish`. */
static __always_inline int parry_exit(struct pkt *p, enum verdict v)
{
	int code = exit_counted(p, v);

	return code | noteworthy(p, v, code);
}

/* The same of what may be a session's packet. */
static __always_inline int session_exit(struct pkt *p, enum verdict v)
{
	if (cfg.watch && p->timed && (v == VERDICT_DROP || v == VERDICT_ABORT))
		watch_drop(p->offset, p->reason);
	return parry_exit(p, v);
}

/* The end of a program. */
static __always_inline int finish(struct xdp_md *ctx, int code)
{
	if (NOTES && code & NOTED) {
		bpf_tail_call(ctx, &stages, STAGE_NOTE);
		code &= ~NOTED;
	}
	return code;
}
