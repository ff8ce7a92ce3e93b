/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How does a session fare? While a half is watched (FLOW_WATCHED), its packets are timed by the fine clock, and numbered where its game
 * numbers them, in a cell of its own. Which are, is decided where a half is judged anew, every two seconds: those of proven
 * sessions whose turn it is, by a keyed hash of client and port that both halves share, and those that the daemon has flagged. The
 * daemon only says how large a share has its turn. A packet is told here once, as it comes, whatever becomes of it; of those that
 * are dropped the reason is told beside. Later fragments are none of it, for nobody knows which of their datagrams' they are.
 */
#pragma once

#include <linux/udp.h>

#include "../lib/env.h"
#include "../lib/hash.h"
#include "../lib/pkt.h"
#include "../lib/fault.h"

#define WATCH_TRIES 16
#define WATCH_REST TICKS_PER_SECOND
#define WATCH_HEAD 13 /* bytes of a datagram that its number may be told by */

static __always_inline struct watch *watch_cell(__u32 i)
{
	return i ? bpf_map_lookup_elem(&watch, &i) : NULL;
}

/* ---- when ---- */

static __always_inline __u32 watch_log2(__u32 v)
{
	__u32 n = 0;

#pragma unroll
	for (__u32 step = 16; step; step >>= 1) {
		if (v >> step) {
			v >>= step;
			n += step;
		}
	}
	return n;
}

static __always_inline __u32 watch_size_class(__u32 bytes)
{
	__u32 n = bytes < 64 ? 0 : watch_log2(bytes) - 5;

	return n < WATCH_SIZES ? n : WATCH_SIZES - 1;
}

static __always_inline __u32 watch_time_class(__u64 ns)
{
	__u64 v = ns >> WATCH_TIME_SHIFT;

	if (!v)
		return 0;
	return v >> (WATCH_TIMES - 2) ? WATCH_TIMES - 1 : watch_log2(v) + 1;
}

static __always_inline struct watch_window *watch_window(struct watch *w, __u64 now)
{
	__u32 number = now >> WATCH_WINDOW_SHIFT;
	struct watch_window *x = &w->window[number & (WATCH_WINDOWS - 1)];

	if (x->number != number) {
		x->number = number;
		x->gap = x->numbers = x->lost = 0;
	}
	return x;
}

static __always_inline void watch_spacing(struct watch *w, struct watch_window *x, __u64 spacing)
{
	__u64 gap = spacing >> WATCH_GAP_SHIFT, before = w->spacing;

	if (gap > ~0u)
		gap = ~0u;
	if (spacing > w->gap)
		w->gap = spacing;
	if (gap > x->gap)
		x->gap = gap;
	w->times[watch_time_class(spacing) & (WATCH_TIMES - 1)]++;
	if (before != ~0ULL)
		w->jitter += (spacing > before ? spacing - before : before - spacing) - ((w->jitter + 8) >> 4);
	w->spacing = spacing;
	w->run = spacing < WATCH_BURST_GAP ? w->run + 1 : 1;
	if (w->run == WATCH_BURST)
		w->bursts++;
	if (w->run >= WATCH_BURST && w->run > w->longest_burst)
		w->longest_burst = w->run;
}

/* One buffer, of `packets` packets and `bytes` each. */
static __always_inline void watch_time(struct watch *w, struct watch_window *x, __u64 now, __u32 packets, __u32 bytes)
{
	__u64 last = w->last;

	w->packets += packets;
	w->sizes[watch_size_class(bytes) & (WATCH_SIZES - 1)] += packets;
	if (last) /* of two CPUs one may have read its clock before the other, and be later here */
		watch_spacing(w, x, now > last ? now - last : 0);
	else
		w->run = 1;
	if (now > last)
		w->last = now;
}

/* ---- in which order ---- */

/* A number as its packet has it. */
struct numbered {
	__u32 number;
	__u32 skipped; /* so many before it were never sent */
	__u32 unused; /* high bits that numbers of its kind don't have */
	bool part; /* others of the same number may come */
};

/* Reads n bytes, 4 at least; at most WATCH_HEAD of them are there. False: the packet has no number. */
static __always_inline bool watch_read(__u32 kind, const __u8 *b, __u32 n, struct numbered *x)
{
	__u32 word = *(const __u32 *)b;

	x->skipped = x->unused = 0;
	x->part = false;
	x->number = word;
	switch (kind) {
	case SEQUENCE_RAKNET:
		x->number = word >> 8;
		x->unused = 8;
		return (word & 0xe0) == 0x80;
	case SEQUENCE_QUAKE3:
		x->number = word & ~(1u << 31);
		x->unused = 1;
		x->part = word >> 31;
		return word != ~0u;
	case SEQUENCE_SOURCE:
		if (n >= WATCH_HEAD && b[8] & 0x10) /* choked: so many ticks had no packet of theirs */
			x->skipped = b[12];
		return word < 0xfffffffd; /* out of band, split, compressed */
	}
	return false;
}

/* Begins at this number. */
static __always_inline void watch_anew(struct watch *w, __u32 number)
{
	w->highest = w->first = number;
	w->seen = 1;
	w->numbers++;
}

/* It is neither near the highest nor just before it: what a forger sends, or a connection that began anew, or no number at all. */
static __always_inline void watch_strange(struct watch *w, const struct numbered *x)
{
	__u32 ahead = (x->number - w->next) << x->unused >> x->unused;

	if (w->strange && ahead < WATCH_BEHIND) {
		watch_anew(w, x->number);
		return;
	}
	w->strange++;
	w->next = x->number + 1;
}

static __always_inline void watch_lost(struct watch *w, struct watch_window *win, __u32 n)
{
	w->lost += n;
	win->lost += n;
}

/* One that is behind the highest by so many. */
static __always_inline void watch_late(struct watch *w, struct watch_window *win, const struct numbered *x,
				       __u32 behind)
{
	__u64 bit = 1ULL << (behind & (WATCH_BEHIND - 1));

	if (w->seen & bit) {
		if (!x->part)
			w->duplicates++;
		return;
	}
	w->seen |= bit;
	w->reordered++;
	if ((__s32)((x->number - w->first) << x->unused) < 0) /* sent before its half was watched: nobody missed it */
		return;
	if (w->lost)
		w->lost--;
	if (win->lost)
		win->lost--;
}

static __always_inline void watch_number(struct watch *w, struct watch_window *win, const struct numbered *x)
{
	__s32 ahead = (__s32)((x->number - w->highest) << x->unused) >> x->unused;
	__u32 missing;

	if (!w->numbers) {
		watch_anew(w, x->number);
		win->numbers++;
		return;
	}
	if (ahead > WATCH_AHEAD || ahead <= -WATCH_BEHIND) {
		watch_strange(w, x);
		return;
	}
	w->numbers++;
	win->numbers++;
	if (ahead <= 0) {
		watch_late(w, win, x, -ahead);
		return;
	}
	missing = ahead - 1;
	watch_lost(w, win, missing > x->skipped ? missing - x->skipped : 0);
	w->seen = ahead < WATCH_BEHIND ? w->seen << (ahead & (WATCH_BEHIND - 1)) | 1 : 1;
	w->highest = x->number;
}

/* ---- a packet ---- */

/* Of a datagram the first n bytes that say something, 0 where that is too little. Both take as many as can be read at once. */
static __always_inline void watch_head(struct watch *w, struct watch_window *win, const __u8 *b, __u32 n)
{
	struct numbered x;

	if (n && watch_read(w->sequence, b, n, &x))
		watch_number(w, win, &x);
}

/* A half's packet that comes in; l4: where its header begins. Returns its cell. Global: verified once. */
NOINLINE int watch_packet(struct xdp_md *ctx, struct flow *f, __u32 l4, __u32 l3_len)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct watch *w = f ? watch_cell(f->watch) : NULL;
	struct watch_window *win;
	struct udphdr *udp;
	__u32 said;
	__u64 now;
	__u8 *b;

	if (!w)
		return 0;
	now = env_precise();
	win = watch_window(w, now);
	watch_time(w, win, now, 1, l3_len);
	if (!w->sequence || l4 > L4_MAX)
		return f->watch;
	udp = data + l4;
	b = (void *)(udp + 1);
	if ((void *)(b + 4) > end)
		return f->watch;
	said = bpf_ntohs(udp->len) - sizeof(*udp);
	if (said >= WATCH_HEAD && (void *)(b + WATCH_HEAD) <= end)
		watch_head(w, win, b, WATCH_HEAD);
	else if (said >= 4)
		watch_head(w, win, b, 4);
	return f->watch;
}

/* The same of a local server's, as it leaves; `packets` are cut of it, of l3_len bytes together. */
NOINLINE int watch_reply(struct __sk_buff *skb, struct pkt *p, struct flow *f, __u32 packets)
{
	__u8 b[16] __attribute__((aligned(8))) = {};
	struct watch *w = f ? watch_cell(f->watch) : NULL;
	struct watch_window *win;
	__u32 at, said;
	__u64 now;

	if (!w || !p || !packets)
		return 0;
	now = env_precise();
	win = watch_window(w, now);
	watch_time(w, win, now, packets, p->l3_len / packets);
	if (!w->sequence)
		return f->watch;
	at = p->l4 + sizeof(struct udphdr);
	said = p->l3 + p->l3_len > at ? p->l3 + p->l3_len - at : 0;
	if (said >= WATCH_HEAD && !bpf_skb_load_bytes(skb, at, b, WATCH_HEAD))
		watch_head(w, win, b, WATCH_HEAD);
	else if (said >= 4 && !bpf_skb_load_bytes(skb, at, b, 4))
		watch_head(w, win, b, 4);
	return f->watch;
}

/* What is dropped of it is told there, too. */
static __always_inline void timed(struct pkt *p, __u32 cell)
{
	p->offset = cell;
	p->timed = 1;
}

/* A packet was timed, and is dropped. By value: a struct pkt that lives in registers is not to be laid down for it. */
NOINLINE int watch_drop(__u32 cell, __u32 reason)
{
	struct watch *w = watch_cell(cell);

	if (!w)
		return 0;
	for (int i = 0; i < WATCH_REASONS; i++) {
		if (!w->reason[i])
			w->reason[i] = reason;
		if (w->reason[i] == reason) {
			w->drops[i]++;
			return 0;
		}
	}
	w->drops[WATCH_REASONS]++;
	return 0;
}

/* ---- whose turn it is ---- */

/* Has the daemon flagged its client? */
static __always_inline bool watch_flagged(const struct pkt *p)
{
	struct watch_key k = { .port = p->down ? p->to_port : p->sport, .family = p->family };
	const __u8 *client = client_of(p);

	if (p->family == 4)
		*(__u32 *)k.addr = addr4(client);
	else
		addr_copy(k.addr, client);
	if (bpf_map_lookup_elem(&watch_flag, &k))
		return true;
	k.port = 0;
	return bpf_map_lookup_elem(&watch_flag, &k);
}

static __always_inline bool watch_wanted(const struct pkt *p)
{
	const __u8 *client = client_of(p);
	struct secret *s = env_secret();
	struct watcher *r;
	__u32 zero = 0;
	__u64 h;

	r = bpf_map_lookup_elem(&watcher, &zero);
	if (!r || !s)
		return false;
	if (r->share == ~0u)
		return true;
	h = s->key[0] ^ (p->down ? p->to_port : p->sport) ^ (__u64)r->period << 32;
	if (p->family == 4)
		h = hash_mix(hash_mix(h) ^ addr4(client));
	else
		h = hash_addr(addr_hi(client), addr_lo(client), hash_mix(h));
	return (__u32)h < r->share || (r->flagged && watch_flagged(p));
}

/* Claims a cell; 0 = none was found. */
static __always_inline __u32 watch_claim(__u32 tick)
{
	__u32 zero = 0, i;
	struct edge *e = bpf_map_lookup_elem(&edge, &zero);
	struct watch *w;

	if (!e)
		return 0;
	for (int n = 0; n < WATCH_TRIES; n++) {
		i = (__sync_fetch_and_add(&e->watch, 1) + 1) & (cfg.watch_cells - 1);
		w = watch_cell(i);
		if (w && !w->taken && (!w->freed || tick - w->freed >= WATCH_REST) &&
		    !__sync_val_compare_and_swap(&w->taken, 0, 1))
			return i;
	}
	return 0;
}

static __always_inline void watch_free(__u32 i, __u32 tick)
{
	struct watch *w = watch_cell(i);

	if (!w)
		return;
	w->freed = tick ?: 1;
	__sync_lock_test_and_set(&w->taken, 0);
}

/* How its game numbers what it sends. */
static __always_inline __u32 watch_sequence(const struct pkt *p)
{
	struct service *svc;
	__u32 i = p->service;

	if (p->proto != IPPROTO_UDP)
		return SEQUENCE_NONE;
	svc = bpf_map_lookup_elem(&service, &i);
	return svc ? svc->sequence : SEQUENCE_NONE;
}

/* Who sets the flag has the cell to find; who clears it gives the cell back. Between a flag and its cell there is a moment in which packets find
 * none. */
static __always_inline void watch_begin(const struct pkt *p, struct flow *f)
{
	__u32 i, rest = __builtin_offsetof(struct watch, began);
	struct watch *w;

	if (__sync_fetch_and_or(&f->state, FLOW_WATCHED) & FLOW_WATCHED)
		return;
	i = watch_claim(p->tick);
	w = watch_cell(i);
	if (!w) {
		__sync_fetch_and_and(&f->state, ~FLOW_WATCHED);
		fault(FAULT_WATCH_FULL);
		return;
	}
	__builtin_memset((void *)w + rest, 0, sizeof(*w) - rest);
	w->began = env_precise();
	w->spacing = ~0ULL;
	w->sequence = watch_sequence(p);
	*(volatile __u16 *)&f->watch = i;
	if (!(*(volatile __u32 *)&f->state & FLOW_WATCHED)) { /* it was taken away meanwhile, by who found no cell */
		f->watch = 0;
		watch_free(i, p->tick);
	}
}

static __always_inline void watch_end(struct flow *f, __u32 tick)
{
	if (!(*(volatile __u32 *)&f->state & FLOW_WATCHED) ||
	    !(__sync_fetch_and_and(&f->state, ~FLOW_WATCHED) & FLOW_WATCHED))
		return;
	watch_free(f->watch, tick);
	f->watch = 0;
}

/* What was read of numbers is of another kind than what will be. */
static __always_inline void watch_renumber(struct watch *w, __u32 sequence)
{
	w->sequence = sequence;
	w->numbers = w->strange = w->lost = w->reordered = w->duplicates = 0;
	for (int i = 0; i < WATCH_WINDOWS; i++)
		w->window[i].numbers = w->window[i].lost = 0;
}

/* A half is judged anew: is it to be watched from now on, or no more? */
NOINLINE int watch_turn(const struct pkt *p, struct flow *f)
{
	bool is, wanted;
	struct watch *w;

	if (!p || !f)
		return 0;
	is = f->state & FLOW_WATCHED;
	wanted = cfg.watch && FLOW_PHASE(f->state) == PHASE_OPEN && watch_wanted(p);
	if (is && !wanted)
		watch_end(f, p->tick);
	else if (!is && wanted)
		watch_begin(p, f);
	else if (is) {
		w = watch_cell(f->watch);
		if (w && w->sequence != watch_sequence(p)) /* its service is another game's since a reload */
			watch_renumber(w, watch_sequence(p));
	}
	return 0;
}
