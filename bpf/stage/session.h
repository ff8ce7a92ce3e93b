/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How a session begins: two halves made from four ends. With C the client, V the service's address, S the
 * server and F what the server sees:
 *
 *        up half:  key C > V, leaves as F > S        down half:  key S > F, leaves as V > C
 *
 *   nat          F is a NAT address and port; the down half is the slot of nat4/nat6 that the port names
 *   transparent  F = C
 *   local        F = C and S = V: nothing changes, the host's own stack is the server
 *   the server's first word   as transparent, and it is the down half's packet that comes first
 */
#pragma once

#include "../lib/csum.h"
#include "exit.h"
#include "told.h"

#define TTL_DELTA 0xfffe /* one less in the low byte of the (ttl, protocol) word */

struct making {
	__u8 client[16];
	__u8 vip[16];
	__u8 server[16];
	__u8 face[16];
	__be16 client_port;
	__be16 vip_port;
	__be16 server_port;
	__be16 face_port;
	__u32 slot; /* FLOW_NAT */
	__u32 flags; /* enum session_phase | enum flow_flag, of both halves */
	__u32 up_flags; /* of the up half alone */
	__u32 epoch;
	__u16 up_hop;
	__u16 down_hop;
	__u32 cell; /* of proxied_cell, where what is translated of it is; 0 = none */
	__u32 packets; /* what the up half begins with: its first packet, if that is sure to leave (stage/begin.h) */
	__u32 bytes;
	__u64 word; /* what is left to it of its first loan */
	__u32 lent_packets; /* and what that took from its source */
	__u32 lent_bytes;
	__u32 drawn_packets; /* and from its source's prefix */
	__u32 drawn_bytes;
	__u8 shadow; /* what policy would have said before that */
	__u8 all_taken; /* of the limits of the unproven */
	__u8 pad[2];
	struct flow_key6 key; /* where IPv6 halves are put together */
	union { /* the half that was put together last: the up half */
		struct flow4 half4;
		struct flow6 half;
	};
};

/* One for each CPU: on the stack it would not fit beneath the calls that admission is made of. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct making);
	__uint(max_entries, 1);
} making SEC(".maps");

static __always_inline struct making *making_new(struct pkt *p, __u32 flags)
{
	__u32 zero = 0;
	struct making *m = bpf_map_lookup_elem(&making, &zero);

	if (!m)
		return NULL;
	/* The key and the half are written whole before they are read. */
	__builtin_memset(m, 0, __builtin_offsetof(struct making, key));
	m->flags = flags | (cfg.told ? told_mark(p) : 0);
	return m;
}

/* Has its sender said that it is done? */
static __always_inline bool flow_fin(const struct flow *f)
{
	__u32 state = f->state;

	return state & (state & FLOW_RETURN ? FLOW_FIN_SERVER : FLOW_FIN_CLIENT);
}

static __always_inline bool carries(__u32 state)
{
	return FLOW_PHASE(state) == PHASE_OPENING || FLOW_PHASE(state) == PHASE_OPEN;
}

/* The words of a key, as they lie in memory: IPv4's addresses; ports and protocol. */
static __always_inline __u64 addrs_word(__be32 src, __be32 dst)
{
	return src | (__u64)dst << 32;
}

static __always_inline __u64 rest_word(__be16 sport, __be16 dport, __u8 proto)
{
	return sport | (__u32)dport << 16 | (__u64)proto << 32;
}

static __always_inline void key4(struct flow_key4 *k, __be32 src, __be32 dst, __be16 sport, __be16 dport, __u8 proto)
{
	__u64 *w = (__u64 *)k;

	w[0] = addrs_word(src, dst);
	w[1] = rest_word(sport, dport, proto);
}

static __always_inline void key6(struct flow_key6 *k, const __u8 *src, const __u8 *dst, __be16 sport, __be16 dport,
				 __u8 proto)
{
	__u64 *w = (__u64 *)k;

	w[0] = addr_hi(src);
	w[1] = addr_lo(src);
	w[2] = addr_hi(dst);
	w[3] = addr_lo(dst);
	w[4] = rest_word(sport, dport, proto);
}

/* struct from as one word, generation apart. */
#define FROM_GEN_SHIFT 56
static __always_inline __u64 from_word(__be32 addr, __be16 port, __u8 proto)
{
	return addr | (__u64)port << 32 | (__u64)proto << 48;
}

static __always_inline void flow_begin(struct flow *f, const struct pkt *p, const struct making *m, __u16 hop,
				       __u32 peer)
{
	f->packets = 0;
	f->bytes = 0;
	f->seen = p->tick;
	f->epoch = m->epoch;
	f->watch = 0;
	f->checked = p->tick;
	f->word = 0;
	f->hop = hop;
	f->service = p->service;
	f->peer = peer;
}

static __always_inline void up_begin(struct flow *f, const struct pkt *p, const struct making *m)
{
	flow_begin(f, p, m, m->up_hop, m->slot | m->cell); /* one of them at most */
	f->packets = m->packets;
	f->bytes = m->bytes;
	f->word = m->word;
	f->state = m->flags | m->up_flags;
}

static __always_inline void down_begin(struct flow *f, const struct pkt *p, const struct making *m)
{
	flow_begin(f, p, m, m->down_hop, p->tick);
	f->word = m->cell;
	f->state = FLOW_RETURN | m->flags;
}

/* What changes between C > V and F > S changes back between S > F and V > C: the deltas of one half are the
 * other's with the signs turned. */
static __always_inline void up4(struct flow4 *f, const struct making *m)
{
	__u32 addrs = csum_change4(addr4(m->client), addr4(m->face)) + csum_change4(addr4(m->vip), addr4(m->server));

	f->src = addr4(m->face);
	f->dst = addr4(m->server);
	f->sport = m->face_port;
	f->dport = m->server_port;
	f->l3_delta = csum_fold(addrs + TTL_DELTA);
	f->l4_delta = csum_fold(addrs + csum_change2(m->client_port, m->face_port) +
				csum_change2(m->vip_port, m->server_port));
}

static __always_inline void down4(struct flow4 *f, const struct making *m)
{
	__u32 addrs = csum_change4(addr4(m->server), addr4(m->vip)) + csum_change4(addr4(m->face), addr4(m->client));

	f->src = addr4(m->vip);
	f->dst = addr4(m->client);
	f->sport = m->vip_port;
	f->dport = m->client_port;
	f->l3_delta = csum_fold(addrs + TTL_DELTA);
	f->l4_delta = csum_fold(addrs + csum_change2(m->server_port, m->vip_port) +
				csum_change2(m->face_port, m->client_port));
}

static __always_inline void up6(struct flow6 *f, const struct making *m)
{
	addr_copy(f->src, m->face);
	addr_copy(f->dst, m->server);
	f->sport = m->face_port;
	f->dport = m->server_port;
	f->l4_delta = csum_fold(csum_change16(m->client, m->face) + csum_change16(m->vip, m->server) +
				csum_change2(m->client_port, m->face_port) + csum_change2(m->vip_port, m->server_port));
	f->pad = 0;
}

static __always_inline void down6(struct flow6 *f, const struct making *m)
{
	addr_copy(f->src, m->vip);
	addr_copy(f->dst, m->client);
	f->sport = m->vip_port;
	f->dport = m->client_port;
	f->l4_delta = csum_fold(csum_change16(m->server, m->vip) + csum_change16(m->face, m->client) +
				csum_change2(m->server_port, m->vip_port) + csum_change2(m->face_port, m->client_port));
	f->pad = 0;
}

static __always_inline enum drop_reason insert_failed(long err)
{
	return err == -17 /* EEXIST */ ? DROP_REASON_RACE : DROP_REASON_SESSIONS_FULL;
}

/* Is seen by other CPUs after what was stored before, and before what is stored next. Where the machine sees to that, an
 * exchange would only wait for the slot's cache line. */
static __always_inline void slot_word(struct flow *f, __u64 word)
{
	if (cfg.ordered) {
		barrier();
		*(volatile __u64 *)&f->word = word;
		barrier();
	} else {
		__sync_lock_test_and_set(&f->word, word);
	}
}

/* A slot is written between these two. Its word is what readers compare, before they read the rest and after: it is
 * nobody's from the first to the last moment of a change. Returns the generation so far. */
static __always_inline __u64 slot_shut(struct flow *f)
{
	__u64 old = *(volatile __u64 *)&f->word; /* the port was taken: nobody else moves it */

	slot_word(f, 0);
	return old >> FROM_GEN_SHIFT;
}

static __always_inline void slot_open(struct flow *f, __u64 gen, __u64 from, __u32 flags)
{
	f->state = FLOW_RETURN | flags;
	slot_word(f, from | (gen + 1) << FROM_GEN_SHIFT);
}

static __always_inline void make4_slot(struct pkt *p, const struct making *m, struct flow4 *slot)
{
	__u64 gen = slot_shut(&slot->f);

	flow_begin(&slot->f, p, m, m->down_hop, p->tick);
	down4(slot, m);
	slot_open(&slot->f, gen, from_word(addr4(m->server), m->server_port, p->proto), m->flags);
}

static __always_inline void make6_slot(struct pkt *p, struct making *m, struct nat6 *slot)
{
	__u64 gen = slot_shut(&slot->flow.f);

	flow_begin(&slot->flow.f, p, m, m->down_hop, p->tick);
	down6(&slot->flow, m);
	addr_copy(slot->from, m->server);
	slot_open(&slot->flow.f, gen, from_word(0, m->server_port, p->proto), m->flags);
}

/* Static, for 6.1 takes no map key from the memory argument of a global function.
 *
 * The session exists from the moment that its up half's key does. A down half of its own is made before that; a slot
 * after, for it is the port's, which nobody else has, and no answer comes before the packet went. Both return 0 or the
 * enum drop_reason; then nothing of the session is left but its port, which is the caller's. */
static NOINLINE int make4(struct pkt *p, struct making *m)
{
	struct flow_key4 up, down;
	struct flow4 *slot = NULL;
	long err;

	if (!p || !m)
		return DROP_REASON_INTERNAL;
	if (m->flags & FLOW_NAT) {
		__u32 i = m->slot;

		slot = bpf_map_lookup_elem(&nat4, &i);
		if (!slot)
			return DROP_REASON_NO_PORT;
	} else {
		key4(&down, addr4(m->server), addr4(m->face), m->server_port, m->face_port, p->proto);
		down_begin(&m->half4.f, p, m);
		down4(&m->half4, m);
		err = bpf_map_update_elem(&flow4, &down, &m->half4, BPF_NOEXIST);
		if (err)
			return insert_failed(err);
	}
	key4(&up, addr4(m->client), addr4(m->vip), m->client_port, m->vip_port, p->proto);
	up_begin(&m->half4.f, p, m);
	up4(&m->half4, m);
	err = bpf_map_update_elem(&flow4, &up, &m->half4, BPF_NOEXIST);
	if (slot && !err)
		make4_slot(p, m, slot);
	else if (!slot && err)
		bpf_map_delete_elem(&flow4, &down);
	return err ? insert_failed(err) : 0;
}

static NOINLINE int make6(struct pkt *p, struct making *m)
{
	struct nat6 *slot = NULL;
	long err;

	if (!p || !m)
		return DROP_REASON_INTERNAL;
	if (m->flags & FLOW_NAT) {
		__u32 i = m->slot;

		slot = bpf_map_lookup_elem(&nat6, &i);
		if (!slot)
			return DROP_REASON_NO_PORT;
	} else {
		key6(&m->key, m->server, m->face, m->server_port, m->face_port, p->proto);
		down_begin(&m->half.f, p, m);
		down6(&m->half, m);
		err = bpf_map_update_elem(&flow6, &m->key, &m->half, BPF_NOEXIST);
		if (err)
			return insert_failed(err);
	}
	key6(&m->key, m->client, m->vip, m->client_port, m->vip_port, p->proto);
	up_begin(&m->half.f, p, m);
	up6(&m->half, m);
	err = bpf_map_update_elem(&flow6, &m->key, &m->half, BPF_NOEXIST);
	if (slot && !err) {
		make6_slot(p, m, slot);
	} else if (!slot && err) {
		key6(&m->key, m->server, m->face, m->server_port, m->face_port, p->proto);
		bpf_map_delete_elem(&flow6, &m->key);
	}
	return err ? insert_failed(err) : 0;
}
