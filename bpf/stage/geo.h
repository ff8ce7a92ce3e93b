/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Does its service take players from where it is? The daemon makes prefixes of the countries and networks that services' rules
 * name (pkg/geo); each rule has a bit in them, which says that it judges them otherwise than the rest of the world. Off the
 * established path, and after the lists: who is allowed by an entry is welcome from anywhere.
 */
#pragma once

#include "../lib/pkt.h"
#include "../maps.h"

static __always_inline bool geo_says(const __u64 *mask, const struct service *svc)
{
	return (mask ? *mask >> ((svc->geo - 1) & 63) & 1 : 0) != svc->geo_default;
}

/* Out of line: its key is not to lie beneath what calls gates. */
static NOINLINE bool geo_refuses4(__be32 addr, const struct service *svc)
{
	struct inside_key4 k = { .prefixlen = 32, .addr = addr };

	return svc->geo && geo_says(bpf_map_lookup_elem(&geo4, &k), svc);
}

static NOINLINE bool geo_refuses6(__u64 hi, __u64 lo, const struct service *svc)
{
	struct inside_key6 k = { .prefixlen = 128 };
	__u64 addr[2] = { hi, lo };

	__builtin_memcpy(k.addr, addr, 16); /* it lies at half a word */
	return svc->geo && geo_says(bpf_map_lookup_elem(&geo6, &k), svc);
}

static __always_inline bool geo_refuses(const struct pkt *p, const struct service *svc)
{
	const __u8 *client = client_of(p);

	if (p->family == 4)
		return geo_refuses4(addr4(client), svc);
	return geo_refuses6(addr_hi(client), addr_lo(client), svc);
}
