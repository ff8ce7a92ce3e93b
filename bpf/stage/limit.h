/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is it sending too much? Every source has one entry a service with exact buckets; flows borrow small batches
 * of tokens from it, so that an established packet needs no second lookup. What a flow borrowed and did not use
 * within 100 ms goes back when it next asks.
 */
#pragma once

#include "../lib/rate.h"
#include "exit.h"

#define LAPSE_SHIFT 4 /* flow.tokens.lapse is in 16 ticks */
#define LAPSE 6 /* about 100 ms */

static __always_inline void source_key_of(struct source_key *k, const __u8 *addr, __u32 family, __u32 service_id,
					  const struct service *svc)
{
	__u32 host;

	k->service = service_id;
	k->family = family;
	if (family == 4) {
		host = 32 - (svc->prefix4 & 63);
		k->addr = addr4(addr);
		if (host && host <= 32)
			k->addr &= __builtin_bswap32(~((1ULL << host) - 1));
	} else {
		host = 64 - (svc->prefix6 & 127);
		k->addr = addr_hi(addr);
		if (host && host < 64)
			k->addr &= __builtin_bswap64(~((1ULL << host) - 1));
	}
}

static __always_inline void source_key(struct source_key *k, const struct pkt *p, const struct service *svc)
{
	source_key_of(k, client_of(p), p->family, p->service, svc);
}

static __always_inline struct source *source_get(const struct source_key *k, __u32 tick)
{
	struct source *s = bpf_map_lookup_elem(&source, k);
	struct source fresh = {};

	if (s)
		return s;
	fresh.seen = tick;
	bpf_map_update_elem(&source, k, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&source, k);
}

/* One more session of this source, unless it had too many. A session that a server starts is counted, never
 * refused. Returns 0 or the enum drop_reason. */
NOINLINE int limit_session(struct pkt *p, const struct service *svc)
{
	struct source_key k = {};
	struct source *s;
	bool enforced;
	__u32 n;

	if (!p || !svc)
		return DROP_REASON_INTERNAL;
	enforced = svc->enforce && svc->enforce_limits;
	source_key(&k, p, svc);
	s = source_get(&k, p->tick);
	if (!s)
		return DROP_REASON_SOURCES_FULL;
	s->seen = p->tick;
	if (!p->unlimited && !p->down) {
		if (!rate_take(&s->news, &svc->sessions, p->now, 1, 0) &&
		    refuse(p, DROP_REASON_RATE_SESSIONS, enforced))
			return DROP_REASON_RATE_SESSIONS;
	}
	n = __sync_fetch_and_add(&s->sessions, 1);
	if (n & SOURCE_DYING) { /* idle for long, back at the moment of its deletion */
		__sync_fetch_and_add(&s->sessions, -1);
		return DROP_REASON_SOURCES_FULL;
	}
	if (!p->unlimited && !p->down && svc->max_sessions && n >= svc->max_sessions &&
	    refuse(p, DROP_REASON_TOO_MANY_SESSIONS, enforced)) {
		__sync_fetch_and_add(&s->sessions, -1);
		return DROP_REASON_TOO_MANY_SESSIONS;
	}
	return 0;
}

/* The session that limit_session counted did not come to be, or is over. */
static __always_inline void limit_forget(const struct source_key *k)
{
	struct source *s = bpf_map_lookup_elem(&source, k);

	if (s && s->sessions)
		__sync_fetch_and_add(&s->sessions, -1);
}

static __always_inline __u64 tokens_word(struct tokens t)
{
	return t.packets | (__u64)t.lapse << 16 | (__u64)t.bytes << 32;
}

static __always_inline struct tokens tokens_of(__u64 word)
{
	return (struct tokens){ .packets = word, .lapse = word >> 16, .bytes = word >> 32 };
}

/* Takes units from one bucket: a batch where it is to be had, else just what this packet needs. Returns how
 * many, 0 = none. */
static __always_inline __u32 borrow(__u64 *word, const struct rate *r, __u64 now, __u32 need, __u32 batch, __u32 back)
{
	if (batch > need && rate_take(word, r, now, batch, back))
		return batch;
	return rate_take(word, r, now, need, back) ? need : 0;
}

/* The flow has no tokens for this packet: borrows from its source and spends. Returns 0 or the enum
 * drop_reason. What is left of an older loan goes back with the same compare-and-swap. */
NOINLINE int limit_borrow(struct pkt *p, struct flow *f, const struct service *svc)
{
	struct source_key k = {};
	struct tokens had, got = {};
	struct source *s;
	bool enforced;
	__u32 n;

	if (!p || !f || !svc)
		return DROP_REASON_INTERNAL;
	enforced = svc->enforce && svc->enforce_limits;
	source_key(&k, p, svc);
	s = bpf_map_lookup_elem(&source, &k);
	if (!s) {
		fault(FAULT_SOURCE_MISSING);
		return 0;
	}
	s->seen = p->tick;
	had = tokens_of(__sync_lock_test_and_set(&f->word, 0));
	n = borrow(&s->packets, &svc->packets, p->now, 1, svc->packet_batch, had.packets);
	if (!n)
		return refuse(p, DROP_REASON_RATE_PACKETS, enforced) ? DROP_REASON_RATE_PACKETS : 0;
	got.packets = n - 1;
	n = borrow(&s->bytes, &svc->bytes, p->now, p->l3_len, svc->byte_batch, had.bytes);
	if (!n && refuse(p, DROP_REASON_RATE_BYTES, enforced))
		return DROP_REASON_RATE_BYTES;
	got.bytes = n ? n - p->l3_len : 0;
	got.lapse = p->tick >> LAPSE_SHIFT;
	if (__sync_val_compare_and_swap(&f->word, 0, tokens_word(got))) { /* another CPU's loan is there already */
		__sync_fetch_and_add(&s->packets, -(got.packets * svc->packets.cost));
		__sync_fetch_and_add(&s->bytes, -(got.bytes * svc->bytes.cost));
	}
	return 0;
}

/* Spends the flow's own tokens. False: it must borrow. */
static __always_inline bool limit_spend(const struct pkt *p, struct flow *f)
{
	__u64 old = *(volatile __u64 *)&f->word;
	struct tokens t = tokens_of(old);

	if (!t.packets || t.bytes < p->l3_len || (__u16)((p->tick >> LAPSE_SHIFT) - t.lapse) > LAPSE)
		return false;
	t.packets--;
	t.bytes -= p->l3_len;
	return __sync_val_compare_and_swap(&f->word, old, tokens_word(t)) == old;
}
