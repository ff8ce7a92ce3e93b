/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is it sending too much? Every source has one entry a service with exact buckets; flows borrow small batches
 * of tokens from it, so that an established packet needs no second lookup. What a flow borrowed and did not use
 * within two seconds goes back when it next asks.
 *
 * A loan is its CPU's, which alone spends of it, by a plain load and store: no packet interrupts another on its CPU.
 * All else is done to the word by compare-and-swap, and by another CPU only when the loan has no packets left or lapsed
 * LOAN_GRACE ago; until then that CPU draws on the source's buckets packet by packet. So no token is spent twice: a CPU
 * stores within nanoseconds of seeing that its loan has not lapsed. One that is held up for longer than the grace in
 * between (a virtual machine that stands still) puts back a loan that another has returned. It has lapsed, so nobody
 * spends of it; it is returned once more, one batch at most, and what the other had borrowed is lost.
 */
#pragma once

#include "../lib/rate.h"
#include "exit.h"

#define LAPSE_SHIFT 4 /* a loan's age is in 16 ticks */
#define LAPSE 127 /* two seconds, as long as a check is believed; all ones, for it is compared as a mask */
#define LOAN_GRACE 8 /* of the same */

/* `addr` is IPv4's address, or the first word of IPv6's, as on the wire. */
static __always_inline void source_key_of(struct source_key *k, __u64 addr, __u32 family, __u32 service_id,
					  __u32 prefix)
{
	*(__u64 *)&k->service = service_id | (__u64)family << 32; /* one store: it is compared as one word */
	if (family == 4) {
		k->addr = (__u32)addr;
		if (prefix < 32)
			k->addr &= __builtin_bswap32(~(~0u >> prefix));
	} else {
		k->addr = addr;
		if (prefix < 64)
			k->addr &= __builtin_bswap64(~(~0ULL >> prefix));
	}
}

/* How long a prefix is one source, in this configuration's eyes. */
static __always_inline __u32 source_prefix(const struct pkt *p, const struct service *svc)
{
	return p->family == 4 ? svc->prefix4 : svc->prefix6;
}

static __always_inline void source_key(struct source_key *k, const struct pkt *p, __u32 prefix)
{
	const __u8 *client = client_of(p);

	source_key_of(k, p->family == 4 ? addr4(client) : addr_hi(client), p->family, p->service, prefix);
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

/* Counts one more session. Returns how many there were, or -1 where the source is going this moment. */
static __always_inline __s64 source_join(struct source *s, const struct source_key *k)
{
	__u32 n;

	if (*(volatile __u32 *)&s->sessions == SOURCE_DYING)
		__sync_val_compare_and_swap(&s->sessions, SOURCE_DYING, 0); /* back before it was gone */
	n = __sync_fetch_and_add(&s->sessions, 1);
	if (n & SOURCE_DYING) /* dead: what was counted goes with it */
		return -1;
	if (bpf_map_lookup_elem(&source, k) != s) { /* it went, and the element is another source's already */
		__sync_fetch_and_add(&s->sessions, -1);
		return -1;
	}
	return n;
}

/* One more session of this source, unless it had too many. A session that a server starts is counted, never
 * refused. Returns its source, which stays as long as it has sessions; NULL: p->reason says why not. */
static NOINLINE struct source *limit_session(struct pkt *p, const struct service *svc)
{
	bool enforced = svc->enforce && svc->enforce_limits;
	struct source_key k = {};
	struct source *s;
	__s64 n;

	source_key(&k, p, source_prefix(p, svc));
	s = source_get(&k, p->tick);
	if (!s) {
		p->reason = DROP_REASON_SOURCES_FULL;
		return NULL;
	}
	s->seen = p->tick;
	n = source_join(s, &k);
	if (n < 0) {
		p->reason = DROP_REASON_RACE;
		return NULL;
	}
	if (p->unlimited || p->down)
		return s;
	if (!svc->max_sessions || n < svc->max_sessions || !refuse(p, DROP_REASON_TOO_MANY_SESSIONS, enforced)) {
		p->new_taken = !p->query && rate_take(&s->news, &svc->sessions, p->now, 1, 0);
		if (p->query || p->new_taken || !refuse(p, DROP_REASON_RATE_SESSIONS, enforced))
			return s;
	}
	__sync_fetch_and_add(&s->sessions, -1);
	return NULL;
}

/* The session is over. */
static __always_inline void limit_forget(const struct source_key *k)
{
	struct source *s = bpf_map_lookup_elem(&source, k);

	if (s && s->sessions && !(s->sessions & SOURCE_DYING))
		__sync_fetch_and_add(&s->sessions, -1);
}

/* The session that limit_session counted did not come to be: limits count admitted attempts. */
static __always_inline void limit_undo(const struct pkt *p, struct source *s, const struct service *svc)
{
	__sync_fetch_and_add(&s->sessions, -1);
	if (p->new_taken)
		rate_give(&s->news, &svc->sessions, 1);
}

#define LOAN_HOLDER_BITS (LOAN_CPU_BITS + LOAN_TICK_BITS)
#define LOAN_BYTE_SHIFT (LOAN_PACKET_BITS + LOAN_HOLDER_BITS)
#define LOAN_ONE(bytes) (1 | (__u64)(bytes) << LOAN_BYTE_SHIFT) /* what a packet takes of it */
#define LOAN_SHORT (1ULL << 63 | 1 << (LOAN_PACKET_BITS - 1)) /* set where more was taken than there was */
#define LOAN_PACKETS(word) ((word) & ((1 << LOAN_PACKET_BITS) - 1))
#define LOAN_BYTES(word) ((word) >> LOAN_BYTE_SHIFT)

/* Whose a loan is that is given now, and when: one number, so that both are compared at once. */
static __always_inline __u32 loan_holder(__u32 tick)
{
	return tick >> LAPSE_SHIFT << LOAN_CPU_BITS | env_cpu();
}

static __always_inline __u32 loan_since(__u64 word, __u32 holder)
{
	return (holder - (__u32)(word >> LOAN_PACKET_BITS)) & ((1U << LOAN_HOLDER_BITS) - 1);
}

static __always_inline __u64 loan_word(__u32 packets, __u32 bytes, __u32 holder)
{
	return packets | (__u64)(holder & ((1U << LOAN_HOLDER_BITS) - 1)) << LOAN_PACKET_BITS |
	       (__u64)bytes << LOAN_BYTE_SHIFT;
}

/* Another CPU may be spending of it. */
static __always_inline bool loan_anothers(__u64 word, __u32 holder)
{
	__u32 since = loan_since(word, holder);

	return LOAN_PACKETS(word) && since & ((1 << LOAN_CPU_BITS) - 1) &&
	       (__u16)((holder >> LOAN_CPU_BITS) - (word >> (LOAN_PACKET_BITS + LOAN_CPU_BITS))) <= LAPSE + LOAN_GRACE;
}

/* Takes units from one bucket: a batch where it is to be had, else just what this packet needs. Returns how
 * many, 0 = none. */
static __always_inline __u32 borrow(__u64 *word, const struct rate *r, __u64 now, __u32 need, __u32 batch, __u32 back)
{
	if (batch > need && rate_take(word, r, now, batch, back))
		return batch;
	return rate_take(word, r, now, need, back) ? need : 0;
}

/* The flow has no tokens for this packet: borrows from its source and spends. Returns 0, or the enum drop_reason that
 * its source's buckets give. What is left of an older loan goes back with the same compare-and-swap; what a refusal
 * leaves of it stays with the flow. */
static __always_inline int flow_loan(struct flow *f, const struct source_key *k, const struct service *svc, __u64 now,
				     __u32 l3_len)
{
	bool enforced = cfg.enforce && svc->enforce && svc->enforce_limits, anothers;
	struct source *s = bpf_map_lookup_elem(&source, k);
	__u32 packets, bytes = 0, tick = now >> TICK_SHIFT, holder = loan_holder(tick);
	__u32 packets_left, bytes_left, batch;
	__u64 had;

	if (!s) {
		fault(FAULT_SOURCE_MISSING);
		return 0;
	}
	s->seen = tick;
	had = *(volatile __u64 *)&f->word;
	anothers = loan_anothers(had, holder);
	if (anothers || __sync_val_compare_and_swap(&f->word, had, 0) != had)
		had = 0;
	batch = anothers ? 0 : svc->packet_batch & LOAN_PACKETS_MAX; /* the loader made it fit */
	packets = borrow(&s->packets, &svc->packets, now, 1, batch, LOAN_PACKETS(had));
	batch = anothers ? 0 : svc->byte_batch & LOAN_BYTES_MAX;
	if (packets)
		bytes = borrow(&s->bytes, &svc->bytes, now, l3_len, batch, LOAN_BYTES(had));
	packets_left = packets ? packets - (bytes || !enforced) : LOAN_PACKETS(had);
	bytes_left = bytes ? bytes - l3_len : LOAN_BYTES(had);
	if (anothers || __sync_val_compare_and_swap(&f->word, 0, loan_word(packets_left, bytes_left, holder))) {
		rate_give(&s->packets, &svc->packets, packets_left); /* another CPU's loan is there */
		rate_give(&s->bytes, &svc->bytes, bytes_left);
	}
	return bytes ? 0 : packets ? DROP_REASON_RATE_BYTES : DROP_REASON_RATE_PACKETS;
}

NOINLINE int limit_borrow(struct pkt *p, struct flow *f, const struct service *svc)
{
	struct source_key k = {};
	int refused;

	if (!p || !f || !svc)
		return DROP_REASON_INTERNAL;
	source_key(&k, p, FLOW_PREFIX(f->state));
	refused = flow_loan(f, &k, svc, p->now, p->l3_len);
	return refused && refuse(p, refused, svc->enforce && svc->enforce_limits) ? refused : 0;
}

/* Spends the flow's own tokens. False: it must borrow. */
static __always_inline bool limit_spend(struct flow *f, __u32 holder, __u32 l3_len)
{
	__u64 old = *(volatile __u64 *)&f->word, left = old - LOAN_ONE(l3_len);

	/* Of its age all bits that are over LAPSE, of whose it is all: none may differ. */
	if (left & LOAN_SHORT || loan_since(old, holder) & ~(LAPSE << LOAN_CPU_BITS))
		return false;
	*(volatile __u64 *)&f->word = left;
	return true;
}
