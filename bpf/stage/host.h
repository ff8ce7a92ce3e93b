/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Traffic of no service is this host's: ssh must keep working, and a flood at a closed port must not burn the CPUs
 * that carry players. Three budgets apart: the link's own needs (ARP, neighbour discovery, non-IP), the ports that
 * must always work, and the rest, of which one source gets a share. Nothing here makes a map entry, but for a
 * datagram in fragments.
 */
#pragma once

#include "admit.h"

#define ND_FIRST 133 /* ICMPv6 types of neighbour discovery (RFC 4861) */
#define ND_LAST 137

static __always_inline int host_take(struct pkt *p, enum bucket b, const volatile struct rate *limit,
				     enum drop_reason reason)
{
	struct rate r = { .cost = limit->cost, .burst = limit->burst };
	__u64 *word = bpf_map_lookup_elem(&host_bucket, &b);

	if (!word || rate_take(word, &r, p->now, 1, 0) || !refuse(p, reason, true))
		return VERDICT_PASS;
	return VERDICT_DROP;
}

static __always_inline bool host_always(const struct pkt *p)
{
	for (int i = 0; i < ALWAYS_MAX; i++) {
		if (!cfg.always[i].proto)
			break;
		if (cfg.always[i].proto == p->proto && cfg.always[i].port == p->dport)
			return true;
	}
	return false;
}

static __always_inline bool host_source_share(struct pkt *p)
{
	struct rate r = { .cost = cfg.host_source.cost, .burst = cfg.host_source.burst };
	struct secret *s = env_secret();
	__u64 *word;
	__u32 i;

	if (!s)
		return true;
	i = p->family == 4 ? hash_addr(0, addr4(p->src), s->key[0]) : hash_addr(addr_hi(p->src), 0, s->key[0]);
	i &= HOST_SOURCES - 1;
	word = bpf_map_lookup_elem(&host_source, &i);
	return !word || rate_take(word, &r, p->now, 1, 0);
}

static __always_inline bool is_nd(struct xdp_md *ctx, const struct pkt *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *type;
	__u32 l4 = p->l4;

	if (p->family != 6 || p->proto != IPPROTO_ICMPV6 || p->frag == FRAG_LATER || !l4 || l4 > L4_MAX)
		return false;
	type = data + l4;
	return (void *)(type + 1) <= end && *type >= ND_FIRST && *type <= ND_LAST;
}

NOINLINE int host(struct xdp_md *ctx, struct pkt *p)
{
	if (!p)
		return VERDICT_ABORT;
	p->service = 0;
	p->down = 0;
	if (!p->family || is_nd(ctx, p))
		return host_take(p, BUCKET_LINK, &cfg.host_link, DROP_REASON_HOST_LINK_RATE);
	if (p->frag != FRAG_LATER && host_always(p))
		return host_take(p, BUCKET_ALWAYS, &cfg.host_always, DROP_REASON_HOST_ALWAYS_RATE);
	if (policy(p, NULL))
		return VERDICT_DROP;
	if (!p->allowed && !host_source_share(p) && refuse(p, DROP_REASON_HOST_SOURCE_RATE, true))
		return VERDICT_DROP;
	return host_take(p, BUCKET_HOST, &cfg.host, DROP_REASON_HOST_RATE);
}

/* A damaged packet is dropped where it was for us, under its service if its ports could be read. */
NOINLINE int damaged_packet(struct xdp_md *ctx, struct pkt *p)
{
	enum drop_reason reason;
	struct front *f;

	if (!p)
		return VERDICT_ABORT;
	reason = p->reason;
	if (reason == DROP_REASON_BAD_ETHERNET)
		return VERDICT_DROP;
	if (p->family && p->dport) {
		f = front_of(p->family, p->dst, p->dport, p->proto);
		if (f) {
			p->service = f->service;
			return VERDICT_DROP;
		}
	} else if (p->family && is_own(p, p->dst)) {
		return VERDICT_DROP;
	}
	p->reason = DROP_REASON_NONE;
	p->l3_len = 0; /* what it says of its length can't be counted */
	return host(ctx, p);
}

static __always_inline bool is_icmp_error(struct xdp_md *ctx, const struct pkt *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l4 = p->l4;
	__u8 *type;

	if (l4 > L4_MAX)
		return false;
	type = data + l4;
	if ((void *)(type + sizeof(struct icmphdr)) > end)
		return false;
	return p->family == 4 ? p->proto == IPPROTO_ICMP && is_error4(*type) :
				p->proto == IPPROTO_ICMPV6 && is_error6(*type);
}

/* Whole, or the first fragment of a datagram whose others are the host's, too: they are let in behind it alone. */
static __always_inline int host_first(struct xdp_md *ctx, struct pkt *p)
{
	int v = host(ctx, p);

	if (v == VERDICT_PASS && p->frag && is_own(p, p->dst))
		frag_note(ctx, p, FLOW_LOCAL | FLOW_UNLIMITED, 0);
	return v;
}

/* Of no session that carries packets: whose is it? Returns a verdict, VERDICT_AGAIN where it has a session now. */
NOINLINE int stranger(struct xdp_md *ctx, struct pkt *p)
{
	struct front *f;
	int v;

	if (!p)
		return VERDICT_ABORT;
	if (!p->family)
		return host(ctx, p);
	if (p->frag == FRAG_LATER) {
		v = frag_later(ctx, p);
		if (v == VERDICT_PASS && !p->service) /* its first was the host's own */
			return host(ctx, p);
		if (v)
			return v;
		return is_own(p, p->dst) ? drop(p, DROP_REASON_FRAGMENT_ORPHAN) : host(ctx, p);
	}
	if (p->proto == IPPROTO_UDP || p->proto == IPPROTO_TCP) {
		f = front_of(p->family, p->dst, p->dport, p->proto);
		if (f) {
			p->service = f->service;
			p->offset = f->offset;
			return admit(ctx, p);
		}
		v = admit_server(ctx, p);
		return v ?: host_first(ctx, p);
	}
	if (is_icmp_error(ctx, p)) {
		v = p->family == 4 ? error4(ctx, p) : error6(ctx, p);
		if (v)
			return v;
	}
	return host_first(ctx, p);
}
