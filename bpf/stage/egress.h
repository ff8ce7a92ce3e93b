/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where does it leave? A session holds the index of its next hop; the hop holds all that egress writes. The
 * daemon keeps link addresses fresh; the kernel's FIB is asked when a session begins, when it re-checks and
 * when the hop can't be used.
 */
#pragma once

#include <linux/if_ether.h>

#include "../lib/fault.h"
#include "exit.h"
#include "parse.h"

#define HOPS 2048 /* of the map, the half that the fast path fills; the daemon fills the other from its end */

static __always_inline void hop_link_addresses(struct hop *h, const __u8 *dmac, const __u8 *smac)
{
	__builtin_memcpy(h->dst, dmac, 6);
	__builtin_memcpy(h->src, smac, 6);
}

static __always_inline bool same_mac(const __u8 *x, const __u8 *y)
{
	const __u16 *a = (const __u16 *)x, *b = (const __u16 *)y;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

static __always_inline struct hop *hop_get(__u32 i)
{
	struct hop *h;

	if (!i)
		return NULL;
	h = bpf_map_lookup_elem(&hop, &i);
	if (!h || (h->state != HOP_VALID && h->state != HOP_LEARNED))
		return NULL;
	return h;
}

/* The link addresses of the frame in hand, as those of an answer to it. */
static __always_inline bool hop_learn(struct xdp_md *ctx, struct hop *h, const struct link *l)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

	if (l->ifindex != ctx->ingress_ifindex || (void *)(eth + 1) > end)
		return false;
	hop_link_addresses(h, eth->h_source, eth->h_dest);
	return true;
}

/* Where no more hops can be kept: the one of the packet in hand. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct hop);
	__uint(max_entries, 1);
} hop_once SEC(".maps");

/* What hop_for found when it returned 0. */
static __always_inline struct hop *hop_unkept(void)
{
	__u32 zero = 0;
	struct hop *h = bpf_map_lookup_elem(&hop_once, &zero);

	return h && h->state != HOP_WANTED ? h : NULL;
}

static __always_inline void hop_fill(struct hop *h, const struct pkt *p, const struct hop_key *k, const struct link *l)
{
	h->key = *k;
	h->ifindex = l->ifindex;
	h->mtu = l->mtu;
	h->tags = l->tags;
	h->tag[0] = l->tag[0];
	h->tag[1] = l->tag[1];
	h->made = p->tick;
	h->state = HOP_WANTED;
}

/* A hop of its own for a way not seen before. Returns its index, 0 where there is no room to keep one, -1 where it
 * leads out by a link that is not known. */
static __always_inline int hop_make(struct xdp_md *ctx, struct pkt *p, const struct hop_key *k, int known,
				    const __u8 *dmac, const __u8 *smac)
{
	__u32 zero = 0, *made, n;
	struct edge *e = bpf_map_lookup_elem(&edge, &zero);
	struct link *l = bpf_map_lookup_elem(&link, &k->ifindex);
	struct hop *h;

	if (!e || !l)
		return -1;
	n = __sync_fetch_and_add(&e->hops, 1) + 1;
	if (n >= HOPS) {
		__sync_fetch_and_add(&e->hops, -1);
		fault(FAULT_HOPS_FULL);
		n = 0;
	}
	h = n ? bpf_map_lookup_elem(&hop, &n) : bpf_map_lookup_elem(&hop_once, &zero);
	if (!h)
		return -1;
	hop_fill(h, p, k, l);
	if (!known) {
		hop_link_addresses(h, dmac, smac);
		h->state = HOP_VALID;
	} else if (p->learn && hop_learn(ctx, h, l)) {
		h->state = HOP_LEARNED;
	}
	if (n && bpf_map_update_elem(&hop_index, k, &n, BPF_NOEXIST)) { /* another CPU was first: its hop is the one */
		made = bpf_map_lookup_elem(&hop_index, k);
		return made ? *made : -1;
	}
	return n;
}

/* The hop towards p->to. Returns its index, 0 = it can't be kept (hop_unkept has it for now), -1 = no
 * route. What the kernel says of an existing hop's link addresses is written into it: it stays right while the
 * daemon is dead. */
NOINLINE int hop_for(struct xdp_md *ctx, struct pkt *p)
{
	__u8 dmac[6] = {}, smac[6] = {};
	struct hop_key k;
	struct hop *h;
	__u32 *i;
	int known;

	if (!p)
		return -1;
	known = env_route(ctx, p->family, p->to, &k, dmac, smac);
	if (known < 0)
		return -1;
	i = bpf_map_lookup_elem(&hop_index, &k);
	if (!i)
		return hop_make(ctx, p, &k, known, dmac, smac);
	h = bpf_map_lookup_elem(&hop, i);
	if (h && known && h->state == HOP_WANTED && p->learn) {
		struct link *l = bpf_map_lookup_elem(&link, &k.ifindex);

		if (l && hop_learn(ctx, h, l))
			h->state = HOP_LEARNED;
	}
	if (h && !known && (h->state != HOP_VALID || !same_mac(h->dst, dmac) || !same_mac(h->src, smac))) {
		hop_link_addresses(h, dmac, smac);
		h->state = HOP_VALID;
	}
	return *i;
}

/* The hop that was kept can't be used: the kernel is asked for the way to p->to. */
static __always_inline struct hop *hop_again(struct xdp_md *ctx, struct pkt *p, __u16 *kept)
{
	int i = hop_for(ctx, p);

	if (i < 0)
		return NULL;
	*kept = i;
	return i ? hop_get(i) : hop_unkept();
}

/* Makes the frame's link header the hop's: its tags, not those that came in. */
static __always_inline int write_link(struct xdp_md *ctx, struct pkt *p, const struct hop *h)
{
	int grow = ((int)h->tags - (int)p->tags) * (int)sizeof(struct vlan_hdr);
	void *data, *end;
	struct vlan_hdr *tag;
	struct ethhdr *eth;
	__be16 proto = p->family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);

	if (grow && bpf_xdp_adjust_head(ctx, -grow))
		return -1;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	if ((void *)(eth + 1) > end)
		return -1;
	__builtin_memcpy(eth->h_dest, h->dst, 6);
	__builtin_memcpy(eth->h_source, h->src, 6);
	if (!h->tags) {
		eth->h_proto = proto;
		return 0;
	}
	tag = (void *)(eth + 1);
	if ((void *)(tag + 2) > end)
		return -1;
	eth->h_proto = h->tag[0].proto;
	tag[0].tci = h->tag[0].tci;
	if (h->tags == 1) {
		tag[0].proto = proto;
		return 0;
	}
	tag[0].proto = h->tag[1].proto;
	tag[1].tci = h->tag[1].tci;
	tag[1].proto = proto;
	return 0;
}

/* The packet is already rewritten: sends it. */
static __always_inline enum verdict leave(struct xdp_md *ctx, struct pkt *p, const struct hop *h)
{
	__u32 out = h->ifindex;

	if (write_link(ctx, p, h))
		return abort_changed(p);
	if (out == ctx->ingress_ifindex)
		return VERDICT_TX;
	if (bpf_redirect_map(&tx_port, out, XDP_ABORTED) != XDP_REDIRECT)
		return abort_changed(p);
	return VERDICT_REDIRECT;
}
