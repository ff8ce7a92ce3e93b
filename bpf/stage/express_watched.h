/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The established path of a watched session's ordinary packet: as stage/express.h, and it is timed. Out of line: the others are not to pay
 * for it.
 */
#pragma once

#include "express.h"

static NOINLINE int express4_watched(struct xdp_md *ctx, struct flow4 *f, const struct express_way *way)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	__u32 *l4 = (void *)(ip + 1), total, state = way->state;
	__u64 addrs, rest;
	struct hop *h;
	__u8 proto;
	int code;

	if ((void *)(l4 + 2) > end)
		return EXPRESS_NO;
	proto = ip->protocol;
	total = bpf_ntohs(ip->tot_len);
	h = express_hop(f->f.hop, total);
	if (!h || (!(state & FLOW_RETURN) && !express_limits(&f->f, state, ip->saddr, 4, way->now, total)))
		return EXPRESS_NO;
	addrs = wide(&f->src);
	rest = wide(&f->sport);
	barrier();
	if (state & FLOW_RETURN && wide(&f->f.word) != way->from)
		return EXPRESS_NO;
	express_link(data, h);
	wide_put(&ip->saddr, addrs);
	ip->ttl--;
	ip->check = ~csum_sum(ip->check, rest >> 32);
	*l4 = rest;
	express_sum(l4, end, proto, rest >> 48);
	code = express_leave(ctx, &f->f, f->f.service, state, way->now >> TICK_SHIFT, total, h);
	express_watch(ctx, &f->f, state, 4, total);
	return code;
}

static NOINLINE int express6_watched(struct xdp_md *ctx, struct flow6 *f, const struct express_way *way)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip = data + sizeof(struct ethhdr);
	__u32 *l4 = (void *)(ip + 1), total, state = way->state, ports, delta;
	__u64 addrs[4];
	struct hop *h;
	__u8 proto;
	int code;

	if ((void *)(l4 + 2) > end)
		return EXPRESS_NO;
	proto = ip->nexthdr;
	total = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	h = express_hop(f->f.hop, total);
	if (!h || (!(state & FLOW_RETURN) && !express_limits(&f->f, state, wide(&ip->saddr), 6, way->now, total)))
		return EXPRESS_NO;
	for (int i = 0; i < 4; i++)
		addrs[i] = wide(f->src + 8 * i);
	ports = *(__u32 *)&f->sport;
	delta = f->l4_delta;
	barrier();
	if (state & FLOW_RETURN && wide(&f->f.word) != way->from)
		return EXPRESS_NO;
	express_link(data, h);
	for (int i = 0; i < 4; i++)
		wide_put((void *)&ip->saddr + 8 * i, addrs[i]);
	ip->hop_limit--;
	*l4 = ports;
	express_sum(l4, end, proto, delta);
	code = express_leave(ctx, &f->f, f->f.service, state, way->now >> TICK_SHIFT, total, h);
	express_watch(ctx, &f->f, state, 6, total);
	return code;
}
