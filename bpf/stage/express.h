/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The established path of the ordinary packet: untagged, no options, no fragment, of an open session that was judged
 * since policy last moved, with tokens in hand and a next hop that is known. It does what established4/6 (stage/flow.h) do,
 * in registers: filling struct pkt costs as much as all the rest. Whatever is not ordinary goes the common way, and
 * nothing was changed before that is known.
 */
#pragma once

#include "flow.h"

/* The common way; the packet is as it was. What is known of it: enum known. */
#define EXPRESS_NO (-1)
#define EXPRESS_STRANGER (EXPRESS_NO - KNOWN_STRANGER)
#define EXPRESS_UNLISTED (EXPRESS_NO - KNOWN_UNLISTED)
#define EXPRESS_BRIEF (EXPRESS_UNLISTED - 1) /* that, and it is for stage/brief.h */
#define EXPRESS_SYN (EXPRESS_BRIEF - 1) /* or for stage/syn_brief.h */

/* Three bytes of the frame: IPv4, and no options. */
#define EXPRESS_IPV4 (bpf_htons(ETH_P_IP) | 0x45 << 16)

/* What of a session's state says whether its packets are ordinary: of an open one that is forwarded it is PHASE_OPEN. */
#define EXPRESS_STATE (FLOW_PHASES | FLOW_LOCAL | FLOW_NETCHAN | FLOW_FRESH | FLOW_WEAK | FLOW_SPECIAL | FLOW_WATCHED)

#define EXPRESS_UNWATCHED (EXPRESS_STATE & ~FLOW_WATCHED)

/* Of L4 what says that the packet is ordinary: ports are there, and lengths can be. `proto` is a constant. */
static __always_inline bool express_l4(const void *l4, const void *end, __u8 proto, __s32 len, __u32 family)
{
	const struct udphdr *udp = l4;
	const __u8 *tcp = l4;
	__s32 said;

	if (proto == IPPROTO_UDP) {
		said = bpf_ntohs(udp->len);
		return said >= (__s32)sizeof(*udp) && said <= len && (family == 4 || udp->check);
	}
	if ((void *)tcp + sizeof(struct tcphdr) > end)
		return false;
	said = (tcp[12] >> 4) * 4;
	return said >= (__s32)sizeof(struct tcphdr) && said <= len;
}

/* Does it change TCP's state? */
static __always_inline bool express_turns(const void *l4, const void *end, __u8 proto)
{
	const __u8 *tcp = l4;

	return proto == IPPROTO_TCP &&
	       ((void *)tcp + sizeof(struct tcphdr) > end || tcp[13] & (TCP_SYN | TCP_FIN | TCP_RST));
}

/* Judged since policy moved and within two seconds. */
static __always_inline bool express_fresh(const struct flow *f, __u32 tick)
{
	return f->epoch == (__u16)policy_epoch() && tick - f->checked <= RECHECK_TICKS;
}

/* Out of line: it is for one packet of a loan. Where the source has none to give, the common way asks it again (the answer
 * is the same) and says what that means; where limits only watch, it is the common way's from the start. */
NOINLINE int express_borrow(struct flow *f, __u64 client, __u32 family, __u64 now, __u32 l3_len)
{
	struct service *svc;
	__u32 i;

	if (!f)
		return false;
	i = f->service;
	svc = bpf_map_lookup_elem(&service, &i);
	if (!svc || !cfg.enforce || !svc->enforce || !svc->enforce_limits || (cfg.prefixes && !svc->enforce_prefix))
		return false;
	return !flow_loan(f, client, family, svc, now, l3_len);
}

/* Bounds and tokens of what goes to a server. `client` is its address, of IPv6 the first word. */
static __always_inline bool express_limits(struct flow *f, __u32 state, __u64 client, __u32 family, __u64 now,
					   __u32 l3_len)
{
	if (cfg.sizes) {
		__u32 i = f->service;
		struct service *svc = bpf_map_lookup_elem(&service, &i);

		if (!svc || l3_len > svc->max_packet)
			return false;
	}
	if (!cfg.limits || state & FLOW_UNLIMITED || limit_spend(f, loan_holder(now >> TICK_SHIFT), l3_len))
		return true;
	return express_borrow(f, client, family, now, l3_len);
}

/* The hop, if it is one that needs nothing but its link addresses written and takes a packet of this size. */
static __always_inline struct hop *express_hop(__u32 i, __u32 l3_len)
{
	struct hop *h = bpf_map_lookup_elem(&hop, &i);
	__u32 fits;

	if (!h)
		return NULL;
	fits = *(volatile __u32 *)&h->mtu - (HOP_VALID << 24); /* MTU, tags, state: valid without tags leaves the MTU */
	return fits <= 0xffff && l3_len <= fits ? h : NULL;
}

static __always_inline void express_link(void *frame, const struct hop *h)
{
	wide_put(frame, wide(h->dst)); /* both addresses lie in one row, as they do on the wire */
	*(__u32 *)(frame + 8) = *(const __u32 *)(h->dst + 8);
}

static __always_inline void express_sum(void *l4, const void *end, __u8 proto, __u16 delta)
{
	struct udphdr *udp = l4;
	struct tcphdr *tcp = l4;
	__u32 sum;

	if (proto == IPPROTO_UDP) {
		if (udp->check) {
			sum = csum_sum(udp->check, delta);
			udp->check = sum == 0xffff ? sum : ~sum; /* a computed 0 is sent as ffff (RFC 768) */
		}
	} else if ((void *)(tcp + 1) <= end) { /* it is: said again for the verifier */
		tcp->check = ~csum_sum(tcp->check, delta);
	}
}

/* Counts it in its service, as the exit does. */
static __always_inline void express_count(__u32 service, __u32 state, __u32 l3_len, enum verdict v)
{
	struct pkt p = { .service = service, .down = !!(state & FLOW_RETURN), .l3_len = l3_len };

	count(&p, v, 1);
	note_trace(&p, v);
}

/* It is changed already, and can't leave. Out of line: it never happens. */
NOINLINE int express_abort(__u32 service, __u32 state, __u32 l3_len)
{
	struct pkt p = {
		.service = service,
		.down = !!(state & FLOW_RETURN),
		.playing = 1,
		.l3_len = l3_len,
		.reason = DROP_REASON_INTERNAL,
	};

	return parry_exit(&p, VERDICT_ABORT);
}

static __always_inline int express_leave(struct xdp_md *ctx, struct flow *f, __u32 service, __u32 state, __u32 tick,
					 __u32 l3_len, const struct hop *h)
{
	__u32 out = h->ifindex;

	flow_count(f, tick, l3_len);
	if (out == ctx->ingress_ifindex) {
		express_count(service, state, l3_len, VERDICT_TX);
		return XDP_TX;
	}
	if (bpf_redirect_map(&tx_port, out, XDP_ABORTED) != XDP_REDIRECT)
		return express_abort(service, state, l3_len);
	express_count(service, state, l3_len, VERDICT_REDIRECT);
	return XDP_REDIRECT;
}

/* The headers of what comes here have no options. */
static __always_inline void express_watch(struct xdp_md *ctx, struct flow *f, __u32 state, __u32 family, __u32 l3_len)
{
	__u32 l3 = family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	if (cfg.watch && state & FLOW_WATCHED)
		watch_packet(ctx, f, sizeof(struct ethhdr) + l3, l3_len);
}

/* An open session's packet that is not forwarded: its server is this host. The answer of such a server never comes in. */
static __always_inline int express_local(struct xdp_md *ctx, struct flow *f, __u32 state, __u64 client, __u32 family,
					 __u64 now, __u32 l3_len)
{
	if (!cfg.local || (state & (EXPRESS_UNWATCHED | FLOW_RETURN)) != (PHASE_OPEN | FLOW_LOCAL) ||
	    !express_limits(f, state, client, family, now, l3_len))
		return EXPRESS_NO;
	express_watch(ctx, f, state, family, l3_len);
	flow_count(f, now >> TICK_SHIFT, l3_len);
	express_count(f->service, state, l3_len, VERDICT_PASS);
	return XDP_PASS;
}

/* What a packet of a session that is behind the SYN proxy, or watched, needs beside it. */
struct express_way {
	__u64 now;
	__u64 from;
	__u32 slot;
	__u32 state;
};

/* In stage/express_proxied.h and stage/express_watched.h. */
static int express4_proxied(struct xdp_md *ctx, struct flow4 *f, const struct express_way *way);
static int express6_proxied(struct xdp_md *ctx, struct flow6 *f, const struct express_way *way);
static int express4_watched(struct xdp_md *ctx, struct flow4 *f, const struct express_way *way);
static int express6_watched(struct xdp_md *ctx, struct flow6 *f, const struct express_way *way);

/* An open session's packet that is not the ordinary one. */
static __always_inline int express4_other(struct xdp_md *ctx, struct flow4 *f, __u64 now, __u64 from, __u32 slot,
					  __u32 state, __u8 proto, __be32 client, __u32 total)
{
	struct express_way way = { .now = now, .from = from, .slot = slot, .state = state };

	if (cfg.proxied && proto == IPPROTO_TCP && (state & EXPRESS_UNWATCHED) == (PHASE_OPEN | FLOW_PROXIED))
		return express4_proxied(ctx, f, &way);
	if (cfg.watch && (state & EXPRESS_STATE) == (PHASE_OPEN | FLOW_WATCHED))
		return express4_watched(ctx, f, &way);
	return express_local(ctx, &f->f, state, client, 4, now, total);
}

static __always_inline int express4_as(struct xdp_md *ctx, __u64 now, __u8 proto)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	__u32 *l4 = (void *)(ip + 1), total, state, service, slot = 0;
	__u64 from, addrs, rest;
	struct flow4 *f;
	struct hop *h;

	if ((void *)(l4 + 2) > end)
		return EXPRESS_NO;
	total = bpf_ntohs(ip->tot_len);
	if (ip->frag_off & bpf_htons(IP_MF | IP_OFFSET) || ip->ttl <= 1 || total + sizeof(struct ethhdr) > end - data ||
	    !express_l4(l4, end, proto, total - sizeof(*ip), 4))
		return EXPRESS_NO;
	f = half4(wide(&ip->saddr), *l4 | (__u64)proto << 32, &from, &slot);
	if (!f)
		return EXPRESS_STRANGER;
	state = *(volatile __u32 *)&f->f.state;
	service = f->f.service;
	if (express_turns(l4, end, proto) || !express_fresh(&f->f, now >> TICK_SHIFT))
		return EXPRESS_NO;
	total = bpf_ntohs(*(volatile __u16 *)&ip->tot_len); /* cheaper read again than kept over the lookup */
	if ((state & EXPRESS_STATE) != PHASE_OPEN)
		return express4_other(ctx, f, now, from, slot, state, proto, ip->saddr, total);
	h = express_hop(f->f.hop, total);
	if (!h || (!(state & FLOW_RETURN) && !express_limits(&f->f, state, ip->saddr, 4, now, total)))
		return EXPRESS_NO;
	addrs = wide(&f->src);
	rest = wide(&f->sport);
	barrier(); /* nothing of it is read again after the check */
	if (state & FLOW_RETURN && wide(&f->f.word) != from) /* the slot changed hands while it was read */
		return EXPRESS_NO;
	express_link(data, h);
	wide_put(&ip->saddr, addrs);
	ip->ttl--;
	ip->check = ~csum_sum(ip->check, rest >> 32);
	*l4 = rest;
	express_sum(l4, end, proto, rest >> 48);
	return express_leave(ctx, &f->f, service, state, now >> TICK_SHIFT, total, h);
}

static __always_inline int express4(struct xdp_md *ctx, __u64 now)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);

	if ((void *)(ip + 1) > end || (*(__u32 *)(data + 12) & 0xffffff) != EXPRESS_IPV4)
		return EXPRESS_NO;
	if (ip->protocol == IPPROTO_UDP)
		return express4_as(ctx, now, IPPROTO_UDP);
	if (ip->protocol == IPPROTO_TCP)
		return express4_as(ctx, now, IPPROTO_TCP);
	return EXPRESS_NO;
}

static __always_inline int express6_other(struct xdp_md *ctx, struct flow6 *f, __u64 now, __u64 from, __u32 slot,
					  __u32 state, __u8 proto, __u64 client, __u32 total)
{
	struct express_way way = { .now = now, .from = from, .slot = slot, .state = state };

	if (cfg.proxied && proto == IPPROTO_TCP && (state & EXPRESS_UNWATCHED) == (PHASE_OPEN | FLOW_PROXIED))
		return express6_proxied(ctx, f, &way);
	if (cfg.watch && (state & EXPRESS_STATE) == (PHASE_OPEN | FLOW_WATCHED))
		return express6_watched(ctx, f, &way);
	return express_local(ctx, &f->f, state, client, 6, now, total);
}

static __always_inline int express6_as(struct xdp_md *ctx, __u64 now, __u8 proto)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip = data + sizeof(struct ethhdr);
	__u32 *l4 = (void *)(ip + 1), total, state, service, ports, delta, slot = 0;
	__u64 from, addrs[4];
	struct flow6 *f;
	struct hop *h;

	if ((void *)(l4 + 2) > end)
		return EXPRESS_NO;
	total = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	if (*(__u8 *)ip >> 4 != 6 || ip->hop_limit <= 1 || total + sizeof(struct ethhdr) > end - data ||
	    !express_l4(l4, end, proto, total - sizeof(*ip), 6))
		return EXPRESS_NO;
	f = half6(ip->saddr.in6_u.u6_addr8, ip->daddr.in6_u.u6_addr8, *l4 | (__u64)proto << 32, &from, &slot);
	if (!f)
		return EXPRESS_STRANGER;
	state = *(volatile __u32 *)&f->f.state;
	service = f->f.service;
	if (express_turns(l4, end, proto) || !express_fresh(&f->f, now >> TICK_SHIFT))
		return EXPRESS_NO;
	total = bpf_ntohs(*(volatile __u16 *)&ip->payload_len) + sizeof(*ip);
	if ((state & EXPRESS_STATE) != PHASE_OPEN)
		return express6_other(ctx, f, now, from, slot, state, proto, wide(&ip->saddr), total);
	h = express_hop(f->f.hop, total);
	if (!h || (!(state & FLOW_RETURN) && !express_limits(&f->f, state, wide(&ip->saddr), 6, now, total)))
		return EXPRESS_NO;
	for (int i = 0; i < 4; i++) /* both addresses lie in a row, here as there */
		addrs[i] = wide(f->src + 8 * i);
	ports = *(__u32 *)&f->sport;
	delta = f->l4_delta;
	barrier();
	if (state & FLOW_RETURN && wide(&f->f.word) != from)
		return EXPRESS_NO;
	express_link(data, h);
	for (int i = 0; i < 4; i++)
		wide_put((void *)&ip->saddr + 8 * i, addrs[i]);
	ip->hop_limit--;
	*l4 = ports;
	express_sum(l4, end, proto, delta);
	return express_leave(ctx, &f->f, service, state, now >> TICK_SHIFT, total, h);
}

/* Out of line: its key and spills are not to lie beneath the common way's chain of calls. */
static NOINLINE int express6(struct xdp_md *ctx, __u64 now)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip = data + sizeof(struct ethhdr);

	if ((void *)(ip + 1) > end || *(__be16 *)(data + 12) != bpf_htons(ETH_P_IPV6))
		return EXPRESS_NO;
	if (ip->nexthdr == IPPROTO_UDP)
		return express6_as(ctx, now, IPPROTO_UDP);
	if (ip->nexthdr == IPPROTO_TCP)
		return express6_as(ctx, now, IPPROTO_TCP);
	return EXPRESS_NO;
}
