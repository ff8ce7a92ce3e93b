// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A return slot changes hands, again and again and as fast as can be, while a test reads it from another CPU. In
 * service a slot rests for half a minute between two sessions: what the generation guards against would never be met.
 */
#include <linux/bpf.h>

#pragma clang diagnostic ignored "-Wunused-function" /* a stage has more than a test of it needs */

#include "abi.h"
#include "maps.h"
#include "stage/session.h"

/* The session whose slot it is, as the fast path made it. */
struct owner {
	__u8 client[16];
	__u8 vip[16];
	__u8 server[16];
	__u8 face[16];
	__be16 client_port;
	__be16 vip_port;
	__be16 server_port;
	__be16 face_port;
	__u32 slot;
	__u32 family;
	__u16 hop;
	__u16 service;
	__u32 rounds;
};

volatile const struct owner whose;

static __always_inline void copy16(__u8 *to, const volatile __u8 *from)
{
	for (int i = 0; i < 16; i++)
		to[i] = from[i];
}

/* Every other owner is a neighbour of the first: one more in the last byte of address and port. */
static __always_inline void owner_next(struct making *m, __u32 i)
{
	copy16(m->client, whose.client);
	copy16(m->vip, whose.vip);
	copy16(m->server, whose.server);
	copy16(m->face, whose.face);
	m->client[whose.family == 4 ? 3 : 15] += i & 1;
	m->client_port = whose.client_port + ((i & 1) << 8);
	m->vip_port = whose.vip_port;
	m->server_port = whose.server_port;
	m->face_port = whose.face_port;
	m->flags = PHASE_OPENING | FLOW_NAT;
	m->down_hop = whose.hop;
}

#define HELD 8 /* looks at the clock: so long each owner has it, for else no reader would ever get through */

static long change_hands(__u32 i, void *unused)
{
	struct pkt p = { .proto = IPPROTO_UDP, .service = whose.service };
	struct making *m = making_new(&p, 0);
	__u32 slot = whose.slot;

	if (!m)
		return 1;
	owner_next(m, i);
	if (whose.family == 4) {
		struct flow4 *f = bpf_map_lookup_elem(&nat4, &slot);

		if (f)
			make4_slot(&p, m, f);
	} else {
		struct nat6 *n = bpf_map_lookup_elem(&nat6, &slot);

		if (n)
			make6_slot(&p, m, n);
	}
	for (int n = 0; n < HELD; n++)
		bpf_ktime_get_ns();
	return 0;
}

SEC("xdp")
int remake(struct xdp_md *ctx)
{
	bpf_loop(whose.rounds, change_hands, NULL, 0);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
