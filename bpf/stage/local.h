/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Replies of a `local` service, seen as they leave this host's own stack (TC egress): counted, judged by their
 * client, and, where the server speaks first, the beginning of a session so that the answer is admitted. Nothing is
 * rewritten. Segments that the NIC or driver has yet to cut are counted as it will cut them.
 */
#pragma once

#include "admit.h"
#include "sample.h"
#include "shadow.h"

/* Packets and IP bytes that this buffer becomes on the wire. */
static __always_inline __u32 segments(struct __sk_buff *skb, struct pkt *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 n = skb->gso_segs, header = p->l4 - p->l3, l4 = p->l4;

	if (n <= 1)
		return 1;
	if (p->proto == IPPROTO_TCP) {
		struct tcphdr *tcp;

		if (l4 > L4_MAX)
			return 1;
		tcp = data + l4;
		if ((void *)(tcp + 1) > end)
			return 1;
		header += tcp->doff * 4;
	} else {
		header += sizeof(struct udphdr);
	}
	p->l3_len += (n - 1) * header;
	return n;
}

static __always_inline struct flow *local_half(struct pkt *p)
{
	if (p->family == 4) {
		struct flow_key4 k;
		struct flow4 *f;

		key4(&k, addr4(p->src), addr4(p->dst), p->sport, p->dport, p->proto);
		f = bpf_map_lookup_elem(&flow4, &k);
		return f ? &f->f : NULL;
	} else {
		struct flow_key6 k;
		struct flow6 *f;

		key6(&k, p->src, p->dst, p->sport, p->dport, p->proto);
		f = bpf_map_lookup_elem(&flow6, &k);
		return f ? &f->f : NULL;
	}
}

/* The server's first word. Returns 0 where there is a session now, -1 where it is not a service's, or the enum
 * drop_reason. */
static __always_inline int local_begin(struct pkt *p)
{
	struct front *front = front_of(p->family, p->src, p->sport, p->proto);
	struct service *svc;
	struct source *s;
	struct making *m;
	__u32 i;
	int err;

	if (!front)
		return -1;
	p->service = i = front->service;
	svc = bpf_map_lookup_elem(&service, &i);
	if (!svc || svc->forward != FORWARD_LOCAL || !begins(p, svc))
		return -1;
	m = making_new(p,
		       PHASE_OPENING | FLOW_SERVER_STARTED | FLOW_LOCAL | source_prefix(p, svc) << FLOW_PREFIX_SHIFT);
	if (!m)
		return -1;
	m->epoch = policy_epoch();
	addr_copy(m->client, p->dst);
	addr_copy(m->face, p->dst);
	addr_copy(m->vip, p->src);
	addr_copy(m->server, p->src);
	m->client_port = m->face_port = p->dport;
	m->vip_port = m->server_port = p->sport;
	err = policy(p, svc);
	if (err)
		return err;
	if (revive_down(p) != VERDICT_NEXT) /* it has a session again, or p->reason says why not */
		return p->reason;
	s = limit_session(p, svc);
	if (!s)
		return p->reason;
	m->epoch -= would_deny(p);
	m->up_flags = ruled_flag(p, PHASE_OPENING);
	if (p->unlimited)
		m->flags |= FLOW_UNLIMITED;
	err = make(p, m);
	if (err)
		limit_undo(p, s, svc);
	return err == DROP_REASON_RACE ? 0 : err; /* another packet was first with it: that one's session serves */
}

NOINLINE int local_recheck(struct pkt *p, struct flow *f)
{
	return p && f ? recheck_policy(p, f) : DROP_REASON_INTERNAL;
}

static __always_inline int local_reply(struct __sk_buff *skb, struct pkt *p, struct flow *f, __u32 packets)
{
	__u32 state = f->state;
	bool judged = false;
	int refused;

	p->half = 1;
	p->service = f->service;
	p->playing = FLOW_PHASE(state) == PHASE_OPEN;
	if (cfg.watch && state & FLOW_WATCHED)
		timed(p, watch_reply(skb, p, f, packets));
	if (f->epoch != (__u16)policy_epoch() || p->tick - f->checked > RECHECK_TICKS) {
		refused = local_recheck(p, f);
		if (refused)
			return refused;
		judged = true;
	}
	if (cfg.gates && state & FLOW_NETCHAN)
		netchan_local(skb, p, f);
	if (unproven_yet(f, state)) {
		refused = flow_opening(p, f);
		if (refused)
			return refused;
	}
	if (p->proto == IPPROTO_TCP && p->tcp & (TCP_SYN | TCP_FIN | TCP_RST))
		flow_tcp(p, f);
	if (cfg.told && (judged || *(volatile __u32 *)&f->state & FLOW_FRESH))
		tell_reply(skb, p, told_kind(p, f), f->packets);
	f->packets += packets;
	f->bytes += p->l3_len;
	f->seen = p->tick;
	return 0;
}

/* A first fragment that does not leave is noted, so that the others of its datagram don't; and forgotten once another of its ID does.
 * What leaves needs no note, for this host sends no later fragment without its first. */
NOINLINE int local_first(struct pkt *p, int refused)
{
	struct frag_key k = {};
	struct frag v = {}, *f;

	if (!p)
		return 0;
	frag_key(&k, p);
	if (!refused) {
		f = bpf_map_lookup_elem(&frag, &k);
		if (f && f->refused)
			bpf_map_delete_elem(&frag, &k);
		return 0;
	}
	v.refused = 1;
	v.service = p->service;
	v.expires = p->tick + FRAG_TICKS;
	if (bpf_map_update_elem(&frag, &k, &v, BPF_ANY))
		fault(FAULT_FRAGMENTS);
	return 0;
}

/* A later fragment: its service where its first was refused, else 0. */
NOINLINE int local_refused(struct pkt *p)
{
	struct frag_key k = {};
	struct frag *f;

	if (!p)
		return 0;
	frag_key(&k, p);
	f = bpf_map_lookup_elem(&frag, &k);
	return f && f->refused && (__s32)(f->expires - p->tick) > 0 ? f->service : 0;
}

/* What is told of it, if anything is: what parry_note does, which a program of TC can't jump to. Global: verified once. */
NOINLINE int local_note(struct __sk_buff *skb, struct pkt *p, __u32 v)
{
	struct noted *n;

	if (!p || !noteworthy(p, v, 0))
		return 0;
	n = noted_get();
	if (n && cfg.books)
		book_refusal(n);
	if (n && cfg.samples)
		sample_reply(skb, n);
	return 0;
}

static __always_inline int local_exit(struct __sk_buff *skb, struct pkt *p, __u32 packets, int refused)
{
	enum verdict v = refused ? VERDICT_DROP : VERDICT_PASS;

	if (p->frag == FRAG_FIRST)
		local_first(p, refused);
	if (refused) {
		p->reason = refused;
		count_loss(p, packets);
		if (cfg.watch && p->timed)
			watch_drop(p->offset, refused);
	}
	count(p, v, packets);
	note_trace(p, v);
	if (NOTES)
		local_note(skb, p, v);
	return refused ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

static __always_inline int local_egress(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct pkt p = {};
	struct flow *f;
	__u32 packets;
	int err;

	if (skb->priority == ANSWER_PRIORITY) /* an answer by the edge: no server's word, no session's beginning */
		return TC_ACT_UNSPEC;
	p.now = env_now();
	p.tick = p.now >> TICK_SHIFT;
	p.len = skb->len;
	p.down = 1;
	if (parse(&p, data, end) || (p.proto != IPPROTO_UDP && p.proto != IPPROTO_TCP))
		return TC_ACT_UNSPEC;
	addr_copy(p.to, p.dst);
	if (p.frag == FRAG_LATER) {
		p.service = local_refused(&p);
		return p.service ? local_exit(skb, &p, 1, DROP_REASON_FRAGMENT_ORPHAN) : TC_ACT_UNSPEC;
	}
	addr_copy(p.as, p.src);
	p.to_port = p.dport;
	p.as_port = p.sport;
	packets = segments(skb, &p);
	f = local_half(&p);
	if (!f || !carries(f->state)) {
		err = local_begin(&p);
		if (err < 0)
			return TC_ACT_UNSPEC;
		f = err ? NULL : local_half(&p);
		if (!f)
			return local_exit(skb, &p, packets, err ?: DROP_REASON_RACE);
	}
	if (!(f->state & FLOW_LOCAL))
		return TC_ACT_UNSPEC;
	return local_exit(skb, &p, packets, local_reply(skb, &p, f, packets));
}
