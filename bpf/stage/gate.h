/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is this a believable first packet? The service's gate says so (gate/parry_gate.h), called through a table: what it returns comes back
 * here, for a tail call from a function of its own returns to that function's caller. What a gate answers leaves within the
 * reflector guarantee.
 */
#pragma once

#include "answer.h"
#include "doubt.h"
#include "greylist.h"
#include "sketch.h"

#define GATE_NONE 255 /* there is no program in the slot */
#define VERDICT_GATE 17 /* the gate is to see it. Shares VERDICT_NEXT's place among the verdicts that are none */
#define VERDICT_ADMIT 18 /* a session may begin */
#define VERDICT_TCP 21 /* TCP whose numbers are not its server's, or that a header goes before (stage/connect.h) */
#define VERDICT_SYN 22 /* the SYN proxy is to see it */

/* Global, and its result hidden from the compiler: neither it nor the verifier may take the miss's number for the only one. */
NOINLINE int gate_call(struct xdp_md *ctx, __u32 i)
{
	int code = GATE_NONE;

	/* By a number that it knows the kernel makes a jump of it; else an indirect one, behind a retpoline. */
	if (i == 1)
		bpf_tail_call_static(ctx, &gates, 1);
	else if (i == 2)
		bpf_tail_call_static(ctx, &gates, 2);
	else if (i == 3)
		bpf_tail_call_static(ctx, &gates, 3);
	else
		bpf_tail_call(ctx, &gates, i);
	asm volatile("" : "+r"(code));
	return code;
}

static __always_inline __u32 payload_at(struct xdp_md *ctx, const struct pkt *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l4 = p->l4;
	struct tcphdr *tcp;

	if (p->proto == IPPROTO_UDP)
		return l4 + sizeof(struct udphdr);
	if (l4 > L4_MAX)
		return 0;
	tcp = data + l4;
	if ((void *)(tcp + 1) > end)
		return 0;
	return l4 + tcp->doff * 4;
}

/* Payload bytes of a TCP segment or UDP datagram, as far as they are in this packet. */
static __always_inline __u32 payload_length(const struct pkt *p, __u32 at)
{
	__u32 whole = p->l3 + p->l3_len;

	return at && at < whole ? whole - at : 0;
}

/* Strangers' own limit, for it is asked before they have a source. Returns 0 or the enum drop_reason. */
static __always_inline int stranger_rate(struct pkt *p, const struct service *svc)
{
	if (p->proof != GATE_PROOF_STRONG && svc->stranger_packets && sketch_over(p, svc->stranger_packets) &&
	    refuse(p, DROP_REASON_STRANGER_RATE, svc->enforce))
		return DROP_REASON_STRANGER_RATE;
	return 0;
}

/* More strangers come than are let in at first sight: the daemon need not have noticed yet. */
static __always_inline bool pressed(const struct pkt *p, const struct service *svc)
{
	struct service_state *st = state_of(p);

	return st && !rate_has(&st->strangers, &svc->strangers, p->now);
}

/* Only of such a packet can an answer be made, or another one (seal_udp). */
static __always_inline bool is_plain(const struct pkt *p)
{
	return !p->frag && p->l4 == p->l3 + (p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

/* Lays the packet out before its gate. Returns the gate's number in the table. */
static __always_inline __u32 gate_show(struct xdp_md *ctx, const struct pkt *p, const struct service *svc,
				       __u32 answers)
{
	__u32 zero = 0, at = payload_at(ctx, p);
	struct gate *g = bpf_map_lookup_elem(&gate_box, &zero);
	struct service_mode *m = mode_of(p);

	if (!g)
		return 0;
	g->now = p->now;
	g->service = p->service;
	g->payload = at;
	g->length = payload_length(p, at);
	g->family = p->family;
	g->proto = p->proto;
	addr_copy(g->src, p->src);
	addr_copy(g->dst, p->dst);
	g->sport = p->sport;
	g->dport = p->dport;
	g->state = m ? m->state : GATE_NORMAL;
	if (p->why == WHY_SPEAKS_ON)
		g->flags = GATE_WATCH;
	else
		g->flags = (cfg.enforce && svc->enforce && !svc->watch_gate && is_plain(p) ? 0 : GATE_WATCH) |
			   (g->state == GATE_ATTACK || doubting(m, p->now) || pressed(p, svc) ? GATE_COOKIES : 0);
	g->answers = answers;
	for (int i = 0; i < GATE_PARAMS; i++)
		g->params[i] = svc->gate_params[i];
	g->proof = GATE_PROOF_NONE;
	g->kind = 0;
	g->sum = 0;
	return svc->gate;
}

/* Somebody unproven may be given so much more than he sent: under attack, and where the first half of the budget is used up, who asks
 * again. Returns 0 or the enum drop_reason. */
static __always_inline int gives_more(struct pkt *p, __u32 over, bool attack)
{
	if (!attack && answer_take(p, p->src, over, false))
		return 0;
	if (!grey_again(p)) {
		STRANGER_COUNT(p, greylisted);
		return DROP_REASON_GREYLISTED;
	}
	return answer_take(p, p->src, over, true) ? 0 : DROP_REASON_ANSWER_BUDGET;
}

/* An answer by the edge is in the packet's place. */
static __always_inline int gate_answered(struct xdp_md *ctx, struct pkt *p, const struct gate *g)
{
	__u32 asked = p->l3_len, gives = (p->l4 - p->l3) + sizeof(struct udphdr) + g->length;
	int err;

	if (g->proof != GATE_PROOF_STRONG && gives > asked) {
		err = gives_more(p, gives - asked, g->state == GATE_ATTACK);
		if (err)
			return drop(p, err);
	}
	if (seal_udp(ctx, p, g->length, g->sum, true))
		return abort_changed(p);
	p->l3_len = asked; /* what came in is what is counted */
	STRANGER_COUNT(p, answered);
	return VERDICT_TX;
}

static __always_inline int gate_asks(struct pkt *p, const struct gate *g)
{
	struct gate_ask *a;

	if (g->proof != GATE_PROOF_STRONG)
		return drop(p, DROP_REASON_GATE_REFUSED);
	a = bpf_ringbuf_reserve(&asks, sizeof(*a), 0);
	if (!a)
		return drop(p, DROP_REASON_ANSWER_BUSY);
	addr_copy(a->src, p->src);
	addr_copy(a->dst, p->dst);
	a->sport = p->sport;
	a->dport = p->dport;
	a->service = p->service;
	a->family = p->family;
	a->kind = g->kind;
	a->answers = g->answers;
	a->pad = 0;
	bpf_ringbuf_submit(a, 0);
	STRANGER_COUNT(p, asked);
	return drop(p, DROP_REASON_ANSWER_QUEUED);
}

/* Until then sessions that are older than the edge are taken up in the middle. */
static __always_inline bool in_grace(const struct pkt *p, const struct service *svc)
{
	struct service_mode *m = mode_of(p);

	return m && svc->forward != FORWARD_NAT && (__s64)(m->grace_until - p->now) > 0;
}

/* Is the frame as long as its gate says? What it did to the frame without a word must not leave. */
static __always_inline bool gate_kept(struct xdp_md *ctx, const struct pkt *p, const struct gate *g, int code)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 frame = cfg.frags ? (__u32)bpf_xdp_get_buff_len(ctx) : (__u32)(end - data);

	if (p->proto == IPPROTO_UDP && p->why != WHY_SPEAKS_ON && (code == GATE_ANSWER || g->flags & GATE_MODIFIED))
		return p->l4 + sizeof(struct udphdr) + g->length <= frame;
	return frame == p->len;
}

/* What became of a packet that its gate saw: a verdict, or ADMIT. */
static __always_inline int judged(struct xdp_md *ctx, struct pkt *p, const struct service *svc, const struct gate *g,
				  int code)
{
	if (code == GATE_NONE)
		return refuse(p, DROP_REASON_GATE_MISSING, svc->enforce && !svc->watch_gate) ? VERDICT_DROP :
											       VERDICT_ADMIT;
	if (code < 0 || code > GATE_ASK)
		code = GATE_REFUSE;
	if ((g->flags & GATE_WATCH || p->proto != IPPROTO_UDP) && code > GATE_QUERY)
		code = GATE_QUERY; /* the edge answers nobody where it only watches */
	if (code == GATE_REFUSE && !in_grace(p, svc) &&
	    refuse(p, DROP_REASON_GATE_REFUSED, svc->enforce && !svc->watch_gate))
		return VERDICT_DROP;
	if (!gate_kept(ctx, p, g, code))
		return abort_changed(p);
	STRANGER_COUNT(p, believed);
	p->proof = g->proof;
	p->query = code >= GATE_QUERY;
	if (p->proto == IPPROTO_UDP && stranger_rate(p, svc)) /* TCP's was asked at the SYN */
		return VERDICT_DROP;
	if (p->query && !query_take(p, svc) && refuse(p, DROP_REASON_QUERY_RATE, svc->enforce))
		return VERDICT_DROP;
	if (code == GATE_ANSWER)
		return gate_answered(ctx, p, g);
	if (code == GATE_ASK)
		return gate_asks(p, g);
	if (g->flags & GATE_MODIFIED && p->proto == IPPROTO_UDP && seal_udp(ctx, p, g->length, g->sum, false))
		return abort_changed(p);
	return VERDICT_ADMIT;
}

/* A query in a weakly proven session: the server's answer leaves among what it says in play, so it is paid for as it is asked, as the
 * longest of one packet. */
static __always_inline bool query_pays(struct pkt *p, const struct service *svc)
{
	__u32 gives = (p->l4 - p->l3) + sizeof(struct udphdr) + GATE_ANSWER_MAX;
	int err = 0;

	if (gives > p->l3_len)
		err = gives_more(p, gives - p->l3_len, under_attack(p));
	return !err || !refuse(p, err, svc->enforce);
}

/* What became of a packet of a session that is not proven, or weakly: of such its gate says only whether it is a query. A verdict, or
 * ADMIT. */
static __always_inline int spoken(struct xdp_md *ctx, struct pkt *p, const struct service *svc, const struct gate *g,
				  int code)
{
	if (!gate_kept(ctx, p, g, GATE_PASS))
		return abort_changed(p);
	if (code < GATE_QUERY || code > GATE_ASK)
		return VERDICT_ADMIT;
	p->query = 1;
	if (!query_take(p, svc) && refuse(p, DROP_REASON_QUERY_RATE, svc->enforce))
		return VERDICT_DROP;
	return p->weak && !query_pays(p, svc) ? VERDICT_DROP : VERDICT_ADMIT;
}

NOINLINE int gated(struct xdp_md *ctx, struct pkt *p, int code)
{
	__u32 zero = 0;
	struct gate *g = bpf_map_lookup_elem(&gate_box, &zero);
	struct service *svc;

	if (!p || !g)
		return VERDICT_ABORT;
	svc = service_of(p);
	if (!svc)
		return drop(p, DROP_REASON_NO_SERVER);
	return p->why == WHY_SPEAKS_ON ? spoken(ctx, p, svc, g, code) : judged(ctx, p, svc, g, code);
}
