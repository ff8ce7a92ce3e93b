/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Free ports of a NAT address, in the order in which they were freed. Many takers (admit, on any CPU) and many
 * givers (the reaper; admit, for a port that it could not use). A ring has a cell for each of 65536 ports and never
 * holds more than the address has, so a giver never meets the head.
 */
#pragma once

#include "../maps.h"
#include "pkt.h"

#define RING_TRIES 8
#define RING_MASK (PORTS_PER_ADDR - 1)
#define REST_SHIFT 4 /* port_cell.rest is in 16 ticks */

static __always_inline struct nat_addr *ring_of(__u32 family, __u32 addr)
{
	return family == 4 ? APART(bpf_map_lookup_elem(&nat_addr4, &addr)) : bpf_map_lookup_elem(&nat_addr6, &addr);
}

static __always_inline __u64 *ring_cell(__u32 family, __u32 addr, __u32 at)
{
	__u32 i = addr * PORTS_PER_ADDR + (at & RING_MASK);

	return family == 4 ? APART(bpf_map_lookup_elem(&nat_ring4, &i)) : bpf_map_lookup_elem(&nat_ring6, &i);
}

/* The port that has been free for longest, in host order; 0 where there is none, or that one still rests. */
NOINLINE int ring_take(__u32 family, __u32 addr, __u32 tick)
{
	struct nat_addr *a = ring_of(family, addr);

	if (!a)
		return 0;
	for (int i = 0; i < RING_TRIES; i++) {
		__u32 head = *(volatile __u32 *)&a->head;
		__u64 *cell, c;

		if (head == *(volatile __u32 *)&a->tail)
			return 0;
		cell = ring_cell(family, addr, head);
		if (!cell)
			return 0;
		c = *(volatile __u64 *)cell;
		if (!c || (tick - (__u32)c) >> REST_SHIFT < c >> 48) { /* being filled, or at rest */
			if (*(volatile __u32 *)&a->head == head)
				return 0;
			continue; /* or taken by another since */
		}
		if (__sync_val_compare_and_swap(&a->head, head, head + 1) != head)
			continue;
		/* Not what was read above: the port may have been taken, and another been put back in its place, since. */
		c = __sync_lock_test_and_set(cell, 0);
		return (c >> 32) & 0xffff;
	}
	return 0;
}

NOINLINE int ring_give(__u32 family, __u32 slot, __u32 tick, __u32 rest)
{
	__u32 addr = slot >> 16, port = slot & 0xffff;
	struct nat_addr *a = ring_of(family, addr);
	__u64 *cell;

	if (!a)
		return -1;
	cell = ring_cell(family, addr, __sync_fetch_and_add(&a->tail, 1));
	if (!cell)
		return -1;
	*(volatile __u64 *)cell = tick | (__u64)port << 32 | (__u64)(rest >> REST_SHIFT & 0xffff) << 48;
	return 0;
}

/* Puts back what was just taken, where it came from: at the tail it would lie behind the ports at rest, and whoever can
 * have sessions refused would turn the ring until all do. Where another took meanwhile, the tail it is. */
NOINLINE int ring_put_back(__u32 family, __u32 slot, __u32 tick)
{
	__u32 addr = slot >> 16, port = slot & 0xffff, head;
	struct nat_addr *a = ring_of(family, addr);
	__u64 *cell;

	if (!a)
		return -1;
	head = *(volatile __u32 *)&a->head;
	cell = ring_cell(family, addr, head - 1);
	if (cell && !__sync_val_compare_and_swap(cell, 0, tick | (__u64)port << 32)) {
		if (__sync_val_compare_and_swap(&a->head, head, head - 1) == head)
			return 0;
		*(volatile __u64 *)cell = 0;
	} /* else its taker has yet to clear it, or another puts back */
	return ring_give(family, slot, tick, 0);
}
