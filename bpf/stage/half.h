/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which half of a session do packets with this tuple belong to? */
#pragma once

#include "session.h"

/* Does some NAT address give this port out? Only then is the way back looked for. */
static __always_inline bool nat_port_taken(__be16 port)
{
	return nat_ports[port >> 6 & (NAT_PORT_WORDS - 1)] >> (port & 63) & 1;
}

/* The half whose packets look like this, by the words of its key; NULL or not carrying = none. For a return slot
 * `from` is the word that must still be there after the rest was read, else 0, and `slot` its number. A slot that is not theirs, or not any
 * more, says nothing: its port may have become a service's since.
 *
 * The slot's writer orders its stores (slot_word in session.h); its readers order their loads by what the compiler may
 * not move, and by that alone. On x86 that is exact. arm64 may also move loads: there a reader
 * that stood still between two of them until the port had rested (30 s) and was given out again could take a torn slot
 * for a whole one. */
static __always_inline struct flow4 *half4(__u64 addrs, __u64 rest, __u64 *from, __u32 *slot)
{
	struct flow_key4 k;
	__u64 *w = (__u64 *)&k;

	*from = 0;
	if (cfg.nat && nat_port_taken(rest >> 16)) {
		__u32 dst = addrs >> 32, *addr = bpf_map_lookup_elem(&nat_index4, &dst);
		struct flow4 *f;

		if (addr) {
			*slot = *addr << 16 | bpf_ntohs(rest >> 16);
			f = bpf_map_lookup_elem(&nat4, slot);
			if (!f)
				return NULL;
			*from = *(volatile __u64 *)&f->f.word;
			if (!((*from ^ from_word(addrs, rest, rest >> 32)) << 8) && carries(f->f.state))
				return f;
			*from = 0;
		}
	}
	w[0] = addrs;
	w[1] = rest;
	return bpf_map_lookup_elem(&flow4, &k);
}

static __always_inline struct flow6 *half6(const __u8 *src, const __u8 *dst, __u64 rest, __u64 *from, __u32 *slot)
{
	struct flow_key6 k;
	__u64 *w = (__u64 *)&k;

	*from = 0;
	if (cfg.nat && nat_port_taken(rest >> 16)) {
		struct in6 a;
		__u32 *addr;
		struct nat6 *n;

		addr_copy(a.addr, dst);
		addr = bpf_map_lookup_elem(&nat_index6, &a);
		if (addr) {
			*slot = *addr << 16 | bpf_ntohs(rest >> 16);
			n = bpf_map_lookup_elem(&nat6, slot);
			if (n) {
				*from = *(volatile __u64 *)&n->flow.f.word;
				if (!((*from ^ from_word(0, rest, rest >> 32)) << 8) &&
				    addr_hi(n->from) == addr_hi(src) && addr_lo(n->from) == addr_lo(src) &&
				    carries(n->flow.f.state))
					return &n->flow;
				*from = 0;
			}
		}
	}
	w[0] = addr_hi(src);
	w[1] = addr_lo(src);
	w[2] = addr_hi(dst);
	w[3] = addr_lo(dst);
	w[4] = rest;
	return bpf_map_lookup_elem(&flow6, &k);
}

/* One more packet of its session that passed. */
static __always_inline void flow_count(struct flow *f, __u32 tick, __u32 l3_len)
{
	f->packets++;
	f->bytes += l3_len;
	f->seen = tick;
}
