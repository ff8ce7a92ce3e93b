/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is a session's client where it says it is? A session begins unproven (OPENING) and is proven (OPEN) once: by an echoed secret
 * before it began (its gate says so), by TCP's handshake (its server sends what a kernel sends only after the client's ACK), or,
 * weakly, by an answer of its server between two of its own packets. A blind sender can fake the last: such sessions live under
 * quotas until they have played for a while.
 */
#pragma once

#include "answer.h"
#include "session.h"
#include "shadow.h"

#define LASTING_TICKS (30 * TICKS_PER_SECOND)
#define LASTING_PACKETS 20 /* each way */

/* ---- weak ones' quotas ---- */

static __always_inline __u64 *weak_prefix(const struct pkt *p, const __u8 *client)
{
	return prefix_of(p, PREFIX_WEAK, client, 24, 48, p->service);
}

/* Does anything hold a service's weakly proven sessions? */
static __always_inline bool weak_matters(const struct service *svc)
{
	return svc->gate || svc->weak_sessions || svc->weak_prefix || svc->weak_gain || svc->timeout_weak;
}

static __always_inline bool weak_join(const struct pkt *p, const __u8 *client, const struct service *svc)
{
	struct service_state *st = state_of(p);
	__u64 *n = weak_prefix(p, client);

	if (!st || !n)
		return true;
	if (__sync_fetch_and_add(&st->weak, 1) >= svc->weak_sessions && svc->weak_sessions) {
		__sync_fetch_and_add(&st->weak, -1);
		return false;
	}
	if (__sync_fetch_and_add(n, 1) >= svc->weak_prefix && svc->weak_prefix) {
		__sync_fetch_and_add(n, -1);
		__sync_fetch_and_add(&st->weak, -1);
		return false;
	}
	return true;
}

static __always_inline void weak_free(const struct pkt *p, const __u8 *client)
{
	struct service_state *st = state_of(p);
	__u64 *n = weak_prefix(p, client);

	if (st)
		__sync_fetch_and_add(&st->weak, -1);
	if (n)
		__sync_fetch_and_add(n, -1);
}

/* It is weak no more, whoever sees to that first. Of p, service and family are its. */
static __always_inline void weak_leave(const struct pkt *p, const __u8 *client, struct flow *up)
{
	if (__sync_fetch_and_and(&up->state, ~FLOW_WEAK) & FLOW_WEAK)
		weak_free(p, client);
}

/* ---- the two halves ---- */

/* The down half of an up half's session; p is a packet of the up half. */
static __always_inline struct flow *other_half(const struct pkt *p, const struct flow *f)
{
	__u32 i = f->peer;

	if (p->family == 4) {
		struct flow_key4 k;

		if (f->state & FLOW_NAT)
			return bpf_map_lookup_elem(&nat4, &i);
		key4(&k, addr4(p->to), addr4(p->src), p->to_port, p->sport, p->proto);
		return bpf_map_lookup_elem(&flow4, &k);
	} else {
		struct flow_key6 k;

		if (f->state & FLOW_NAT)
			return bpf_map_lookup_elem(&nat6, &i);
		key6(&k, p->to, p->src, p->to_port, p->sport, p->proto);
		return bpf_map_lookup_elem(&flow6, &k);
	}
}

/* The up half of a down half's session; p is a packet of the down half, and leaves from `as` to `to`, the client. */
static __always_inline struct flow *first_half(const struct pkt *p)
{
	if (p->family == 4) {
		struct flow_key4 k;

		key4(&k, addr4(p->to), addr4(p->as), p->to_port, p->as_port, p->proto);
		return bpf_map_lookup_elem(&flow4, &k);
	} else {
		struct flow_key6 k;

		key6(&k, p->to, p->as, p->to_port, p->as_port, p->proto);
		return bpf_map_lookup_elem(&flow6, &k);
	}
}

static __always_inline bool phase_open(struct flow *f, __u32 flags)
{
	__u32 old = *(volatile __u32 *)&f->state;

	return FLOW_PHASE(old) == PHASE_OPENING &&
	       __sync_val_compare_and_swap(&f->state, old, (old & ~FLOW_PHASES) | flags | PHASE_OPEN) == old;
}

/* Nothing more is to come that proves it. */
static __always_inline void flow_netchan_over(struct flow *up, struct flow *down)
{
	__sync_fetch_and_and(&up->state, ~FLOW_NETCHAN);
	if (down)
		__sync_fetch_and_and(&down->state, ~FLOW_NETCHAN);
}

/* ---- proof ---- */

/* What a server gives with this packet: with the first part of a datagram all of it, for nobody holds the later ones to anything. */
static __always_inline __u32 given(const struct pkt *p)
{
	__u32 header = p->l4 - p->l3, part = p->l3_len - header, rest;

	if (p->frag != FRAG_FIRST || p->proto != IPPROTO_UDP || p->whole <= part || !part)
		return p->l3_len;
	rest = p->whole - part;
	return p->l3_len + rest + (rest + part - 1) / part * header;
}

/* What an answer may be long and still be no longer than its question: one of the client's packets, as long as they are on the
 * average, and no more than what it sent and was not answered yet. */
static __always_inline __u32 asked(const struct flow *up, const struct flow *down)
{
	__u64 packets = up->packets, bytes = up->bytes, one, left;

	if (!packets)
		return 0;
	one = bytes / packets;
	left = bytes > down->bytes ? bytes - down->bytes : 0;
	return one < left ? one : left;
}

/* A server's packet to a client that is not proven: within the reflector guarantee. Returns 0 or the enum drop_reason. */
static __always_inline int opening_down(struct pkt *p, struct flow *f, bool enforced)
{
	struct flow *up = first_half(p);
	__u32 over;

	if (up && FLOW_PHASE(up->state) == PHASE_OPENING && !(up->state & FLOW_STRONG) &&
	    !(f->state & FLOW_SERVER_STARTED)) {
		__u32 gives = given(p), free = asked(up, f);

		over = gives > free ? gives - free : 0;
		if (over && !answer_take(p, p->to, over, f->state & FLOW_AGAIN || up->packets > 1) &&
		    refuse(p, DROP_REASON_ANSWER_BUDGET, enforced))
			return DROP_REASON_ANSWER_BUDGET;
	}
	if (p->proto != IPPROTO_TCP) {
		__sync_fetch_and_or(&f->state, FLOW_ANSWERED);
	} else if (!(p->tcp & (TCP_SYN | TCP_RST))) {
		__sync_fetch_and_or(&f->state, FLOW_ANSWERED);
		if (up && up->packets && !(up->state & (FLOW_GATED | FLOW_PROXIED)) && phase_open(up, FLOW_STRONG)) {
			phase_open(f, 0);
			STRANGER_COUNT(p, strong);
			proved(p, STEP_STRONG);
			step_ends(p);
		}
	}
	return 0;
}

/* A client's packet of a session that is not proven yet. */
static __always_inline int opening_up(struct pkt *p, struct flow *f, const struct service *svc)
{
	struct flow *down = other_half(p, f);
	__u32 weak = 0;

	if (!down || !(*(volatile __u32 *)&down->state & FLOW_ANSWERED)) {
		if (svc->unanswered && f->packets >= svc->unanswered && !(down && down->state & FLOW_LASTING) &&
		    refuse(p, DROP_REASON_UNPROVEN_RATE, svc->enforce))
			return DROP_REASON_UNPROVEN_RATE;
		return 0;
	}
	if (p->proto == IPPROTO_TCP) {
		if (f->state & FLOW_GATED && !p->gated) /* its gate has yet to hear it */
			return 0;
		if (!phase_open(f, FLOW_STRONG))
			return 0;
		p->step |= STEP_STRONG; /* that gate has heard it, too */
		if (!(f->state & FLOW_PROXIED)) { /* it was when it began */
			STRANGER_COUNT(p, strong);
			proved(p, STEP_STRONG);
		}
	} else {
		if (f->state & FLOW_QUERY || p->query) /* to ask is no proof */
			return 0;
		weak = weak_matters(svc) ? FLOW_WEAK : 0;
		if (weak && !weak_join(p, p->src, svc))
			return 0; /* it stays unproven, and goes when newer ones come */
		if (!phase_open(f, weak)) { /* another packet was first, or it is over */
			if (weak)
				weak_free(p, p->src);
			return 0;
		}
		STRANGER_COUNT(p, weak);
	}
	/* Once it is over nothing else would tell that it was proven (stage/revive.h). */
	phase_open(down, weak ?: FLOW_LASTING);
	return 0;
}

/* A server's packet to a client that is proven weakly: somebody who forges its address may have come this far. So much for each byte
 * that the client said is play; what is beyond that is within the reflector guarantee. */
static __always_inline int weak_down(struct pkt *p, struct flow *f, const struct service *svc)
{
	struct flow *up = first_half(p);
	__u64 may, given_then;
	__u32 gives, over;

	if (!up || !svc->weak_gain || f->state & FLOW_SERVER_STARTED)
		return 0;
	gives = given(p);
	may = up->bytes * svc->weak_gain;
	given_then = f->bytes + gives;
	if (given_then <= may)
		return 0;
	over = given_then - may < gives ? given_then - may : gives;
	if (!answer_take(p, p->to, over, true) && refuse(p, DROP_REASON_ANSWER_BUDGET, svc->enforce))
		return DROP_REASON_ANSWER_BUDGET;
	return 0;
}

/* A packet of a session that is not proven, or weakly. Returns 0 or the enum drop_reason. */
NOINLINE int flow_opening(struct pkt *p, struct flow *f)
{
	struct service *svc;

	if (!p || !f)
		return DROP_REASON_INTERNAL;
	svc = service_of(p);
	if (!svc)
		return DROP_REASON_INTERNAL;
	if (FLOW_PHASE(f->state) != PHASE_OPENING)
		return p->down ? weak_down(p, f, svc) : 0;
	return p->down ? opening_down(p, f, svc->enforce) : opening_up(p, f, svc);
}

/* A packet of a session that is not proven draws on what its service takes from all such together. One that its client has taken
 * up again after it was proven never goes without. */
NOINLINE int unproven_limit(struct pkt *p, struct flow *f)
{
	struct service *svc;
	struct flow *down;
	int refused;
	__u32 i;

	if (!p || !f)
		return DROP_REASON_INTERNAL;
	i = p->service;
	svc = bpf_map_lookup_elem(&service, &i);
	if (!svc || FLOW_PHASE(*(volatile __u32 *)&f->state) != PHASE_OPENING) /* this packet has proven it */
		return 0;
	refused = all_take(p, svc);
	if (!refused)
		return 0;
	down = other_half(p, f);
	if (down && down->state & FLOW_LASTING)
		return 0;
	return refuse(p, refused, svc->enforce && svc->enforce_all) ? refused : 0;
}

/* ---- playing on ---- */

static __always_inline void remember(const struct pkt *p)
{
	struct source_key k = {};
	__u64 now = p->now;

	source_key_of(&k, p->family == 4 ? addr4(p->src) : addr_hi(p->src), p->family, p->service,
		      p->family == 4 ? 32 : 64);
	bpf_map_update_elem(&regular, &k, &now, BPF_ANY);
}

/* A proven session that has played for long enough is a weak one no more, and its source a regular: asked at each re-check
 * until then. p is a packet of the up half. */
NOINLINE int flow_lasting(struct pkt *p, struct flow *f)
{
	struct flow *down;
	__u32 old;

	if (!p || !f)
		return 0;
	down = other_half(p, f);
	if (!down || p->tick - down->peer < LASTING_TICKS || f->packets < LASTING_PACKETS ||
	    down->packets < LASTING_PACKETS)
		return 0;
	old = __sync_fetch_and_or(&f->state, FLOW_LASTING);
	if (old & FLOW_LASTING)
		return 0;
	limit_lasting(p, f, 1);
	if (old & FLOW_STRONG || !under_attack(p))
		remember(p);
	proved(p, STEP_LASTING);
	weak_leave(p, p->src, f);
	__sync_fetch_and_and(&down->state, ~FLOW_WEAK);
	if (old & FLOW_NETCHAN)
		flow_netchan_over(f, down);
	return 0;
}

static __always_inline bool is_regular(const struct pkt *p)
{
	struct source_key k = {};

	source_key_of(&k, p->family == 4 ? addr4(p->src) : addr_hi(p->src), p->family, p->service,
		      p->family == 4 ? 32 : 64);
	return bpf_map_lookup_elem(&regular, &k);
}
