/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments of an admitted session follow its first, and so do those to an address of the host's own (their service
 * is 0). Only a first fragment that passed makes an entry; a later one without its first is dropped, so fragments must
 * arrive with the first ahead (nearly all senders do). Under NAT the IP ID is re-issued: two players' equal IDs would
 * merge at the server.
 */
#pragma once

#include "egress.h"
#include "half.h"
#include "limit.h"
#include "proof.h"
#include "rewrite.h"
#include "rules.h"
#include "session.h"

#define FRAG_TICKS (10 * TICKS_PER_SECOND)

static __always_inline void frag_key(struct frag_key *k, const struct pkt *p)
{
	__builtin_memcpy(k->src, p->src, 16);
	__builtin_memcpy(k->dst, p->dst, 16);
	k->id = p->frag_id;
	k->proto = p->proto;
}

/* Writes a fragment's IP ID. IPv6 keeps it in the fragment header, which ends where the rest begins. */
static __always_inline int frag_write_id(struct xdp_md *ctx, const struct pkt *p, __u32 id)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l3 = p->l3, at = p->l4 - sizeof(struct frag_hdr);

	barrier_var(at); /* else clang compares the end of the header instead, which the verifier can't follow */
	if (l3 > L3_MAX || at > L4_MAX)
		return -1;
	if (p->family == 4) {
		struct iphdr *ip = data + l3;

		if ((void *)(ip + 1) > end)
			return -1;
		ip->check = csum_apply(ip->check, csum_change2(ip->id, id));
		ip->id = id;
	} else {
		struct frag_hdr *h = data + at;

		if ((void *)(h + 1) > end)
			return -1;
		h->id = id;
	}
	return 0;
}

/* Remembers a first fragment that is about to leave and, under NAT, gives its datagram a new ID. p->to and p->as say what it
 * leaves with. Returns 0, or -1 where the packet is spoilt. */
NOINLINE int frag_note(struct xdp_md *ctx, struct pkt *p, __u32 state, __u32 hop)
{
	struct frag_key k = {};
	struct frag v = {};
	__u32 zero = 0;
	struct edge *e = bpf_map_lookup_elem(&edge, &zero);

	if (!p || !e)
		return -1;
	frag_key(&k, p);
	v.id = p->frag_id;
	if (state & FLOW_NAT) {
		v.id = __sync_fetch_and_add(&e->frag_id, 1);
		if (p->family == 4)
			v.id &= 0xffff;
		if (frag_write_id(ctx, p, v.id))
			return -1;
	}
	__builtin_memcpy(v.src, p->as, 16);
	__builtin_memcpy(v.dst, p->to, 16);
	v.expires = p->tick + FRAG_TICKS;
	v.hop = hop;
	v.sport = p->sport;
	v.dport = p->dport;
	v.service = p->service;
	v.state = state;
	source_key(&v.source, p, FLOW_PREFIX(state));
	if (bpf_map_update_elem(&frag, &k, &v, BPF_ANY))
		fault(FAULT_FRAGMENTS);
	return 0;
}

/* A later fragment is bounded as any packet, and draws on its source's buckets straight away. */
static __always_inline int frag_limit(struct pkt *p, const struct frag *f, struct flow *half)
{
	__u32 i = p->service, state = half ? half->state : f->state;
	struct service *svc = bpf_map_lookup_elem(&service, &i);
	struct loan l = {};
	struct source *s;
	int refused;

	if (!svc || !i || f->state & FLOW_RETURN) /* the host's own has budgets of its own */
		return 0;
	if (p->l3_len > svc->max_packet && refuse(p, DROP_REASON_PACKET_SIZE, svc->enforce))
		return DROP_REASON_PACKET_SIZE;
	s = f->state & FLOW_UNLIMITED ? NULL : bpf_map_lookup_elem(&source, &f->source);
	if (s) {
		loan_of(&l, s, wide_of_packet(p, svc), svc, state);
		refused = loan_refuses(p, svc, lend(&l, svc, state, p->now, p->l3_len, false));
		if (refused)
			return refused;
	}
	return cfg.all && half && FLOW_PHASE(state) == PHASE_OPENING ? unproven_limit(p, half) : 0;
}

static __always_inline int frag_rewrite(struct xdp_md *ctx, struct pkt *p, const struct frag *f)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 l3 = p->l3;

	if (l3 > L3_MAX)
		return DROP_REASON_INTERNAL;
	if (p->family == 4) {
		struct iphdr *ip = data + l3;

		if ((void *)(ip + 1) > end)
			return DROP_REASON_INTERNAL;
		if (ip->ttl <= 1)
			return DROP_REASON_TTL;
		ip->check = csum_apply(ip->check, csum_change4(ip->saddr, addr4(f->src)) +
							  csum_change4(ip->daddr, addr4(f->dst)) + TTL_DELTA);
		ip->saddr = addr4(f->src);
		ip->daddr = addr4(f->dst);
		ip->ttl--;
	} else {
		struct ipv6hdr *ip = data + l3;

		if ((void *)(ip + 1) > end)
			return DROP_REASON_INTERNAL;
		if (ip->hop_limit <= 1)
			return DROP_REASON_TTL;
		__builtin_memcpy(&ip->saddr, f->src, 16);
		__builtin_memcpy(&ip->daddr, f->dst, 16);
		ip->hop_limit--;
	}
	if (f->state & FLOW_NAT && frag_write_id(ctx, p, f->id))
		return DROP_REASON_INTERNAL;
	return 0;
}

/* The half that its first belonged to; NULL = that session is over. Out of line, for its keys are not to lie beneath what
 * asks for routes. */
static NOINLINE struct flow *frag_half(const struct pkt *p, const struct frag *f)
{
	__u64 rest = rest_word(f->sport, f->dport, p->proto), from;
	__u32 slot;
	struct flow *half;

	if (p->family == 4) {
		struct flow4 *h = half4(addrs_word(addr4(p->src), addr4(p->dst)), rest, &from, &slot);

		half = h ? &h->f : NULL;
	} else {
		struct flow6 *h = half6(p->src, p->dst, rest, &from, &slot);

		half = h ? &h->f : NULL;
	}
	return half && carries(half->state) ? half : NULL;
}

/* RULE: its service's rules are to see it first, as each part of a datagram. NEXT: no first fragment of it was admitted, or its session is over. */
NOINLINE int frag_later(struct xdp_md *ctx, struct pkt *p)
{
	struct frag_key k = {};
	struct flow *half = NULL;
	struct frag *f;
	struct hop *h;
	int err;

	if (!p)
		return VERDICT_NEXT;
	frag_key(&k, p);
	f = bpf_map_lookup_elem(&frag, &k);
	if (!f || f->refused || (__s32)(f->expires - p->tick) <= 0)
		return VERDICT_NEXT;
	if (f->service) {
		half = frag_half(p, f);
		if (!half)
			return VERDICT_NEXT;
		p->playing = FLOW_PHASE(half->state) == PHASE_OPEN;
	}
	p->service = f->service;
	p->down = !!(f->state & FLOW_RETURN);
	if (half && !p->down && half_ruled(p, half))
		return VERDICT_RULE;
	err = frag_limit(p, f, half);
	if (err)
		return drop(p, err);
	if (f->state & FLOW_LOCAL) {
		if (half)
			flow_count(half, p->tick, p->l3_len);
		return VERDICT_PASS;
	}
	addr_copy(p->to, f->dst);
	h = hop_get(f->hop) ?: hop_again(ctx, p, &f->hop);
	if (!h)
		return drop(p, DROP_REASON_NO_NEIGHBOR);
	if (p->l3_len > h->mtu) /* the first's sender was told; nobody answers to a part (RFC 1812 4.3.2.7) */
		return drop(p, DROP_REASON_TOO_BIG);
	err = frag_rewrite(ctx, p, f);
	if (err)
		return err == DROP_REASON_TTL ? drop(p, err) : abort_changed(p);
	if (half)
		flow_count(half, p->tick, p->l3_len);
	return leave(ctx, p, h);
}
