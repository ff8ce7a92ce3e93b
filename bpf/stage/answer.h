/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The edge is no reflector: a source that is not proven gets no more than it sent. What protocols without a challenge must be
 * given beyond that draws on one budget of bytes for each /24 or /48 over the whole edge, and on one for all together, whether the
 * edge answers or a server does. Half of the last is for those who came again: a flood of forged questions, which don't, leaves
 * it to whoever asks in earnest.
 */
#pragma once

#include "../lib/csum.h"
#include "../lib/rate.h"
#include "count.h"
#include "limit.h"
#include "parse.h"

#define ANSWER_TTL 64

/* May an unproven client be given `bytes` more than it sent? again: it has asked before. */
static __always_inline bool answer_take(const struct pkt *p, const __u8 *client, __u32 bytes, bool again)
{
	struct rate prefix = { .cost = cfg.answers_prefix.cost, .burst = cfg.answers_prefix.burst };
	struct rate all = { .cost = cfg.answers.cost, .burst = cfg.answers.burst };
	enum bucket b = again ? BUCKET_ANSWERS_AGAIN : BUCKET_ANSWERS;
	__u64 *mine, *total;

	if (!prefix.cost && !all.cost)
		return true;
	mine = prefix_of(p, PREFIX_ANSWERS, client, 24, 48, 0);
	total = bpf_map_lookup_elem(&host_bucket, &b);
	if (!mine || !total)
		return true;
	if (!rate_take(mine, &prefix, p->now, bytes, 0))
		return false;
	if (rate_take(total, &all, p->now, bytes, 0))
		return true;
	rate_give(mine, &prefix, bytes);
	return false;
}

static __always_inline bool query_take(const struct pkt *p, const struct service *svc)
{
	__u64 *word = prefix_of(p, PREFIX_QUERIES, p->src, 32, 64, p->service);

	return !word || rate_take(word, &svc->queries, p->now, 1, 0);
}

/* Sum of what UDP's checksum covers beside the payload. */
static __always_inline __u32 udp_sum(const struct pkt *p, const struct udphdr *udp, __u32 payload)
{
	__u32 sum = payload, len = bpf_ntohs(udp->len);

	for (int i = 0; i < 16; i += 4)
		sum += csum_word(*(__u32 *)(p->src + i)) + csum_word(*(__u32 *)(p->dst + i));
	sum += bpf_htons(len) + bpf_htons(IPPROTO_UDP) + udp->source + udp->dest + bpf_htons(len);
	return sum;
}

static __always_inline void swap_link(void *data)
{
	__u8 mac[6];

	__builtin_memcpy(mac, data, 6);
	__builtin_memcpy(data, data + 6, 6);
	__builtin_memcpy(data + 6, mac, 6);
}

/* UDP's length and checksum; and, of an answer, its ports turned round. */
static __always_inline void seal_l4(const struct pkt *p, struct udphdr *udp, __u32 length, __u32 sum, bool answer)
{
	__be16 port = udp->source;
	__u16 check;

	udp->len = bpf_htons(sizeof(*udp) + length);
	check = ~csum_fold(udp_sum(p, udp, csum_fold(sum)));
	udp->check = check ?: 0xffff;
	if (answer) {
		udp->source = udp->dest;
		udp->dest = port;
	}
}

static __always_inline int seal4(struct pkt *p, void *data, void *end, __u32 length, __u32 sum, bool answer)
{
	__u32 l3 = p->l3, check, total = sizeof(struct iphdr) + sizeof(struct udphdr) + length;
	struct iphdr *ip;
	__be16 *word, part, way;

	if (l3 > L3_MAX)
		return -1;
	ip = data + l3;
	if ((void *)(ip + 1) + sizeof(struct udphdr) > end)
		return -1;
	word = (__be16 *)ip;
	part = answer ? bpf_htons(IP_DF) : word[3];
	way = answer ? bpf_htons(ANSWER_TTL << 8 | IPPROTO_UDP) : word[4];
	/* Of what is written nothing is read again: a wide load behind narrow stores waits for them. */
	check = word[0] + bpf_htons(total) + word[2] + part + way + csum_word(addr4(p->src)) + csum_word(addr4(p->dst));
	seal_l4(p, (void *)(ip + 1), length, sum, answer);
	word[1] = bpf_htons(total);
	word[5] = ~csum_fold(check);
	if (answer) {
		word[3] = part;
		word[4] = way;
		ip->saddr = addr4(p->dst);
		ip->daddr = addr4(p->src);
	}
	return 0;
}

static __always_inline int seal6(struct pkt *p, void *data, void *end, __u32 length, __u32 sum, bool answer)
{
	__u32 l3 = p->l3;
	struct ipv6hdr *ip;

	if (l3 > L3_MAX)
		return -1;
	ip = data + l3;
	if ((void *)(ip + 1) + sizeof(struct udphdr) > end)
		return -1;
	seal_l4(p, (void *)(ip + 1), length, sum, answer);
	ip->payload_len = bpf_htons(sizeof(struct udphdr) + length);
	if (answer) {
		addr_copy((void *)&ip->saddr, p->dst);
		addr_copy((void *)&ip->daddr, p->src);
		ip->hop_limit = ANSWER_TTL;
	}
	return 0;
}

/* A UDP packet of plain headers whose payload has become `length` bytes that sum up to `sum`: lengths and checksums are made true;
 * and an answer is turned round. Returns 0, or -1 where it must not leave. */
static __always_inline int seal_udp(struct xdp_md *ctx, struct pkt *p, __u32 length, __u32 sum, bool answer)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 header = p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	if (length > GATE_ANSWER_MAX || p->l4 != p->l3 + header || p->frag || data + sizeof(struct ethhdr) > end)
		return -1;
	if (answer)
		swap_link(data);
	p->l3_len = header + sizeof(struct udphdr) + length;
	p->len = p->l3 + p->l3_len;
	return p->family == 4 ? seal4(p, data, end, length, sum, answer) : seal6(p, data, end, length, sum, answer);
}
