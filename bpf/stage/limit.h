/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is it sending too much? Every source has one entry a service with exact buckets; flows borrow small batches
 * of tokens from it, so that an established packet needs no second lookup. What a flow borrowed and did not use
 * within two seconds goes back when it next asks. Where its prefix is limited, too, the same tokens are drawn from both (stage/wide.h).
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
#include "wide.h"

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

	n = __sync_fetch_and_add(&s->sessions, 1);
	if ((n & SOURCE_DEAD) == SOURCE_DEAD) /* what was counted goes with it */
		return -1;
	if (n & SOURCE_DYING) { /* back before it was gone */
		/* Counted first, the mark taken off then: who is counted can't be marked nor be dead, for the reaper does both by
		 * compare-and-swap of a word without sessions. The other way round it marks in between, and the word is neither
		 * dying nor used: the source would neither go nor be let in, ever. */
		__sync_fetch_and_and(&s->sessions, ~SOURCE_DYING);
		n &= ~SOURCE_DYING;
	}
	if (bpf_map_lookup_elem(&source, k) != s) { /* it went, and the element is another source's already */
		__sync_fetch_and_add(&s->sessions, -1);
		return -1;
	}
	return n;
}

/* An address that many players share: so many of its sessions have lasted that its limits are wider (limits.source.shared). What
 * makes it one takes each of them half a minute of play, both ways. */
static __always_inline bool source_shared(const struct source *s, const struct service *svc)
{
	return cfg.shared && svc->shared_sessions && *(volatile const __u32 *)&s->lasting >= svc->shared_sessions;
}

static __always_inline struct rate source_rate(const struct rate *r, const struct service *svc, bool shared)
{
	struct rate wider = *r;

	if (shared && r->cost)
		wider.cost = r->cost / (svc->shared_factor ?: 1) ?: 1;
	return wider;
}

/* One more session of this source, unless it had too many. A session that a server starts is counted, never
 * refused. Returns its source, which stays as long as it has sessions; NULL: p->reason says why not. */
static NOINLINE struct source *limit_session(struct pkt *p, const struct service *svc)
{
	bool enforced = svc->enforce && svc->enforce_limits, shared;
	struct source_key k = {};
	struct source *s;
	struct rate news;
	__u32 most;
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
	shared = source_shared(s, svc);
	most = shared ? svc->max_sessions * svc->shared_factor : svc->max_sessions;
	if (!most || n < most || !refuse(p, DROP_REASON_TOO_MANY_SESSIONS, enforced)) {
		news = source_rate(&svc->sessions, svc, shared);
		if (!p->query && rate_take(&s->news, &news, p->now, 1, 0))
			p->new_taken |= NEW_SOURCE;
		if (p->query || p->new_taken & NEW_SOURCE || !refuse(p, DROP_REASON_RATE_SESSIONS, enforced))
			return s;
	}
	__sync_fetch_and_add(&s->sessions, -1);
	step_refused(p);
	return NULL;
}

/* The session is over. lasting: it was one of those that had lasted. */
static __always_inline void limit_forget(const struct source_key *k, bool lasting)
{
	struct source *s = bpf_map_lookup_elem(&source, k);

	if (!s || !s->sessions || s->sessions & SOURCE_DYING)
		return;
	if (lasting)
		__sync_fetch_and_add(&s->lasting, -1);
	__sync_fetch_and_add(&s->sessions, -1);
}

/* One more of its sessions has lasted, or one that had begins anew. */
static __always_inline void limit_lasting(const struct pkt *p, const struct flow *up, __s32 more)
{
	struct source_key k = {};
	struct source *s;

	source_key(&k, p, FLOW_PREFIX(up->state));
	s = bpf_map_lookup_elem(&source, &k);
	if (s)
		__sync_fetch_and_add(&s->lasting, more);
}

/* The session that limit_session counted did not come to be: limits count admitted attempts. */
static __always_inline void limit_undo(struct pkt *p, struct source *s, const struct service *svc)
{
	struct rate news = source_rate(&svc->sessions, svc, source_shared(s, svc));

	__sync_fetch_and_add(&s->sessions, -1);
	if (p->new_taken & NEW_SOURCE)
		rate_give(&s->news, &news, 1);
	wide_undo(p, svc);
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

/* Verified once. */
NOINLINE int loan_draw(__u64 *word, __u64 cost, __u64 burst, __u64 now, __u32 units)
{
	struct rate r = { .cost = cost, .burst = burst };

	return word && rate_take(word, &r, now, units, 0);
}

/* Takes units from one bucket: a batch where it is to be had, else just what this packet needs. Returns how
 * many, 0 = none. */
static __always_inline __u32 borrow(__u64 *word, const struct rate *r, __u64 now, __u32 need, __u32 batch)
{
	if (batch > need && loan_draw(word, r->cost, r->burst, now, batch))
		return batch;
	return loan_draw(word, r->cost, r->burst, now, need) ? need : 0;
}

/* What a flow borrows: of its source and its source's prefix. Rates are made of the service's where they are used: the stack has
 * no room for them. */
struct loan {
	struct source *source;
	struct prefix_use *prefix; /* NULL: its service limits none */
	const struct service *svc;
	__u32 state; /* of the flow */
	bool shared;
	__u32 lent_packets, lent_bytes; /* by its source, this packet's among them */
	__u32 drawn_packets, drawn_bytes; /* of the prefix */
};

/* Reasons of a refusal: by the source's limits in the low byte, by the prefix's above it. */
#define LOAN_REFUSED(source, prefix) ((source) | (prefix) << 8)
#define LOAN_BY_SOURCE(refused) ((refused)&0xff)
#define LOAN_BY_PREFIX(refused) ((refused) >> 8)

static __always_inline void loan_of(struct loan *l, struct source *s, struct prefix_use *u, const struct service *svc,
				    __u32 state)
{
	l->source = s;
	l->prefix = u;
	l->svc = svc;
	l->state = state;
	l->shared = source_shared(s, svc);
}

/* Takes of the source's buckets, or of the prefix's; and gives back. */
static __always_inline __u32 loan_take(const struct loan *l, __u64 *word, const struct rate *r, bool wide, __u64 now,
				       __u32 need, __u32 batch)
{
	struct rate mine = wide ? wide_share(r, l->state) : source_rate(r, l->svc, l->shared);

	return borrow(word, &mine, now, need, batch);
}

static __always_inline void loan_give(const struct loan *l, __u64 *word, const struct rate *r, bool wide, __u32 units)
{
	struct rate mine = wide ? *r : source_rate(r, l->svc, l->shared);

	if (units && mine.cost)
		rate_give(word, &mine, units);
}

static __always_inline void loan_return(const struct loan *l, __u32 packets, __u32 bytes)
{
	loan_give(l, &l->source->packets, &l->svc->packets, false, packets);
	loan_give(l, &l->source->bytes, &l->svc->bytes, false, bytes);
	if (!l->prefix)
		return;
	loan_give(l, &l->prefix->packets, &l->svc->prefix_packets, true, packets);
	loan_give(l, &l->prefix->bytes, &l->svc->prefix_bytes, true, bytes);
}

/* Keeps so much of what the source lent. */
static __always_inline void loan_keep(struct loan *l, __u32 packets, __u32 bytes)
{
	if (l->lent_packets > packets) {
		loan_give(l, &l->source->packets, &l->svc->packets, false, l->lent_packets - packets);
		l->lent_packets = packets;
	}
	if (l->lent_bytes > bytes) {
		loan_give(l, &l->source->bytes, &l->svc->bytes, false, l->lent_bytes - bytes);
		l->lent_bytes = bytes;
	}
}

/* Both of the source's tokens, or neither. */
static __always_inline int loan_source(struct loan *l, __u64 now, __u32 l3_len, __u32 packets, __u32 bytes)
{
	l->lent_bytes = 0;
	l->lent_packets = loan_take(l, &l->source->packets, &l->svc->packets, false, now, 1, packets);
	if (!l->lent_packets)
		return DROP_REASON_RATE_PACKETS;
	l->lent_bytes = loan_take(l, &l->source->bytes, &l->svc->bytes, false, now, l3_len, bytes);
	if (l->lent_bytes)
		return 0;
	loan_keep(l, 0, 0);
	return DROP_REASON_RATE_BYTES;
}

/* Both of the prefix's, as many as its source lent or just what this packet needs; or neither. */
static __always_inline int loan_prefix(struct loan *l, __u64 now, __u32 l3_len)
{
	struct prefix_use *u = l->prefix;

	l->drawn_packets = l->drawn_bytes = 0;
	if (!u)
		return 0;
	l->drawn_packets = loan_take(l, &u->packets, &l->svc->prefix_packets, true, now, 1, l->lent_packets);
	if (!l->drawn_packets)
		return DROP_REASON_PREFIX_PACKETS;
	l->drawn_bytes = loan_take(l, &u->bytes, &l->svc->prefix_bytes, true, now, l3_len, l->lent_bytes);
	if (l->drawn_bytes)
		return 0;
	loan_give(l, &u->packets, &l->svc->prefix_packets, true, l->drawn_packets);
	l->drawn_packets = 0;
	return DROP_REASON_PREFIX_BYTES;
}

/* Tokens for this packet, and for others after it where there are enough: of the unproven, whose packets may be forged, for none. What
 * refuses and is not enforced is told, and the packet costs the other one what it needs. Returns LOAN_REFUSED(). */
static __always_inline int lend(struct loan *l, const struct service *svc, __u32 state, __u64 now, __u32 l3_len,
				bool batch)
{
	bool many = batch && !(l->prefix && FLOW_PHASE(state) == PHASE_OPENING);
	int by_source, by_prefix;

	by_source = loan_source(l, now, l3_len, many ? svc->packet_batch & LOAN_PACKETS_MAX : 0,
				many ? svc->byte_batch & LOAN_BYTES_MAX : 0); /* the loader made it fit */
	if (by_source && cfg.enforce && svc->enforce && svc->enforce_limits) {
		l->drawn_packets = l->drawn_bytes = 0;
		return LOAN_REFUSED(by_source, 0);
	}
	by_prefix = loan_prefix(l, now, l3_len);
	if (by_prefix && cfg.enforce && svc->enforce && svc->enforce_prefix)
		loan_keep(l, 0, 0);
	else if (by_prefix)
		loan_keep(l, 1, l3_len);
	else if (l->prefix)
		loan_keep(l, l->drawn_packets, l->drawn_bytes);
	return LOAN_REFUSED(by_source, by_prefix);
}

/* What is left of it for the flow's next packets. */
static __always_inline __u32 loan_packets_left(const struct loan *l, int refused)
{
	return !refused && l->lent_packets ? l->lent_packets - 1 : 0;
}

static __always_inline __u32 loan_bytes_left(const struct loan *l, int refused, __u32 l3_len)
{
	return !refused && l->lent_bytes > l3_len ? l->lent_bytes - l3_len : 0;
}

/* Out of line: beside a loan a frame has no room for a key. `client` is its address, as source_key_of has it. */
static NOINLINE struct source *source_of_flow(const struct flow *f, __u64 client, __u32 family)
{
	struct source_key k;

	source_key_of(&k, client, family, f->service, FLOW_PREFIX(f->state));
	return bpf_map_lookup_elem(&source, &k);
}

/* The flow has no tokens for this packet: borrows from its source and spends. What is left of an older loan goes back first. Returns
 * LOAN_REFUSED(). */
static __always_inline int flow_loan(struct flow *f, __u64 client, __u32 family, const struct service *svc, __u64 now,
				     __u32 l3_len)
{
	struct source *s = source_of_flow(f, client, family);
	__u32 tick = now >> TICK_SHIFT, holder = loan_holder(tick), packets, bytes, state = f->state;
	struct loan l = {};
	bool anothers;
	int refused;
	__u64 had;

	if (!s) {
		fault(FAULT_SOURCE_MISSING);
		return 0;
	}
	s->seen = tick;
	loan_of(&l, s, wide_of(client, family, f->service, svc), svc, state);
	had = *(volatile __u64 *)&f->word;
	anothers = loan_anothers(had, holder);
	if (!anothers && __sync_val_compare_and_swap(&f->word, had, 0) == had)
		loan_return(&l, LOAN_PACKETS(had), LOAN_BYTES(had));
	refused = lend(&l, svc, state, now, l3_len, !anothers);
	packets = loan_packets_left(&l, refused);
	bytes = loan_bytes_left(&l, refused, l3_len);
	if (anothers || __sync_val_compare_and_swap(&f->word, 0, loan_word(packets, bytes, holder)))
		loan_return(&l, packets, bytes); /* another CPU's loan is there */
	return refused;
}

/* Is the refusal carried out? */
static __always_inline int loan_refuses(struct pkt *p, const struct service *svc, int refused)
{
	if (LOAN_BY_SOURCE(refused) && refuse(p, LOAN_BY_SOURCE(refused), svc->enforce && svc->enforce_limits))
		return LOAN_BY_SOURCE(refused);
	if (LOAN_BY_PREFIX(refused) && refuse(p, LOAN_BY_PREFIX(refused), svc->enforce && svc->enforce_prefix))
		return LOAN_BY_PREFIX(refused);
	return 0;
}

NOINLINE int limit_borrow(struct pkt *p, struct flow *f)
{
	const struct service *svc;
	const __u8 *client;
	__u64 addr;

	if (!p || !f)
		return DROP_REASON_INTERNAL;
	svc = service_of(p);
	if (!svc)
		return DROP_REASON_INTERNAL;
	client = client_of(p);
	addr = p->family == 4 ? addr4(client) : addr_hi(client);
	return loan_refuses(p, svc, flow_loan(f, addr, p->family, svc, p->now, p->l3_len));
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
