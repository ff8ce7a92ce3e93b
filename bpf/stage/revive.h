/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Does a session that is over, but not gone, begin again? In its closing second (stage/reap.h) every lookup takes it for
 * a miss; what may begin a session takes it up again instead, with its tuple, server and port.
 */
#pragma once

#include "flow.h"

/* AGAIN: there is a session now. Shares VERDICT_NEXT's place among the verdicts that are none. */
#define VERDICT_AGAIN 16

/* wants: flags that it begins with. */
static __always_inline bool phase_revive(struct flow *f, __u32 wants)
{
	__u32 old = f->state;
	__u32 fresh = (old & ~(FLOW_PHASES | FLOW_PROXIED | FLOW_HEADER | FLOW_FIN_CLIENT | FLOW_FIN_SERVER | FLOW_RST |
			       FLOW_ANSWERED | FLOW_STRONG | FLOW_LASTING)) |
		      PHASE_OPENING | wants;

	return FLOW_PHASE(old) == PHASE_CLOSING && __sync_val_compare_and_swap(&f->state, old, fresh) == old;
}

/* A stranger that has sent all it may, and no server has answered: taken up again and again it would never get more. It goes, and may
 * come as a new one. */
static __always_inline bool exhausted(struct pkt *p, const struct flow *up)
{
	__u32 i = up->service;
	struct service *svc = bpf_map_lookup_elem(&service, &i);

	return svc && svc->unanswered && up->packets >= svc->unanswered &&
	       refuse(p, DROP_REASON_UNPROVEN_RATE, svc->enforce);
}

/* By a SYN a client begins another connection: its gate is to hear that one's first words, too. */
static __always_inline bool gated_anew(const struct pkt *p)
{
	__u32 i = p->service;
	struct service *svc;

	if (!cfg.gates || p->proto != IPPROTO_TCP || !(p->tcp & TCP_SYN || p->shaken) || p->down || p->allowed)
		return false;
	svc = bpf_map_lookup_elem(&service, &i);
	return svc && svc->gate;
}

/* What is translated of it. */
static __always_inline int side_revive(const struct pkt *p, struct flow *up, struct flow *down)
{
	__u32 i = up->service;
	struct service *svc;

	if (!cfg.proxied || p->proto != IPPROTO_TCP)
		return 0;
	svc = bpf_map_lookup_elem(&service, &i);
	return svc && FLOW_PHASE(up->state) == PHASE_CLOSING && !(up->state & FLOW_LOCAL) ?
		       side_again(p, svc, up, down) :
		       0;
}

/* The old tuple, server and port serve again. That the client was proven before is marked at the down half. */
static __always_inline int revive_halves(struct pkt *p, struct flow *up, struct flow *down)
{
	int wants;
	bool known = up->state & (FLOW_STRONG | FLOW_WEAK | FLOW_LASTING) || (down && down->state & FLOW_LASTING);
	bool lasted = up->state & FLOW_LASTING;

	if (up->state & FLOW_KILLED)
		return drop(p, DROP_REASON_SESSION_KILLED);
	if (up->state & FLOW_EVICTED)
		return drop(p, DROP_REASON_STRANGERS_FULL);
	if (!known && !p->down && exhausted(p, up))
		return VERDICT_DROP;
	wants = side_revive(p, up, down);
	if (wants < 0)
		return drop(p, DROP_REASON_SESSIONS_FULL);
	if (!phase_revive(up, wants | (p->shaken ? FLOW_STRONG : 0))) /* another packet did it, or the reaper has it */
		return carries(up->state) ? VERDICT_AGAIN : drop(p, DROP_REASON_RACE);
	p->service = up->service; /* a server's first word may be another service's */
	if (gated_anew(p))
		__sync_fetch_and_or(&up->state, FLOW_GATED);
	if (lasted) /* it has to last again */
		limit_lasting(p, up, -1);
	weak_leave(p, client_of(p), up);
	up->seen = p->tick;
	up->checked = p->tick - RECHECK_TICKS - 1; /* the way may have changed since */
	if (down) {
		phase_revive(down, wants);
		__sync_fetch_and_and(&down->state, ~FLOW_WEAK);
		if (known)
			__sync_fetch_and_or(&down->state, FLOW_LASTING);
		down->seen = p->tick;
	}
	return VERDICT_AGAIN;
}

/* By its client. Returns VERDICT_NEXT where there is nothing to revive. */
NOINLINE int revive(struct pkt *p)
{
	struct flow *f = NULL;

	if (!p || p->known >= KNOWN_STRANGER)
		return VERDICT_NEXT;
	if (p->family == 4) {
		struct flow_key4 k;
		struct flow4 *f4;

		key4(&k, addr4(p->src), addr4(p->dst), p->sport, p->dport, p->proto);
		f4 = bpf_map_lookup_elem(&flow4, &k);
		if (f4) {
			f = &f4->f;
			*(__u32 *)p->to = f4->dst;
			p->to_port = f4->dport;
		}
	} else {
		struct flow_key6 k;
		struct flow6 *f6;

		key6(&k, p->src, p->dst, p->sport, p->dport, p->proto);
		f6 = bpf_map_lookup_elem(&flow6, &k);
		if (f6) {
			f = &f6->f;
			addr_copy(p->to, f6->dst);
			p->to_port = f6->dport;
		}
	}
	return f ? revive_halves(p, f, other_half(p, f)) : VERDICT_NEXT;
}

/* By its server, where that knows the client's own address: the half that its packet would travel in says whose
 * key the other one has. Returns VERDICT_NEXT where there is nothing to revive. */
NOINLINE int revive_down(struct pkt *p)
{
	struct flow *up = NULL, *down = NULL;

	if (!p)
		return VERDICT_NEXT;
	if (p->family == 4) {
		struct flow_key4 k;
		struct flow4 *f4;

		key4(&k, addr4(p->src), addr4(p->dst), p->sport, p->dport, p->proto);
		f4 = bpf_map_lookup_elem(&flow4, &k);
		if (f4) {
			down = &f4->f;
			key4(&k, f4->dst, f4->src, f4->dport, f4->sport, p->proto);
			up = bpf_map_lookup_elem(&flow4, &k);
		}
	} else {
		struct flow_key6 k;
		struct flow6 *f6;

		key6(&k, p->src, p->dst, p->sport, p->dport, p->proto);
		f6 = bpf_map_lookup_elem(&flow6, &k);
		if (f6) {
			down = &f6->f;
			key6(&k, f6->dst, f6->src, f6->dport, f6->sport, p->proto);
			up = bpf_map_lookup_elem(&flow6, &k);
		}
	}
	return up && down->state & FLOW_RETURN ? revive_halves(p, up, down) : VERDICT_NEXT;
}
