/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A gate answers one question: is this a believable first packet? It is a small XDP program of its own, called through a
 * table for each packet of a stranger to a service that names it; parry's own gates and an operator's are built from this
 * header alike. docs/gates.md is the manual; `parry gate build FILE.c` compiles one.
 *
 *	#include "parry_gate.h"
 *
 *	PARRY_GATE(mygame, GATE_PROOF_NONE, "MyGame: 4-byte magic, 16 to 64 bytes")
 *	{
 *		__u8 head[4];
 *
 *		if (g->length < 16 || g->length > 64 || gate_read(ctx, g, 0, head, 4))
 *			return GATE_REFUSE;
 *		return head[0] == 'M' && head[1] == 'G' ? GATE_PASS : GATE_REFUSE;
 *	}
 *
 *	PARRY_GATE_LICENSE;
 *
 * What the core has done before: the packet is whole, its headers are sound, no session has its tuple, its source is not
 * denied; who is allowed is never asked. What the core does after: limits, greylist, quotas, the reflector guarantee, the
 * server's choice, addresses, lengths and checksums. A gate looks at the payload and, for an answer, writes payload;
 * whatever else it does to the frame is undone or ends in a drop.
 *
 * A gate also sees what comes by UDP in a session that is not proven yet, or weakly: with GATE_WATCH, and there only GATE_QUERY
 * and more mean anything (a query among play). All else goes its way.
 *
 * This is ABI 1. Fields are only ever added, at the ends and in the padding, and then the number moves; a gate of another
 * number is refused when it is loaded.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PARRY_GATE_ABI 1

/* gate.proto. What a gate's protocol isn't spoken on is not for it to judge: parry's own pass it. */
#define GATE_TCP 6
#define GATE_UDP 17

enum gate_verdict {
	GATE_REFUSE = 0, /* no believable first packet: dropped as gate_refused */
	GATE_PASS = 1, /* believable: a session may begin (under attack, what is not proven may have to come again) */
	GATE_QUERY = 2, /* a query that the server is to answer: counts as a query, not as a connection */
	GATE_ANSWER = 3, /* the payload is the answer now: it goes back to where the packet came from */
	GATE_ASK =
		4, /* a query whose answer takes several packets: the daemon sends them (gate.kind; strong proof only) */
};

/* What is known of the source's address once the gate passed its packet. */
enum gate_proof {
	GATE_PROOF_NONE = 0, /* anybody can have sent it */
	GATE_PROOF_WEAK = 1, /* an exchange that a blind sender may guess */
	GATE_PROOF_STRONG = 2, /* it echoed a secret that was sent to its address */
	/* Never of a packet, but in PARRY_GATE: in play the core finds strong proof in Quake III's netchan checksum, where there is one. */
	GATE_PROOF_NETCHAN = 3,
};

/* How a service fares (gate.state). */
enum gate_state {
	GATE_NORMAL = 0,
	GATE_ELEVATED = 1,
	GATE_ATTACK = 2,
};

enum gate_flag {
	GATE_MODIFIED = 1, /* out: a packet that passes has another payload: `length` and `sum` say how it is now */
	GATE_WATCH = 2, /* in: no enforcement, or the packet has options or is a fragment: change nothing, just judge */
	GATE_COOKIES = 8, /* in: more strangers than are let in at first sight, or an attack: ask for cookies */
};

/* Which answers a server's cache has; a kind is a gate's own to number. */
#define GATE_KINDS 4
#define GATE_ANSWER_MAX 1400 /* bytes of payload: one frame on any path */
#define GATE_PARAMS 6

/* One packet, between the core and the gate. */
struct gate {
	/* in */
	__u64 now; /* ns, CLOCK_MONOTONIC at the grain of a jiffy; of a replay, the capture's */
	__u16 service;
	__u16 payload; /* where the payload begins in the frame */
	__u16 length; /* of the payload, bytes. In and out: see GATE_MODIFIED, and the length of an answer */
	__u8 family; /* 4 or 6 */
	__u8 proto; /* 6 or 17 */
	__u8 src[16]; /* IPv4 in the first four bytes */
	__u8 dst[16];
	__be16 sport;
	__be16 dport;
	__u8 state; /* enum gate_state */
	__u8 flags; /* enum gate_flag; in and out */
	__u8 pad0[2];
	__u32 answers; /* first cell of its server's cache in gate_answer_at; ~0 = there is none */
	__u32 pad1;
	__u64 params[GATE_PARAMS]; /* what the service's configuration says to this gate */
	/* out */
	__u8 proof; /* enum gate_proof */
	__u8 kind; /* GATE_ASK: which answer */
	__u8 pad2[2];
	__u32 sum; /* one's-complement sum of the payload as it is now, folded or not (gate_sum; a cache has it ready) */
};

/* One answer in a cache: written by the daemon, never in place (gate_answer_at says which of two copies holds). */
struct gate_answer {
	__u64 until; /* ns; later it is stale and must not be served */
	__u32 sum; /* one's-complement sum of data, folded */
	__u16 length; /* bytes; 0 = none */
	__u8 several; /* its answer takes several packets: GATE_ASK */
	__u8 pad;
	__u8 data[GATE_ANSWER_MAX];
};

struct gate_secret {
	__u64 key[2];
};

/* ---- the maps that gates share with the core. parry puts its own in their place as it loads a gate. ----- */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct gate);
	__uint(max_entries, 1);
} gate_box SEC(".maps");

/* The copy of each answer that holds: an index into gate_answer; ~0 = none yet. Cell = gate.answers + kind. Written by
 * the daemon, sized by the servers that have caches. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, GATE_KINDS);
} gate_answer_at SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct gate_answer);
	__uint(max_entries, 2 * GATE_KINDS);
} gate_answer SEC(".maps");

/* The key that cookies are made with. Random at the edge's first start; several edges can share it, tests set it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct gate_secret);
	__uint(max_entries, 1);
} gate_secret SEC(".maps");

/* ---- the payload ---------------------------------------------------------------------------------------- */

/* Copies `len` bytes (a constant) at `off` of the payload to `to`. 0, or -1 where the payload is shorter. */
#define gate_read(ctx, g, off, to, len) \
	((__u32)(off) + (len) > (g)->length ? -1 : (int)bpf_xdp_load_bytes(ctx, (g)->payload + (off), to, len))

/* Overwrites `len` bytes of the payload. The frame must have them: gate_resize first. */
#define gate_write(ctx, g, off, from, len) ((int)bpf_xdp_store_bytes(ctx, (g)->payload + (off), from, len))

/* A pointer to `need` bytes (a constant) at `off` of the payload, for reading without a copy; NULL where there are fewer. */
static __always_inline void *gate_at(struct xdp_md *ctx, const struct gate *g, __u32 off, __u32 need)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 at = (g->payload + off) & 0x3fff; /* a bound for the verifier: no frame is longer */

	if (off + need > g->length)
		return NULL;
	data += at;
	barrier_var(data); /* and what the compiler derives again it does not know */
	return data + need > end ? NULL : data;
}

#define gate_data(ctx, g, need) gate_at(ctx, g, 0, need)

/* Is a length (a variable, __u32) 1 to `most`, 2047 at most? The verifier of Linux 6.1 has to see both ends right before a
 * helper takes it: it learns nothing from a comparison with 0, and the compiler makes one of two comparisons. 0 becomes 2048. */
#define gate_bounded(v, most)               \
	({                                  \
		barrier_var(v);             \
		(v) = (((v)-1) & 2047) + 1; \
		barrier_var(v);             \
		(v) <= (most);              \
	})

/* Are the `len` bytes (a constant) at p those of `text`? BPF programs have no memcmp() to call. */
static __always_inline bool gate_same(const void *p, const char *text, __u32 len)
{
	__u64 differ = 0;
	__u32 i = 0;

#pragma unroll
	for (; i + 8 <= len; i += 8)
		differ |= *(const __u64 *)(p + i) ^ *(const __u64 *)(text + i);
#pragma unroll
	for (; i < len; i++)
		differ |= *(const __u8 *)(p + i) ^ (__u8)text[i];
	return !differ;
}

/* Makes the payload `length` bytes long (at most GATE_ANSWER_MAX); new bytes are whatever lies there. 0, or -1. */
static __always_inline int gate_resize(struct xdp_md *ctx, struct gate *g, __u32 length)
{
	int frame = (int)(ctx->data_end - ctx->data), want = g->payload + length;

	if (length > GATE_ANSWER_MAX)
		return -1;
	if (frame != want && bpf_xdp_adjust_tail(ctx, want - frame))
		return -1;
	g->length = length;
	return 0;
}

/* One's-complement sum of `len` bytes (a constant, a multiple of 4) in memory. */
#define gate_sum(from, len) ((__u32)bpf_csum_diff(0, 0, (void *)(from), len, 0))

/* ---- cookies -------------------------------------------------------------------------------------------- */

/* SipHash-1-3 (Aumasson, Bernstein 2012; one round a word, three at the end: as Rust and Python key their tables). A cookie
 * is the hash of the packet's whole tuple, the service, a purpose of the gate's choice and the time in steps of 2^34 ns
 * (17 s): that is the rotation of the secret. It holds for its step and the next one; whose step it is, is its lowest bit.
 * Nothing is stored for one that was sent. */
#define GATE_COOKIE_SHIFT 34

#define GATE_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

struct gate_sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline void gate_sip_round(struct gate_sip *s)
{
	s->v0 += s->v1;
	s->v1 = GATE_ROTL(s->v1, 13) ^ s->v0;
	s->v0 = GATE_ROTL(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = GATE_ROTL(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = GATE_ROTL(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = GATE_ROTL(s->v1, 17) ^ s->v2;
	s->v2 = GATE_ROTL(s->v2, 32);
}

static __always_inline void gate_sip_word(struct gate_sip *s, __u64 m)
{
	s->v3 ^= m;
	gate_sip_round(s);
	s->v0 ^= m;
}

static __always_inline void gate_sip_begin(struct gate_sip *s, const struct gate_secret *k)
{
	s->v0 = k->key[0] ^ 0x736f6d6570736575ULL;
	s->v1 = k->key[1] ^ 0x646f72616e646f6dULL;
	s->v2 = k->key[0] ^ 0x6c7967656e657261ULL;
	s->v3 = k->key[1] ^ 0x7465646279746573ULL;
}

/* `last` is the message's last seven bytes, `bytes` how long all of it is. */
static __always_inline __u64 gate_sip_end(struct gate_sip *s, __u64 last, __u64 bytes)
{
	gate_sip_word(s, bytes << 56 | (last & 0x00ffffffffffffffULL));
	s->v2 ^= 0xff;
	gate_sip_round(s);
	gate_sip_round(s);
	gate_sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* The hash that a cookie of step `step` is cut from. Words, in this order: the addresses as they lie in memory (IPv4: one word,
 * source low; IPv6: source, destination), ports | proto << 32 | purpose << 40 | service << 48; then seven bytes of step. */
static __always_inline __u64 gate_hash(const struct gate *g, __u8 purpose, __u64 step)
{
	__u32 zero = 0;
	const struct gate_secret *k = bpf_map_lookup_elem(&gate_secret, &zero);
	struct gate_sip s;

	if (!k)
		return 0;
	gate_sip_begin(&s, k);
	if (g->family == 4) {
		gate_sip_word(&s, *(__u32 *)g->src | (__u64) * (__u32 *)g->dst << 32);
	} else {
		gate_sip_word(&s, *(__u64 *)g->src);
		gate_sip_word(&s, *(__u64 *)(g->src + 8));
		gate_sip_word(&s, *(__u64 *)g->dst);
		gate_sip_word(&s, *(__u64 *)(g->dst + 8));
	}
	gate_sip_word(&s, g->sport | (__u32)g->dport << 16 | (__u64)g->proto << 32 | (__u64)purpose << 40 |
				  (__u64)g->service << 48);
	return gate_sip_end(&s, step, g->family == 4 ? 23 : 47);
}

/* A 32-bit cookie for this packet's source. Never 0 or all ones: those mean "none" in the protocols that ask for one. */
static __always_inline __u32 gate_cookie_of(const struct gate *g, __u8 purpose, __u64 step)
{
	__u32 c = ((__u32)gate_hash(g, purpose, step) & ~1U) | (step & 1);

	return c == 0 || c == ~0U ? c ^ 0x5a5a5a5aU : c;
}

static __always_inline __u32 gate_cookie(const struct gate *g, __u8 purpose)
{
	return gate_cookie_of(g, purpose, g->now >> GATE_COOKIE_SHIFT);
}

/* Was this cookie made for this tuple within its time? */
static __always_inline bool gate_cookie_holds(const struct gate *g, __u8 purpose, __u32 cookie)
{
	__u64 step = g->now >> GATE_COOKIE_SHIFT;

	if ((step ^ cookie) & 1)
		step--;
	return cookie == gate_cookie_of(g, purpose, step);
}

/* ---- answers -------------------------------------------------------------------------------------------- */

/* The server's answer of a kind, if it is fresh; NULL: there is none, or it is stale. */
static __always_inline struct gate_answer *gate_cached(const struct gate *g, __u32 kind)
{
	struct gate_answer *a;
	__u32 at = g->answers + kind, *copy;

	if (g->answers == ~0U || kind >= GATE_KINDS)
		return NULL;
	copy = bpf_map_lookup_elem(&gate_answer_at, &at);
	if (!copy)
		return NULL;
	at = *copy;
	a = bpf_map_lookup_elem(&gate_answer, &at);
	return a && (__s64)(a->until - g->now) > 0 && (a->length || a->several) ? a : NULL;
}

/* Puts an answer in the packet's place. Where the packet's own buffer has no room for it (a veth's has but little), the daemon
 * sends it to who has proven his address (set kind and proof before), and the server answers the others. */
static __always_inline int gate_serve(struct xdp_md *ctx, struct gate *g, struct gate_answer *a)
{
	__u32 length = a->length;

	if (gate_resize(ctx, g, length))
		return g->proof == GATE_PROOF_STRONG ? GATE_ASK : GATE_QUERY;
	if (!gate_bounded(length, GATE_ANSWER_MAX) || bpf_xdp_store_bytes(ctx, g->payload, a->data, length))
		return GATE_REFUSE;
	g->sum = a->sum;
	return GATE_ANSWER;
}

/* ---- a gate --------------------------------------------------------------------------------------------- */

/* What `parry gate load` and `parry profile list` read of a gate. */
struct parry_gate {
	__u32 abi;
	__u32 proof; /* the strongest that it can give */
	char name[24];
	char about[96];
};

#define PARRY_GATE(NAME, PROOF, ABOUT)                                                                            \
	const struct parry_gate parry_gate SEC(                                                                   \
		".rodata.parry_gate") = { .abi = PARRY_GATE_ABI, .proof = PROOF, .name = #NAME, .about = ABOUT }; \
	static __always_inline int gate_##NAME(struct xdp_md *ctx, struct gate *g);                               \
	SEC("xdp") int gate(struct xdp_md *ctx)                                                                   \
	{                                                                                                         \
		__u32 zero = 0;                                                                                   \
		struct gate *g = bpf_map_lookup_elem(&gate_box, &zero);                                           \
                                                                                                                  \
		return g ? gate_##NAME(ctx, g) : GATE_REFUSE;                                                     \
	}                                                                                                         \
	static __always_inline int gate_##NAME(struct xdp_md *ctx, struct gate *g)

#define PARRY_GATE_LICENSE char LICENSE[] SEC("license") = "Dual BSD/GPL"
