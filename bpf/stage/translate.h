/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The numbers of a TCP session whose client shook hands with the edge: what the server counts from its own initial number, the client
 * has counted from the edge's. Changed are the server's sequence numbers and timestamps on the way to the client, and what the client
 * says of them on the way back: acknowledgements, SACK's blocks, echoed timestamps. The client's own numbers are the server's, too. Windows
 * are changed where the server's scale is not the one that the client was offered.
 */
#pragma once

#include "side.h"
#include "tcp.h"

#define TRANSLATE_BLOCKS 4 /* RFC 2018: as many fit in 40 bytes */

static __always_inline __u32 window_shifted(__u32 window, __s32 shift)
{
	if (shift < 0)
		return window >> (-shift & 15);
	window <<= shift & 15;
	return window > 0xffff ? 0xffff : window;
}

static __always_inline void add_number(struct tcp_box *b, __u32 at, __u32 n)
{
	tcp_number_put(b, at, tcp_number(b, at) + n);
}

/* A segment of the client's, in the box. */
static __always_inline void translate_up(struct tcp_box *b, const struct proxied *x)
{
	__u32 at = b->opt.blocks + 2;

	if (x->up_shift)
		tcp_window_put(b, window_shifted(tcp_window(b), x->up_shift));
	if (!(b->now[TCP_FLAGS] & TCP_ACK)) /* it says nothing of the server's */
		return;
	add_number(b, TCP_ACKED, -x->delta);
	if (b->opt.times)
		add_number(b, b->opt.times + 6, -x->ts_delta);
	for (int i = 0; i < TRANSLATE_BLOCKS; i++, at += 8) {
		if (!b->opt.blocks || at >= b->opt.blocks_end)
			break;
		add_number(b, at, -x->delta);
		add_number(b, at + 4, -x->delta);
	}
}

/* And of the server's. */
static __always_inline void translate_down(struct tcp_box *b, const struct proxied *x)
{
	add_number(b, TCP_SEQ, x->delta);
	if (b->opt.times)
		add_number(b, b->opt.times + 2, x->ts_delta);
	if (x->shift)
		tcp_window_put(b, window_shifted(tcp_window(b), x->shift));
}
