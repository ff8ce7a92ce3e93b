/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is its source's address doubted? Somebody attacks with it, and anybody may have written it: so for a while nothing of it gets in that
 * does not prove it strongly. Who did, who plays and who has played before are let be. Off every flood's way: asked when a stranger
 * is about to be let in, and when a session that is not proven so is judged again.
 */
#pragma once

#include "count.h"
#include "exit.h"
#include "limit.h"

/* Is anybody doubted at its service? Then strangers are asked for strong proof where they can give it. */
static __always_inline bool doubting(const struct service_mode *m, __u64 now)
{
	return cfg.doubts && m && (__s64)(*(volatile __u64 *)&m->doubt_until - now) > 0;
}

static __always_inline bool doubt_holds(const struct pkt *p, __u32 service, __u32 prefix)
{
	struct source_key k = {};
	__u64 *until;

	source_key_of(&k, p->family == 4 ? addr4(p->src) : addr_hi(p->src), p->family, service, prefix);
	k.family |= prefix << 8; /* else a network is its own first address */
	until = bpf_map_lookup_elem(&doubt, &k);
	return until && (__s64)(*until - p->now) > 0;
}

/* p goes up. A doubt is of a source or of its /24 or /48, for one service or (0) for all. Global: verified once. */
NOINLINE int doubted_source(struct pkt *p)
{
	__u32 one, net;

	if (!p || !doubting(mode_of(p), p->now))
		return 0;
	one = p->family == 4 ? 32 : 64;
	net = p->family == 4 ? 24 : 48;
	return doubt_holds(p, 0, one) || doubt_holds(p, 0, net) || doubt_holds(p, p->service, one) ||
	       doubt_holds(p, p->service, net);
}
