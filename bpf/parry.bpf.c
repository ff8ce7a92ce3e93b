// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The fast path's table of contents. README.md draws the way of a packet; each stage answers one question.
 */
#include <linux/bpf.h>

#include "abi.h"
#include "maps.h"
#include "stage/parse.h"
#include "stage/flow.h"
#include "stage/deny.h"
#include "stage/limit.h"
#include "stage/admit.h"
#include "stage/first.h"
#include "stage/syn.h"
#include "stage/handshake.h"
#include "stage/frag.h"
#include "stage/icmp.h"
#include "stage/host.h"
#include "stage/local.h"
#include "stage/reap.h"
#include "stage/exit.h"
#include "stage/sample.h"
#include "stage/express.h"
#include "stage/express_proxied.h"
#include "stage/express_watched.h"
#include "stage/quick.h"
#include "stage/ahead.h"
#include "stage/brief.h"
#include "stage/syn_brief.h"

/* The common way's packet. One for each CPU: beneath the longest chain of calls the stack has no room for it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct pkt);
	__uint(max_entries, 1);
} packet SEC(".maps");

/* No XDP_*: the next program on a packet's way. */
#define WAY_STRANGER 98
#define WAY_GATE 99
#define WAY_RULED 100
#define WAY_TCP 101

static __always_inline int established(struct xdp_md *ctx, struct pkt *p)
{
	if (p->known >= KNOWN_STRANGER || p->frag == FRAG_LATER || (p->proto != IPPROTO_UDP && p->proto != IPPROTO_TCP))
		return VERDICT_NEXT;
	if (cfg.ipv4 && p->family == 4)
		return established4(ctx, p);
	return cfg.ipv6 && p->family == 6 ? established6(ctx, p) : VERDICT_NEXT;
}

/* Fills struct pkt. Returns 0, or -1 where the packet is damaged. Global: verified once, in a frame of its own. */
NOINLINE int fill(struct xdp_md *ctx, __u32 known)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0;
	struct pkt *p = bpf_map_lookup_elem(&packet, &zero);

	if (!p)
		return -1;
	__builtin_memset(p, 0, sizeof(*p));
	p->known = known;
	p->now = env_now();
	p->tick = p->now >> TICK_SHIFT;
	p->len = cfg.frags ? bpf_xdp_get_buff_len(ctx) : end - data;
	if (!parse(p, data, end))
		return 0;
	p->why = WHY_DAMAGED;
	return -1;
}

/* The way of a packet, step by step; express is a short cut. Returns XDP_*, or WAY_STRANGER. */
NOINLINE int common(struct xdp_md *ctx, __u32 known)
{
	__u32 zero = 0;
	struct pkt *p = bpf_map_lookup_elem(&packet, &zero);
	int v;

	if (!p)
		return XDP_ABORTED;
	if (fill(ctx, known))
		return WAY_STRANGER;
	v = established(ctx, p);
	if (v == VERDICT_NEXT)
		return WAY_STRANGER;
	if (v == VERDICT_TCP)
		return WAY_TCP;
	if (v == VERDICT_RULE)
		return WAY_RULED;
	return v == VERDICT_GATE ? WAY_GATE : session_exit(p, v);
}

/* What is told of every packet is known on the common way alone. */
static __always_inline bool shortcuts(void)
{
	return cfg.samples < SAMPLES_ALL;
}

SEC("xdp")
int parry(struct xdp_md *ctx)
{
	__u64 now = env_now();
	int code = EXPRESS_NO;

	if (!shortcuts())
		sample_enter(ctx);
	if (cfg.ipv4 && shortcuts()) {
		code = express4(ctx, now);
		if (code >= 0)
			return finish(ctx, code);
		if (code == EXPRESS_STRANGER && cfg.enforce && !cfg.monitor) {
			code = quick4(ctx, now);
			if (code >= 0)
				return finish(ctx, code);
			if (code == EXPRESS_BRIEF) {
				bpf_tail_call(ctx, &stages, STAGE_BRIEF);
				code = EXPRESS_UNLISTED;
			} else if (code == EXPRESS_SYN) {
				bpf_tail_call(ctx, &stages, STAGE_SYN_BRIEF);
				code = EXPRESS_UNLISTED;
			}
			if (code == EXPRESS_UNLISTED)
				ahead4(ctx);
		}
	}
	if (cfg.ipv6 && shortcuts() && code == EXPRESS_NO) {
		code = express6(ctx, now);
		if (code >= 0)
			return finish(ctx, code);
	}
	code = common(ctx, EXPRESS_NO - code);
	if (code == WAY_STRANGER)
		bpf_tail_call(ctx, &stages, STAGE_STRANGER);
	else if (code == WAY_GATE)
		bpf_tail_call(ctx, &stages, STAGE_ADMIT);
	else if (code == WAY_RULED)
		bpf_tail_call(ctx, &stages, STAGE_RULED);
	else if (code == WAY_TCP)
		bpf_tail_call(ctx, &stages, STAGE_TCP);
	else
		return finish(ctx, code);
	return XDP_ABORTED; /* the loader fills the table before any packet comes */
}

/* What a short cut has found out of a stranger, in registers: its frame has no room beside a gate's. */
#define BRIEF_BELIEVED (1 << 16) /* his gate has judged him */
#define BRIEF_QUERY (1 << 17)
#define BRIEF_RULED (1 << 18)

/* A stranger goes the common way, from here. `said` is his proof and BRIEF_*, `place` his service and above it the port's offset. */
static __always_inline int go_on(struct xdp_md *ctx, __u32 said, __u32 place, __u32 epoch)
{
	__u32 zero = 0;
	struct pkt *p = bpf_map_lookup_elem(&packet, &zero);
	int damaged;

	if (!p)
		return XDP_ABORTED;
	damaged = fill(ctx, KNOWN_UNLISTED);
	if (said & BRIEF_RULED)
		rules_told(p);
	if (damaged || !(said & BRIEF_BELIEVED)) {
		bpf_tail_call(ctx, &stages, STAGE_STRANGER);
		return XDP_ABORTED;
	}
	p->service = place;
	p->offset = place >> 16;
	p->epoch = epoch;
	p->proof = said;
	p->query = !!(said & BRIEF_QUERY);
	p->why = WHY_BELIEVED;
	bpf_tail_call(ctx, &stages, STAGE_ADMIT);
	return XDP_ABORTED;
}

/* Verified once, not for each state in which the short cut may end. Its result is hidden from the compiler, which takes a tail call for one
 * that comes back. */
NOINLINE int unbrief(struct xdp_md *ctx, __u32 said, __u32 place, __u32 epoch)
{
	int code = go_on(ctx, said, place, epoch);

	asm volatile("" : "+r"(code));
	return code;
}

/* Is he refused or answered without further ado? A program of its own, as those below: a program has room for 64 maps. */
SEC("xdp")
int parry_brief(struct xdp_md *ctx)
{
	struct pkt p = {};
	int code = brief(ctx, &p);
	__u32 said;

	if (code >= 0)
		return finish(ctx, code);
	said = p.proof | (code == BRIEF_ADMIT ? BRIEF_BELIEVED : 0) | (p.query ? BRIEF_QUERY : 0) |
	       (p.ruled ? BRIEF_RULED : 0);
	return unbrief(ctx, said, p.service | (__u32)p.offset << 16, p.epoch);
}

/* The same of TCP's first segments. */
SEC("xdp")
int parry_syn_brief(struct xdp_md *ctx)
{
	struct pkt p = {};
	int code = syn_brief(ctx, &p);

	return code >= 0 ? finish(ctx, code) : go_on(ctx, p.ruled ? BRIEF_RULED : 0, 0, 0);
}

/* Do its service's rules drop it? */
static __always_inline bool ruled(struct xdp_md *ctx, struct pkt *p, bool session)
{
	__u32 which = rules_of(p);
	struct service *svc;

	if (!which)
		return false;
	svc = service_of(p);
	return svc && rules_judge(ctx, p, svc, which, session);
}

/* Whose is a packet of no session? */
SEC("xdp")
int parry_stranger(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct pkt *p = bpf_map_lookup_elem(&packet, &zero);
	int v;

	if (!p)
		return XDP_ABORTED;
	v = p->why == WHY_DAMAGED ? damaged_packet(ctx, p) : stranger(ctx, p);
	if (v == VERDICT_RULE) { /* a later fragment of a session's */
		v = ruled(ctx, p, p->ruled == RULED_OPEN) ? VERDICT_DROP : VERDICT_NEXT;
		p->ruled = RULED;
		if (v == VERDICT_NEXT)
			v = stranger(ctx, p);
	}
	if ((v == VERDICT_ADMIT || v == VERDICT_SYN) && !p->allowed && p->ruled != RULED && ruled(ctx, p, false)) {
		if (v == VERDICT_SYN)
			STRANGER_COUNT(p, strangers);
		v = VERDICT_DROP;
	}
	if (v == VERDICT_AGAIN)
		bpf_tail_call(ctx, &stages, STAGE_AGAIN);
	else if (v == VERDICT_ADMIT)
		bpf_tail_call(ctx, &stages, STAGE_ADMIT);
	else if (v == VERDICT_SYN)
		bpf_tail_call(ctx, &stages, STAGE_SYN);
	else
		return finish(ctx, parry_exit(p, v));
	return XDP_ABORTED;
}

/* Has it shaken hands with the edge, or is it to? */
SEC("xdp")
int parry_syn(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct pkt *p = bpf_map_lookup_elem(&packet, &zero);
	int v;

	if (!p)
		return XDP_ABORTED;
	v = proxy_syn(ctx, p) ?: admit_rest(ctx, p);
	if (v == VERDICT_AGAIN)
		bpf_tail_call(ctx, &stages, STAGE_AGAIN);
	else if (v == VERDICT_ADMIT)
		bpf_tail_call(ctx, &stages, STAGE_ADMIT);
	else
		return finish(ctx, parry_exit(p, v));
	return XDP_ABORTED;
}

/* A segment of a session whose numbers are not its server's, or that a header goes before. */
SEC("xdp")
int parry_tcp(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct pkt *p = bpf_map_lookup_elem(&packet, &zero);
	int v = VERDICT_NEXT;

	if (!p)
		return XDP_ABORTED;
	if (cfg.ipv4 && p->family == 4)
		v = special4(ctx, p);
	else if (cfg.ipv6 && p->family == 6)
		v = special6(ctx, p);
	if (v == VERDICT_GATE) {
		bpf_tail_call(ctx, &stages, STAGE_ADMIT);
	} else if (v == VERDICT_RULE) {
		bpf_tail_call(ctx, &stages, STAGE_RULED);
	} else if (v == VERDICT_NEXT) { /* it is over: who comes now is a stranger */
		p->playing = p->half = 0;
		bpf_tail_call(ctx, &stages, STAGE_STRANGER);
	} else {
		return finish(ctx, session_exit(p, v));
	}
	return XDP_ABORTED;
}

/* Its gate sees it, and it begins a session. */
SEC("xdp")
int parry_admit(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct pkt *p = bpf_map_lookup_elem(&packet, &zero);
	int v = VERDICT_ADMIT;
	__u32 gate;

	if (!p)
		return XDP_ABORTED;
	gate = gate_prepare(ctx, p);
	if (gate)
		v = gated(ctx, p, gate_call(ctx, gate));
	p->gated = p->proto == IPPROTO_UDP; /* of TCP it is yet to hear the first words */
	if (p->why == WHY_FIRST_WORDS) /* who is allowed by now has no gate to pass */
		v = first_judged(ctx, p, v);
	else if (p->why == WHY_SPEAKS_ON && v == VERDICT_ADMIT)
		v = VERDICT_AGAIN;
	if (v == VERDICT_ADMIT)
		v = admit_session(ctx, p);
	if (v != VERDICT_AGAIN)
		return finish(ctx, session_exit(p, v));
	bpf_tail_call(ctx, &stages, STAGE_AGAIN);
	return XDP_ABORTED;
}

/* It has a session since a moment ago. */
SEC("xdp")
int parry_again(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct pkt *p = bpf_map_lookup_elem(&packet, &zero);
	int v;

	if (!p)
		return XDP_ABORTED;
	p->known = KNOWN_NOTHING;
	v = established(ctx, p);
	if (v == VERDICT_TCP) {
		bpf_tail_call(ctx, &stages, STAGE_TCP);
		return XDP_ABORTED;
	}
	if (v == VERDICT_GATE) { /* it speaks as it begins */
		bpf_tail_call(ctx, &stages, STAGE_ADMIT);
		return XDP_ABORTED;
	}
	if (v == VERDICT_RULE) { /* it was taken up again */
		bpf_tail_call(ctx, &stages, STAGE_RULED);
		return XDP_ABORTED;
	}
	if (v == VERDICT_NEXT) /* which ended within that moment */
		v = drop(p, DROP_REASON_RACE);
	return finish(ctx, session_exit(p, v));
}

/* Something is told of the packet (stage/note.h); what becomes of it is settled. */
SEC("xdp")
int parry_note(struct xdp_md *ctx)
{
	struct noted *n = noted_get();

	if (!n)
		return XDP_ABORTED;
	if (cfg.books)
		book_refusal(n);
	if (cfg.samples)
		sample_packet(ctx, n);
	return n->code;
}

/* Its session is marked: its service's rules see it before it goes on. */
SEC("xdp")
int parry_ruled(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct pkt *p = bpf_map_lookup_elem(&packet, &zero);

	if (!p)
		return XDP_ABORTED;
	if (ruled(ctx, p, p->ruled == RULED_OPEN))
		return finish(ctx, session_exit(p, VERDICT_DROP));
	p->ruled = RULED;
	bpf_tail_call(ctx, &stages, STAGE_AGAIN);
	return XDP_ABORTED;
}

SEC("tc")
int parry_local(struct __sk_buff *skb)
{
	return local_egress(skb);
}

SEC("tc")
int parry_shake(struct __sk_buff *skb)
{
	return handshake(skb);
}

/* The rest is run by the daemon, never by a packet. */

SEC("xdp")
int reap4(struct xdp_md *ctx)
{
	struct reap_run run = { .now = env_now() };

	bpf_loop(orders(ctx), reap_order4, &run, 0);
	return XDP_DROP;
}

SEC("xdp")
int reap6(struct xdp_md *ctx)
{
	struct reap_run run = { .now = env_now() };

	bpf_loop(orders(ctx), reap_order6, &run, 0);
	return XDP_DROP;
}

SEC("xdp")
int reap_source(struct xdp_md *ctx)
{
	struct reap_run run = { .now = env_now() };

	bpf_loop(orders(ctx), reap_order_source, &run, 0);
	return XDP_DROP;
}

SEC("iter/bpf_map_elem")
int due4(struct bpf_iter__bpf_map_elem *ctx)
{
	return iterate4(ctx, true);
}

SEC("iter/bpf_map_elem")
int due6(struct bpf_iter__bpf_map_elem *ctx)
{
	return iterate6(ctx, true);
}

SEC("iter/bpf_map_elem")
int list4(struct bpf_iter__bpf_map_elem *ctx)
{
	return iterate4(ctx, false);
}

SEC("iter/bpf_map_elem")
int list6(struct bpf_iter__bpf_map_elem *ctx)
{
	return iterate6(ctx, false);
}

SEC("iter/bpf_map_elem")
int watched4(struct bpf_iter__bpf_map_elem *ctx)
{
	return iterate_watched4(ctx);
}

SEC("iter/bpf_map_elem")
int watched6(struct bpf_iter__bpf_map_elem *ctx)
{
	return iterate_watched6(ctx);
}

SEC("iter/bpf_map_elem")
int due_source(struct bpf_iter__bpf_map_elem *ctx)
{
	struct source_key *key = ctx->key, k;
	struct source *s = ctx->value;
	__u64 now;

	if (!key || !s)
		return 0;
	now = env_now();
	k = *key;
	if (source_idle(s, now, now >> TICK_SHIFT))
		bpf_seq_write(ctx->meta->seq, &k, sizeof(k));
	return 0;
}

/* Entries of host lists past their expiry. */
SEC("iter/bpf_map_elem")
int due_host4(struct bpf_iter__bpf_map_elem *ctx)
{
	struct host_key4 *key = ctx->key, k;
	struct list_entry *e = ctx->value;

	if (!key || !e || !entry_expired(e))
		return 0;
	k = *key;
	bpf_seq_write(ctx->meta->seq, &k, sizeof(k));
	return 0;
}

SEC("iter/bpf_map_elem")
int due_host6(struct bpf_iter__bpf_map_elem *ctx)
{
	struct host_key6 *key = ctx->key, k;
	struct list_entry *e = ctx->value;

	if (!key || !e || !entry_expired(e))
		return 0;
	k = *key;
	bpf_seq_write(ctx->meta->seq, &k, sizeof(k));
	return 0;
}

SEC("xdp")
int settle(struct xdp_md *ctx)
{
	return settle_lines(ctx);
}

/* A byte for each element: the cheapest way to count a hash. */
SEC("iter/bpf_map_elem")
int count_elems(struct bpf_iter__bpf_map_elem *ctx)
{
	__u8 one = 1;

	if (ctx->key)
		bpf_seq_write(ctx->meta->seq, &one, sizeof(one));
	return 0;
}

/* The same of cells of `watch` that are somebody's. */
SEC("iter/bpf_map_elem")
int count_taken(struct bpf_iter__bpf_map_elem *ctx)
{
	struct watch *w = ctx->value;
	__u8 one = 1;

	if (w && w->taken)
		bpf_seq_write(ctx->meta->seq, &one, sizeof(one));
	return 0;
}

SEC("xdp")
int read_clocks(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct clocks *c = bpf_map_lookup_elem(&clocks, &zero);

	if (c) {
		c->jiffies = bpf_jiffies64();
		c->monotonic = bpf_ktime_get_ns();
	}
	return XDP_DROP;
}

/* Keeps the types that only Go uses by name in the object's BTF. */
struct exported {
	enum drop_reason drop_reason;
	enum verdict verdict;
	enum forward_mode forward_mode;
	enum session_phase session_phase;
	enum flow_flag flow_flag;
	enum hop_state hop_state;
	enum entry_source entry_source;
	enum fault fault;
	enum bucket bucket;
	enum reflector reflector;
	enum reap_op reap_op;
	enum syn_proxy syn_proxy;
	struct gate_ask gate_ask;
	enum sample_level sample_level;
	enum sample_want sample_want;
	enum sample_kind sample_kind;
	enum book_kind book_kind;
	struct sample sample;
	enum sequence sequence;
};
const struct exported *exported __attribute__((unused));

char LICENSE[] SEC("license") = "Dual BSD/GPL";
