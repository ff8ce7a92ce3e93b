/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What do the operator's rules say of a client's packet? All rules of a service are one program (pkg/rule compiles it), called through
 * a table as a gate is. Strangers and the unproven are judged by every rule, sessions only by those that say so: such
 * a session is marked (FLOW_RULED), so that nobody else's packets are asked about it.
 */
#pragma once

#include "count.h"

#define RULES_NONE 255 /* there is no program in the slot */
#define VERDICT_RULE 19 /* the rules are to see it. Shares VERDICT_NEXT's place among the verdicts that are none */

static __always_inline __u32 rules_of(const struct pkt *p)
{
	struct service_mode *m = mode_of(p);

	return m ? *(volatile __u32 *)&m->rules : 0;
}

/* Which of them an unproven or an open session's packets are for. */
static __always_inline __u32 rules_about(__u32 state)
{
	return FLOW_PHASE(state) == PHASE_OPENING ? RULES_ANY : RULES_ESTABLISHED;
}

/* Global, and its result hidden from the compiler: neither it nor the verifier may take the miss's number for the only one. */
NOINLINE int rules_call(struct xdp_md *ctx, __u32 i)
{
	int code = RULES_NONE;

	if (i == 2) /* strangers of the first three services, by numbers that the kernel makes jumps of (gate_call) */
		bpf_tail_call_static(ctx, &rules, 2);
	else if (i == 4)
		bpf_tail_call_static(ctx, &rules, 4);
	else if (i == 6)
		bpf_tail_call_static(ctx, &rules, 6);
	else
		bpf_tail_call(ctx, &rules, i);
	asm volatile("" : "+r"(code));
	return code;
}

/* Lays the packet out before the rules. */
static __always_inline struct rule_box *rules_show(const struct pkt *p, const struct service *svc, __u32 which)
{
	__u32 zero = 0;
	struct rule_box *b = bpf_map_lookup_elem(&rule_box, &zero);
	struct secret *s;

	if (!b)
		return NULL;
	b->now = p->now;
	b->source = p->family == 4 ? addr4(p->src) : addr_hi(p->src);
	b->length = p->len - p->tags * 4;
	b->bytes = p->l3_len;
	b->l3 = p->l3;
	b->family = p->family;
	b->rule = 0;
	b->shadow = 0;
	b->would = RULE_PASSED;
	b->watch = !cfg.enforce || !svc->enforce;
	if (which & RULES_SOURCE) {
		s = env_secret();
		b->key = s ? s->key[0] : 0;
	}
	return b;
}

static __always_inline enum drop_reason rule_reason(int code)
{
	return code == RULE_DROPPED ? DROP_REASON_RULE :
	       code == RULE_LIMITED ? DROP_REASON_RULE_LIMIT :
				      DROP_REASON_NONE;
}

/* which: rules_of. Returns 0 or the enum drop_reason. */
static __always_inline int rules_judge(struct xdp_md *ctx, struct pkt *p, const struct service *svc, __u32 which,
				       bool session)
{
	struct rule_box *b = rules_show(p, svc, which);
	enum drop_reason reason;

	p->ruled = RULED;
	if (!b)
		return 0;
	reason = rule_reason(rules_call(ctx, p->service * 2 + session));
	p->rule = b->rule ?: b->shadow;
	if (b->would && !p->shadow)
		p->shadow = rule_reason(b->would);
	return reason && refuse(p, reason, svc->enforce) ? reason : 0;
}

/* They have judged a packet that is laid out anew. */
static __always_inline void rules_told(struct pkt *p)
{
	__u32 zero = 0;
	struct rule_box *b = bpf_map_lookup_elem(&rule_box, &zero);

	p->ruled = RULED;
	if (!b)
		return;
	p->rule = b->rule ?: b->shadow;
	p->shadow = rule_reason(b->would);
}

/* Are rules to see this packet of an up half? By which of them is noted in p->ruled. */
static __always_inline bool half_ruled(struct pkt *p, const struct flow *f)
{
	__u32 state = *(volatile const __u32 *)&f->state;

	if (!(state & FLOW_RULED) || p->ruled == RULED || !(rules_of(p) & rules_about(state)))
		return false;
	p->ruled = FLOW_PHASE(state) == PHASE_OPEN ? RULED_OPEN : RULED_NOT;
	return true;
}

/* What an up half is marked with: are rules to see its packets? */
static __always_inline __u32 ruled_flag(const struct pkt *p, __u32 state)
{
	return !p->allowed && rules_of(p) & rules_about(state) ? FLOW_RULED : 0;
}
