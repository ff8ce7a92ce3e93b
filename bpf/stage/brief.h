/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is an ordinary stranger's datagram to be refused, or answered by the edge? That is what floods are made of, so it is asked in
 * registers, by the same stages as on the common way: struct pkt is never filled. Who is to begin a session goes on from here;
 * whatever is out of the ordinary goes the common way from its beginning, and nothing was changed before that is known.
 */
#pragma once

#include "admit.h"
#include "quick.h"

#define BRIEF_NO (-1) /* the common way */
#define BRIEF_ADMIT (-2) /* its gate has seen it: it may begin a session */

/* An ordinary datagram of IPv4, whose host no list denies (express and quick found that out). */
static __always_inline int brief_read(struct xdp_md *ctx, struct pkt *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *udp = (void *)(ip + 1);
	struct front_port *f;
	__u32 port;

	if ((void *)(udp + 1) > end)
		return -1;
	port = udp->dest;
	f = bpf_map_lookup_elem(&front_port, &port);
	if (!f)
		return -1;
	p->len = cfg.frags ? bpf_xdp_get_buff_len(ctx) : end - data;
	p->known = KNOWN_UNLISTED;
	p->family = 4;
	p->proto = IPPROTO_UDP;
	p->l3 = sizeof(struct ethhdr);
	p->l4 = sizeof(struct ethhdr) + sizeof(struct iphdr);
	p->l3_len = bpf_ntohs(ip->tot_len);
	p->ttl = ip->ttl;
	*(__u32 *)p->src = ip->saddr;
	*(__u32 *)p->dst = ip->daddr;
	p->sport = udp->source;
	p->dport = port;
	p->service = f->service;
	p->offset = f->offset;
	return 0;
}

/* May an allow entry speak for it? No prefix does. That none of its /16's hosts does is believed for two seconds since the daemon looked. */
static __always_inline bool brief_allowed(const struct pkt *p)
{
	__u32 addr = addr4(p->src), now = p->now >> DENIAL_SHIFT;
	__u64 all = (__u64)addr << 32, one = p->service | all;

	if (denial_before(denial_net_until(), now) && !host_allowed4(addr))
		return false;
	return bpf_map_lookup_elem(&allow_host4, &all) || bpf_map_lookup_elem(&allow_host4, &one);
}

/* Is it one of the edge's own addresses, perhaps? */
static __always_inline bool brief_own(__be32 addr)
{
	__u32 bit = own_bit(addr);

	return own_bits[bit >> 6] >> (bit & 63) & 1;
}

/* One that no player has, or one of which that is still to be found out. */
static __always_inline bool brief_address(const struct pkt *p)
{
	__u32 a = bpf_ntohl(addr4(p->src));

	return a >> 24 == 0 || a >> 24 == 127 || a >> 28 >= 14 || a >> 16 == 0xa9fe || brief_own(addr4(p->src));
}

/* Does admit() let it pass without further ado? */
static __always_inline bool brief_admits(struct xdp_md *ctx, struct pkt *p, const struct service *svc)
{
	return svc->enforce && !svc->allowlist && p->l3_len <= svc->max_packet && !brief_address(p) &&
	       !brief_allowed(p) && !reflector_of(ctx, p);
}

/* Under attack: is he to come again? Of one who does, who is a regular or has proven his address, nothing is noted here: false. */
static __always_inline bool brief_greylists(struct pkt *p, const struct service *svc)
{
	__u64 h = grey_hash(p);
	struct grey_line *l = grey_line(p, h);
	bool known;

	if (!l || is_regular(p))
		return false;
	grey_turn(l, p);
	known = grey_known(l, h);
	if (known && !grey_soon(l, h))
		return false;
	if (!svc->gate) {
		stranger_seen(p);
		if (stranger_rate(p, svc))
			return true;
	}
	if (!known)
		grey_note(l, h);
	STRANGER_COUNT(p, greylisted);
	return refuse(p, DROP_REASON_GREYLISTED, svc->enforce);
}

/* What its service's rules say: a verdict, ADMIT, or NEXT where one that only watches has something to tell. They don't see it again:
 * what they said lies in their box until the packet has gone on (unbrief). */
static __always_inline int brief_ruled(struct xdp_md *ctx, struct pkt *p, const struct service *svc)
{
	__u32 which = rules_of(p);

	if (!which)
		return VERDICT_ADMIT;
	if (rules_judge(ctx, p, svc, which, false)) {
		STRANGER_COUNT(p, strangers);
		return VERDICT_DROP;
	}
	if (p->shadow)
		return VERDICT_NEXT;
	p->rule = 0;
	return VERDICT_ADMIT;
}

/* A verdict, or ADMIT. */
static __always_inline int brief_gate(struct xdp_md *ctx, struct pkt *p, const struct service *svc)
{
	struct gate *g;
	__u32 zero = 0;
	int code;

	stranger_seen(p);
	code = gate_call(ctx, gate_show(ctx, p, svc, answers_of(p, svc)));
	g = bpf_map_lookup_elem(&gate_box, &zero);
	return g ? judged(ctx, p, svc, g, code) : VERDICT_ABORT;
}

/* Returns XDP_*, or one of the two above. */
static __always_inline int brief(struct xdp_md *ctx, struct pkt *p)
{
	struct service *svc;
	int v;

	p->now = env_now();
	p->tick = p->now >> TICK_SHIFT;
	if (brief_read(ctx, p))
		return BRIEF_NO;
	p->epoch = policy_epoch();
	svc = service_of(p);
	if (!svc || !brief_admits(ctx, p, svc))
		return BRIEF_NO;
	if (cfg.geo && geo_refuses4(addr4(p->src), svc))
		v = drop(p, DROP_REASON_GEO); /* one exit for all: the stack beneath a gate has no room for two */
	else
		v = brief_ruled(ctx, p, svc);
	if (v == VERDICT_NEXT)
		return BRIEF_NO;
	if (v == VERDICT_ADMIT && svc->gate)
		v = brief_gate(ctx, p, svc);
	if (v == VERDICT_ADMIT && p->proof != GATE_PROOF_STRONG && under_attack(p) && brief_greylists(p, svc))
		v = VERDICT_DROP;
	if (v != VERDICT_ADMIT)
		return parry_exit(p, v);
	return svc->gate ? BRIEF_ADMIT : BRIEF_NO;
}
