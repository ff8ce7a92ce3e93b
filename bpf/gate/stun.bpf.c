// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * STUN (RFC 8489) and TURN (RFC 8656). A binding request that asks for nothing but its own address is answered at once.
 * One with credentials (ICE), or with an attribute that must be understood, is the server's; so is TURN's Allocate, whose
 * proof is the server's nonce.
 */
#include "parry_gate.h"

#define COOKIE 0x2112a442
#define HEADER 20
#define BINDING 0x0001
#define BINDING_SUCCESS 0x0101
#define ALLOCATE 0x0003
#define XOR_MAPPED_ADDRESS 0x0020
#define FINGERPRINT 0x8028
#define OPTIONAL 0x8000 /* attributes from here on may be passed over */
#define ATTRIBUTES 24 /* at most, in a first request */
#define LONGEST 1280 /* attributes, bytes */

struct stun_header {
	__be16 type, length;
	__be32 cookie;
	__be32 id[3];
};
_Static_assert(sizeof(struct stun_header) == HEADER, "20 bytes on the wire");

struct stun_answer {
	struct stun_header head;
	__be16 attribute, length;
	__u8 zero, family;
	__be16 port;
	__be32 addr[4];
};

enum stun_sight { STUN_DAMAGED, STUN_BARE, STUN_MORE };

/* Do its attributes fill it exactly, and is there one that wants more than an address? */
static __always_inline enum stun_sight attributes(struct xdp_md *ctx, const struct gate *g)
{
	enum stun_sight sight = STUN_BARE;
	__u32 at = HEADER;

	for (int i = 0; i < ATTRIBUTES; i++) {
		const __be16 *p;
		__u16 type;

		if (at == g->length)
			return sight;
		p = gate_at(ctx, g, at, 4);
		if (!p)
			return STUN_DAMAGED;
		type = bpf_ntohs(p[0]);
		if (type < OPTIONAL)
			sight = STUN_MORE;
		at += 4 + ((bpf_ntohs(p[1]) + 3) & ~3U);
		if (at > HEADER + LONGEST || (type == FINGERPRINT && at != g->length))
			return STUN_DAMAGED;
	}
	return STUN_DAMAGED;
}

/* FINGERPRINT is left out, as RFC 8489 14.7 allows: who needs it sends credentials, too. */
static __always_inline int answer(struct xdp_md *ctx, struct gate *g, const struct stun_header *asked)
{
	struct stun_answer a = {
		.head = { .type = bpf_htons(BINDING_SUCCESS), .cookie = asked->cookie },
		.attribute = bpf_htons(XOR_MAPPED_ADDRESS),
		.family = g->family == 4 ? 1 : 2,
		.port = g->sport ^ bpf_htons(COOKIE >> 16),
	};
	const __be32 *src = (const __be32 *)g->src;
	__u32 addr = g->family == 4 ? 4 : 16, length = HEADER + 8 + addr;

	a.head.length = bpf_htons(8 + addr);
	a.length = bpf_htons(4 + addr);
	a.addr[0] = src[0] ^ asked->cookie;
	for (int i = 0; i < 3; i++) {
		a.head.id[i] = asked->id[i];
		if (g->family == 6)
			a.addr[i + 1] = src[i + 1] ^ asked->id[i];
	}
	if (gate_resize(ctx, g, length))
		return GATE_QUERY; /* no room in the packet's buffer */
	if (gate_write(ctx, g, 0, &a, length))
		return GATE_REFUSE;
	g->sum = gate_sum(&a, sizeof(a));
	return GATE_ANSWER;
}

PARRY_GATE(stun, GATE_PROOF_NONE, "STUN, TURN: binding request (answered by the edge), Allocate")
{
	const struct stun_header *p = gate_data(ctx, g, HEADER);
	enum stun_sight sight;

	if (g->proto != GATE_UDP) /* TURN's streams may begin with TLS */
		return GATE_PASS;
	if (!p || p->cookie != bpf_htonl(COOKIE) || bpf_ntohs(p->length) % 4)
		return GATE_REFUSE;
	if (p->type != bpf_htons(BINDING) && p->type != bpf_htons(ALLOCATE))
		return GATE_REFUSE;
	if (HEADER + bpf_ntohs(p->length) != g->length)
		return GATE_REFUSE;
	sight = attributes(ctx, g);
	if (sight == STUN_DAMAGED)
		return GATE_REFUSE;
	if (p->type == bpf_htons(ALLOCATE))
		return GATE_PASS;
	if (sight == STUN_MORE || g->flags & GATE_WATCH)
		return sight == STUN_MORE ? GATE_PASS : GATE_QUERY;
	return answer(ctx, g, p);
}

PARRY_GATE_LICENSE;
