/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Internet checksums by difference (RFC 1071, RFC 1624 eqn. 3). A *delta* is the folded one's-complement sum
 * of ~old + new over every 16-bit word that changes; words are taken as they lie in memory, so no byte swaps.
 */
#pragma once

#include <linux/types.h>

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Sum of one 32-bit word's two halves; up to 2^14 of these fit before a fold. */
static __always_inline __u32 csum_word(__u32 w)
{
	return (w & 0xffff) + (w >> 16);
}

static __always_inline __u32 csum_change4(__be32 from, __be32 to)
{
	return csum_word(~from) + csum_word(to);
}

static __always_inline __u32 csum_change2(__be16 from, __be16 to)
{
	return (__u16)~from + to;
}

static __always_inline __u32 csum_change16(const __u8 *from, const __u8 *to)
{
	const __u32 *a = (const __u32 *)from, *b = (const __u32 *)to;

	return csum_change4(a[0], b[0]) + csum_change4(a[1], b[1]) + csum_change4(a[2], b[2]) +
	       csum_change4(a[3], b[3]);
}

/* ~ of a checksum after its data changed by a folded delta: two 16-bit numbers take but one fold. */
static __always_inline __u32 csum_sum(__u16 check, __u16 delta)
{
	__u32 sum = (check ^ 0xffff) + delta;

	return (sum & 0xffff) + (sum >> 16);
}

/* A checksum after its data changed by `delta`. */
static __always_inline __u16 csum_apply(__u16 check, __u32 delta)
{
	return ~csum_fold((__u16)~check + delta);
}
