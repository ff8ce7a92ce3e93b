/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Limits of more than one source: of a prefix of sources, and of all together who are not proven. What a prefix has used is one cell
 * of its hash: a flood of random ones fills no table and touches one cache line a packet. It is drawn on when a flow borrows from its
 * source (stage/limit.h), so that an established packet pays nothing for it.
 *
 * Neighbours who flood must not harm who plays: the unproven draw on half of a prefix's bucket alone, those who have only just
 * been proven on three quarters, and the rest is left for sessions that have lasted. So each is refused for what its equals and betters
 * use. A service's own limits are for the unproven alone; a player's session never comes here.
 */
#pragma once

#include "../lib/hash.h"
#include "../lib/rate.h"
#include "count.h"

/* The cell of a client's prefix; NULL: its service limits none. `addr` is IPv4's, or the first word of IPv6's, as on the wire. */
static __always_inline struct prefix_use *wide_of(__u64 addr, __u32 family, __u32 service, const struct service *svc)
{
	struct secret *s = env_secret();
	__u32 bits = (family == 4 ? svc->wide4 : svc->wide6) & 63, i; /* 64 are none: config refuses them */
	__u64 a;

	if (!cfg.prefixes || !bits)
		return NULL;
	a = family == 4 ? (__u64)bpf_ntohl((__u32)addr) << 32 : bpf_be64_to_cpu(addr);
	a >>= 64 - bits;
	i = hash_addr(a, (__u64)service << 16 | bits << 8 | family, s ? s->key[0] : 0) & (PREFIX_USES - 1);
	return bpf_map_lookup_elem(&prefix_use, &i);
}

/* What a flow in this state may use of a prefix's bucket. */
static __always_inline struct rate wide_share(const struct rate *whole, __u32 state)
{
	struct rate r = *whole;

	if (FLOW_PHASE(state) == PHASE_OPENING)
		r.burst = whole->burst / 2;
	else if (!(state & FLOW_LASTING))
		r.burst = whole->burst - whole->burst / 4;
	if (r.burst < r.cost)
		r.burst = r.cost;
	return r;
}

/* ---- new sessions ---- */

static __always_inline struct prefix_use *wide_of_packet(const struct pkt *p, const struct service *svc)
{
	return wide_of(p->family == 4 ? addr4(p->src) : addr_hi(p->src), p->family, p->service, svc);
}

/* The session did not come to be. */
static __always_inline void wide_undo(struct pkt *p, const struct service *svc)
{
	struct prefix_use *u;
	struct service_state *st;

	if (cfg.prefixes && p->new_taken & NEW_PREFIX) {
		u = wide_of_packet(p, svc);
		if (u)
			rate_give(&u->sessions, &svc->prefix_sessions, 1);
	}
	if (cfg.all && p->new_taken & NEW_ALL) {
		st = state_of(p);
		if (st)
			rate_give(&st->sessions, &svc->all_sessions, 1);
	}
	p->new_taken &= ~(NEW_PREFIX | NEW_ALL);
}

/* May one more session begin? known: its client is proven, allowed, or has played before. Returns 0 or the enum drop_reason. */
static __always_inline int wide_begin(struct pkt *p, const struct service *svc, bool known)
{
	struct service_state *st;
	struct prefix_use *u;
	struct rate r;

	if (p->unlimited || p->query) /* a query is no connection */
		return 0;
	if (cfg.prefixes && svc->prefix_sessions.cost) {
		u = wide_of_packet(p, svc);
		r = wide_share(&svc->prefix_sessions, known ? PHASE_OPEN | FLOW_LASTING : PHASE_OPENING);
		if (u && rate_take(&u->sessions, &r, p->now, 1, 0))
			p->new_taken |= NEW_PREFIX;
		else if (u && refuse(p, DROP_REASON_PREFIX_SESSIONS, svc->enforce && svc->enforce_prefix))
			return DROP_REASON_PREFIX_SESSIONS;
	}
	if (cfg.all && svc->all_sessions.cost && !known) {
		st = state_of(p);
		if (st && rate_take(&st->sessions, &svc->all_sessions, p->now, 1, 0)) {
			p->new_taken |= NEW_ALL;
		} else if (st && refuse(p, DROP_REASON_SERVICE_SESSIONS, svc->enforce && svc->enforce_all)) {
			wide_undo(p, svc);
			return DROP_REASON_SERVICE_SESSIONS;
		}
	}
	return 0;
}

/* ---- packets of the unproven ---- */

/* Takes one packet of the service's limits. Returns 0 or the enum drop_reason that they give. */
static __always_inline int all_take(const struct pkt *p, const struct service *svc)
{
	struct service_state *st = state_of(p);

	if (!st)
		return 0;
	if (!rate_take(&st->packets, &svc->all_packets, p->now, 1, 0))
		return DROP_REASON_SERVICE_PACKETS;
	if (rate_take(&st->bytes, &svc->all_bytes, p->now, p->l3_len, 0))
		return 0;
	rate_give(&st->packets, &svc->all_packets, 1);
	return DROP_REASON_SERVICE_BYTES;
}

static __always_inline void all_give(const struct pkt *p, const struct service *svc)
{
	struct service_state *st = state_of(p);

	if (!st)
		return;
	rate_give(&st->packets, &svc->all_packets, 1);
	rate_give(&st->bytes, &svc->all_bytes, p->l3_len);
}
