/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which sessions are over? Idle and killed ones are ended in two steps (stage/end.h); in between a packet that may begin a
 * session revives it.
 *
 * The daemon finds sessions with the iterators and gives orders through the boxes; all that changes a session
 * happens here, by compare-and-swap, beside the traffic.
 */
#pragma once

#include "admit.h"
#include "end.h"

struct seq_file;
struct bpf_map;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
} __attribute__((preserve_access_index));

static __always_inline __u32 idle_for(const struct flow *up, const struct flow *down, __u32 tick)
{
	__u32 idle = tick - up->seen, other;

	if (!down)
		return idle;
	other = tick - down->seen;
	return other < idle ? other : idle;
}

/* A TCP client whose first words its gate still waits for. */
static __always_inline bool is_silent(const struct flow *up)
{
	return (up->state & (FLOW_PHASES | FLOW_GATED)) == (PHASE_OPENING | FLOW_GATED);
}

static __always_inline void count_silent(const struct flow *up)
{
	struct pkt p = { .service = up->service, .reason = DROP_REASON_SILENT };

	count_reason(&p, 0);
}

static __always_inline __u32 timeout_of(const struct flow *up, const struct flow *down, __u8 proto,
					const struct service *svc)
{
	__u32 flags = up->state | (down ? down->state : 0);

	if (proto == IPPROTO_TCP && (flags & FLOW_RST || (flow_fin(up) && down && flow_fin(down))))
		return svc->timeout_closing;
	if (is_silent(up) && svc->timeout_silent && svc->timeout_silent < svc->timeout_opening)
		return svc->timeout_silent;
	if (FLOW_PHASE(up->state) == PHASE_OPENING || flags & FLOW_QUERY)
		return svc->timeout_opening;
	if (flags & FLOW_WEAK && svc->timeout_weak)
		return svc->timeout_weak;
	return proto == IPPROTO_TCP ? svc->timeout_tcp : svc->timeout_udp;
}

/* Is there anything to do about this session? */
static __always_inline bool is_due(const struct flow *up, const struct flow *down, __u8 proto, __u32 tick)
{
	__u32 i = up->service;
	struct service *svc;

	if (!carries(up->state))
		return tick - up->checked >= CLOSING_TICKS; /* set when it was marked closing */
	svc = bpf_map_lookup_elem(&service, &i);
	return svc && idle_for(up, down, tick) >= timeout_of(up, down, proto, svc);
}

/* First step, or none. */
static __always_inline void reap_mark(struct flow *up, struct flow *down, __u32 op, __u8 proto, __u32 tick)
{
	if (op == REAP_END)
		__sync_fetch_and_or(&up->state, FLOW_KILLED);
	if (carries(up->state) && (op == REAP_END || is_due(up, down, proto, tick))) {
		if (op != REAP_END && is_silent(up))
			count_silent(up);
		mark_closing(up, tick);
		if (down)
			mark_closing(down, tick);
	}
}

/* What was timed of a half that may go now: its cell will be another's. */
NOINLINE int reap_timed(__u32 place, struct flow *f)
{
	struct watch *w = f && f->state & FLOW_WATCHED ? watch_cell(f->watch) : NULL;
	struct watch *to = bpf_map_lookup_elem(&reap_watch, &place);

	if (w && to)
		*to = *w;
	return 0;
}

/* Static, for 6.1 takes no map key from the memory argument of a global function. */
static NOINLINE int reap_one4(struct reap_item4 *it, __u32 i, __u32 tick)
{
	struct flow_key4 dk = {};
	struct flow4 *up, *down;
	bool open;

	if (!it)
		return 0;
	it->done = PHASE_FREE;
	up = bpf_map_lookup_elem(&flow4, &it->key);
	if (!up || up->f.state & FLOW_RETURN)
		return 0;
	down = down_half4(&it->key, up, &dk);
	it->up = *up;
	if (down)
		it->down = *down;
	open = carries(up->f.state);
	reap_mark(&up->f, down ? &down->f : NULL, it->op, it->key.proto, tick);
	if (!open) {
		reap_timed(2 * i, &up->f);
		if (down)
			reap_timed(2 * i + 1, &down->f);
	}
	if (open || !end_delete4(&it->key, up, down, &dk, tick))
		it->done = FLOW_PHASE(up->f.state);
	return 0;
}

static NOINLINE int reap_one6(struct reap_item6 *it, __u32 i, __u32 tick)
{
	struct flow_key6 dk = {};
	struct flow6 *up, *down;
	bool open;

	if (!it)
		return 0;
	it->done = PHASE_FREE;
	up = bpf_map_lookup_elem(&flow6, &it->key);
	if (!up || up->f.state & FLOW_RETURN)
		return 0;
	down = down_half6(&it->key, up, &dk);
	it->up = *up;
	if (down)
		it->down = *down;
	open = carries(up->f.state);
	reap_mark(&up->f, down ? &down->f : NULL, it->op, it->key.proto, tick);
	if (!open) {
		reap_timed(2 * i, &up->f);
		if (down)
			reap_timed(2 * i + 1, &down->f);
	}
	if (open || !end_delete6(&it->key, up, down, &dk, tick))
		it->done = FLOW_PHASE(up->f.state);
	return 0;
}

/* A source without sessions whose buckets are full again is the same as no source. Also in two steps. */
static __always_inline bool source_idle(const struct source *s, __u64 now, __u32 tick)
{
	__u64 t = now << 8;

	if (tick - s->seen < CLOSING_TICKS)
		return false;
	if (s->sessions == SOURCE_DYING)
		return true;
	return !s->sessions && (__s64)(s->packets - t) <= 0 && (__s64)(s->bytes - t) <= 0 && (__s64)(s->news - t) <= 0;
}

static NOINLINE int reap_one_source(const struct source_key *k, __u64 now)
{
	struct source *s;

	if (!k)
		return 0;
	s = bpf_map_lookup_elem(&source, k);
	if (!s || !source_idle(s, now, now >> TICK_SHIFT))
		return 0;
	if (__sync_val_compare_and_swap(&s->sessions, SOURCE_DYING, SOURCE_DEAD) == SOURCE_DYING) {
		bpf_map_delete_elem(&source, k);
		return 0;
	}
	s->seen = now >> TICK_SHIFT;
	__sync_val_compare_and_swap(&s->sessions, 0, SOURCE_DYING);
	return 0;
}

static __always_inline bool entry_expired(const struct list_entry *e)
{
	return e->expires && (__s64)(e->expires - env_now()) <= 0;
}

struct reap_run {
	__u64 now;
};

static long reap_order4(__u32 i, struct reap_run *r)
{
	struct reap_item4 *it = bpf_map_lookup_elem(&reap_box4, &i);

	if (it)
		reap_one4(it, i, r->now >> TICK_SHIFT);
	return 0;
}

static long reap_order6(__u32 i, struct reap_run *r)
{
	struct reap_item6 *it = bpf_map_lookup_elem(&reap_box6, &i);

	if (it)
		reap_one6(it, i, r->now >> TICK_SHIFT);
	return 0;
}

static long reap_order_source(__u32 i, struct reap_run *r)
{
	struct source_key *k = bpf_map_lookup_elem(&reap_box_src, &i);

	if (k)
		reap_one_source(k, r->now);
	return 0;
}

/* How many orders are in the box: the first four bytes of the frame that the daemon runs the reaper with. */
static __always_inline __u32 orders(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 *n = data;

	if ((void *)(n + 1) > end)
		return 0;
	return *n < REAP_BATCH ? *n : REAP_BATCH;
}

/* One session of an iteration, both halves of it; only = due ones. */
static __always_inline int iterate4(struct bpf_iter__bpf_map_elem *ctx, bool only_due)
{
	struct flow_key4 *key = ctx->key, dk = {};
	struct flow4 *up = ctx->value, *down;
	struct reap_item4 it = {};
	__u32 tick;

	if (!key || !up || up->f.state & FLOW_RETURN)
		return 0;
	it.key = *key;
	it.up = *up;
	down = down_half4(&it.key, &it.up, &dk);
	tick = env_now() >> TICK_SHIFT;
	if (only_due && !is_due(&it.up.f, down ? &down->f : NULL, it.key.proto, tick))
		return 0;
	if (down)
		it.down = *down;
	bpf_seq_write(ctx->meta->seq, &it, sizeof(it));
	return 0;
}

static __always_inline int iterate6(struct bpf_iter__bpf_map_elem *ctx, bool only_due)
{
	struct flow_key6 *key = ctx->key, dk = {};
	struct flow6 *up = ctx->value, *down;
	struct reap_item6 it = {};
	__u32 tick;

	if (!key || !up || up->f.state & FLOW_RETURN)
		return 0;
	it.key = *key;
	it.up = *up;
	down = down_half6(&it.key, &it.up, &dk);
	tick = env_now() >> TICK_SHIFT;
	if (only_due && !is_due(&it.up.f, down ? &down->f : NULL, it.key.proto, tick))
		return 0;
	if (down)
		it.down = *down;
	bpf_seq_write(ctx->meta->seq, &it, sizeof(it));
	return 0;
}

/* A cell of one half of it; of one that is not watched, nobody's. */
static __always_inline void write_timed(struct seq_file *seq, __u32 state, __u32 cell)
{
	__u32 i = state & FLOW_WATCHED ? cell : 0;
	struct watch *w = bpf_map_lookup_elem(&watch, &i);

	if (w)
		bpf_seq_write(seq, w, sizeof(*w));
}

/* One watched session of an iteration: struct reap_item, and a cell of each half. */
static __always_inline int iterate_watched4(struct bpf_iter__bpf_map_elem *ctx)
{
	struct flow_key4 *key = ctx->key, dk = {};
	struct flow4 *up = ctx->value, *down;
	struct reap_item4 it = {};

	if (!key || !up || up->f.state & FLOW_RETURN)
		return 0;
	it.key = *key;
	it.up = *up;
	down = down_half4(&it.key, &it.up, &dk);
	if (down)
		it.down = *down;
	if (!((it.up.f.state | it.down.f.state) & FLOW_WATCHED))
		return 0;
	bpf_seq_write(ctx->meta->seq, &it, sizeof(it));
	write_timed(ctx->meta->seq, it.up.f.state, it.up.f.watch);
	write_timed(ctx->meta->seq, it.down.f.state, it.down.f.watch);
	return 0;
}

static __always_inline int iterate_watched6(struct bpf_iter__bpf_map_elem *ctx)
{
	struct flow_key6 *key = ctx->key, dk = {};
	struct flow6 *up = ctx->value, *down;
	struct reap_item6 it = {};

	if (!key || !up || up->f.state & FLOW_RETURN)
		return 0;
	it.key = *key;
	it.up = *up;
	down = down_half6(&it.key, &it.up, &dk);
	if (down)
		it.down = *down;
	if (!((it.up.f.state | it.down.f.state) & FLOW_WATCHED))
		return 0;
	bpf_seq_write(ctx->meta->seq, &it, sizeof(it));
	write_timed(ctx->meta->seq, it.up.f.state, it.up.f.watch);
	write_timed(ctx->meta->seq, it.down.f.state, it.down.f.watch);
	return 0;
}
