/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How does the packet leave that began its session? By what admission has in hand, as the established path would send it:
 * it need not find its session, its source and its service again. Where anything is out of the ordinary with it, it goes
 * that path (AGAIN).
 */
#pragma once

#include "flow.h"
#include "revive.h"

/* The first loan, put into the flow before anybody else can see it. Returns LOAN_REFUSED(). */
static __always_inline int first_loan(const struct pkt *p, struct source *s, const struct service *svc,
				      struct making *m)
{
	struct loan l = {};
	int refused;

	loan_of(&l, s, wide_of_packet(p, svc), svc, m->flags);
	refused = lend(&l, svc, m->flags, p->now, p->l3_len, true);
	m->word = loan_word(loan_packets_left(&l, refused), loan_bytes_left(&l, refused, p->l3_len),
			    loan_holder(p->tick));
	m->lent_packets = l.lent_packets;
	m->lent_bytes = l.lent_bytes;
	m->drawn_packets = l.drawn_packets;
	m->drawn_bytes = l.drawn_bytes;
	return refused;
}

/* What becomes of the packet once its session is made: NEXT = first_leave sends it, and the session has counted it;
 * AGAIN; or DROP, for its source has no tokens. */
static __always_inline int first_of(struct xdp_md *ctx, struct pkt *p, struct source *s, const struct service *svc,
				    struct making *m, struct hop **hop)
{
	struct hop *h;
	int refused;

	m->shadow = p->shadow;
	if (p->frag || p->ttl <= 1 || would_deny(p) || m->flags & FLOW_SIDE)
		return VERDICT_AGAIN;
	if (first_words(ctx, p, m->up_flags)) /* it speaks as it begins: its gate is to hear that */
		return VERDICT_AGAIN;
	/* By this port a server that speaks to its own service is answered by itself: to whom it is, is the slot's to say. */
	if (m->flags & FLOW_NAT && m->face_port == p->dport)
		return VERDICT_AGAIN;
	if (!(m->flags & FLOW_LOCAL)) {
		h = hop_get(m->up_hop);
		if (!h || p->l3_len > h->mtu)
			return VERDICT_AGAIN;
		*hop = h;
	}
	if (!(m->flags & FLOW_UNLIMITED)) {
		refused = first_loan(p, s, svc, m);
		if (refused && loan_refuses(p, svc, refused))
			return VERDICT_DROP;
	}
	if (cfg.all && FLOW_PHASE(m->flags) == PHASE_OPENING) {
		refused = all_take(p, svc);
		m->all_taken = !refused;
		if (refused && refuse(p, refused, svc->enforce && svc->enforce_all))
			return VERDICT_DROP;
	}
	m->packets = 1;
	m->bytes = p->l3_len;
	return VERDICT_NEXT;
}

/* The session did not come to be. */
static __always_inline void first_undo(struct pkt *p, struct source *s, const struct service *svc,
				       const struct making *m)
{
	struct loan l = {};

	p->reason = DROP_REASON_NONE;
	p->shadow = m->shadow;
	loan_of(&l, s, wide_of_packet(p, svc), svc, m->flags);
	loan_give(&l, &s->packets, &svc->packets, false, m->lent_packets);
	loan_give(&l, &s->bytes, &svc->bytes, false, m->lent_bytes);
	if (l.prefix) {
		loan_give(&l, &l.prefix->packets, &svc->prefix_packets, true, m->drawn_packets);
		loan_give(&l, &l.prefix->bytes, &svc->prefix_bytes, true, m->drawn_bytes);
	}
	if (cfg.all && m->all_taken)
		all_give(p, svc);
}

/* By hop; NULL: to this host. */
static __always_inline int first_leave(struct xdp_md *ctx, struct pkt *p, const struct making *m, struct hop *hop)
{
	const struct flow4 *f4 = &m->half4;
	const struct flow6 *f6 = &m->half;
	int err;

	if (!hop)
		return VERDICT_PASS;
	if (p->family == 4) {
		err = rewrite4(ctx, p, *(__u64 *)&f4->src, *(__u32 *)&f4->sport, f4->l3_delta, f4->l4_delta);
	} else {
		addr_copy(p->to, f6->dst);
		addr_copy(p->as, f6->src);
		err = rewrite6(ctx, p, *(__u32 *)&f6->sport, f6->l4_delta);
	}
	return err ? abort_changed(p) : leave(ctx, p, hop);
}
