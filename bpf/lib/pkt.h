/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the stages know of the packet in hand. Offsets, never pointers: each stage derives its own from ctx. */
#pragma once

#include <stdbool.h>

#include "../abi.h"

/* A lookup in the map of one family, where the other's follows in the other branch: clang would make one call of both, with
 * the map in a register, and the kernel can't inline that (an indirect call behind a retpoline instead: 10 ns each). */
#define APART(lookup)                   \
	({                              \
		void *found = (lookup); \
		asm volatile("");       \
		found;                  \
	})

#define NOINLINE __attribute__((noinline))

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58

#define TC_ACT_UNSPEC (-1) /* on to whoever is next */
#define TC_ACT_SHOT 2

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define L3_MAX (14 + 2 * 4)
#define L4_MAX 1023 /* headers that begin later than this are refused as bad_extension */

enum frag_kind {
	FRAG_NONE = 0,
	FRAG_FIRST = 1,
	FRAG_LATER = 2,
};

/* What is known of a packet that express had to leave to the common way; each includes the one before. */
enum known {
	KNOWN_NOTHING = 0,
	KNOWN_STRANGER = 1, /* no session has its tuple, not even one that is over */
	KNOWN_UNLISTED = 2, /* no deny list has its host: the deny prefixes are still to be asked */
};

enum why {
	WHY_STRANGER = 0, /* it has no session */
	WHY_DAMAGED = 1,
	WHY_FIRST_WORDS = 2, /* it has one, and its gate is to see this packet */
	WHY_BELIEVED = 3, /* its gate has seen it */
	WHY_SPEAKS_ON = 4, /* its session is not proven, or weakly: is it a query? */
};

enum new_taken {
	NEW_SOURCE = 1, /* of its source's */
	NEW_PREFIX = 2,
	NEW_ALL = 4, /* of its service's */
};

enum ruled {
	RULED_NOT = 0,
	RULED = 1, /* its service's rules have judged it */
	RULED_OPEN = 2, /* those are to see it that are about sessions: its own is proven */
};

struct pkt {
	__u64 now; /* ns */
	__u32 tick;
	__u32 len; /* whole frame */
	__u32 l3_len; /* what the IP header says, its own length included */
	__u32 frag_id; /* as on the wire */
	__u16 l3; /* offsets in the frame */
	__u16 l4;
	__u8 family; /* 4, 6; 0 = neither */
	__u8 proto;
	__u8 tags; /* VLAN tags */
	__u8 frag; /* enum frag_kind */
	__u8 tcp; /* flags */
	__u8 reason; /* enum drop_reason, of damage or of a refusal */
	__u8 shadow; /* what policy would have said */
	__u8 unlimited; /* an allow entry lifts its limits */
	__be16 sport;
	__be16 dport;
	__u16 service;
	__u16 offset; /* of its port in the service's range; timed: a cell of `watch` */
	__be16 to_port;
	__u8 down; /* travels from server to client */
	__u8 learn; /* the sender's link address is the way to `to` if the kernel knows none */
	__u8 src[16]; /* IPv4 in the first four bytes */
	__u8 dst[16];
	__u8 to[16]; /* where it leaves for: what routes are asked about */
	__u8 as[16]; /* the source it leaves with; of an answer by the edge, the edge's own address */
	__u8 allowed; /* an allow entry names its client */
	__u8 new_taken; /* enum new_taken: units of new sessions, for one that is yet to be made */
	__u8 known; /* enum known: what express found out */
	__u8 ttl; /* or hop limit */
	__u8 proof; /* enum gate_proof */
	__u8 gated; /* the gate has seen it */
	__be16 as_port; /* of `as` */
	__u32 epoch; /* policy's, before a stranger was judged */
	__u8 query; /* a stranger's packet is one, says its gate */
	__u8 why; /* enum why: it is a stranger's */
	__u8 again; /* a stranger that had to come again, and did */
	__u8 regular; /* a stranger that has played before */
	__u32 whole; /* UDP: bytes of the datagram, by its own header */
	__u32 rule; /* number of the operator's rule that judged it, or would have refused it; 0 = none */
	__u8 weak; /* its session is proven weakly */
	__u8 playing; /* its session is proven */
	__u8 ruled; /* enum ruled */
	__u8 shaken; /* TCP: a client that has shaken hands with the edge (map shaken) */
	__u8 player; /* its client is one: proven strongly, or has played for a while */
	__u8 half; /* it is of a session */
	__u8 told; /* enum sample_kind: it is told of, and its frame is kept (stage/told.h) */
	__u8 step; /* enum sample_step */
	__u8 timed; /* it was, in cell `offset` (stage/watch.h) */
};

static __always_inline __u32 addr4(const __u8 *a)
{
	return *(const __u32 *)a;
}

static __always_inline __u64 addr_hi(const __u8 *a)
{
	return *(const __u64 *)a;
}

static __always_inline __u64 addr_lo(const __u8 *a)
{
	return *(const __u64 *)(a + 8);
}

/* Eight bytes by one load or store. By void *, for of a field clang knows the alignment and takes it in parts. */
static __always_inline __u64 wide(const void *p)
{
	return *(const volatile __u64 *)p;
}

static __always_inline void wide_put(void *p, __u64 v)
{
	*(volatile __u64 *)p = v;
}

_Static_assert(__builtin_offsetof(struct pkt, src) % 8 == 0, "addresses are moved as 8-byte words");

/* Whom policy judges: on the way back the packet leaves for the client. */
static __always_inline const __u8 *client_of(const struct pkt *p)
{
	return p->down ? p->to : p->src;
}

static __always_inline void addr_copy(__u8 *to, const __u8 *from)
{
	*(__u64 *)to = *(const __u64 *)from;
	*(__u64 *)(to + 8) = *(const __u64 *)(from + 8);
}
