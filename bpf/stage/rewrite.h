/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses, ports and checksums, by the differences that the session holds. */
#pragma once

#include "../lib/csum.h"
#include "parse.h"

/* L4 checksum field of a first or only fragment. UDP's 0 means none over IPv4 and stays 0; a computed 0 is sent
 * as ffff (RFC 768). */
static __always_inline int rewrite_l4(struct pkt *p, void *l4, void *end, __u32 ports, __u32 delta)
{
	__u16 check;

	if (p->proto == IPPROTO_UDP) {
		struct udphdr *udp = l4;

		if ((void *)(udp + 1) > end)
			return DROP_REASON_INTERNAL;
		*(__u32 *)udp = ports;
		if (!udp->check && p->family == 4)
			return 0;
		check = csum_apply(udp->check, delta);
		udp->check = check ?: 0xffff;
	} else {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return DROP_REASON_INTERNAL;
		*(__u32 *)tcp = ports;
		tcp->check = csum_apply(tcp->check, delta);
	}
	return 0;
}

/* Both return 0, or the enum drop_reason: DROP_REASON_TTL before anything is written, DROP_REASON_INTERNAL where
 * it may have been. */
static __always_inline int rewrite4(struct xdp_md *ctx, struct pkt *p, __u64 addrs, __u32 ports, __u32 l3_delta,
				    __u32 l4_delta)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l3 = p->l3, l4 = p->l4;
	struct iphdr *ip;

	if (l3 > L3_MAX || l4 > L4_MAX) /* for the verifier: both were checked when they were set */
		return DROP_REASON_INTERNAL;
	ip = data + l3;
	if ((void *)(ip + 1) > end)
		return DROP_REASON_INTERNAL;
	if (ip->ttl <= 1)
		return DROP_REASON_TTL;
	*(__u64 *)&ip->saddr = addrs;
	ip->ttl--;
	ip->check = csum_apply(ip->check, l3_delta);
	return rewrite_l4(p, data + l4, end, ports, l4_delta);
}

/* p->as and p->to are what it leaves with. */
static __always_inline int rewrite6(struct xdp_md *ctx, struct pkt *p, __u32 ports, __u32 l4_delta)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l3 = p->l3, l4 = p->l4;
	struct ipv6hdr *ip;

	if (l3 > L3_MAX || l4 > L4_MAX)
		return DROP_REASON_INTERNAL;
	ip = data + l3;
	if ((void *)(ip + 1) > end)
		return DROP_REASON_INTERNAL;
	if (ip->hop_limit <= 1)
		return DROP_REASON_TTL;
	__builtin_memcpy(&ip->saddr, p->as, 16);
	__builtin_memcpy(&ip->daddr, p->to, 16);
	ip->hop_limit--;
	return rewrite_l4(p, data + l4, end, ports, l4_delta);
}
