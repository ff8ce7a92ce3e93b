/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Out-of-band packets of the Quake family: four bytes 0xff, a word, what it is about. */
#pragma once

#include "parry_gate.h"

#define OOB_MARK 4 /* bytes */
#define OOB4(a, b, c, d) ((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)

enum oob_word {
	OOB_OTHER = 0, /* one that begins no flow, or none at all */
	OOB_GETINFO,
	OOB_GETSTATUS,
	OOB_GETCHALLENGE,
	OOB_CONNECT,
};

/* Its word, and in *rest where that ends. */
static __always_inline enum oob_word oob_word(struct xdp_md *ctx, const struct gate *g, __u32 *rest)
{
	const __u8 *p = gate_data(ctx, g, 11);

	if (!p || *(const __u32 *)p != ~0U)
		return OOB_OTHER;
	*rest = 11;
	if (*(const __u32 *)(p + 4) == OOB4('g', 'e', 't', 'i') && *(const __u32 *)(p + 7) == OOB4('i', 'n', 'f', 'o'))
		return OOB_GETINFO;
	if (*(const __u32 *)(p + 4) == OOB4('c', 'o', 'n', 'n') && *(const __u32 *)(p + 7) == OOB4('n', 'e', 'c', 't'))
		return OOB_CONNECT;
	p = gate_data(ctx, g, 13);
	*rest = 13;
	if (p && *(const __u32 *)(p + 4) == OOB4('g', 'e', 't', 's') &&
	    *(const __u32 *)(p + 9) == OOB4('a', 't', 'u', 's') && p[8] == 't')
		return OOB_GETSTATUS;
	p = gate_data(ctx, g, 16);
	*rest = 16;
	if (p && *(const __u32 *)(p + 4) == OOB4('g', 'e', 't', 'c') &&
	    *(const __u32 *)(p + 8) == OOB4('h', 'a', 'l', 'l') && *(const __u32 *)(p + 12) == OOB4('e', 'n', 'g', 'e'))
		return OOB_GETCHALLENGE;
	return OOB_OTHER;
}

#define OOB_ARGUMENT_MAX 128 /* ioquake3 answers nothing to a longer one */
#define OOB_WORDS 17 /* of eight bytes: that, and the space before it */

/* What follows a word, without the line's end. */
struct oob_argument {
	__u32 length; /* with the space before it; 0 = there is none */
	bool sound; /* printable, and no longer than servers take it */
	bool plain; /* one word, and nothing in it that a server's parser reads as anything but itself */
};

#define OOB_EACH(c) (0x0101010101010101ULL * (c))

/* Not 0 where a byte is 0 (Mycroft's test). */
static __always_inline __u64 oob_null(__u64 w)
{
	return (w - OOB_EACH(1)) & ~w & OOB_EACH(0x80);
}

static __always_inline __u64 oob_has(__u64 w, __u8 c)
{
	return oob_null(w ^ OOB_EACH(c));
}

/* Reads it to OOB_WORDS words of zeros. Eight bytes at a time, and without a branch on what they are: each way out of a
 * loop over bytes is a path of its own to the verifier. */
static __always_inline struct oob_argument oob_argument(struct xdp_md *ctx, const struct gate *g, __u32 rest, __u64 *to)
{
	struct oob_argument a = { .sound = true, .plain = true };
	__u64 bad = 0, special = 0;
	__u32 n = g->length - rest;

	/* An end of line, a NUL behind it: some send them, some don't. */
	for (int i = 0; i < 2 && n && n < 256; i++) {
		const __u8 *last = gate_at(ctx, g, rest + n - 1, 1);

		if (!last || (*last && *last != '\n'))
			break;
		n--;
	}
	a.length = n;
	if (!n)
		return a;
	a.sound = gate_bounded(n, OOB_ARGUMENT_MAX + 1) && !bpf_xdp_load_bytes(ctx, g->payload + rest, to, n) &&
		  *(__u8 *)to == ' ';
	if (!a.sound)
		return a;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < OOB_WORDS && 8 * i < n; i++) {
		__u64 w = to[i];

		if (!i)
			w ^= ' ' ^ 'A';
		if (n < 8 * i + 8)
			w |= OOB_EACH('A') << 8 * (n & 7);
		bad |= (w & OOB_EACH(0x80)) | oob_null(w & OOB_EACH(0xe0)) | oob_has(w, 0x7f);
		special |= oob_has(w, ' ') | oob_has(w, '"') | oob_has(w, '\\') | oob_has(w, ';') | oob_has(w, '%') |
			   oob_has(w, '/');
	}
	a.sound = !bad;
	a.plain = !special && n > 1; /* a space alone: servers add no empty challenge */
	return a;
}
