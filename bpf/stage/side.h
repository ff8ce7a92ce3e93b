/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where is what is translated of a TCP session kept? Its halves have no room for it. NAT's lies at the place that its slot's number
 * names, which belongs to the session as the port does. Any other session claims a cell, whose number both halves hold in fields
 * that NAT alone needs, and gives it back when it is deleted.
 */
#pragma once

#include "session.h"

#define SIDE_TRIES 8
#define FLOW_SIDE (FLOW_PROXIED | FLOW_HEADER)

static __always_inline struct proxied *side_slot(__u32 family, __u32 i)
{
	return family == 4 ? APART(bpf_map_lookup_elem(&proxied4, &i)) : bpf_map_lookup_elem(&proxied6, &i);
}

static __always_inline struct proxied *side_cell(__u32 i)
{
	return i ? bpf_map_lookup_elem(&proxied_cell, &i) : NULL;
}

/* Of an up half. */
static __always_inline struct proxied *side_up(__u32 family, const struct flow *up)
{
	return up->state & FLOW_NAT ? side_slot(family, up->peer) : side_cell(up->peer);
}

/* Of either; slot: the number by which a down half under NAT was found. */
static __always_inline struct proxied *side_of(__u32 family, const struct flow *f, __u32 state, __u32 slot)
{
	if (!(state & FLOW_RETURN))
		return side_up(family, f);
	return state & FLOW_NAT ? side_slot(family, slot) : side_cell(f->word);
}

/* A cell of one's own; 0 = none was found. Cells are claimed in turn, so that one is free for as long as can be. */
static __always_inline __u32 side_claim(void)
{
	__u32 zero = 0, i;
	struct edge *e = bpf_map_lookup_elem(&edge, &zero);
	struct proxied *x;

	if (!e)
		return 0;
	for (int n = 0; n < SIDE_TRIES; n++) {
		i = (__sync_fetch_and_add(&e->proxied, 1) + 1) & (cfg.proxied_cells - 1);
		x = side_cell(i);
		if (x && !__sync_val_compare_and_swap(&x->taken, 0, 1))
			return i;
	}
	return 0;
}

static __always_inline void side_free(__u32 i)
{
	struct proxied *x = side_cell(i);

	if (x)
		__sync_lock_test_and_set(&x->taken, 0);
}

/* All but the claim. */
static __always_inline void side_put(struct proxied *x, const struct proxied *v)
{
	x->delta = v->delta;
	x->ts_delta = v->ts_delta;
	x->shift = v->shift;
	x->up_shift = v->up_shift;
	x->flags = v->flags;
	x->scales = v->scales;
	x->isn = v->isn;
	x->cookie = v->cookie;
	x->ts = v->ts;
	x->mss = v->mss;
	x->window = v->window;
}

/* What a client's handshake with the edge has agreed on, until its session is made. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct proxied);
	__uint(max_entries, 1);
} shaken SEC(".maps");

static __always_inline struct proxied *shaken_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&shaken, &zero);
}

/* How long the PROXY header is. */
#define HEADER4 28
#define HEADER6 52

static __always_inline __u32 header_length(__u32 family)
{
	return family == 4 ? HEADER4 : HEADER6;
}

/* Flags that a session has from its first packet on. */
static __always_inline __u32 side_wants(const struct pkt *p, const struct service *svc)
{
	if (!cfg.proxied || p->proto != IPPROTO_TCP || svc->forward == FORWARD_LOCAL || p->down)
		return 0;
	if (p->shaken)
		return FLOW_PROXIED | (svc->proxy_header ? FLOW_HEADER : 0);
	return svc->proxy_header && (p->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN ? FLOW_HEADER : 0;
}

/* Readies a session that is about to be made. Returns 0 or the enum drop_reason. */
static __always_inline int side_begin(const struct pkt *p, const struct service *svc, struct making *m)
{
	__u32 wants = side_wants(p, svc);
	struct proxied *v = shaken_get(), *x;

	if (!wants)
		return 0;
	if (!(m->flags & FLOW_NAT)) {
		m->cell = side_claim();
		if (!m->cell)
			return DROP_REASON_SESSIONS_FULL;
	}
	x = m->flags & FLOW_NAT ? side_slot(p->family, m->slot) : side_cell(m->cell);
	if (!x || !v)
		return DROP_REASON_INTERNAL;
	if (!p->shaken)
		__builtin_memset(v, 0, sizeof(*v));
	side_put(x, v);
	m->flags |= wants;
	return 0;
}

/* The same of one that is over and begins again: its flags, or -1 where there is no room. */
static __always_inline int side_again(const struct pkt *p, const struct service *svc, struct flow *up,
				      struct flow *down)
{
	__u32 wants = side_wants(p, svc), cell;
	struct proxied *v = shaken_get(), *x;

	if (!wants || !down)
		return 0;
	if (!(up->state & FLOW_NAT) && !up->peer) {
		cell = side_claim();
		if (!cell)
			return -1;
		up->peer = cell;
		down->word = cell;
	}
	x = side_up(p->family, up);
	if (!x || !v)
		return -1;
	if (!p->shaken)
		__builtin_memset(v, 0, sizeof(*v));
	side_put(x, v);
	return wants;
}
