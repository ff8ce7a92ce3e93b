/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who goes when a stranger comes? Sessions of strangers stand in a ring of slots, in the order in which they began. A newcomer
 * takes the next slot, and ends whoever stands a quarter of the ring ahead and is still unproven; by the time that a newcomer is at
 * that one's slot, a second has passed and it is deleted. So strangers never have more sessions than there are slots, the dead
 * included, nobody proven is touched, and none of it waits for the daemon. Where the ring turns faster than that, newcomers are refused.
 */
#pragma once

#include "end.h"

static __always_inline __u32 *unproven_cursor(__u32 family)
{
	__u32 zero = 0;
	struct edge *e = bpf_map_lookup_elem(&edge, &zero);

	return e ? &e->unproven[family == 6] : NULL;
}

/* Is it still the session that took the slot, and no younger one of the same tuple? Its down half knows when it began. */
static __always_inline bool slot_owner(const struct flow *down, __u32 begun)
{
	return down && (down->peer | 1) == begun;
}

/* First step for the session in a slot, if it is unproven yet. */
static __always_inline void unproven_evict(struct pkt *p, struct flow *up, struct flow *down)
{
	if (up->state & FLOW_RETURN || FLOW_PHASE(up->state) != PHASE_OPENING)
		return;
	__sync_fetch_and_or(&up->state, FLOW_EVICTED);
	mark_closing(up, p->tick);
	if (down)
		mark_closing(down, p->tick);
	STRANGER_COUNT(p, evicted);
}

/* May a newcomer take the slot of this session? Not while it is unproven or has ended within the last second. */
static __always_inline bool slot_held(const struct flow *up, __u32 tick)
{
	return !(up->state & FLOW_RETURN) && (FLOW_PHASE(up->state) == PHASE_OPENING ||
					      (up->state & FLOW_EVICTED && tick - up->checked < CLOSING_TICKS));
}

static NOINLINE int unproven_turn4(struct pkt *p, __u32 at)
{
	__u32 mine = at & (cfg.unproven - 1), ahead = (at + cfg.unproven / 4) & (cfg.unproven - 1);
	struct unproven4 *slot = bpf_map_lookup_elem(&unproven4, &ahead);
	struct flow_key4 k, dk = {};
	struct flow4 *up, *down;

	if (!p || !slot)
		return 0;
	if (slot->begun) {
		k = slot->key;
		up = bpf_map_lookup_elem(&flow4, &k);
		down = up ? down_half4(&k, up, &dk) : NULL;
		if (slot_owner((void *)down, slot->begun))
			unproven_evict(p, &up->f, (void *)down);
	}
	slot = bpf_map_lookup_elem(&unproven4, &mine);
	if (!slot || !slot->begun)
		return 0;
	k = slot->key;
	up = bpf_map_lookup_elem(&flow4, &k);
	down = up ? down_half4(&k, up, &dk) : NULL;
	if (!slot_owner((void *)down, slot->begun))
		return 0;
	if (slot_held(&up->f, p->tick))
		return DROP_REASON_STRANGERS_FULL;
	if (up->f.state & FLOW_EVICTED && !(up->f.state & FLOW_RETURN))
		end_delete4(&k, up, down, &dk, p->tick);
	return 0;
}

static NOINLINE int unproven_turn6(struct pkt *p, __u32 at)
{
	__u32 mine = at & (cfg.unproven - 1), ahead = (at + cfg.unproven / 4) & (cfg.unproven - 1);
	struct unproven6 *slot = bpf_map_lookup_elem(&unproven6, &ahead);
	struct flow_key6 k, dk = {};
	struct flow6 *up, *down;

	if (!p || !slot)
		return 0;
	if (slot->begun) {
		k = slot->key;
		up = bpf_map_lookup_elem(&flow6, &k);
		down = up ? down_half6(&k, up, &dk) : NULL;
		if (slot_owner((void *)down, slot->begun))
			unproven_evict(p, &up->f, (void *)down);
	}
	slot = bpf_map_lookup_elem(&unproven6, &mine);
	if (!slot || !slot->begun)
		return 0;
	k = slot->key;
	up = bpf_map_lookup_elem(&flow6, &k);
	down = up ? down_half6(&k, up, &dk) : NULL;
	if (!slot_owner((void *)down, slot->begun))
		return 0;
	if (slot_held(&up->f, p->tick))
		return DROP_REASON_STRANGERS_FULL;
	if (up->f.state & FLOW_EVICTED && !(up->f.state & FLOW_RETURN))
		end_delete6(&k, up, down, &dk, p->tick);
	return 0;
}

/* Room for one more stranger: *at is its slot. Returns 0, or the enum drop_reason. A refused newcomer leaves the cursor where it was,
 * but for another that came at the same moment. */
static __always_inline int unproven_room(struct pkt *p, __u32 *at)
{
	__u32 *cursor = unproven_cursor(p->family);
	int err;

	if (!cfg.unproven || !cursor)
		return 0;
	*at = __sync_fetch_and_add(cursor, 1);
	err = p->family == 4 ? unproven_turn4(p, *at) : unproven_turn6(p, *at);
	if (err)
		__sync_val_compare_and_swap(cursor, *at + 1, *at);
	return err;
}

/* The newcomer has a session now. */
static __always_inline void unproven_note(const struct pkt *p, __u32 at)
{
	__u32 i = at & (cfg.unproven - 1);

	if (!cfg.unproven)
		return;
	if (p->family == 4) {
		struct unproven4 *slot = bpf_map_lookup_elem(&unproven4, &i);

		if (!slot)
			return;
		key4(&slot->key, addr4(p->src), addr4(p->dst), p->sport, p->dport, p->proto);
		slot->begun = p->tick | 1;
	} else {
		struct unproven6 *slot = bpf_map_lookup_elem(&unproven6, &i);

		if (!slot)
			return;
		key6(&slot->key, p->src, p->dst, p->sport, p->dport, p->proto);
		slot->begun = p->tick | 1;
	}
}
