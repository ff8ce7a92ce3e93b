/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What strangers tried, by service: one counter each, on the CPU that handles the packet. */
#pragma once

#include "../lib/hash.h"
#include "exit.h"

#define STRANGER_COUNT(p, field)                                                              \
	({                                                                                    \
		__u32 stranger_i = (p)->service;                                              \
		struct stranger_count *n = bpf_map_lookup_elem(&stranger_count, &stranger_i); \
                                                                                              \
		if (n)                                                                        \
			n->field++;                                                           \
	})

/* ---- what there is of the packet's service; NULL = no such service ---- */

static __always_inline struct service *service_of(const struct pkt *p)
{
	__u32 i = p->service;

	return bpf_map_lookup_elem(&service, &i);
}

static __always_inline struct service_state *state_of(const struct pkt *p)
{
	__u32 i = p->service;

	return bpf_map_lookup_elem(&service_state, &i);
}

static __always_inline struct service_mode *mode_of(const struct pkt *p)
{
	__u32 i = p->service;

	return bpf_map_lookup_elem(&service_mode, &i);
}

static __always_inline bool attacked(__u32 service)
{
	struct service_mode *m = bpf_map_lookup_elem(&service_mode, &service);

	return m && *(volatile __u32 *)&m->state == GATE_ATTACK;
}

/* Are its strangers to be judged before anything else? */
static __always_inline bool pressing(__u32 service)
{
	struct service_mode *m = bpf_map_lookup_elem(&service_mode, &service);

	return m && (*(volatile __u32 *)&m->state == GATE_ATTACK || *(volatile __u32 *)&m->rules);
}

static __always_inline bool under_attack(const struct pkt *p)
{
	return attacked(p->service);
}

/* The word of a prefix: of so many bits of an IPv4 address, or of the first 64 of an IPv6 one. Service 0 = of all together. */
static __always_inline __u64 *prefix_of(const struct pkt *p, enum prefix_kind kind, const __u8 *client, __u32 bits4,
					__u32 bits6, __u32 service)
{
	struct secret *s = env_secret();
	__u64 a;
	__u32 i;

	if (p->family == 4)
		a = bpf_ntohl(addr4(client)) >> (32 - bits4);
	else
		a = bpf_be64_to_cpu(addr_hi(client)) >> (64 - bits6);
	i = hash_addr(a, (__u64)service << 8 | p->family, s ? s->key[0] : 0) & (PREFIX_CELLS - 1);
	i += kind * PREFIX_CELLS;
	return bpf_map_lookup_elem(&prefix_word, &i);
}
