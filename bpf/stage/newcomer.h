/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * May one more stranger come in? Who is proven or allowed: yes. The others up to a rate that the tables bear; beyond it, and always
 * under attack, those alone who come again by the same tuple (stage/greylist.h), within a budget that is shared out by
 * prefix, and those who have played before.
 */
#pragma once

#include "doubt.h"
#include "gate.h"
#include "rules.h"
#include "unproven.h"

static __always_inline bool admission_take(const struct pkt *p, const struct service *svc, struct service_state *st)
{
	__u64 *prefix = prefix_of(p, PREFIX_ADMISSIONS, p->src, 16, 32, p->service);

	if (!prefix)
		return true;
	if (!rate_take(prefix, &svc->admissions_prefix, p->now, 1, 0))
		return false;
	if (rate_take(&st->admissions, &svc->admissions, p->now, 1, 0))
		return true;
	rate_give(prefix, &svc->admissions_prefix, 1);
	return false;
}

/* Returns 0 or the enum drop_reason; it is for the caller to drop it. */
static __always_inline int newcomer_may(struct pkt *p, const struct service *svc)
{
	struct service_state *st = state_of(p);

	p->regular = is_regular(p);
	if (!st || p->regular)
		return 0;
	if (cfg.doubts && doubted_source(p) && refuse(p, DROP_REASON_DOUBTED, svc->enforce))
		return DROP_REASON_DOUBTED;
	if (!under_attack(p) && rate_take(&st->strangers, &svc->strangers, p->now, 1, 0))
		return 0;
	if (!grey_again(p)) {
		STRANGER_COUNT(p, greylisted);
		return refuse(p, DROP_REASON_GREYLISTED, svc->enforce) ? DROP_REASON_GREYLISTED : 0;
	}
	STRANGER_COUNT(p, returned);
	p->again = 1;
	if (!admission_take(p, svc, st) && refuse(p, DROP_REASON_STRANGERS_FULL, svc->enforce))
		return DROP_REASON_STRANGERS_FULL;
	return 0;
}

/* Is it one of those whose number is bounded? */
static __always_inline bool is_newcomer(const struct pkt *p)
{
	return !p->allowed && p->proof != GATE_PROOF_STRONG;
}

static NOINLINE int newcomer(struct pkt *p, const struct service *svc, __u32 *slot)
{
	int err;

	if (!is_newcomer(p))
		return wide_begin(p, svc, true);
	if ((!cfg.gates || !svc->gate || p->proto != IPPROTO_UDP) &&
	    stranger_rate(p, svc)) /* else it was asked behind the gate */
		return DROP_REASON_STRANGER_RATE;
	err = newcomer_may(p, svc) ?: wide_begin(p, svc, p->regular);
	if (err)
		return err;
	err = unproven_room(p, slot);
	if (err)
		wide_undo(p, svc);
	return err;
}

/* What the up half of its session is marked with. A connection that is older than the edge has said its first words already. */
static __always_inline __u32 newcomer_flags(const struct pkt *p, const struct service *svc)
{
	return (p->proof == GATE_PROOF_STRONG ? FLOW_STRONG : 0) | (p->query ? FLOW_QUERY : 0) |
	       (cfg.gates && svc->gate && (p->tcp & TCP_SYN || p->shaken) && !p->allowed ? FLOW_GATED : 0) |
	       ruled_flag(p, p->proof == GATE_PROOF_STRONG ? PHASE_OPEN : PHASE_OPENING);
}

static __always_inline void newcomer_came(struct pkt *p, __u32 slot)
{
	p->step |= STEP_BEGAN;
	STRANGER_COUNT(p, admitted);
	if (is_newcomer(p))
		unproven_note(p, slot);
	if (p->proof == GATE_PROOF_STRONG) {
		STRANGER_COUNT(p, strong);
		proved(p, STEP_STRONG);
	}
}
