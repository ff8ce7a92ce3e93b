/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP (RFC 792) and ICMPv6 (RFC 4443) as far as errors go. The system's headers of these drag in libc's. */
#pragma once

#include <linux/types.h>

#define ICMP_DEST_UNREACH 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_FRAG_NEEDED 4 /* code of ICMP_DEST_UNREACH */

#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PKT_TOOBIG 2
#define ICMPV6_PARAMPROB 4

struct icmphdr {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be16 unused;
	__be16 mtu; /* ICMP_FRAG_NEEDED (RFC 1191) */
};

struct icmp6hdr {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 mtu; /* ICMPV6_PKT_TOOBIG */
};
