/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is it an ICMP error about one of our sessions? Then it is translated and sent on, whichever side it came from, so
 * that path MTU discovery works through the edge. An error about a packet X goes to X's sender, so the half that
 * an answer to X would travel in says where to. It is believed only where the embedded tuple is a live session's,
 * stays within a budget, and changes no session's state.
 */
#pragma once

#include "admit.h"
#include "icmp_reply.h"

/* One for each CPU: the stack has no room for it. */
struct embedded {
	__u32 end; /* of the error: what lies behind it in the frame is not its */
	__u16 l3; /* offset of the embedded IP header */
	__u16 l4;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 src[16];
	__u8 dst[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct embedded);
	__uint(max_entries, 1);
} embedded SEC(".maps");

static __always_inline bool is_error4(__u8 type)
{
	return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

static __always_inline bool is_error6(__u8 type)
{
	return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
}

/* Reads the packet that the error is about: at least its IP header and ports. */
static __always_inline int embedded_read(struct embedded *x, struct xdp_md *ctx, const struct pkt *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 at = p->l4 + sizeof(struct icmphdr);
	__be16 *ports;

	if (at > L4_MAX)
		return -1;
	x->l3 = at;
	x->end = p->l3 + p->l3_len;
	if (p->family == 4) {
		struct iphdr *ip = data + at;

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5 || ip->frag_off & bpf_htons(IP_OFFSET))
			return -1;
		*(__u32 *)x->src = ip->saddr;
		*(__u32 *)x->dst = ip->daddr;
		x->proto = ip->protocol;
		at += ip->ihl * 4;
	} else {
		struct ipv6hdr *ip = data + at;

		if ((void *)(ip + 1) > end || ip->version != 6)
			return -1;
		__builtin_memcpy(x->src, &ip->saddr, 16);
		__builtin_memcpy(x->dst, &ip->daddr, 16);
		x->proto = ip->nexthdr;
		at += sizeof(*ip);
		if (x->proto == NEXTHDR_FRAGMENT) {
			struct frag_hdr *f = (void *)(ip + 1);

			if ((void *)(f + 1) > end || f->offset & bpf_htons(~7)) /* only a first one says whose it is */
				return -1;
			x->proto = f->next;
			at += sizeof(*f);
		}
	}
	barrier_var(at); /* 6.1 loses the bound of what clang makes of it otherwise */
	if ((x->proto != IPPROTO_UDP && x->proto != IPPROTO_TCP) || at > L4_MAX)
		return -1;
	x->l4 = at;
	ports = data + at;
	if ((void *)(ports + 2) > end || x->l4 + 4 > x->end)
		return -1;
	x->sport = ports[0];
	x->dport = ports[1];
	return 0;
}

/* Replaces a 16-bit word and notes what that does to the sum over it. */
static __always_inline void swap2(__u16 *at, __u16 to, __u32 *delta)
{
	*delta += csum_change2(*at, to);
	*at = to;
}

/* The embedded L4 checksum, where it is there: it covers addresses and ports. */
static __always_inline void embedded_l4_check(const struct embedded *x, void *data, void *end, __u32 change,
					      __u32 *delta)
{
	__u64 at = x->l4 + (x->proto == IPPROTO_UDP ? 6 : 16);
	__u16 *check, to;

	barrier_var(at); /* as above */
	if (at > L4_MAX + 16)
		return;
	check = data + at;
	if ((void *)(check + 1) > end || x->l4 + (x->proto == IPPROTO_UDP ? 8 : 18) > x->end)
		return;
	if (x->proto == IPPROTO_UDP && !*check)
		return;
	to = csum_apply(*check, change);
	if (x->proto == IPPROTO_UDP && !to)
		to = 0xffff;
	swap2(check, to, delta);
}

static __always_inline int embedded_ports(const struct embedded *x, void *data, void *end, __be16 sport, __be16 dport,
					  __u32 *delta)
{
	__u64 at = x->l4;
	__be16 *ports;

	barrier_var(at); /* as above */
	if (at > L4_MAX)
		return -1;
	ports = data + at;
	if ((void *)(ports + 2) > end)
		return -1;
	swap2(&ports[0], sport, delta);
	swap2(&ports[1], dport, delta);
	return 0;
}

/* The sequence number of a segment that was sent to a client of the SYN proxy, as its server knows it: else the server takes the error
 * for somebody else's. Returns what that does to the segment's own checksum. */
static __always_inline __u32 embedded_seq(const struct embedded *x, __u32 family, void *data, void *end,
					  const struct flow *f, __u32 *delta)
{
	__u64 at = x->l4 + 4;
	struct proxied *side;
	__be32 *seq, was, now;

	if (!cfg.proxied || x->proto != IPPROTO_TCP || (f->state & (FLOW_PROXIED | FLOW_RETURN)) != FLOW_PROXIED)
		return 0;
	side = side_up(family, f);
	if (!side || x->l4 + 8 > x->end)
		return 0;
	barrier_var(at); /* as above */
	if (at > L4_MAX + 4)
		return 0;
	seq = data + at;
	if ((void *)(seq + 1) > end)
		return 0;
	was = *seq;
	now = bpf_htonl(bpf_ntohl(was) - side->delta);
	*seq = now;
	was = csum_change4(was, now);
	*delta += was;
	return was;
}

/* Embedded C > F's view becomes the receiver's: its source is the half's destination and the other way round. */
static __always_inline int translate4(struct xdp_md *ctx, struct pkt *p, const struct embedded *x,
				      const struct flow4 *f, bool keep_source)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l3 = p->l3, l4 = p->l4, in = x->l3, delta = 0, addrs, ports = 0;
	struct iphdr *ip, *inner;
	struct icmphdr *icmp;

	if (l3 > L3_MAX || l4 > L4_MAX || in > L4_MAX)
		return DROP_REASON_INTERNAL;
	ip = data + l3;
	icmp = data + l4;
	inner = data + in;
	if ((void *)(ip + 1) > end || (void *)(icmp + 1) > end || (void *)(inner + 1) > end)
		return DROP_REASON_INTERNAL;
	if (ip->ttl <= 1)
		return DROP_REASON_TTL;
	addrs = csum_change4(inner->saddr, f->dst) + csum_change4(inner->daddr, f->src);
	delta += addrs;
	inner->saddr = f->dst;
	inner->daddr = f->src;
	swap2(&inner->check, csum_apply(inner->check, addrs), &delta);
	if (embedded_ports(x, data, end, f->dport, f->sport, &ports))
		return DROP_REASON_INTERNAL;
	delta += ports;
	ports += embedded_seq(x, 4, data, end, &f->f, &delta);
	embedded_l4_check(x, data, end, addrs + ports, &delta);
	icmp->checksum = csum_apply(icmp->checksum, delta);
	addrs = csum_change4(ip->daddr, f->dst) + TTL_DELTA;
	ip->daddr = f->dst;
	if (!keep_source) {
		addrs += csum_change4(ip->saddr, f->src);
		ip->saddr = f->src;
	}
	ip->ttl--;
	ip->check = csum_apply(ip->check, addrs);
	return 0;
}

static __always_inline int translate6(struct xdp_md *ctx, struct pkt *p, const struct embedded *x,
				      const struct flow6 *f, bool keep_source)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l3 = p->l3, l4 = p->l4, in = x->l3, delta = 0, addrs, ports = 0;
	struct ipv6hdr *ip, *inner;
	struct icmp6hdr *icmp;

	if (l3 > L3_MAX || l4 > L4_MAX || in > L4_MAX)
		return DROP_REASON_INTERNAL;
	ip = data + l3;
	icmp = data + l4;
	inner = data + in;
	if ((void *)(ip + 1) > end || (void *)(icmp + 1) > end || (void *)(inner + 1) > end)
		return DROP_REASON_INTERNAL;
	if (ip->hop_limit <= 1)
		return DROP_REASON_TTL;
	addrs = csum_change16(x->src, f->dst) + csum_change16(x->dst, f->src);
	delta += addrs;
	__builtin_memcpy(&inner->saddr, f->dst, 16);
	__builtin_memcpy(&inner->daddr, f->src, 16);
	if (embedded_ports(x, data, end, f->dport, f->sport, &ports))
		return DROP_REASON_INTERNAL;
	delta += ports;
	ports += embedded_seq(x, 6, data, end, &f->f, &delta);
	embedded_l4_check(x, data, end, csum_fold(addrs) + csum_fold(ports), &delta);
	delta = csum_fold(delta) + csum_fold(csum_change16(p->dst, f->dst)); /* the pseudo-header's part */
	__builtin_memcpy(&ip->daddr, f->dst, 16);
	if (!keep_source) {
		delta += csum_fold(csum_change16(p->src, f->src));
		__builtin_memcpy(&ip->saddr, f->src, 16);
	}
	icmp->checksum = csum_apply(icmp->checksum, delta);
	ip->hop_limit--;
	return 0;
}

/* An error is longer than the packet that it is about: to a client that is not proven it is one of the answers that have a budget. */
static __always_inline bool error_given(struct pkt *p, const struct flow *f, const void *client)
{
	__u32 i = f->service;
	struct service *svc;

	if (!p->down || FLOW_PHASE(f->state) != PHASE_OPENING || f->state & FLOW_SERVER_STARTED ||
	    answer_take(p, client, p->l3_len, f->state & FLOW_AGAIN))
		return true;
	svc = bpf_map_lookup_elem(&service, &i);
	return svc && !refuse(p, DROP_REASON_ANSWER_BUDGET, svc->enforce);
}

/* May the error go on to the half's receiver? Returns VERDICT_NEXT for yes; the half's hop is in *h. */
static __always_inline int error_pass(struct pkt *p, const struct flow *f, const void *client, struct hop **h)
{
	p->service = f->service;
	p->down = !!(f->state & FLOW_RETURN);
	if (!icmp_budget(p))
		return drop(p, DROP_REASON_ICMP_RATE);
	if (f->state & FLOW_LOCAL)
		return VERDICT_PASS;
	if (!error_given(p, f, client))
		return drop(p, DROP_REASON_ANSWER_BUDGET);
	*h = hop_get(f->hop);
	return *h ? VERDICT_NEXT : drop(p, DROP_REASON_NO_NEIGHBOR);
}

/* With `transparent` the server sees players' addresses, and routers' too. */
static __always_inline bool keeps_source(const struct pkt *p, const struct flow *f)
{
	return !p->down && !(f->state & FLOW_NAT);
}

static __always_inline int error_leave(struct xdp_md *ctx, struct pkt *p, const struct hop *h, int err)
{
	if (err)
		return err == DROP_REASON_TTL ? drop(p, err) : abort_changed(p);
	return leave(ctx, p, h);
}

static __always_inline struct embedded *embedded_new(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&embedded, &zero);
}

/* About no live session. One that claims to be about a service's or a NAT port's packet is nobody's; else NEXT: it
 * may be about the host's own. */
static __always_inline int error_unrelated(struct pkt *p, const struct embedded *x)
{
	struct front *f = front_of(p->family, x->src, x->sport, x->proto);

	if (f)
		p->service = f->service;
	else if (!cfg.nat || !nat_port_taken(x->sport) || !is_own(p, x->src))
		return VERDICT_NEXT;
	return drop(p, DROP_REASON_ICMP_UNRELATED);
}

/* The return slot has become another session's while it was read: part of the error may be in that one's terms. */
static __always_inline bool changed_hands(const struct flow *f, __u64 from)
{
	barrier(); /* nothing of it is read again after the check */
	return from && *(volatile __u64 *)&f->word != from;
}

/* Both: NEXT = not about anything of ours. */
NOINLINE int error4(struct xdp_md *ctx, struct pkt *p)
{
	struct embedded *x = embedded_new();
	struct hop *h = NULL;
	struct flow4 *f;
	__u64 from;
	__u32 slot;
	int v, err;

	if (!p || !x || embedded_read(x, ctx, p))
		return VERDICT_NEXT;
	f = half4(addrs_word(addr4(x->dst), addr4(x->src)), rest_word(x->dport, x->sport, x->proto), &from, &slot);
	if (!f || !carries(f->f.state))
		return error_unrelated(p, x);
	*(__u32 *)p->to = f->dst; /* whom it is for, should it be told of */
	v = error_pass(p, &f->f, &f->dst, &h);
	if (v || !h)
		return v;
	err = translate4(ctx, p, x, f, keeps_source(p, &f->f));
	return changed_hands(&f->f, from) ? drop(p, DROP_REASON_RACE) : error_leave(ctx, p, h, err);
}

NOINLINE int error6(struct xdp_md *ctx, struct pkt *p)
{
	struct embedded *x = embedded_new();
	struct hop *h = NULL;
	struct flow6 *f;
	__u64 from;
	__u32 slot;
	int v, err;

	if (!p || !x || embedded_read(x, ctx, p))
		return VERDICT_NEXT;
	f = half6(x->dst, x->src, rest_word(x->dport, x->sport, x->proto), &from, &slot);
	if (!f || !carries(f->f.state))
		return error_unrelated(p, x);
	addr_copy(p->to, f->dst);
	v = error_pass(p, &f->f, f->dst, &h);
	if (v || !h)
		return v;
	err = translate6(ctx, p, x, f, keeps_source(p, &f->f));
	return changed_hands(&f->f, from) ? drop(p, DROP_REASON_RACE) : error_leave(ctx, p, h, err);
}
