/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is it from a host that is denied? Asked in registers of an ordinary packet to a service that has no session, so that a
 * flood from listed hosts costs little more than finding their entries. It answers as policy (stage/deny.h) does, and only
 * where the answer is to drop: whatever else is to be known of a stranger is found on the common way.
 */
#pragma once

#include "express.h"

#define JUDGED_SHIFT 4 /* the allow lists' word holds for 16 ticks, unless policy moves */

static __always_inline __u64 judged_now(__u32 service, __u32 tick)
{
	return (tick >> JUDGED_SHIFT) | (__u64)(__u16)policy_epoch() << 32 | (__u64)service << 48;
}

static __always_inline struct list_entry *denied_host4(__u32 service, __be32 addr, __u64 now)
{
	__u64 k = service | (__u64)addr << 32; /* struct host_key4, by one store */

	return list_live(bpf_map_lookup_elem(&deny_host4, &k), now);
}

static __always_inline bool allowed_host4(__u32 service, __be32 addr)
{
	__u64 k = service | (__u64)addr << 32;

	return bpf_map_lookup_elem(&allow_host4, &k);
}

/* May an allow entry speak for a denied client? */
static __always_inline bool allowed4(struct list_entry *e, __u32 service, __be32 addr, __u32 tick)
{
	__u64 stamp = judged_now(service, tick);
	__u32 bit = __builtin_bswap32(addr) >> 8, word = bit >> 6;
	__u64 *nets;

	if (e->judged == stamp)
		return false;
	nets = bpf_map_lookup_elem(&net_filter4, &word);
	if (!nets || *nets >> (bit & 63) & 1 || allowed_host4(0, addr) || allowed_host4(service, addr))
		return true;
	e->judged = stamp;
	return false;
}

static __always_inline int quick_drop(__u32 service, __u32 l3_len)
{
	struct pkt p = { .service = service, .l3_len = l3_len };

	return parry_exit(&p, drop(&p, DROP_REASON_DENIED));
}

static __always_inline int quick4(struct xdp_md *ctx, __u64 now)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *l4 = (void *)(ip + 1);
	struct list_entry *e;
	struct front_port *f;
	__u32 port, service;

	if ((void *)(l4 + 1) > end)
		return EXPRESS_STRANGER;
	port = l4->dest;
	f = bpf_map_lookup_elem(&front_port, &port);
	if (!f || f->addr != ip->daddr || (ip->protocol != f->proto[0] && ip->protocol != f->proto[1]))
		return EXPRESS_STRANGER;
	service = f->service;
	e = denied_host4(0, ip->saddr, now) ?: denied_host4(service, ip->saddr, now);
	if (!e)
		return EXPRESS_UNLISTED;
	if (allowed4(e, service, ip->saddr, now >> TICK_SHIFT))
		return EXPRESS_STRANGER;
	e->hits++;
	return quick_drop(service, bpf_ntohs(ip->tot_len));
}
