/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What do client and server agree on in their handshakes, and how is it said? Options are packed so that those of an answer take no more
 * room than the client's did, however it ordered them. */
#pragma once

#include "cookie.h"

/* What a client's SYN says. */
struct said {
	__u32 isn;
	__u32 mss;
	__be32 tsval;
	__u8 scale; /* TCP_SCALE_NONE: it takes none */
	bool sized; /* it says an MSS */
	bool permits; /* SACK */
	bool times;
};

/* What both have agreed on. */
struct agreed {
	__u32 isn; /* the client's */
	__be32 tsval; /* and its timestamp, as on the wire */
	__u16 mss; /* that the client may send; 0: its SYN had no room to say so */
	__u8 says; /* the cookie's low byte */
	__u8 offered; /* the server's window scale */
	bool times;
	bool permits;
};

#define AGREED_WORDS 5 /* of options: MSS, timestamps 3 or SACK 1, scale */
#define AGREED_PADDING bpf_htonl(0x01010101)

/* The options of a SYN or of its answer, as words of the wire; what is left is padding. No index is a variable: the compiler would make of it
 * what the verifier refuses. */
static __always_inline void agreed_words(__u32 *o, const struct agreed *a, __u32 times)
{
	__u32 says = a->says, scale = AGREED_PADDING, q[AGREED_WORDS - 1];

	if (says >> COOKIE_SCALE_SHIFT != TCP_SCALE_NONE)
		scale = bpf_htonl(0x01000000 | TCP_OPT_SCALE << 16 | 3 << 8 | a->offered);
	q[0] = scale;
	q[1] = q[2] = q[3] = AGREED_PADDING;
	if (a->times) {
		q[0] = bpf_htonl((a->permits ? TCP_OPT_PERMITS << 24 | 2 << 16 : 0x01010000) | TCP_OPT_TIMES << 8 | 10);
		q[1] = bpf_htonl(times);
		q[2] = a->tsval;
		q[3] = scale;
	} else if (a->permits) {
		q[0] = bpf_htonl(0x01010000 | TCP_OPT_PERMITS << 8 | 2);
		q[1] = scale;
	}
	o[0] = a->mss ? bpf_htonl(TCP_OPT_MSS << 24 | 4 << 16 | a->mss) : q[0];
	o[1] = a->mss ? q[0] : q[1];
	o[2] = a->mss ? q[1] : q[2];
	o[3] = a->mss ? q[2] : q[3];
	o[4] = a->mss ? q[3] : AGREED_PADDING;
}

static __always_inline void agreed_options(struct tcp_box *b, const struct agreed *a, __u32 times)
{
	__u32 o[AGREED_WORDS], at = sizeof(struct tcphdr);

	agreed_words(o, a, times);
	for (int i = 0; i < AGREED_WORDS; i++, at += 4)
		tcp_word_put(b, at, at < b->length ? o[i] : 0);
	for (; at < TCP_HEADER_MAX; at += 4)
		tcp_word_put(b, at, at < b->length ? AGREED_PADDING : 0);
}
