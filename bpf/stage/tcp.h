/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What does a TCP header say? It is read whole into a box, options included, and changed there: options lie at any offset, and what a
 * packet holds at a variable offset neither the verifier nor a checksum likes. Of an option that comes twice the first counts; what is
 * malformed ends the list, as it does for the stacks behind us.
 */
#pragma once

#include "../lib/csum.h"
#include "parse.h"

#define TCP_PSH 0x08
#define TCP_URG 0x20
#define TCP_HEADER_MAX 60
#define TCP_BOX 72 /* and whole words beyond its end */
#define TCP_OPTIONS_MAX 40

#define TCP_OPT_END 0
#define TCP_OPT_NOP 1
#define TCP_OPT_MSS 2
#define TCP_OPT_SCALE 3
#define TCP_OPT_PERMITS 4
#define TCP_OPT_BLOCKS 5
#define TCP_OPT_TIMES 8
#define TCP_SCALE_MAX 14 /* RFC 7323 2.3: more is taken for this */
#define TCP_SCALE_NONE 15

/* Where in the header options begin; 0 = it has none of that kind. */
struct tcp_options {
	__u8 mss;
	__u8 scale;
	__u8 permits; /* SACK */
	__u8 blocks; /* SACK's */
	__u8 times;
	__u8 blocks_end;
	__u8 pad[2];
};

struct tcp_box {
	__u8 was[TCP_BOX];
	__u8 now[TCP_BOX];
	struct tcp_options opt;
	__u32 length; /* of the header */
	__u32 sum; /* what changes beside it: its length in the pseudo-header */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct tcp_box);
	__uint(max_entries, 1);
} tcp_box SEC(".maps");

static __always_inline struct tcp_box *tcp_box_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tcp_box, &zero);
}

/* A word at an offset of the box; its bytes are the wire's. */
static __always_inline __u32 tcp_word(const struct tcp_box *b, __u32 at)
{
	return *(const __u32 *)(b->now + (at & 63));
}

static __always_inline void tcp_word_put(struct tcp_box *b, __u32 at, __be32 v)
{
	*(__u32 *)(b->now + (at & 63)) = v;
}

static __always_inline __u32 tcp_number(const struct tcp_box *b, __u32 at)
{
	return bpf_ntohl(tcp_word(b, at));
}

static __always_inline void tcp_number_put(struct tcp_box *b, __u32 at, __u32 v)
{
	tcp_word_put(b, at, bpf_htonl(v));
}

#define TCP_SEQ 4
#define TCP_ACKED 8
#define TCP_OFFSET 12
#define TCP_FLAGS 13
#define TCP_WINDOW 14
#define TCP_CHECK 16

static __always_inline __u32 tcp_window(const struct tcp_box *b)
{
	return b->now[TCP_WINDOW] << 8 | b->now[TCP_WINDOW + 1];
}

static __always_inline void tcp_window_put(struct tcp_box *b, __u32 v)
{
	b->now[TCP_WINDOW] = v >> 8;
	b->now[TCP_WINDOW + 1] = v;
}

struct tcp_walk {
	__u32 at;
	__u32 end;
	struct tcp_options opt;
};

static __always_inline void tcp_note(struct tcp_walk *w, __u8 kind, __u8 length)
{
	__u8 at = w->at;

	if (kind == TCP_OPT_MSS && length == 4 && !w->opt.mss)
		w->opt.mss = at;
	else if (kind == TCP_OPT_SCALE && length == 3 && !w->opt.scale)
		w->opt.scale = at;
	else if (kind == TCP_OPT_PERMITS && length == 2 && !w->opt.permits)
		w->opt.permits = at;
	else if (kind == TCP_OPT_TIMES && length == 10 && !w->opt.times)
		w->opt.times = at;
	else if (kind == TCP_OPT_BLOCKS && length >= 10 && !((length - 2) & 7) && !w->opt.blocks) {
		w->opt.blocks = at;
		w->opt.blocks_end = at + length;
	}
}

static long tcp_option(__u32 i, struct tcp_walk *w)
{
	struct tcp_box *b = tcp_box_get();
	__u32 at = w->at, length;
	__u8 kind;

	if (!b || at >= w->end)
		return 1;
	kind = b->now[at & 63];
	if (kind == TCP_OPT_END)
		return 1;
	if (kind == TCP_OPT_NOP) {
		w->at = at + 1;
		return 0;
	}
	length = b->now[(at + 1) & 63]; /* beyond the header: 0 */
	if (length < 2 || at + length > w->end)
		return 1;
	tcp_note(w, kind, length);
	w->at = at + length;
	return 0;
}

static __always_inline void tcp_walk(struct tcp_box *b)
{
	struct tcp_walk w = { .at = sizeof(struct tcphdr), .end = b->length };

	if (b->length > sizeof(struct tcphdr))
		bpf_loop(TCP_OPTIONS_MAX, tcp_option, &w, 0);
	b->opt = w.opt;
}

static __always_inline void tcp_keep(struct tcp_box *b)
{
	for (int i = 0; i < TCP_BOX; i += 8)
		*(__u64 *)(b->was + i) = *(__u64 *)(b->now + i);
}

/* Puts the packet's TCP header into the box. 0, or -1 where it has none. */
static NOINLINE int tcp_read(struct xdp_md *ctx, const struct pkt *p, struct tcp_box *b)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l4 = p->l4, length;
	struct tcphdr *tcp;

	if (l4 > L4_MAX)
		return -1;
	tcp = data + l4;
	if ((void *)(tcp + 1) > end)
		return -1;
	length = (((__u8 *)tcp)[TCP_OFFSET] >> 4) * 4;
	__builtin_memset(b, 0, sizeof(*b));
	b->length = length;
	if (!gate_bounded(length, TCP_HEADER_MAX) || bpf_xdp_load_bytes(ctx, l4, b->now, length))
		return -1;
	tcp_keep(b);
	tcp_walk(b);
	return 0;
}

/* Puts it back as it is now, with a checksum that is as right as it was. */
static NOINLINE int tcp_write(struct xdp_md *ctx, const struct pkt *p, struct tcp_box *b)
{
	__u32 l4 = p->l4, length = b->length;
	__u16 check = *(__u16 *)(b->was + TCP_CHECK);
	__s64 sum;

	sum = bpf_csum_diff((void *)b->was, TCP_HEADER_MAX, (void *)b->now, TCP_HEADER_MAX, b->sum);
	*(__u16 *)(b->now + TCP_CHECK) = csum_apply(check, csum_fold(sum));
	if (l4 > L4_MAX || !gate_bounded(length, TCP_HEADER_MAX) || bpf_xdp_store_bytes(ctx, l4, b->now, length))
		return -1;
	return 0;
}

/* The same of a header that is all new: its checksum is made from nothing. No payload follows. */
static NOINLINE int tcp_write_new(struct xdp_md *ctx, const struct pkt *p, struct tcp_box *b)
{
	__u32 l4 = p->l4, length = b->length, sum;

	sum = bpf_htons(IPPROTO_TCP) + bpf_htons(length);
	for (int i = 0; i < 16; i += 4)
		sum += csum_word(*(__u32 *)(p->src + i)) + csum_word(*(__u32 *)(p->dst + i));
	*(__u16 *)(b->now + TCP_CHECK) = 0;
	sum = bpf_csum_diff(0, 0, (void *)b->now, TCP_HEADER_MAX, csum_fold(sum));
	*(__u16 *)(b->now + TCP_CHECK) = ~csum_fold(sum);
	if (l4 > L4_MAX || !gate_bounded(length, TCP_HEADER_MAX) || bpf_xdp_store_bytes(ctx, l4, b->now, length))
		return -1;
	return 0;
}

/* Makes the IP header say that the packet is `length` bytes long. p->l3_len stays: what came in is what is counted. */
static __always_inline int tcp_l3_length(struct xdp_md *ctx, const struct pkt *p, __u32 length)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l3 = p->l3;
	struct ipv6hdr *ip6;
	struct iphdr *ip;

	if (l3 > L3_MAX)
		return -1;
	if (p->family == 4) {
		ip = data + l3;
		if ((void *)(ip + 1) > end)
			return -1;
		ip->check = csum_apply(ip->check, csum_change2(ip->tot_len, bpf_htons(length)));
		ip->tot_len = bpf_htons(length);
	} else {
		ip6 = data + l3;
		if ((void *)(ip6 + 1) > end)
			return -1;
		ip6->payload_len = bpf_htons(length - sizeof(*ip6));
	}
	return 0;
}

/* Flags that no stack sends together, of a segment that no session expects. */
static __always_inline bool tcp_odd(__u8 flags)
{
	__u8 f = flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK);

	if (f & TCP_SYN)
		return f & (TCP_FIN | TCP_RST) || flags & TCP_URG;
	if (f & TCP_RST)
		return f & TCP_FIN;
	return !(f & TCP_ACK); /* none at all, a FIN, PSH or URG alone */
}
