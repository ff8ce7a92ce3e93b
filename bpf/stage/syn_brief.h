/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is an ordinary SYN of IPv4 to be answered by a cookie, or an ACK without one to be dropped? That is what floods over TCP are made of, so it
 * is asked in registers, as stage/brief.h does it of datagrams, and says what stage/syn.h says. Options are known by the few layouts that
 * stacks and floods send; who orders them otherwise goes the common way.
 */
#pragma once

#include "brief.h"
#include "syn.h"

#define SAID_MSS(w) ((w) >> 16 == (TCP_OPT_MSS << 8 | 4))
#define SAID_SCALE(w) ((w) >> 8 == (0x010000 | TCP_OPT_SCALE << 8 | 3))
#define SAID_PERMITS_TIMES (TCP_OPT_PERMITS << 24 | 2 << 16 | TCP_OPT_TIMES << 8 | 10)

/* An ordinary segment of IPv4, whose host no list denies. */
static __always_inline int syn_brief_read(struct xdp_md *ctx, struct pkt *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct front_port *f;
	__u32 port;

	if ((void *)(tcp + 1) > end)
		return -1;
	port = tcp->dest;
	f = bpf_map_lookup_elem(&front_port, &port);
	if (!f)
		return -1;
	p->len = cfg.frags ? bpf_xdp_get_buff_len(ctx) : end - data;
	p->known = KNOWN_UNLISTED;
	p->family = 4;
	p->proto = IPPROTO_TCP;
	p->l3 = sizeof(struct ethhdr);
	p->l4 = sizeof(struct ethhdr) + sizeof(struct iphdr);
	p->l3_len = bpf_ntohs(ip->tot_len);
	p->ttl = ip->ttl;
	p->tcp = ((__u8 *)tcp)[TCP_FLAGS];
	*(__u32 *)p->src = ip->saddr;
	*(__u32 *)p->dst = ip->daddr;
	p->sport = tcp->source;
	p->dport = port;
	p->service = f->service;
	p->offset = f->offset;
	return 0;
}

/* What a SYN of a known layout says. Returns how many words of options it has, -1: it is another. */
static __always_inline int syn_brief_said(const __u32 *w, const void *end, __u32 words, struct said *c)
{
	__u32 first, second, scale;

	c->scale = TCP_SCALE_NONE;
	if (words == 5)
		return 0;
	if ((void *)(w + 6) > end)
		return -1;
	first = bpf_ntohl(w[5]);
	if (!SAID_MSS(first))
		return -1;
	c->sized = true;
	c->mss = first & 0xffff;
	if (words == 6)
		return 1;
	if ((void *)(w + 8) > end)
		return -1;
	second = bpf_ntohl(w[6]);
	if (words == 8 && SAID_SCALE(second) && w[7] == bpf_htonl(0x01010000 | TCP_OPT_PERMITS << 8 | 2)) {
		scale = second & 0xff; /* Windows */
		c->permits = true;
	} else if (words == 10 && (void *)(w + 10) <= end && second == SAID_PERMITS_TIMES &&
		   SAID_SCALE(bpf_ntohl(w[9]))) {
		scale = bpf_ntohl(w[9]) & 0xff; /* Linux */
		c->permits = c->times = true;
		c->tsval = w[7];
	} else if (words == 11 && (void *)(w + 11) <= end && SAID_SCALE(second) &&
		   w[7] == bpf_htonl(0x01010000 | TCP_OPT_TIMES << 8 | 10) &&
		   w[10] == bpf_htonl(TCP_OPT_PERMITS << 24 | 2 << 16)) {
		scale = second & 0xff; /* Apple */
		c->permits = c->times = true;
		c->tsval = w[8];
	} else {
		return -1;
	}
	c->scale = scale > TCP_SCALE_MAX ? TCP_SCALE_MAX : scale;
	return words - 5;
}

/* Writes the answer over a SYN with n words of options. The frame has them: checked again for the verifier. */
static __always_inline int syn_brief_write(struct xdp_md *ctx, const struct pkt *p, const struct agreed *a, __u64 hash,
					   int n)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	__u32 *w = (void *)(ip + 1), o[AGREED_WORDS], head[4], sum, was;
	__be16 way = bpf_htons(ANSWER_TTL << 8 | IPPROTO_TCP);

	if ((void *)(w + 5) > end)
		return -1;
	agreed_words(o, a, cookie_times(hash));
	head[0] = p->dport | (__u32)p->sport << 16;
	head[1] = bpf_htonl(cookie_of(hash, a->says));
	head[2] = bpf_htonl(a->isn + 1);
	head[3] = bpf_htonl((5 + n) << 28 | (TCP_SYN | TCP_ACK) << 16);
	sum = csum_word(addr4(p->src)) + csum_word(addr4(p->dst)) + bpf_htons(IPPROTO_TCP) + bpf_htons(20 + 4 * n);
	for (int i = 0; i < 4; i++) {
		w[i] = head[i];
		sum += csum_word(head[i]);
	}
	for (int i = 0; i < AGREED_WORDS + 1; i++) {
		__u32 word = i < AGREED_WORDS ? o[i] : AGREED_PADDING; /* Apple's has one more */

		if (i >= n)
			break;
		if ((void *)(w + 6 + i) > end)
			return -1;
		w[5 + i] = word;
		sum += csum_word(word);
	}
	w[4] = (__u16)~csum_fold(sum);
	swap_link(data);
	was = ((__be16 *)ip)[4];
	ip->check = csum_apply(ip->check, csum_change2(was, way));
	((__be16 *)ip)[4] = way;
	wide_put(&ip->saddr, addr4(p->dst) | (__u64)addr4(p->src) << 32);
	return 0;
}

/* A verdict; NEXT: the common way. */
static __always_inline int syn_brief_answer(struct xdp_md *ctx, struct pkt *p, const struct service *svc)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 *w = data + sizeof(struct ethhdr) + sizeof(struct iphdr), words;
	struct server *srv;
	struct agreed a = {};
	struct said c = {};
	__u64 hash;
	int n;

	if ((void *)(w + 5) > end)
		return VERDICT_NEXT;
	words = ((__u8 *)w)[TCP_OFFSET] >> 4;
	if (p->l3_len != sizeof(struct iphdr) + 4 * words)
		return VERDICT_NEXT;
	c.isn = bpf_ntohl(w[1]);
	n = syn_brief_said(w, end, words, &c);
	srv = n < 0 ? NULL : pick_server(p, svc);
	if (!srv)
		return VERDICT_NEXT;
	syn_agree(p, svc, &c, srv, &a);
	hash = cookie_hash(p, a.isn, a.says, p->now >> GATE_COOKIE_SHIFT);
	if (syn_brief_write(ctx, p, &a, hash, n))
		return abort_changed(p);
	stranger_seen(p);
	STRANGER_COUNT(p, answered);
	return VERDICT_TX;
}

/* An ACK: is it one that the common way drops for its cookie? */
static __always_inline int syn_brief_acked(struct xdp_md *ctx, struct pkt *p, const struct service *svc)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 *w = data + sizeof(struct ethhdr) + sizeof(struct iphdr), seq, cookie;

	if ((void *)(w + 5) > end || in_grace(p, svc))
		return VERDICT_NEXT;
	seq = bpf_ntohl(w[1]);
	cookie = bpf_ntohl(w[2]) - 1;
	if (cookie_check(p, seq - 1, cookie) || cookie_check(p, seq, cookie))
		return VERDICT_NEXT;
	stranger_seen(p);
	return drop(p, DROP_REASON_BAD_COOKIE);
}

/* Returns XDP_*, or BRIEF_NO. */
static __always_inline int syn_brief(struct xdp_md *ctx, struct pkt *p)
{
	__u8 flags;
	struct service *svc;
	__u32 i;
	int v;

	p->now = env_now();
	p->tick = p->now >> TICK_SHIFT;
	if (syn_brief_read(ctx, p))
		return BRIEF_NO;
	i = p->service;
	svc = bpf_map_lookup_elem(&service, &i);
	flags = p->tcp & (TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST);
	if (!svc || tcp_odd(p->tcp) || (flags != TCP_SYN && flags != TCP_ACK) || !brief_admits(ctx, p, svc) ||
	    !syn_proxied(p, svc))
		return BRIEF_NO;
	if (cfg.geo && geo_refuses4(addr4(p->src), svc))
		return parry_exit(p, drop(p, DROP_REASON_GEO));
	if (rules_of(p)) /* calling them takes the stack that the answer is made on */
		return BRIEF_NO;
	v = flags == TCP_SYN ? syn_brief_answer(ctx, p, svc) : syn_brief_acked(ctx, p, svc);
	return v == VERDICT_NEXT ? BRIEF_NO : parry_exit(p, v);
}
