/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The number with which the edge answers a SYN that it keeps nothing of (Bernstein, 1996). Its low byte says what was agreed on: the
 * lowest bit whose step of 17 s it is, then which MSS, SACK, and the client's window scale. The other 24 bits are of a keyed hash over that,
 * the tuple, the service, the client's own number and the step: gate_hash's words (gate/parry_gate.h), where the protocol's place has
 * what was agreed on and the step shares its word with the client's number. All of it is in the number and none in the timestamp, for
 * Windows sends none. Of ten million forged ACKs a second about one in two seconds comes through, to begin a session under its source's limits.
 *
 * The hash's upper half is the timestamp that the client is given, where it has one.
 */
#pragma once

#include "../gate/parry_gate.h"
#include "tcp.h"

#define COOKIE_SYN 0x53 /* its purpose; gates number theirs from 1 */
#define COOKIE_MSS_SHIFT 1
#define COOKIE_SACK 0x08
#define COOKIE_SCALE_SHIFT 4

/* The largest of four that is not above a client's; below the first, the first. */
static __always_inline __u32 cookie_mss(__u32 family, __u32 mss)
{
	if (family == 4)
		return mss >= 1460 ? 3 : mss >= 1400 ? 2 : mss >= 1220 ? 1 : 0;
	return mss >= 1440 ? 3 : mss >= 1380 ? 2 : mss >= 1300 ? 1 : 0;
}

static __always_inline __u32 cookie_mss_of(__u32 family, __u32 i)
{
	if (family == 4)
		return i == 3 ? 1460 : i == 2 ? 1400 : i == 1 ? 1220 : 536;
	return i == 3 ? 1440 : i == 2 ? 1380 : i == 1 ? 1300 : 1220;
}

/* p is the client's. */
static __always_inline __u64 cookie_hash(const struct pkt *p, __u32 isn, __u8 says, __u64 step)
{
	__u32 zero = 0;
	const struct gate_secret *k = bpf_map_lookup_elem(&gate_secret, &zero);
	struct gate_sip s;

	if (!k)
		return 0;
	gate_sip_begin(&s, k);
	if (p->family == 4) {
		gate_sip_word(&s, addr4(p->src) | (__u64)addr4(p->dst) << 32);
	} else {
		gate_sip_word(&s, addr_hi(p->src));
		gate_sip_word(&s, addr_lo(p->src));
		gate_sip_word(&s, addr_hi(p->dst));
		gate_sip_word(&s, addr_lo(p->dst));
	}
	gate_sip_word(&s, p->sport | (__u32)p->dport << 16 | (__u64)says << 32 | (__u64)COOKIE_SYN << 40 |
				  (__u64)p->service << 48);
	return gate_sip_end(&s, isn | (step & 0xffffff) << 32, p->family == 4 ? 23 : 47);
}

static __always_inline __u32 cookie_of(__u64 hash, __u8 says)
{
	return (__u32)hash << 8 | says;
}

/* The timestamp that goes with it. */
static __always_inline __u32 cookie_times(__u64 hash)
{
	return hash >> 32 & ~(1U << 31);
}

/* The hash behind a number that came back; 0: it is none of ours, or too old. */
static __always_inline __u64 cookie_check(const struct pkt *p, __u32 isn, __u32 cookie)
{
	__u64 step = p->now >> GATE_COOKIE_SHIFT, hash;

	if ((step ^ cookie) & 1)
		step--;
	hash = cookie_hash(p, isn, cookie, step);
	return cookie_of(hash, cookie) == cookie ? hash | 1ULL << 63 : 0;
}
