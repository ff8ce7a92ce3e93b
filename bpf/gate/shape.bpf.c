// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Any game whose first packets have a shape that the configuration tells (games[].first): how long they are, and which of their bytes
 * never change. A shape is one window or several; there are three of them in all, in two words of params each:
 *
 *	value: eight bytes of the payload, as they lie there
 *	place: least length, greatest, where the window begins (16 bits each), which of its bytes count (8), enum shape_flag (8)
 *
 * A packet passes that has any of the shapes. Where there is none all do.
 */
#include "parry_gate.h"

#define WINDOWS (GATE_PARAMS / 2)

enum shape_flag {
	SHAPE_USED = 1,
	SHAPE_MORE = 2, /* the next window is another one of the same shape */
	SHAPE_TCP = 4, /* the game is spoken over TCP, else over UDP */
};

/* A byte of ones for each bit. */
static __always_inline __u64 spread(__u8 bits)
{
	__u64 each = bits * 0x0101010101010101ULL & 0x8040201008040201ULL;

	return ((each + 0x7f7f7f7f7f7f7f7fULL) >> 7 & 0x0101010101010101ULL) * 0xff;
}

/* The window's bytes; zeros where the packet ends within it. */
static __always_inline __u64 seen(struct xdp_md *ctx, const struct gate *g, __u32 at)
{
	const __u64 *p = gate_at(ctx, g, at, sizeof(*p));
	__u32 left = g->length - at;
	__u64 got = 0;

	if (p)
		return *p;
	if (left > sizeof(got)) /* or the frame's first buffer ends */
		left = sizeof(got);
	if (!gate_bounded(left, sizeof(got)) || bpf_xdp_load_bytes(ctx, g->payload + at, &got, left))
		return 0;
	return got;
}

static __always_inline bool fits(struct xdp_md *ctx, const struct gate *g, __u64 value, __u64 place)
{
	__u32 least = (__u16)place, most = (__u16)(place >> 16), at = (__u16)(place >> 32);
	__u64 mask = spread(place >> 48);

	if (g->length < least || g->length > most)
		return false;
	return !mask || (at < g->length && !((seen(ctx, g, at) ^ value) & mask));
}

PARRY_GATE(shape, GATE_PROOF_NONE,
	   "first packets of the shapes that games: tells: lengths, and bytes that never change")
{
	bool whole = true;

	if (!(g->params[1] >> 56 & SHAPE_USED) || g->proto != (g->params[1] >> 56 & SHAPE_TCP ? GATE_TCP : GATE_UDP))
		return GATE_PASS;
	for (int i = 0; i < WINDOWS; i++) {
		__u64 value = g->params[2 * i], place = g->params[2 * i + 1];

		if (!(place >> 56 & SHAPE_USED))
			break;
		whole = whole && fits(ctx, g, value, place);
		if (place >> 56 & SHAPE_MORE)
			continue;
		if (whole)
			return GATE_PASS;
		whole = true;
	}
	return GATE_REFUSE;
}

PARRY_GATE_LICENSE;
