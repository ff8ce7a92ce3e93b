// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Unreal Engine's StatelessConnect: the initial packet of a handshake. Its proof is the engine's own cookie, which the
 * server sends to the source.
 *
 * params: [0] bits of the game's magic header (0 to 32) and [1] their value; [2] 4 or 5: the engine; [3], [4] lowest and
 * highest handshake version (3 and 8). Where [2] is 0 the engine and its header are not known, and the gate holds packets
 * to what every variant has: the cookie's place full of zeros, a length that a handshake can have.
 */
#include "parry_gate.h"

#define MAGIC_MOST 32 /* bits */
#define LONGEST 64 /* bytes; the rest is random padding */
#define UE4_BITS 227 /* handshake, restart, secret, timestamp, cookie; then the bit that ends each packet */
#define UE5_BITS 312 /* from the session id to the cookie */
#define BYTES(bits) (((bits) + 7) / 8)
#define OLDEST 3 /* handshake version with session and client ids */
#define NEWEST 8

/* The packet's bits from the first one on, least significant first, without the magic header. */
struct bits {
	__u64 word[LONGEST / 8 + 1]; /* zeros behind the packet's end */
};

#define FIELD(word, at, width) ((word) >> (at) & ((1ULL << (width)) - 1))

static __always_inline bool ue4_begins(const struct gate *g, const struct bits *b, __u32 magic)
{
	/* The handshake bit, 226 zeros, the last bit. */
	return b->word[0] == 1 && !b->word[1] && !b->word[2] && b->word[3] == 1ULL << (UE4_BITS - 192) && !b->word[4] &&
	       g->length == BYTES(magic + UE4_BITS + 1);
}

static __always_inline bool ue5_begins(const struct gate *g, const struct bits *b, __u32 magic)
{
	__u32 flags = FIELD(b->word[0], 5, 2), least = FIELD(b->word[0], 7, 8), version = FIELD(b->word[0], 15, 8);
	__u32 type = FIELD(b->word[0], 23, 8), sent = FIELD(b->word[0], 31, 8);
	__u32 oldest = g->params[3] ? g->params[3] : OLDEST, newest = g->params[4] ? g->params[4] : NEWEST;

	if (flags != 1 || type || !sent) /* a handshake, no restart; initial, and this one counts */
		return false;
	if (least > version || version < oldest || version > newest)
		return false;
	/* secret, timestamp, cookie: bits 87 to 311 */
	if (b->word[1] >> 23 || b->word[2] || b->word[3] || FIELD(b->word[4], 0, 56))
		return false;
	return g->length >= BYTES(magic + UE5_BITS + 1);
}

/* Bits 120 to 223 are in the cookie whatever stands before it. */
static __always_inline bool some_begins(const struct bits *b)
{
	return !(b->word[1] >> 56) && !b->word[2] && !FIELD(b->word[3], 0, 32);
}

PARRY_GATE(unreal, GATE_PROOF_NONE, "Unreal Engine: initial handshake packet of StatelessConnect")
{
	__u32 magic = g->params[0], length = g->length;
	struct bits b = {};
	__u8 last;

	if (g->proto != GATE_UDP)
		return GATE_PASS;
	if (magic > MAGIC_MOST || length < BYTES(UE4_BITS + 1) || length > LONGEST)
		return GATE_REFUSE;
	if (bpf_xdp_load_bytes(ctx, g->payload, &b, length) || gate_read(ctx, g, length - 1, &last, 1) || !last)
		return GATE_REFUSE; /* the highest bit that is set ends the packet: its last byte has one */
	if (!g->params[2])
		return some_begins(&b) ? GATE_PASS : GATE_REFUSE;
	if ((b.word[0] & ((1ULL << magic) - 1)) != g->params[1])
		return GATE_REFUSE;
	for (int i = 0; i < LONGEST / 8; i++)
		b.word[i] = b.word[i] >> magic | b.word[i + 1] << 1 << (63 - magic);
	if (g->params[2] == 4)
		return ue4_begins(g, &b, magic) ? GATE_PASS : GATE_REFUSE;
	return g->params[2] == 5 && ue5_begins(g, &b, magic) ? GATE_PASS : GATE_REFUSE;
}

PARRY_GATE_LICENSE;
