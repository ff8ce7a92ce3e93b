/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which half of a session do packets with this tuple belong to? */
#pragma once

#include "session.h"

/* Does some NAT address give this port out? Only then is the way back looked for. */
static __always_inline bool nat_port_taken(__be16 port)
{
	return nat_ports[port >> 6 & (NAT_PORT_WORDS - 1)] >> (port & 63) & 1;
}

/* The half whose packets look like this; NULL or not carrying = none. For a return slot `from` is the word that
 * must still be there after the rest was read, else 0. A slot that is not theirs, or not any more, says nothing: its
 * port may have become a service's since. */
static __always_inline struct flow4 *half4(__be32 src, __be32 dst, __be16 sport, __be16 dport, __u8 proto, __u64 *from)
{
	struct flow_key4 k;

	if (cfg.nat && nat_port_taken(dport)) {
		__u32 *addr = bpf_map_lookup_elem(&nat_index4, &dst), i;
		struct flow4 *f;

		if (addr) {
			i = *addr << 16 | bpf_ntohs(dport);
			f = bpf_map_lookup_elem(&nat4, &i);
			if (!f)
				return NULL;
			*from = *(volatile __u64 *)&f->f.word;
			if (!((*from ^ from_word(src, sport, proto)) << 8) && carries(f->f.state))
				return f;
		}
	}
	*from = 0;
	key4(&k, src, dst, sport, dport, proto);
	return bpf_map_lookup_elem(&flow4, &k);
}

static __always_inline struct flow6 *half6(const __u8 *src, const __u8 *dst, __be16 sport, __be16 dport, __u8 proto,
					   __u64 *from)
{
	struct flow_key6 k;

	if (cfg.nat && nat_port_taken(dport)) {
		struct in6 a;
		__u32 *addr, i;
		struct nat6 *n;

		addr_copy(a.addr, dst);
		addr = bpf_map_lookup_elem(&nat_index6, &a);
		if (addr) {
			i = *addr << 16 | bpf_ntohs(dport);
			n = bpf_map_lookup_elem(&nat6, &i);
			if (n) {
				*from = *(volatile __u64 *)&n->flow.f.word;
				if (!((*from ^ from_word(0, sport, proto)) << 8) && addr_hi(n->from) == addr_hi(src) &&
				    addr_lo(n->from) == addr_lo(src) && carries(n->flow.f.state))
					return &n->flow;
			}
		}
	}
	*from = 0;
	key6(&k, src, dst, sport, dport, proto);
	return bpf_map_lookup_elem(&flow6, &k);
}

static __always_inline void flow_count(struct flow *f, const struct pkt *p)
{
	f->packets++;
	f->bytes += p->l3_len;
	f->seen = p->tick;
}
