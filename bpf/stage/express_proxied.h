/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The established path of the ordinary segment of a session behind the SYN proxy: as stage/express.h, and its numbers are translated as
 * stage/translate.h does it. Out of line: plain sessions are not to pay for it.
 */
#pragma once

#include "express.h"
#include "translate.h"

/* As stage/translate.h does it, of segments as nearly all are: without options, or with timestamps laid as all stacks lay them. */
static __always_inline bool express_translates(const void *l4, const void *end, const struct proxied *x)
{
	const __u8 *tcp = l4;
	const __u32 *w = l4;

	if ((void *)(w + 5) > end || x->shift | x->up_shift || !(tcp[TCP_FLAGS] & TCP_ACK))
		return false;
	if (tcp[TCP_OFFSET] >> 4 == 5)
		return true;
	return tcp[TCP_OFFSET] >> 4 == 8 && (void *)(w + 8) <= end &&
	       w[5] == bpf_htonl(0x01010000 | TCP_OPT_TIMES << 8 | 10);
}

/* Adds to a number; returns by what that changes a checksum. */
static __always_inline __u32 express_add(__u32 *word, __u32 n)
{
	__be32 was = *word, now = bpf_htonl(bpf_ntohl(was) + n);

	*word = now;
	return csum_change4(was, now);
}

/* Returns by how much the checksum changes beside what the session knows. */
static __always_inline __u32 express_translate(void *l4, const void *end, __u32 delta, __u32 ts_delta, __u32 state)
{
	bool down = state & FLOW_RETURN;
	__u32 *w = l4, sum;

	if ((void *)(w + 5) > end) /* it is there: said again for the verifier */
		return 0;
	sum = down ? express_add(w + 1, delta) : express_add(w + 2, -delta);
	if (((__u8 *)l4)[TCP_OFFSET] >> 4 == 8 && (void *)(w + 8) <= end)
		sum += down ? express_add(w + 6, ts_delta) : express_add(w + 7, -ts_delta);
	return sum;
}

static NOINLINE int express4_proxied(struct xdp_md *ctx, struct flow4 *f, const struct express_way *way)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	__u32 *l4 = (void *)(ip + 1), total, state = way->state, delta, ts_delta;
	struct proxied *x = side_of(4, &f->f, state, way->slot);
	__u64 addrs, rest;
	struct hop *h;
	int code;

	if ((void *)l4 + sizeof(struct tcphdr) > end || !x || !express_translates(l4, end, x))
		return EXPRESS_NO;
	total = bpf_ntohs(ip->tot_len);
	h = express_hop(f->f.hop, total);
	if (!h || (!(state & FLOW_RETURN) && !express_limits(&f->f, state, ip->saddr, 4, way->now, total)))
		return EXPRESS_NO;
	addrs = wide(&f->src);
	rest = wide(&f->sport);
	delta = *(volatile __u32 *)&x->delta;
	ts_delta = *(volatile __u32 *)&x->ts_delta;
	barrier();
	if (way->from && wide(&f->f.word) != way->from)
		return EXPRESS_NO;
	express_link(data, h);
	wide_put(&ip->saddr, addrs);
	ip->ttl--;
	ip->check = ~csum_sum(ip->check, rest >> 32);
	*l4 = rest;
	delta = express_translate(l4, end, delta, ts_delta, state);
	express_sum(l4, end, IPPROTO_TCP, csum_fold(delta + (rest >> 48)));
	code = express_leave(ctx, &f->f, f->f.service, state, way->now >> TICK_SHIFT, total, h);
	express_watch(ctx, &f->f, state, 4, total);
	return code;
}

static NOINLINE int express6_proxied(struct xdp_md *ctx, struct flow6 *f, const struct express_way *way)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip = data + sizeof(struct ethhdr);
	__u32 *l4 = (void *)(ip + 1), total, state = way->state, delta, ts_delta, ports, sum;
	struct proxied *x = side_of(6, &f->f, state, way->slot);
	__u64 addrs[4];
	struct hop *h;
	int code;

	if ((void *)l4 + sizeof(struct tcphdr) > end || !x || !express_translates(l4, end, x))
		return EXPRESS_NO;
	total = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	h = express_hop(f->f.hop, total);
	if (!h || (!(state & FLOW_RETURN) && !express_limits(&f->f, state, wide(&ip->saddr), 6, way->now, total)))
		return EXPRESS_NO;
	for (int i = 0; i < 4; i++)
		addrs[i] = wide(f->src + 8 * i);
	ports = *(__u32 *)&f->sport;
	sum = f->l4_delta;
	delta = *(volatile __u32 *)&x->delta;
	ts_delta = *(volatile __u32 *)&x->ts_delta;
	barrier();
	if (way->from && wide(&f->f.word) != way->from)
		return EXPRESS_NO;
	express_link(data, h);
	for (int i = 0; i < 4; i++)
		wide_put((void *)&ip->saddr + 8 * i, addrs[i]);
	ip->hop_limit--;
	*l4 = ports;
	sum += express_translate(l4, end, delta, ts_delta, state);
	express_sum(l4, end, IPPROTO_TCP, csum_fold(sum));
	code = express_leave(ctx, &f->f, f->f.service, state, way->now >> TICK_SHIFT, total, h);
	express_watch(ctx, &f->f, state, 6, total);
	return code;
}
