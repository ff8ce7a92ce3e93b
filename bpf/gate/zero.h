/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Padding. */
#pragma once

#include "parry_gate.h"

#define ZERO_STEP 64
#define ZERO_MOST 24 /* steps: a frame of 1536 bytes */

static __always_inline bool gate_zero_step(struct xdp_md *ctx, const struct gate *g, __u32 at)
{
	const __u64 *p = gate_at(ctx, g, at, ZERO_STEP);

	return p && !(p[0] | p[1] | p[2] | p[3] | p[4] | p[5] | p[6] | p[7]);
}

/* Are all bytes from `at` to the payload's end zeros? There must be ZERO_STEP of them at least, and 1536 at most. */
static __always_inline bool gate_zero(struct xdp_md *ctx, const struct gate *g, __u32 at)
{
	__u32 last = g->length - ZERO_STEP;

#pragma clang loop unroll(disable)
	for (int i = 0; i < ZERO_MOST && at < last; i++, at += ZERO_STEP) {
		if (!gate_zero_step(ctx, g, at))
			return false;
	}
	return at >= last && gate_zero_step(ctx, g, last); /* the last step overlaps the one before it */
}
