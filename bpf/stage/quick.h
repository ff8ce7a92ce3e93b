/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is its source denied? Asked in registers of an ordinary packet to a service that has no session, so that a flood from
 * listed sources costs little more than finding their entries. It answers as policy (stage/deny.h) does, and only
 * where the answer is to drop: whatever else is to be known of a stranger is found on the common way.
 */
#pragma once

#include "denial.h"
#include "express.h"

static __always_inline struct list_entry *denied_host4(__u32 service, __be32 addr, __u64 now)
{
	__u64 k = service | (__u64)addr << 32; /* struct host_key4, by one store */

	return list_live(bpf_map_lookup_elem(&deny_host4, &k), now);
}

static __always_inline struct list_entry *denied_net4(__u32 service, __be32 addr, __u64 now)
{
	struct net_key4 k = { .prefixlen = 64, .service = service, .addr = addr };

	return list_live(bpf_map_lookup_elem(&deny_net4, &k), now);
}

/* May an allow entry speak for it? */
static __always_inline bool allowed4(__u32 service, __be32 addr)
{
	__u64 all = (__u64)addr << 32, one = service | all;

	return net_allowed4(addr) || bpf_map_lookup_elem(&allow_host4, &all) || bpf_map_lookup_elem(&allow_host4, &one);
}

/* What is known of a client that no entry denies for certain. */
enum unlisted {
	LISTED = 0, /* its host is denied; an allow entry may outweigh that */
	UNLISTED_HOST = 1,
	UNLISTED_NET = 2, /* nor does a prefix of any list cover it */
};

/* The deny entry that a packet of this client to this service is dropped for; NULL: *unlisted says more. */
static __always_inline struct list_entry *denied4(__u32 service, __be32 addr, __u64 now, enum unlisted *unlisted)
{
	struct list_entry *e = denied_host4(0, addr, now) ?: denied_host4(service, addr, now);

	if (!e) {
		*unlisted = UNLISTED_HOST;
		if (!net_listed4(addr)) {
			*unlisted = UNLISTED_NET;
			return NULL;
		}
		e = denied_net4(0, addr, now) ?: denied_net4(service, addr, now);
	}
	return e && !allowed4(service, addr) ? e : NULL;
}

/* The drop that something may be told of. Out of line: its packet is not to lie beneath the common way's chain of calls. */
static NOINLINE int quick_tell(const struct iphdr *ip, const struct udphdr *l4, __u32 service, __u64 now, __u32 tcp)
{
	struct pkt p = {
		.service = service,
		.l3_len = bpf_ntohs(ip->tot_len),
		.now = now,
		.family = 4,
		.proto = ip->protocol,
		.tcp = tcp,
		.sport = l4->source,
		.dport = l4->dest,
	};

	*(__u32 *)p.src = ip->saddr;
	*(__u32 *)p.dst = ip->daddr;
	drop(&p, DROP_REASON_DENIED);
	return parry_exit(&p, VERDICT_DROP);
}

/* What a cell says is dropped at once: at the level that holds always, its source's samples are of packets that its entry judged anew. */
static __always_inline int quick_drop(const struct iphdr *ip, const struct udphdr *l4, const void *end, __u32 service,
				      __u64 now, bool lately)
{
	struct pkt p = { .service = service, .l3_len = bpf_ntohs(ip->tot_len), .now = now };
	const __u8 *tcp = (void *)l4;

	if (NOTES && !(lately && cfg.samples < SAMPLES_DROPS && !cfg.trial))
		return quick_tell(ip, l4, service, now,
				  ip->protocol == IPPROTO_TCP && (void *)tcp + 14 <= end ? tcp[13] : 0);
	drop(&p, DROP_REASON_DENIED);
	return exit_counted(&p, VERDICT_DROP);
}

static __always_inline int quick4(struct xdp_md *ctx, __u64 now)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *l4 = (void *)(ip + 1);
	enum unlisted unlisted = LISTED;
	struct list_entry *e;
	struct front_port *f;
	__u32 port, service;
	__be32 addr;
	__u64 whom;

	if ((void *)(l4 + 1) > end)
		return EXPRESS_STRANGER;
	port = l4->dest;
	f = bpf_map_lookup_elem(&front_port, &port);
	if (!f || f->addr != ip->daddr || (ip->protocol != f->proto[0] && ip->protocol != f->proto[1]))
		return EXPRESS_STRANGER;
	service = f->service;
	addr = ip->saddr;
	whom = denial_whom(service, addr); /* before it is judged: what is loosened meanwhile is not passed over */
	if (denied_lately(whom, now >> DENIAL_SHIFT))
		return quick_drop(ip, l4, end, service, now, true);
	e = denied4(service, addr, now, &unlisted);
	if (!e && unlisted == UNLISTED_NET && ip->protocol == IPPROTO_UDP && (f->gated || pressing(service)))
		return EXPRESS_BRIEF;
	if (!e && cfg.proxied && unlisted == UNLISTED_NET && ip->protocol == IPPROTO_TCP && f->proxied)
		return EXPRESS_SYN;
	if (!e)
		return unlisted ? EXPRESS_UNLISTED : EXPRESS_STRANGER;
	denial_note(unlisted ? whom | DENIAL_NET : whom, e, now);
	return quick_drop(ip, l4, end, service, now, false);
}
