/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A server has answered the SYN that the edge sent it for a client. Two packets are due: the ACK to the server, with the PROXY header if one
 * is configured, so that a server that speaks first does; and to the client the window that its answer had not. XDP makes
 * one packet of one, so the server's goes up to the traffic control's ingress, which is before the host's own stack, can clone, and
 * works with any driver and while the daemon is dead. A server that answers again has not got the ACK: both go out again.
 */
#pragma once

#include "connect.h"

/* One of the two. */
struct shake {
	__u8 src[16];
	__u8 dst[16];
	__be16 sport;
	__be16 dport;
	__u32 seq;
	__u32 acked;
	__u32 window;
	__u32 tsval;
	__u32 tsecr;
	__u32 header; /* its length; 0 = none */
	__u32 hop;
};

/* One as it is put together; after it has left a test can read what it was. */
struct shake_room {
	struct shake s;
	__u8 link[16];
	__u8 l3[40];
	__u8 l4[32];
	__u8 header[HEADER6 + 4];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct shake_room);
	__uint(max_entries, 2);
} shake_room SEC(".maps");

#define SHAKE_SERVER 0
#define SHAKE_CLIENT 1

static __always_inline struct shake_room *shake_room_get(__u32 whose)
{
	return bpf_map_lookup_elem(&shake_room, &whose);
}

static __always_inline void shake_l3(struct shake_room *r, __u32 family, __u32 l4)
{
	__u32 *w = (__u32 *)r->l3;

	if (family == 4) {
		w[0] = bpf_htonl(0x45000000 | (sizeof(struct iphdr) + l4));
		w[1] = bpf_htonl(IP_DF);
		w[2] = bpf_htonl(ANSWER_TTL << 24 | IPPROTO_TCP << 16);
		w[3] = addr4(r->s.src);
		w[4] = addr4(r->s.dst);
		((__u16 *)w)[5] = ~csum_fold(bpf_csum_diff(0, 0, (void *)w, sizeof(struct iphdr), 0));
	} else {
		w[0] = bpf_htonl(0x60000000);
		w[1] = bpf_htonl(l4 << 16 | IPPROTO_TCP << 8 | ANSWER_TTL);
		addr_copy(r->l3 + 8, r->s.src);
		addr_copy(r->l3 + 24, r->s.dst);
	}
}

static __always_inline void shake_l4(struct shake_room *r, bool times)
{
	__u32 *w = (__u32 *)r->l4, length = times ? 32 : 20, sum;
	struct shake *s = &r->s;

	w[0] = s->sport | (__u32)s->dport << 16;
	w[1] = bpf_htonl(s->seq);
	w[2] = bpf_htonl(s->acked);
	w[3] = bpf_htonl(length << 26 | (TCP_ACK | (s->header ? TCP_PSH : 0)) << 16 | (s->window & 0xffff));
	w[4] = 0;
	w[5] = times ? bpf_htonl(0x01010000 | TCP_OPT_TIMES << 8 | 10) : 0;
	w[6] = times ? bpf_htonl(s->tsval) : 0;
	w[7] = times ? bpf_htonl(s->tsecr) : 0;
	sum = bpf_htons(IPPROTO_TCP) + bpf_htons(length + s->header);
	for (int i = 0; i < 16; i += 4)
		sum += csum_word(*(__u32 *)(s->src + i)) + csum_word(*(__u32 *)(s->dst + i));
	sum = bpf_csum_diff(0, 0, (void *)w, 32, csum_fold(sum));
	if (s->header)
		sum = bpf_csum_diff(0, 0, (void *)r->header, HEADER6, csum_fold(sum));
	((__u16 *)w)[8] = ~csum_fold(sum);
}

#define SHAKE_PUT(skb, at, from, length) bpf_skb_store_bytes(skb, at, from, length, BPF_F_RECOMPUTE_CSUM)

/* Makes the buffer the packet that a room describes. Returns the interface that it leaves by, 0 = it can't. */
NOINLINE int shake_make(struct __sk_buff *skb, __u32 whose, __u32 family, __u32 times)
{
	struct shake_room *r = shake_room_get(whose);
	__u32 l3 = sizeof(struct ethhdr), l4, tcp = times ? 32 : 20;
	struct hop *h = r ? hop_get(r->s.hop) : NULL;

	if (!h)
		return 0;
	for (int i = 0; i < LINK_TAGS_MAX && skb->vlan_present; i++)
		if (bpf_skb_vlan_pop(skb))
			return 0;
	__builtin_memcpy(r->link, h->dst, 6);
	__builtin_memcpy(r->link + 6, h->src, 6);
	*(__be16 *)(r->link + 12) = family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	shake_l3(r, family, tcp + r->s.header);
	shake_l4(r, times);
	l4 = l3 + (family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	if (bpf_skb_change_tail(skb, l4 + tcp + r->s.header, 0) || SHAKE_PUT(skb, 0, r->link, 14) ||
	    SHAKE_PUT(skb, l3, r->l3, family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) ||
	    SHAKE_PUT(skb, l4, r->l4, times ? 32 : 20))
		return 0;
	if (r->s.header && SHAKE_PUT(skb, l4 + tcp, r->header, r->s.header == HEADER4 ? HEADER4 : HEADER6))
		return 0;
	for (int i = LINK_TAGS_MAX - 1; i >= 0; i--)
		if (i < h->tags && bpf_skb_vlan_push(skb, h->tag[i].proto, bpf_ntohs(h->tag[i].tci)))
			return 0;
	return h->ifindex;
}

/* The ACK to the server. p is the server's answer. */
static __always_inline void shake_server(struct shake_room *r, const struct pkt *p, const struct proxied *x,
					 const struct tcp_box *b, __u32 state)
{
	struct shake *s = &r->s;

	addr_copy(s->src, p->dst);
	addr_copy(s->dst, p->src);
	s->sport = p->dport;
	s->dport = p->sport;
	s->seq = server_isn(p, x, state) + 1;
	s->acked = tcp_number(b, TCP_SEQ) + 1;
	s->window = x->window;
	s->tsval = x->ts;
	s->tsecr = b->opt.times ? tcp_number(b, b->opt.times + 2) : 0;
	s->header = 0;
	if (state & FLOW_HEADER)
		s->header = header_make(r->header, p->family, p->to, p->as, p->to_port, p->as_port);
}

/* The window to the client: of a SYN it is never scaled. */
static __always_inline void shake_client(struct shake_room *r, const struct pkt *p, const struct proxied *x,
					 const struct tcp_box *b)
{
	__u32 scaled = (x->scales & 15) != TCP_SCALE_NONE && x->scales >> 4 != TCP_SCALE_NONE;
	struct shake *s = &r->s;

	addr_copy(s->src, p->as);
	addr_copy(s->dst, p->to);
	s->sport = p->as_port;
	s->dport = p->to_port;
	s->seq = x->cookie + 1;
	s->acked = x->isn + 1;
	s->window = tcp_window(b) >> (scaled ? x->scales >> 4 : 0);
	s->tsval = (b->opt.times ? tcp_number(b, b->opt.times + 2) : 0) + x->ts_delta;
	s->tsecr = x->ts;
	s->header = 0;
}

/* The half that a server's answer belongs to. */
static NOINLINE struct flow *shake_half(struct pkt *p, __u32 *slot)
{
	__u64 from, rest = rest_word(p->sport, p->dport, p->proto);

	if (p->family == 4) {
		struct flow4 *f = half4(addrs_word(addr4(p->src), addr4(p->dst)), rest, &from, slot);

		if (!f)
			return NULL;
		*(__u32 *)p->to = f->dst;
		*(__u32 *)p->as = f->src;
		p->to_port = f->dport;
		p->as_port = f->sport;
		return &f->f;
	} else {
		struct flow6 *f = half6(p->src, p->dst, rest, &from, slot);

		if (!f)
			return NULL;
		addr_copy(p->to, f->dst);
		addr_copy(p->as, f->src);
		p->to_port = f->dport;
		p->as_port = f->sport;
		return &f->f;
	}
}

/* The header of a server's answer, into the box. */
static __always_inline int shake_read(struct __sk_buff *skb, const struct pkt *p, struct tcp_box *b)
{
	__u32 at = p->l4, length = p->l3 + p->l3_len - at;

	if (length > TCP_HEADER_MAX) /* what it says with it, it says again */
		length = TCP_HEADER_MAX;
	__builtin_memset(b, 0, sizeof(*b));
	if (!gate_bounded(length, TCP_HEADER_MAX) || bpf_skb_load_bytes(skb, at, b->now, length))
		return -1;
	b->length = (b->now[TCP_OFFSET] >> 4) * 4;
	if (b->length > TCP_HEADER_MAX)
		return -1;
	tcp_walk(b);
	return 0;
}

/* Any other packet than a server's answer goes on its way. */
NOINLINE int shake_other(struct __sk_buff *skb, struct pkt *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (!p)
		return true;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + sizeof(struct ethhdr);

		if ((void *)(ip + 1) <= end && ip->version == 4 && ip->protocol != IPPROTO_TCP)
			return true;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + sizeof(struct ethhdr);

		if ((void *)(ip + 1) <= end && ip->version == 6 && ip->nexthdr == IPPROTO_UDP)
			return true;
	} else {
		return true;
	}
	p->len = skb->len;
	return parse(p, data, end) || p->proto != IPPROTO_TCP || p->frag ||
	       (p->tcp & (TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST)) != (TCP_SYN | TCP_ACK);
}

static __always_inline int handshake(struct __sk_buff *skb)
{
	struct shake_room *r = shake_room_get(SHAKE_SERVER), *c = shake_room_get(SHAKE_CLIENT);
	struct tcp_box *b = tcp_box_get();
	struct flow *down, *up;
	struct pkt p = {};
	struct proxied *x;
	__u32 slot = 0, state, times;
	int out;

	if (shake_other(skb, &p) || !r || !c || !b)
		return TC_ACT_UNSPEC;
	p.down = 1;
	down = shake_half(&p, &slot);
	state = down ? down->state : 0;
	if (!carries(state) || (state & (FLOW_RETURN | FLOW_PROXIED)) != (FLOW_RETURN | FLOW_PROXIED))
		return TC_ACT_UNSPEC;
	x = side_of(p.family, down, state, slot);
	up = first_half(&p);
	if (!x || !up || shake_read(skb, &p, b) || !(x->flags & PROXIED_CONNECTED) ||
	    tcp_number(b, TCP_SEQ) + x->delta != x->cookie)
		return TC_ACT_SHOT;
	times = !!(x->flags & PROXIED_TIMESTAMPS);
	shake_server(r, &p, x, b, state);
	r->s.hop = up->hop;
	out = shake_make(skb, SHAKE_SERVER, p.family, times);
	if (out)
		bpf_clone_redirect(skb, out, 0);
	shake_client(c, &p, x, b);
	c->s.hop = down->hop;
	out = shake_make(skb, SHAKE_CLIENT, p.family, times);
	return out ? bpf_redirect(out, 0) : TC_ACT_SHOT;
}
