/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What becomes of the first segment with payload of a TCP session, and of datagrams of one that has only asked so far, once its gate has seen it? Believed, it goes its way and the gate is
 * not asked again. Refused, it goes on as a reset, so that the server lets go at once of a connection that has nothing to say.
 */
#pragma once

#include "admit.h"

/* Makes the segment a bare reset in its place in the stream. Returns 0, or -1 where it is spoilt. */
static __always_inline int make_reset(struct xdp_md *ctx, struct pkt *p)
{
	__u32 l3 = p->l3, l4 = p->l4, old = bpf_htons(p->l3_len), sum = 0;
	struct tcphdr *tcp;
	void *data, *end;

	if (l3 > L3_MAX || l4 > L4_MAX || p->frag || bpf_xdp_adjust_tail(ctx, (int)(l4 + sizeof(*tcp)) - (int)p->len))
		return -1;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	tcp = data + l4;
	if ((void *)(tcp + 1) > end)
		return -1;
	p->l3_len = l4 - l3 + sizeof(*tcp);
	p->len = l3 + p->l3_len;
	((__u8 *)tcp)[12] = sizeof(*tcp) / 4 << 4;
	((__u8 *)tcp)[13] = TCP_RST;
	tcp->ack_seq = 0;
	tcp->urg_ptr = 0;
	tcp->check = 0;
	for (int i = 0; i < 16; i += 4)
		sum += csum_word(*(__u32 *)(p->src + i)) + csum_word(*(__u32 *)(p->dst + i));
	sum += bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp));
	for (int i = 0; i < 5; i++)
		sum += csum_word(((__u32 *)tcp)[i]);
	tcp->check = ~csum_fold(sum);
	if (p->family == 4) {
		struct iphdr *ip = data + l3;

		if ((void *)(ip + 1) > end)
			return -1;
		ip->check = csum_apply(ip->check, csum_change2(old, bpf_htons(p->l3_len)));
		ip->tot_len = bpf_htons(p->l3_len);
	} else {
		struct ipv6hdr *ip = data + l3;

		if ((void *)(ip + 1) > end)
			return -1;
		ip->payload_len = bpf_htons(p->l3_len - sizeof(*ip));
	}
	p->tcp = TCP_RST;
	return 0;
}

/* The gate has nothing more to say to this session. */
static __always_inline void first_heard(const struct pkt *p)
{
	struct flow *f = NULL;

	if (p->family == 4) {
		struct flow_key4 k;

		key4(&k, addr4(p->src), addr4(p->dst), p->sport, p->dport, p->proto);
		f = bpf_map_lookup_elem(&flow4, &k);
	} else {
		struct flow_key6 k;

		key6(&k, p->src, p->dst, p->sport, p->dport, p->proto);
		f = bpf_map_lookup_elem(&flow6, &k);
	}
	if (f)
		__sync_fetch_and_and(&f->state, ~(FLOW_GATED | FLOW_QUERY));
}

/* v: what gated() said. AGAIN: it goes the established path now. */
NOINLINE int first_judged(struct xdp_md *ctx, struct pkt *p, int v)
{
	if (!p)
		return VERDICT_ABORT;
	p->gated = 1;
	if (v == VERDICT_ADMIT) {
		if (!p->query)
			first_heard(p);
		return VERDICT_AGAIN;
	}
	if (v != VERDICT_DROP || p->proto == IPPROTO_UDP)
		return v;
	return make_reset(ctx, p) ? abort_changed(p) : VERDICT_AGAIN;
}
