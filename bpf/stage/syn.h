/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The first half of the SYN proxy: the edge shakes hands with a client before its server hears of it. A SYN is answered in its place by
 * a cookie (stage/cookie.h); nothing is kept. Who answers that has proven his address, and begins a session; stage/connect.h goes on.
 *
 * The answer offers what the server takes, as far as the daemon has learned it, and says a window of 0: what the client sends
 * before its server is there would be lost. It is as long as the SYN: it has no option that the SYN had not.
 */
#pragma once

#include "admit.h"
#include "agreed.h"

#define SYN_MSS 1220 /* for a server of which nothing is known: it passes any path of IPv6, and of IPv4 in practice */

/* Does the edge shake hands for this service now? */
static __always_inline bool syn_proxied(const struct pkt *p, const struct service *svc)
{
	if (!svc->syn_proxy || !cfg.enforce || !svc->enforce || svc->forward == FORWARD_LOCAL)
		return false;
	return svc->syn_proxy == SYN_PROXY_ALWAYS || under_attack(p) || doubting(mode_of(p), p->now) || pressed(p, svc);
}

static __always_inline void syn_said(const struct tcp_box *b, struct said *c)
{
	c->isn = tcp_number(b, TCP_SEQ);
	c->sized = b->opt.mss;
	c->permits = b->opt.permits;
	c->times = b->opt.times;
	c->scale = TCP_SCALE_NONE;
	if (b->opt.mss)
		c->mss = b->now[(b->opt.mss + 2) & 63] << 8 | b->now[(b->opt.mss + 3) & 63];
	if (b->opt.scale)
		c->scale = b->now[(b->opt.scale + 2) & 63];
	if (b->opt.scale && c->scale > TCP_SCALE_MAX)
		c->scale = TCP_SCALE_MAX;
	if (b->opt.times)
		c->tsval = tcp_word(b, b->opt.times + 2);
}

static __always_inline void syn_agree(const struct pkt *p, const struct service *svc, const struct said *c,
				      const struct server *srv, struct agreed *a)
{
	__u32 mss = srv->known ? srv->mss : SYN_MSS, scale = TCP_SCALE_NONE;

	a->isn = c->isn;
	a->offered = srv->known ? srv->wscale & 15 : TCP_SCALE_NONE;
	a->times = c->times && srv->known && srv->timestamps;
	a->permits = c->permits && srv->known && srv->sack;
	a->tsval = c->tsval;
	a->mss = c->sized ? mss - (svc->proxy_header ? header_length(p->family) : 0) : 0;
	if (a->offered != TCP_SCALE_NONE)
		scale = c->scale;
	a->says = (p->now >> GATE_COOKIE_SHIFT & 1) | cookie_mss(p->family, c->mss) << COOKIE_MSS_SHIFT |
		  (a->permits ? COOKIE_SACK : 0) | scale << COOKIE_SCALE_SHIFT;
}

/* Turns the packet's L2 and L3 round. */
static __always_inline int syn_turn(struct xdp_md *ctx, const struct pkt *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l3 = p->l3;
	__be16 way;

	if (l3 > L3_MAX || data + sizeof(struct ethhdr) > end)
		return -1;
	swap_link(data);
	if (p->family == 4) {
		struct iphdr *ip = data + l3;

		if ((void *)(ip + 1) > end)
			return -1;
		way = bpf_htons(ANSWER_TTL << 8 | IPPROTO_TCP);
		ip->check = csum_apply(ip->check, csum_change2(((__be16 *)ip)[4], way));
		((__be16 *)ip)[4] = way;
		ip->saddr = addr4(p->dst);
		ip->daddr = addr4(p->src);
	} else {
		struct ipv6hdr *ip = data + l3;

		if ((void *)(ip + 1) > end)
			return -1;
		addr_copy((void *)&ip->saddr, p->dst);
		addr_copy((void *)&ip->daddr, p->src);
		ip->hop_limit = ANSWER_TTL;
	}
	return 0;
}

static __always_inline int syn_send(struct xdp_md *ctx, struct pkt *p, struct tcp_box *b, const struct agreed *a,
				    __u64 hash)
{
	__u32 whole = (__u32)(p->l4 - p->l3) + b->length;

	if (p->l3_len > whole) { /* it brought data: the client sends them again */
		if (bpf_xdp_adjust_tail(ctx, (int)(p->l3 + whole) - (int)p->len) || tcp_l3_length(ctx, p, whole))
			return -1;
	}
	*(__be16 *)(b->now) = p->dport;
	*(__be16 *)(b->now + 2) = p->sport;
	tcp_number_put(b, TCP_SEQ, cookie_of(hash, a->says));
	tcp_number_put(b, TCP_ACKED, a->isn + 1);
	b->now[TCP_OFFSET] = b->length << 2;
	b->now[TCP_FLAGS] = TCP_SYN | TCP_ACK;
	tcp_number_put(b, TCP_CHECK, 0);
	tcp_window_put(b, 0);
	agreed_options(b, a, cookie_times(hash));
	return tcp_write_new(ctx, p, b) || syn_turn(ctx, p);
}

/* NEXT: it goes the ordinary way of strangers, for there is no server, or the answer would not fit in its place. */
static __always_inline int syn_answer(struct xdp_md *ctx, struct pkt *p, const struct service *svc)
{
	struct server *srv = pick_server(p, svc);
	struct tcp_box *b = tcp_box_get();
	struct agreed a = {};
	struct said c = {};

	if (!srv || !b || !is_plain(p) || tcp_read(ctx, p, b))
		return VERDICT_NEXT;
	syn_said(b, &c);
	syn_agree(p, svc, &c, srv, &a);
	if (syn_send(ctx, p, b, &a, cookie_hash(p, a.isn, a.says, p->now >> GATE_COOKIE_SHIFT)))
		return abort_changed(p);
	stranger_seen(p);
	STRANGER_COUNT(p, answered);
	return VERDICT_TX;
}

/* Did its sender get a cookie? Its first segment, or one that asks for a window, which stands a byte before that. Then `shaken` says
 * what they agreed on. */
static __always_inline bool syn_holds(const struct pkt *p, const struct service *svc, struct tcp_box *b)
{
	__u32 seq = tcp_number(b, TCP_SEQ), cookie = tcp_number(b, TCP_ACKED) - 1, isn = seq - 1;
	__u64 hash = cookie_check(p, isn, cookie);
	struct server *srv = pick_server(p, svc);
	struct proxied *x = shaken_get();

	if (!hash) {
		isn = seq;
		hash = cookie_check(p, isn, cookie);
	}
	if (!hash || !srv || !x)
		return false;
	x->delta = 0;
	x->ts_delta = cookie_times(hash);
	x->shift = x->up_shift = 0;
	x->flags = (cookie & COOKIE_SACK ? PROXIED_SACK : 0) | (b->opt.times ? PROXIED_TIMESTAMPS : 0);
	x->scales = (cookie >> COOKIE_SCALE_SHIFT & 15) | (srv->known ? srv->wscale : TCP_SCALE_NONE) << 4;
	x->isn = isn;
	x->cookie = cookie;
	x->ts = b->opt.times ? tcp_number(b, b->opt.times + 2) : 0;
	x->mss = cookie_mss_of(p->family, cookie >> COOKIE_MSS_SHIFT & 3);
	x->window = tcp_window(b);
	return true;
}

/* An ACK of no session. */
static __always_inline int syn_acked(struct xdp_md *ctx, struct pkt *p, const struct service *svc)
{
	struct tcp_box *b = tcp_box_get();

	if (b && is_plain(p) && !tcp_read(ctx, p, b) && syn_holds(p, svc, b)) {
		p->shaken = 1;
		p->proof = GATE_PROOF_STRONG;
		return VERDICT_NEXT;
	}
	if (syn_proxied(p, svc) && !in_grace(p, svc) && refuse(p, DROP_REASON_BAD_COOKIE, svc->enforce)) {
		stranger_seen(p);
		return VERDICT_DROP;
	}
	return VERDICT_NEXT;
}

/* A stranger's segment to a service with a SYN proxy. NEXT: it goes on as any stranger's. */
NOINLINE int proxy_syn(struct xdp_md *ctx, struct pkt *p)
{
	struct service *svc;
	__u32 i;

	if (!p)
		return VERDICT_ABORT;
	i = p->service;
	svc = bpf_map_lookup_elem(&service, &i);
	if (!svc)
		return drop(p, DROP_REASON_NO_SERVER);
	if (p->tcp & (TCP_FIN | TCP_RST))
		return VERDICT_NEXT;
	if (!(p->tcp & TCP_SYN))
		return syn_acked(ctx, p, svc);
	return !(p->tcp & TCP_ACK) && syn_proxied(p, svc) ? syn_answer(ctx, p, svc) : VERDICT_NEXT;
}
