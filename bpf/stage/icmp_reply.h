/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet is larger than its next hop takes: the sender is told its MTU (RFC 792, RFC 1191; RFC 4443 3.2), as
 * a router would. Sent back by the way it came, from the address it was sent to, within the ICMP budget.
 */
#pragma once

#include "../lib/csum.h"
#include "../lib/icmp.h"
#include "../lib/rate.h"
#include "egress.h"

#define EMBED_MAX 128 /* of the packet, headers and 8 bytes of payload: more than this is a header we don't know */
#define REPLY_TTL 64

static __always_inline bool icmp_budget(const struct pkt *p)
{
	enum bucket b = BUCKET_ICMP;
	__u64 *word = bpf_map_lookup_elem(&host_bucket, &b);
	struct rate r = { .cost = cfg.icmp.cost, .burst = cfg.icmp.burst };

	return word && rate_take(word, &r, p->now, 1, 0);
}

/* Sum of `len` bytes (a multiple of 4, at most EMBED_MAX) from `at`. */
static __always_inline int sum_bytes(void *at, void *end, __u32 len, __u32 *sum)
{
	for (__u32 i = 0; i < EMBED_MAX; i += 4) {
		__u32 *w = at + i;

		if (i >= len)
			break;
		barrier_var(w); /* else clang computes the trip count from the pointers, which the verifier forbids */
		if ((void *)(w + 1) > end)
			return -1;
		*sum += csum_word(*w);
	}
	return 0;
}

/* Cuts the frame to what is embedded and makes room ahead of it for `room` bytes of IP and ICMP. The link header
 * moves to the new start with its addresses swapped. */
static __always_inline int reply_room(struct xdp_md *ctx, const struct pkt *p, __u32 embed, __u32 room)
{
	__u8 link[L3_MAX];
	__u32 l3 = p->l3;
	void *data, *end;

	if (bpf_xdp_adjust_tail(ctx, (int)(l3 + embed) - (int)p->len))
		return -1;
	if (bpf_xdp_adjust_head(ctx, -(int)room))
		return -1;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + room + L3_MAX > end) /* 22 bytes are there: 14 and the start of an IP header at least */
		return -1;
	__builtin_memcpy(link, data + room, L3_MAX);
	__builtin_memcpy(data, link + 6, 6);
	__builtin_memcpy(data + 6, link, 6);
	__builtin_memcpy(data + 12, link + 12, L3_MAX - 12); /* type and tags; what is beyond them is overwritten */
	return 0;
}

static __always_inline int too_big4(struct xdp_md *ctx, const struct pkt *p, __u32 mtu, __u32 embed)
{
	__u32 sum, l3 = p->l3, room = sizeof(struct iphdr) + sizeof(struct icmphdr);
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct icmphdr *icmp;
	struct iphdr *ip;

	if (l3 > L3_MAX || embed > EMBED_MAX)
		return -1;
	ip = data + l3;
	icmp = (void *)(ip + 1);
	if ((void *)(icmp + 1) > end)
		return -1;
	__builtin_memset(ip, 0, sizeof(*ip));
	__builtin_memset(icmp, 0, sizeof(*icmp));
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(room + embed);
	ip->ttl = REPLY_TTL;
	ip->protocol = IPPROTO_ICMP;
	ip->saddr = addr4(p->as);
	ip->daddr = addr4(p->src);
	sum = 0;
	if (sum_bytes(ip, end, sizeof(*ip), &sum))
		return -1;
	ip->check = ~csum_fold(sum);
	icmp->type = ICMP_DEST_UNREACH;
	icmp->code = ICMP_FRAG_NEEDED;
	icmp->mtu = bpf_htons(mtu);
	sum = 0;
	if (sum_bytes(icmp, end, sizeof(*icmp) + embed, &sum))
		return -1;
	icmp->checksum = ~csum_fold(sum);
	return 0;
}

static __always_inline int too_big6(struct xdp_md *ctx, const struct pkt *p, __u32 mtu, __u32 embed)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 sum, l3 = p->l3;
	struct icmp6hdr *icmp;
	struct ipv6hdr *ip;

	if (l3 > L3_MAX || embed > EMBED_MAX)
		return -1;
	ip = data + l3;
	icmp = (void *)(ip + 1);
	if ((void *)(icmp + 1) > end)
		return -1;
	__builtin_memset(ip, 0, sizeof(*ip));
	__builtin_memset(icmp, 0, sizeof(*icmp));
	ip->version = 6;
	ip->payload_len = bpf_htons(sizeof(*icmp) + embed);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = REPLY_TTL;
	__builtin_memcpy(&ip->saddr, p->as, 16);
	__builtin_memcpy(&ip->daddr, p->src, 16);
	icmp->type = ICMPV6_PKT_TOOBIG;
	icmp->mtu = bpf_htonl(mtu);
	sum = bpf_htons(sizeof(*icmp) + embed) + bpf_htons(IPPROTO_ICMPV6);
	if (sum_bytes(&ip->saddr, end, 32, &sum) || sum_bytes(icmp, end, sizeof(*icmp) + embed, &sum))
		return -1;
	icmp->checksum = ~csum_fold(sum);
	return 0;
}

/* Drops the packet and answers with the MTU. The answer counts as sent, the packet under too_big. */
NOINLINE int too_big(struct xdp_md *ctx, struct pkt *p, __u32 mtu, __u32 state)
{
	__u32 embed, room;
	int err;

	if (!p)
		return VERDICT_ABORT;
	p->reason = DROP_REASON_TOO_BIG;
	embed = (__u32)p->l4 - p->l3 + 8;
	if (embed > EMBED_MAX - 8 || embed & 3 || !icmp_budget(p))
		return VERDICT_DROP;
	if (!p->down || state & FLOW_NAT) /* else the packet is addressed to the client, not to us: as is the vip */
		addr_copy(p->as, p->dst);
	room = p->family == 4 ? sizeof(struct iphdr) + sizeof(struct icmphdr) :
				sizeof(struct ipv6hdr) + sizeof(struct icmp6hdr);
	if (reply_room(ctx, p, embed, room))
		return abort_changed(p);
	err = p->family == 4 ? too_big4(ctx, p, mtu, embed) : too_big6(ctx, p, mtu, embed);
	return err ? abort_changed(p) : VERDICT_TX;
}
