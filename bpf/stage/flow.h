/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Do I know its session? The established path begins and ends here: one lookup finds all that a packet needs.
 * No deny lookup, no service lookup, no server choice; what can't be avoided now and then (a re-check, a loan of
 * tokens, a change of TCP's state) is a call out of line.
 */
#pragma once

#include "connect.h"
#include "deny.h"
#include "doubt.h"
#include "egress.h"
#include "frag.h"
#include "gate.h"
#include "half.h"
#include "icmp_reply.h"
#include "limit.h"
#include "netchan.h"
#include "proof.h"
#include "rewrite.h"
#include "rules.h"
#include "session.h"

#define RECHECK_TICKS (2 * TICKS_PER_SECOND) /* covers expiries, bpftool's entries and a dead daemon */

/* ---- what is not done for every packet --------------------------------------------------------------- */

/* Are rules to see an up half's packets, from now on? */
static __always_inline void mark_ruled(const struct pkt *p, struct flow *f)
{
	__u32 state = f->state, flag = ruled_flag(p, state);

	if (flag & ~state)
		__sync_fetch_and_or(&f->state, flag);
	else if (state & FLOW_RULED & ~flag)
		__sync_fetch_and_and(&f->state, ~FLOW_RULED);
}

/* Is it a session of a doubted source that has not proven itself strongly, nor been played for a while? */
static __always_inline bool doubted_session(struct pkt *p, const struct flow *f)
{
	__u32 state = *(volatile const __u32 *)&f->state;

	return !p->down && !p->allowed && !(state & (FLOW_STRONG | FLOW_LASTING)) && doubted_source(p) &&
	       !is_regular(p);
}

/* Judges the session's client anew, and asks for the way again. Returns 0 or the enum drop_reason. */
static __always_inline int recheck_policy(struct pkt *p, struct flow *f)
{
	__u32 before = policy_epoch(); /* a change during the checks is seen next time */
	struct service *svc = service_of(p);
	int refused;

	if (!svc)
		return DROP_REASON_INTERNAL;
	refused = policy(p, svc);
	if (refused)
		return refused;
	if (cfg.doubts && doubted_session(p, f) && refuse(p, DROP_REASON_DOUBTED, svc->enforce))
		return DROP_REASON_DOUBTED;
	if (p->unlimited)
		__sync_fetch_and_or(&f->state, FLOW_UNLIMITED);
	else if (cfg.limits)
		__sync_fetch_and_and(&f->state, ~FLOW_UNLIMITED);
	if (p->allowed && !p->down) /* from now on no gate waits for what it says first */
		__sync_fetch_and_and(&f->state, ~FLOW_GATED);
	if (!p->down)
		mark_ruled(p, f);
	if (!cfg.told && f->state & FLOW_FRESH) /* its mark is of a configuration before */
		__sync_fetch_and_and(&f->state, ~FLOW_FRESH);
	if (cfg.watch || f->state & FLOW_WATCHED)
		watch_turn(p, f);
	if (!would_deny(p)) {
		f->epoch = before;
		f->checked = p->tick;
	}
	return 0;
}

NOINLINE int recheck(struct xdp_md *ctx, struct pkt *p, struct flow *f)
{
	int refused, hop;

	if (!p || !f)
		return DROP_REASON_INTERNAL;
	refused = recheck_policy(p, f);
	if (refused)
		return refused;
	if (!p->down && (f->state & (FLOW_PHASES | FLOW_LASTING)) == PHASE_OPEN)
		flow_lasting(p, f);
	if (f->state & FLOW_LOCAL)
		return 0;
	hop = hop_for(ctx, p);
	if (hop > 0)
		f->hop = hop;
	return 0;
}

NOINLINE int flow_size(struct pkt *p)
{
	struct service *svc;

	if (!p)
		return DROP_REASON_INTERNAL;
	svc = service_of(p);
	if (svc && p->l3_len > svc->max_packet && refuse(p, DROP_REASON_PACKET_SIZE, svc->enforce))
		return DROP_REASON_PACKET_SIZE;
	return 0;
}

/* TCP's state, as far as expiry needs it. Each direction's half notes its own; the reaper reads both. */
NOINLINE int flow_tcp(struct pkt *p, struct flow *f)
{
	struct flow *o;
	__u32 fin;

	if (!p || !f)
		return 0;
	fin = p->down ? FLOW_FIN_SERVER : FLOW_FIN_CLIENT;
	if (p->tcp & TCP_FIN &&
	    !flow_fin(f)) { /* so that it can be said who left: the half of who was second has both */
		o = p->down ? first_half(p) : other_half(p, f);
		if (o && flow_fin(o))
			fin = FLOW_FIN_CLIENT | FLOW_FIN_SERVER;
	}
	if (p->tcp & TCP_SYN)
		__sync_fetch_and_and(&f->state, ~(FLOW_FIN_CLIENT | FLOW_FIN_SERVER | FLOW_RST));
	else if (p->tcp & TCP_RST)
		__sync_fetch_and_or(&f->state, FLOW_RST);
	else
		__sync_fetch_and_or(&f->state, fin);
	return 0;
}

/* ---- the established path ---------------------------------------------------------------------------- */

#define FLOW_SHOW 255 /* no enum drop_reason: its gate is to see this packet first */
#define FLOW_JUDGE 254 /* nor that: its service's rules are */

/* A marked up half's packet that rules are to see. One that was proven since is marked no more, unless a rule is about sessions. */
static __always_inline bool flow_ruled(struct pkt *p, struct flow *f)
{
	if (!(*(volatile __u32 *)&f->state & FLOW_RULED) || p->ruled == RULED)
		return false;
	if (half_ruled(p, f))
		return true;
	__sync_fetch_and_and(&f->state, ~FLOW_RULED);
	return false;
}

/* What becomes of a packet that may not pass. */
static __always_inline int flow_refused(struct pkt *p, int err)
{
	return err == FLOW_SHOW ? VERDICT_GATE : err == FLOW_JUDGE ? VERDICT_RULE : drop(p, err);
}

/* The first segment of a TCP session that says something, where the service has a gate; and whatever comes in a session that has
 * only asked so far: asking again proves nothing, and what else it may begin is its gate's to say. */
static __always_inline bool first_words(struct xdp_md *ctx, const struct pkt *p, __u32 state)
{
	if (!cfg.gates || !(state & (FLOW_GATED | FLOW_QUERY)) || p->down || p->gated)
		return false;
	return p->proto == IPPROTO_UDP || (state & FLOW_GATED && payload_length(p, payload_at(ctx, p)));
}

/* What a client says by UDP that is proven weakly or not at all: a gate knows a query among it. */
static __always_inline bool speaks_on(const struct pkt *p)
{
	struct service *svc;
	__u32 i = p->service;

	if (!cfg.gates || p->down || p->gated || p->proto != IPPROTO_UDP)
		return false;
	svc = bpf_map_lookup_elem(&service, &i);
	return svc && svc->gate;
}

/* Is its gate to see it? */
static __always_inline bool to_show(struct xdp_md *ctx, struct pkt *p, __u32 state)
{
	if (first_words(ctx, p, state)) {
		p->why = WHY_FIRST_WORDS;
		return true;
	}
	p->why = WHY_SPEAKS_ON;
	p->weak = !!(state & FLOW_WEAK);
	return speaks_on(p);
}

/* Has its client proven nothing yet, or no more than that somebody hears what is sent there? */
static __always_inline bool unproven_yet(const struct flow *f, __u32 state)
{
	return FLOW_PHASE(state) == PHASE_OPENING || (state & FLOW_WEAK && *(volatile __u32 *)&f->state & FLOW_WEAK);
}

/* May it pass? Returns 0, FLOW_SHOW, FLOW_JUDGE or the enum drop_reason. p->to and p->to_port are set. */
static __always_inline int flow_pass(struct xdp_md *ctx, struct pkt *p, struct flow *f, __u32 *state)
{
	bool judged = false;
	int refused;

	if (f->epoch != (__u16)policy_epoch() || p->tick - f->checked > RECHECK_TICKS) {
		refused = recheck(ctx, p, f);
		if (refused)
			return refused;
		judged = true;
		*state = *(volatile __u32 *)&f->state; /* what its client is held to from now on */
	}
	if (!p->down && flow_ruled(p, f))
		return FLOW_JUDGE;
	if (unproven_yet(f, *state) && to_show(ctx, p, *state))
		return FLOW_SHOW;
	if (cfg.gates && *state & FLOW_NETCHAN && netchan(ctx, p, f)) {
		*state = (*state & ~(FLOW_PHASES | FLOW_WEAK)) | PHASE_OPEN;
		proved(p, STEP_STRONG);
	}
	if (unproven_yet(f, *state)) {
		refused = flow_opening(p, f);
		if (refused)
			return refused;
	}
	if (!p->down) {
		if (cfg.sizes) {
			refused = flow_size(p);
			if (refused)
				return refused;
		}
		if (cfg.limits && !(*state & FLOW_UNLIMITED) && !limit_spend(f, loan_holder(p->tick), p->l3_len)) {
			refused = limit_borrow(p, f);
			if (refused)
				return refused;
		}
		if (cfg.all && FLOW_PHASE(*state) == PHASE_OPENING) {
			refused = unproven_limit(p, f);
			if (refused)
				return refused;
		}
	}
	if (p->proto == IPPROTO_TCP && p->tcp & (TCP_SYN | TCP_FIN | TCP_RST))
		flow_tcp(p, f);
	if (cfg.told && (judged || *state & FLOW_FRESH))
		flow_tell(ctx, p, f);
	return 0;
}

/* A packet of a watched half is timed as it comes, once: it may come by here again. */
static __always_inline void flow_watch(struct xdp_md *ctx, struct pkt *p, struct flow *f, __u32 state)
{
	if (cfg.watch && state & FLOW_WATCHED && !p->timed)
		timed(p, watch_packet(ctx, f, p->l4, p->l3_len));
}

/* A local server's answers come from within (stage/local.h), never in by an interface. */
static __always_inline bool forged(__u32 state)
{
	return cfg.local && (state & (FLOW_LOCAL | FLOW_RETURN)) == (FLOW_LOCAL | FLOW_RETURN);
}

/* A segment that is not forwarded as it is: to stage/connect.h. Returns NEXT: it is to be rewritten and to leave by h; else a verdict. */
static __always_inline int flow_change(struct xdp_md *ctx, struct pkt *p, struct flow *f, struct proxied *x,
				       const struct hop *h, __u32 state)
{
	__u32 more = x ? tcp_growth(p, x, state) : 0;

	if (p->l3_len + more > h->mtu)
		return too_big(ctx, p, h->mtu - more, state);
	return tcp_after(ctx, p, f, x);
}

/* It was looked at: goes up, for stage/handshake.h to make two of it. */
static __always_inline int flow_changed(struct pkt *p, struct flow *f, int v)
{
	if (v == VERDICT_PASS)
		flow_count(f, p->tick, p->l3_len);
	return v;
}

/* special: TCP that stage/connect.h looks at, in a program of its own; else it is VERDICT_TCP. */
static __always_inline int established4_as(struct xdp_md *ctx, struct pkt *p, bool special)
{
	__u32 state, ports, l3_delta, l4_delta, slot = 0;
	struct proxied *x = NULL;
	__u64 from, addrs;
	struct flow4 *f;
	struct hop *h;
	int err;

	f = half4(addrs_word(addr4(p->src), addr4(p->dst)), rest_word(p->sport, p->dport, p->proto), &from, &slot);
	if (!f)
		return VERDICT_NEXT;
	state = *(volatile __u32 *)&f->f.state;
	if (!carries(state))
		return VERDICT_NEXT;
	if (!special && tcp_special(p, &f->f, state))
		return VERDICT_TCP;
	p->half = 1;
	p->service = f->f.service;
	p->down = !!(state & FLOW_RETURN);
	p->playing = FLOW_PHASE(state) == PHASE_OPEN;
	p->player |= !p->down && state & (FLOW_STRONG | FLOW_LASTING);
	addrs = *(__u64 *)&f->src;
	ports = *(__u32 *)&f->sport;
	l3_delta = f->l3_delta;
	l4_delta = f->l4_delta;
	barrier(); /* nothing of it is read again after the check */
	if (from && *(volatile __u64 *)&f->f.word != from) /* the slot changed hands while it was read */
		return drop(p, DROP_REASON_RACE);
	*(__u32 *)p->to = addrs >> 32;
	*(__u32 *)p->as = addrs;
	p->to_port = ports >> 16;
	p->as_port = ports;
	if (forged(state))
		return drop(p, DROP_REASON_BAD_ADDRESS);
	flow_watch(ctx, p, &f->f, state);
	if (special) {
		x = tcp_side(p, &f->f, state, slot);
		err = x ? tcp_before(ctx, p, &f->f, x) : DROP_REASON_SESSIONS_FULL;
		if (err)
			return err == TCP_OVER ? VERDICT_NEXT : drop(p, err);
		state = *(volatile __u32 *)&f->f.state;
	}
	err = flow_pass(ctx, p, &f->f, &state);
	if (err)
		return flow_refused(p, err);
	if (!special && cfg.local && state & FLOW_LOCAL) {
		if (p->frag && frag_note(ctx, p, state, 0))
			return abort_changed(p);
		flow_count(&f->f, p->tick, p->l3_len);
		return VERDICT_PASS;
	}
	h = hop_get(f->f.hop) ?: hop_again(ctx, p, &f->f.hop);
	if (!h)
		return drop(p, DROP_REASON_NO_NEIGHBOR);
	if (!special && p->l3_len > h->mtu)
		return too_big(ctx, p, h->mtu, state);
	if (special) {
		err = flow_change(ctx, p, &f->f, x, h, state);
		if (err)
			return flow_changed(p, &f->f, err);
	}
	err = rewrite4(ctx, p, addrs, ports, l3_delta, l4_delta);
	if (err)
		return err == DROP_REASON_TTL ? drop(p, err) : abort_changed(p);
	if (!special && p->frag && frag_note(ctx, p, state, f->f.hop))
		return abort_changed(p);
	flow_count(&f->f, p->tick, p->l3_len);
	return leave(ctx, p, h);
}

static __always_inline int established6_as(struct xdp_md *ctx, struct pkt *p, bool special)
{
	__u32 state, ports, l4_delta, slot = 0;
	struct proxied *x = NULL;
	struct flow6 *f;
	struct hop *h;
	__u64 from;
	int err;

	f = half6(p->src, p->dst, rest_word(p->sport, p->dport, p->proto), &from, &slot);
	if (!f)
		return VERDICT_NEXT;
	state = *(volatile __u32 *)&f->f.state;
	if (!carries(state))
		return VERDICT_NEXT;
	if (!special && tcp_special(p, &f->f, state))
		return VERDICT_TCP;
	p->half = 1;
	p->service = f->f.service;
	p->down = !!(state & FLOW_RETURN);
	p->playing = FLOW_PHASE(state) == PHASE_OPEN;
	p->player |= !p->down && state & (FLOW_STRONG | FLOW_LASTING);
	addr_copy(p->to, f->dst);
	addr_copy(p->as, f->src);
	ports = *(__u32 *)&f->sport;
	l4_delta = f->l4_delta;
	barrier();
	if (from && *(volatile __u64 *)&f->f.word != from)
		return drop(p, DROP_REASON_RACE);
	p->to_port = ports >> 16;
	p->as_port = ports;
	if (forged(state))
		return drop(p, DROP_REASON_BAD_ADDRESS);
	flow_watch(ctx, p, &f->f, state);
	if (special) {
		x = tcp_side(p, &f->f, state, slot);
		err = x ? tcp_before(ctx, p, &f->f, x) : DROP_REASON_SESSIONS_FULL;
		if (err)
			return err == TCP_OVER ? VERDICT_NEXT : drop(p, err);
		state = *(volatile __u32 *)&f->f.state;
	}
	err = flow_pass(ctx, p, &f->f, &state);
	if (err)
		return flow_refused(p, err);
	if (!special && cfg.local && state & FLOW_LOCAL) {
		if (p->frag && frag_note(ctx, p, state, 0))
			return abort_changed(p);
		flow_count(&f->f, p->tick, p->l3_len);
		return VERDICT_PASS;
	}
	h = hop_get(f->f.hop) ?: hop_again(ctx, p, &f->f.hop);
	if (!h)
		return drop(p, DROP_REASON_NO_NEIGHBOR);
	if (!special && p->l3_len > h->mtu)
		return too_big(ctx, p, h->mtu, state);
	if (special) {
		err = flow_change(ctx, p, &f->f, x, h, state);
		if (err)
			return flow_changed(p, &f->f, err);
	}
	err = rewrite6(ctx, p, ports, l4_delta);
	if (err)
		return err == DROP_REASON_TTL ? drop(p, err) : abort_changed(p);
	if (!special && p->frag && frag_note(ctx, p, state, f->f.hop))
		return abort_changed(p);
	flow_count(&f->f, p->tick, p->l3_len);
	return leave(ctx, p, h);
}

NOINLINE int established4(struct xdp_md *ctx, struct pkt *p)
{
	return p ? established4_as(ctx, p, false) : VERDICT_ABORT;
}

NOINLINE int established6(struct xdp_md *ctx, struct pkt *p)
{
	return p ? established6_as(ctx, p, false) : VERDICT_ABORT;
}

NOINLINE int special4(struct xdp_md *ctx, struct pkt *p)
{
	return p ? established4_as(ctx, p, true) : VERDICT_ABORT;
}

NOINLINE int special6(struct xdp_md *ctx, struct pkt *p)
{
	return p ? established6_as(ctx, p, true) : VERDICT_ABORT;
}
