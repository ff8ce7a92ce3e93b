/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The two steps by which a session ends: it is marked closing, which every lookup takes for a miss, and a second later it is
 * deleted, its port goes to the end of its ring, and its source and its quota are told. The second keeps a reader that
 * still holds a half from meeting another session in it: the kernel reuses elements at once. The reaper ends sessions that are
 * over (stage/reap.h), a newcomer the oldest stranger's (stage/unproven.h).
 */
#pragma once

#include "../lib/ring.h"
#include "limit.h"
#include "proof.h"
#include "side.h"

#define CLOSING_TICKS TICKS_PER_SECOND
#define REST_UDP (30 * TICKS_PER_SECOND)
#define REST_TCP (60 * TICKS_PER_SECOND)
#define MARK_TRIES 4 /* against packets that move flags meanwhile; the next sweep comes by again */

static __always_inline void mark_closing(struct flow *f, __u32 tick)
{
	for (int i = 0; i < MARK_TRIES; i++) {
		__u32 old = *(volatile __u32 *)&f->state;

		if (!carries(old))
			return;
		f->checked = tick;
		if (__sync_val_compare_and_swap(&f->state, old, (old & ~FLOW_PHASES) | PHASE_CLOSING) == old)
			return;
	}
}

/* True for one caller alone: that one deletes it. */
static __always_inline bool mark_dead(struct flow *f)
{
	__u32 old = *(volatile __u32 *)&f->state;

	return FLOW_PHASE(old) == PHASE_CLOSING &&
	       __sync_val_compare_and_swap(&f->state, old, (old & ~FLOW_PHASES) | PHASE_DEAD) == old;
}

static __always_inline struct flow4 *down_half4(const struct flow_key4 *k, const struct flow4 *up, struct flow_key4 *dk)
{
	__u32 slot = up->f.peer;

	if (up->f.state & FLOW_NAT)
		return bpf_map_lookup_elem(&nat4, &slot);
	key4(dk, up->dst, up->src, up->dport, up->sport, k->proto);
	return bpf_map_lookup_elem(&flow4, dk);
}

static __always_inline struct flow6 *down_half6(const struct flow_key6 *k, const struct flow6 *up, struct flow_key6 *dk)
{
	__u32 slot = up->f.peer;

	if (up->f.state & FLOW_NAT)
		return bpf_map_lookup_elem(&nat6, &slot); /* struct nat6 begins with its flow */
	key6(dk, up->dst, up->src, up->dport, up->sport, k->proto);
	return bpf_map_lookup_elem(&flow6, dk);
}

static __always_inline void free_slot(struct flow *down, __u32 family, __u32 slot, __u8 proto, __u32 tick)
{
	__sync_lock_test_and_set(&down->state, PHASE_FREE);
	if (ring_give(family, slot, tick, proto == IPPROTO_TCP ? REST_TCP : REST_UDP))
		fault(FAULT_PORT_LOST);
}

/* What a session that is gone has held beside its entries. */
static __always_inline void end_release(const __u8 *client, __u32 family, struct flow *up)
{
	struct pkt p = { .family = family, .service = up->service };
	struct source_key k = {};

	weak_leave(&p, client, up);
	source_key_of(&k, family == 4 ? addr4(client) : addr_hi(client), family, up->service, FLOW_PREFIX(up->state));
	limit_forget(&k, up->state & FLOW_LASTING);
}

/* Second step: a session that has been closing for a second is deleted. True: it is gone. */
static __always_inline bool end_delete4(const struct flow_key4 *k, struct flow4 *up, struct flow4 *down,
					struct flow_key4 *dk, __u32 tick)
{
	__u8 client[16] = {};

	if (tick - up->f.checked < CLOSING_TICKS || !mark_dead(&up->f))
		return false;
	watch_end(&up->f, tick);
	if (down)
		watch_end(&down->f, tick);
	if (down && up->f.state & FLOW_NAT)
		free_slot(&down->f, 4, up->f.peer, k->proto, tick);
	else if (down)
		bpf_map_delete_elem(&flow4, dk);
	if (cfg.proxied && !(up->f.state & FLOW_NAT))
		side_free(up->f.peer);
	*(__u32 *)client = k->src;
	end_release(client, 4, &up->f);
	bpf_map_delete_elem(&flow4, k);
	return true;
}

static __always_inline bool end_delete6(const struct flow_key6 *k, struct flow6 *up, struct flow6 *down,
					struct flow_key6 *dk, __u32 tick)
{
	if (tick - up->f.checked < CLOSING_TICKS || !mark_dead(&up->f))
		return false;
	watch_end(&up->f, tick);
	if (down)
		watch_end(&down->f, tick);
	if (down && up->f.state & FLOW_NAT)
		free_slot(&down->f, 6, up->f.peer, k->proto, tick);
	else if (down)
		bpf_map_delete_elem(&flow6, dk);
	if (cfg.proxied && !(up->f.state & FLOW_NAT))
		side_free(up->f.peer);
	end_release(k->src, 6, &up->f);
	bpf_map_delete_elem(&flow6, k);
	return true;
}
