/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * PROXY protocol version 2: the server is told its client in the first bytes of the stream. It hears of a connection whose initial number
 * is less than the client's by the header's length, so that the header lies between the two and nothing that comes behind
 * it has other numbers than the client gave it. The header goes before each segment of the client's that begins at its first byte, be
 * it empty, until the server has acknowledged all of the header; until then the client is told that the server has. As both may
 * send segments of the size that the other names, both are told a smaller one.
 */
#pragma once

#include "egress.h"
#include "side.h"
#include "translate.h"

#define HEADER_TCP4 0x11
#define HEADER_TCP6 0x21

struct header_room {
	__u8 head[L3_MAX + 2 * TCP_HEADER_MAX + 18]; /* what is before the payload */
	__u8 header[HEADER6 + 4];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct header_room);
	__uint(max_entries, 1);
} header_room SEC(".maps");

static __always_inline struct header_room *header_room_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&header_room, &zero);
}

/* The frame becomes longer by `by` bytes behind its first `keep`. By its front, where XDP always has room. */
static NOINLINE int frame_grow(struct xdp_md *ctx, struct pkt *p, __u32 keep, __u32 by)
{
	struct header_room *r = header_room_get();

	if (!r || !gate_bounded(keep, sizeof(r->head)) || bpf_xdp_load_bytes(ctx, 0, r->head, keep) ||
	    bpf_xdp_adjust_head(ctx, -(int)by) || bpf_xdp_store_bytes(ctx, 0, r->head, keep))
		return -1;
	p->len += by;
	return 0;
}

/* The header about a client and the service that it called. Returns its length. */
static __always_inline __u32 header_make(__u8 *h, __u32 family, const __u8 *client, const __u8 *vip, __be16 client_port,
					 __be16 vip_port)
{
	for (int i = HEADER4; i < HEADER6; i += 4) /* of IPv4's nothing is there */
		*(__u32 *)(h + i) = 0;
	*(__u32 *)h = bpf_htonl(0x0d0a0d0a);
	*(__u32 *)(h + 4) = bpf_htonl(0x000d0a51);
	*(__u32 *)(h + 8) = bpf_htonl(0x5549540a);
	if (family == 4) {
		*(__u32 *)(h + 12) = bpf_htonl(0x21 << 24 | HEADER_TCP4 << 16 | (HEADER4 - 16));
		*(__u32 *)(h + 16) = addr4(client);
		*(__u32 *)(h + 20) = addr4(vip);
		*(__u32 *)(h + 24) = client_port | (__u32)vip_port << 16;
		return HEADER4;
	}
	*(__u32 *)(h + 12) = bpf_htonl(0x21 << 24 | HEADER_TCP6 << 16 | (HEADER6 - 16));
	for (int i = 0; i < 16; i += 4) {
		*(__u32 *)(h + 16 + i) = *(const __u32 *)(client + i);
		*(__u32 *)(h + 32 + i) = *(const __u32 *)(vip + i);
	}
	*(__u32 *)(h + 48) = client_port | (__u32)vip_port << 16;
	return HEADER6;
}

/* How much longer a client's segment becomes. */
static __always_inline __u32 header_due(const struct pkt *p, const struct tcp_box *b, const struct proxied *x,
					__u32 state)
{
	return state & FLOW_HEADER && !p->down && !(p->tcp & (TCP_SYN | TCP_RST)) &&
			       tcp_number(b, TCP_SEQ) == x->isn + 1 ?
		       header_length(p->family) :
		       0;
}

/* Puts it before the payload of a segment whose TCP header is in the box; what the box says of that is not written yet. */
static NOINLINE int header_prepend(struct xdp_md *ctx, struct pkt *p, struct tcp_box *b)
{
	struct header_room *r = header_room_get();
	__u32 n = header_length(p->family), keep = p->l4 + b->length, at = keep, was = p->l3_len - (p->l4 - p->l3);

	if (!r)
		return -1;
	header_make(r->header, p->family, p->src, p->dst, p->sport, p->dport);
	if (frame_grow(ctx, p, keep, n) || at > L4_MAX ||
	    bpf_xdp_store_bytes(ctx, at, r->header, n == HEADER4 ? HEADER4 : HEADER6) ||
	    tcp_l3_length(ctx, p, p->l3_len + n))
		return -1;
	add_number(b, TCP_SEQ, -n);
	b->sum = csum_fold(
		bpf_csum_diff(0, 0, (void *)r->header, HEADER6, csum_change2(bpf_htons(was), bpf_htons(was + n))));
	return 0;
}

/* Lowers the size that a SYN says, of either side. */
static __always_inline void header_mss(struct tcp_box *b, __u32 n)
{
	__u32 at = b->opt.mss + 2, mss = b->now[at & 63] << 8 | b->now[(at + 1) & 63];

	if (!b->opt.mss || mss <= 2 * HEADER6)
		return;
	b->now[at & 63] = (mss - n) >> 8;
	b->now[(at + 1) & 63] = mss - n;
}
