/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is its source refused or welcome? Off the established path: asked when a session begins and when a flow
 * re-checks. Allow wins over deny; hosts are looked at before prefixes; an expired entry is a miss, and an
 * expired prefix looks past itself to the next shorter one.
 */
#pragma once

#include "../lib/hash.h"
#include "exit.h"
#include "geo.h"

/* Of the lists' two kinds and families, one function each; C has no way to pass a map on. */
enum list_kind {
	LIST_DENY = 0,
	LIST_ALLOW = 1,
};

#define NEST_MAX 129 /* prefixes of one address nest no deeper than its bits; only expired ones are walked */

static __always_inline struct list_entry *list_live(struct list_entry *e, __u64 now)
{
	if (!e || (e->expires && (__s64)(e->expires - now) <= 0))
		return NULL;
	return e;
}

static __always_inline struct list_entry *host_entry(enum list_kind kind, const struct pkt *p, __u32 service)
{
	if (p->family == 4) {
		__u64 k = service | (__u64)addr4(client_of(p)) << 32; /* struct host_key4, by one store */

		if (kind == LIST_DENY)
			return APART(bpf_map_lookup_elem(&deny_host4, &k));
		return APART(bpf_map_lookup_elem(&allow_host4, &k));
	} else {
		struct host_key6 k = { .service = service };

		__builtin_memcpy(k.addr, client_of(p), 16);
		return kind == LIST_DENY ? bpf_map_lookup_elem(&deny_host6, &k) : bpf_map_lookup_elem(&allow_host6, &k);
	}
}

/* The longest prefix that is no longer than `bits`. */
static __always_inline struct list_entry *net_entry(enum list_kind kind, const __u8 *client, __u32 family,
						    __u32 service, __u32 bits)
{
	if (family == 4) {
		struct net_key4 k = { .prefixlen = 32 + bits, .service = service, .addr = addr4(client) };

		return kind == LIST_DENY ? bpf_map_lookup_elem(&deny_net4, &k) : bpf_map_lookup_elem(&allow_net4, &k);
	} else {
		struct net_key6 k = { .prefixlen = 32 + bits, .service = service };

		__builtin_memcpy(k.addr, client, 16);
		return kind == LIST_DENY ? bpf_map_lookup_elem(&deny_net6, &k) : bpf_map_lookup_elem(&allow_net6, &k);
	}
}

/* Walks from an expired prefix to the next shorter one, until one lives. */
struct nest {
	__u8 client[16];
	__u64 now;
	__u32 family;
	__u32 service;
	__u32 bits;
	__u32 kind;
	__u32 hit; /* enum hit */
};

enum hit {
	HIT_NONE = 0,
	HIT = 1,
	HIT_UNLIMITED = 2,
};

static __always_inline enum hit hit(struct list_entry *e)
{
	e->hits++;
	return e->unlimited ? HIT_UNLIMITED : HIT;
}

static long nest_step(__u32 i, struct nest *n)
{
	struct list_entry *e, *live;

	if (n->kind == LIST_DENY)
		e = net_entry(LIST_DENY, n->client, n->family, n->service, n->bits);
	else
		e = net_entry(LIST_ALLOW, n->client, n->family, n->service, n->bits);
	live = list_live(e, n->now);
	if (live)
		n->hit = hit(live);
	if (live || !e || !e->bits || e->bits > n->bits)
		return 1;
	n->bits = e->bits - 1;
	return 0;
}

static __always_inline enum hit net_hit(enum list_kind kind, const struct pkt *p, __u32 service)
{
	__u32 bits = p->family == 4 ? 32 : 128;
	struct list_entry *e = net_entry(kind, client_of(p), p->family, service, bits);
	struct nest n = {};

	if (!e)
		return HIT_NONE;
	if (list_live(e, p->now))
		return hit(e);
	if (!e->bits || e->bits > bits)
		return HIT_NONE;
	__builtin_memcpy(n.client, client_of(p), 16);
	n.now = p->now;
	n.family = p->family;
	n.service = service;
	n.bits = e->bits - 1;
	n.kind = kind;
	bpf_loop(NEST_MAX, nest_step, &n, 0);
	return n.hit;
}

/* May some prefix list cover the client? The loader computes the same bit (loader/filter.go). */
static __always_inline bool net_filtered(const struct pkt *p)
{
	__u32 bit, word;
	__u64 *w;

	if (p->family == 4) {
		bit = __builtin_bswap32(addr4(client_of(p))) >> 8;
		word = bit >> 6;
		w = APART(bpf_map_lookup_elem(&net_filter4, &word));
	} else {
		bit = hash_mix(addr_hi(client_of(p)) & 0x0000ffffffffffffULL) >> 40;
		word = bit >> 6;
		w = bpf_map_lookup_elem(&net_filter6, &word);
	}
	return w && (*w >> (bit & 63)) & 1;
}

static __always_inline enum hit list_hit(enum list_kind kind, const struct pkt *p, __u32 service, bool nets)
{
	struct list_entry *e;

	if (kind == LIST_ALLOW || p->known < KNOWN_UNLISTED) {
		e = list_live(host_entry(kind, p, service), p->now);
		if (e)
			return hit(e);
	}
	return nets ? net_hit(kind, p, service) : HIT_NONE;
}

NOINLINE int allow_hit(struct pkt *p, __u32 service, __u32 nets)
{
	return p ? list_hit(LIST_ALLOW, p, service, nets) : HIT_NONE;
}

NOINLINE int deny_hit(struct pkt *p, __u32 service, __u32 nets)
{
	return p ? list_hit(LIST_DENY, p, service, nets) : HIT_NONE;
}

/* Judges p's client for p->service; svc is NULL for the host's own traffic. Entries for all services (0) are looked
 * at before the service's own. Returns 0 or the enum drop_reason; sets allowed and unlimited. */
NOINLINE int policy(struct pkt *p, const struct service *svc)
{
	__u32 nets;
	int welcome;

	if (!p)
		return DROP_REASON_INTERNAL;
	nets = net_filtered(p);
	welcome = allow_hit(p, 0, nets);
	if (!welcome && p->service)
		welcome = allow_hit(p, p->service, nets);
	if (welcome) {
		p->allowed = 1;
		p->unlimited = welcome == HIT_UNLIMITED;
		return 0;
	}
	if ((p->known < KNOWN_UNLISTED || nets) &&
	    (deny_hit(p, 0, nets) || (p->service && deny_hit(p, p->service, nets))) &&
	    refuse(p, DROP_REASON_DENIED, !svc || svc->enforce))
		return DROP_REASON_DENIED;
	if (cfg.geo && svc && geo_refuses(p, svc) && refuse(p, DROP_REASON_GEO, svc->enforce))
		return DROP_REASON_GEO;
	if (svc && svc->allowlist && refuse(p, DROP_REASON_NOT_ALLOWED, svc->enforce))
		return DROP_REASON_NOT_ALLOWED;
	return 0;
}

/* Policy only watches, and would have refused the packet's client: its session goes on being judged at every packet,
 * so that each is counted. */
static __always_inline bool would_deny(const struct pkt *p)
{
	return p->shadow == DROP_REASON_DENIED || p->shadow == DROP_REASON_NOT_ALLOWED ||
	       p->shadow == DROP_REASON_GEO || p->shadow == DROP_REASON_DOUBTED;
}
