/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Of what policy would have dropped, how many sources is that, and how many of them were players? Where policy only watches, each refusal
 * is a mark in a sketch of its service and reason (HyperLogLog; Flajolet et al. 2007), and its source is noted with the reason: once a
 * session of it is proven strongly or has lasted, or was before, it counts as a player, once for each reason. The same is done for
 * what is really dropped while a service is on trial: its policy was switched on a moment ago, and is switched off again if it
 * hits players. None of it is done for packets that nobody refuses.
 */
#pragma once

#include "limit.h"

#define BOOK_INDEX (BOOK_REGISTERS - 1)

/* Packets' own key of shadow_source, and of regular. */
static __always_inline void book_source(struct source_key *k, const __u8 *client, __u32 family, __u32 service_id)
{
	source_key_of(k, family == 4 ? addr4(client) : addr_hi(client), family, service_id, family == 4 ? 32 : 64);
}

/* The word of a bit, and the kind. Bounded where clang would find that no bound is needed, for the verifier doesn't. */
static __always_inline __u32 book_word(__u32 i)
{
	i >>= 6;
	barrier_var(i);
	return i & (BOOK_WORDS - 1);
}

static __always_inline __u32 book_kind_of(__u32 i)
{
	i /= REASONS_MAX;
	barrier_var(i);
	return i & (BOOK_KINDS - 1);
}

/* It was refused for this, and it is a player: counted once. `i` is enum book_kind * REASONS_MAX + reason. */
static __always_inline void book_player(struct shadow_source *s, __u32 service_id, __u32 i)
{
	__u32 w = book_word(i), cell = service_id * REASONS_MAX + (i & (REASONS_MAX - 1));
	__u64 bit = 1ULL << (i & 63);
	struct shadow_book *b;

	if (!(s->refused[w] & bit) || __sync_fetch_and_or(&s->counted[w], bit) & bit)
		return;
	b = bpf_map_lookup_elem(&shadow_book, &cell);
	if (b)
		__sync_fetch_and_add(&b->players[book_kind_of(i)], 1);
}

struct book_walk {
	struct source_key key;
};

static long book_step(__u32 i, struct book_walk *walk)
{
	struct source_key k = walk->key;
	struct shadow_source *s = bpf_map_lookup_elem(&shadow_source, &k);

	if (!s)
		return 1;
	book_player(s, k.service, i);
	return 0;
}

/* p's client is a player: so it was in all that was refused of it. */
NOINLINE int book_settle(struct pkt *p)
{
	struct book_walk walk = {};
	struct source_key k = {};
	struct shadow_source *s;
	__u64 left = 0;

	if (!p)
		return 0;
	book_source(&k, client_of(p), p->family, p->service);
	s = bpf_map_lookup_elem(&shadow_source, &k);
	if (!s)
		return 0;
	s->player = 1;
	for (int i = 0; i < BOOK_WORDS; i++)
		left |= s->refused[i] & ~s->counted[i];
	if (!left)
		return 0;
	walk.key = k;
	bpf_loop(BOOK_KINDS * REASONS_MAX, book_step, &walk, 0);
	return 0;
}

/* Its client has proven himself, strongly or by playing for a while. */
static __always_inline void proved(struct pkt *p, enum sample_step how)
{
	p->player = 1;
	p->step |= how;
	if (cfg.books)
		book_settle(p);
}

/* How many zeros are at the end, and one. */
static __always_inline __u32 book_rank(__u32 x)
{
	__u32 n = 1;

	x |= 1u << 31;
	if (!(x & 0xffff)) {
		n += 16;
		x >>= 16;
	}
	if (!(x & 0xff)) {
		n += 8;
		x >>= 8;
	}
	if (!(x & 0xf)) {
		n += 4;
		x >>= 4;
	}
	if (!(x & 3)) {
		n += 2;
		x >>= 2;
	}
	return n + !(x & 1);
}

static __always_inline struct shadow_book *book_get(__u32 cell)
{
	struct shadow_book *b = bpf_map_lookup_elem(&shadow_book, &cell), *empty;
	__u32 zero = 0;

	if (b)
		return b;
	empty = bpf_map_lookup_elem(&book_empty, &zero);
	if (empty)
		bpf_map_update_elem(&shadow_book, &cell, empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(&shadow_book, &cell);
}

static __always_inline struct shadow_source *book_source_get(const struct source_key *k)
{
	struct shadow_source *s = bpf_map_lookup_elem(&shadow_source, k), fresh = {};

	if (s)
		return s;
	bpf_map_update_elem(&shadow_source, k, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&shadow_source, k);
}

/* What was refused in an earlier trial is over. */
static __always_inline void book_anew(struct shadow_source *s, __u32 trial)
{
	s->trial = trial;
	for (int i = BOOK_WORDS / 2; i < BOOK_WORDS; i++) {
		s->refused[i] = 0;
		s->counted[i] = 0;
	}
}

/* Enters a refusal into the books. Global: verified once. */
NOINLINE int book_refusal(struct noted *n)
{
	struct secret *key = env_secret();
	struct shadow_source *s;
	struct shadow_book *b;
	struct source_key k = {};
	__u32 kind, reason, i, rank, trial = 0;
	__u64 h;

	if (!n || !key || !n->sample.family || !(n->sample.shadow | n->sample.reason))
		return 0;
	kind = n->sample.shadow ? BOOK_WOULD : BOOK_DID;
	reason = (kind == BOOK_WOULD ? n->sample.shadow : n->sample.reason) & (REASONS_MAX - 1);
	i = n->sample.service;
	if (kind == BOOK_DID) {
		struct service *svc = bpf_map_lookup_elem(&service, &i);

		trial = svc ? svc->trial : 0;
		if (!trial)
			return 0;
	}
	b = book_get(i * REASONS_MAX + reason);
	if (!b)
		return 0;
	book_source(&k, n->sample.client, n->sample.family, i);
	if (kind == BOOK_WOULD) {
		h = hash_mix(k.addr ^ key->key[1]);
		rank = book_rank(h >> 32);
		if (b->registers[h & BOOK_INDEX] < rank)
			b->registers[h & BOOK_INDEX] = rank;
	}
	s = book_source_get(&k);
	if (!s)
		return 0;
	if (kind == BOOK_DID && s->trial != trial)
		book_anew(s, trial);
	i = kind * REASONS_MAX + reason;
	__sync_fetch_and_or(&s->refused[book_word(i)], 1ULL << (i & 63));
	if (n->sample.flags & SAMPLE_PLAYER || s->player || bpf_map_lookup_elem(&regular, &k)) {
		s->player = 1;
		book_player(s, k.service, i);
	}
	return 0;
}
