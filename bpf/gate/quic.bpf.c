// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * QUIC: a client begins with an Initial in a datagram of 1200 bytes or more (RFC 9000 14.1, RFC 9369). What the token
 * says is between the server and its client.
 * params: further versions to let in, up to six.
 */
#include "parry_gate.h"

#define LEAST 1200
#define V1 0x00000001
#define V2 0x6b3343cf
#define ID_LEAST 8 /* of the destination's, that the client makes up */
#define ID_MOST 20
#define PACKET_LEAST 21 /* a number of one byte, four of frames, sixteen of tag: what header protection samples */

/* A variable-length integer (RFC 9000 16) at *at, which moves behind it. Half of what it can hold is out of bounds here. */
static __always_inline __u32 varint(struct xdp_md *ctx, const struct gate *g, __u32 *at)
{
	const __u8 *p = gate_at(ctx, g, *at, 4);

	if (!p)
		return ~0U;
	switch (p[0] >> 6) {
	case 0:
		*at += 1;
		return p[0];
	case 1:
		*at += 2;
		return (p[0] & 0x3f) << 8 | p[1];
	case 2:
		*at += 4;
		return (__u32)(p[0] & 0x3f) << 24 | p[1] << 16 | p[2] << 8 | p[3];
	}
	return ~0U; /* eight bytes for what a datagram holds: nobody's */
}

static __always_inline bool version(const struct gate *g, __u32 v, __u8 first)
{
	__u32 type = first >> 4 & 3;

	if (v == V2)
		return type == 1;
	if (type)
		return false;
	if (v == V1)
		return true;
	for (int i = 0; i < GATE_PARAMS; i++) {
		if (g->params[i] && g->params[i] == v)
			return true;
	}
	return false;
}

PARRY_GATE(quic, GATE_PROOF_NONE, "QUIC: a client's Initial of version 1 or 2, at least 1200 bytes")
{
	const __u8 *p = gate_data(ctx, g, 7);
	__u32 at, n;

	if (g->proto != GATE_UDP)
		return GATE_PASS;
	if (!p || g->length < LEAST || (p[0] & 0xc0) != 0xc0)
		return GATE_REFUSE;
	if (!version(g, (__u32)p[1] << 24 | p[2] << 16 | p[3] << 8 | p[4], p[0]))
		return GATE_REFUSE;
	if (p[5] < ID_LEAST || p[5] > ID_MOST)
		return GATE_REFUSE;
	at = 6 + p[5];
	p = gate_at(ctx, g, at, 1);
	if (!p || p[0] > ID_MOST)
		return GATE_REFUSE;
	at += 1 + p[0];
	n = varint(ctx, g, &at); /* the token */
	if (n > LEAST)
		return GATE_REFUSE;
	at += n;
	n = varint(ctx, g, &at); /* packet number and payload; other packets can follow */
	return n >= PACKET_LEAST && n <= g->length && at + n <= g->length ? GATE_PASS : GATE_REFUSE;
}

PARRY_GATE_LICENSE;
