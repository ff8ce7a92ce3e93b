// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Source and GoldSrc. Queries (A2S) are answered by the edge: who asks without a challenge gets one, of 9 bytes; who
 * echoes it has proven its address and gets the server's answer from the cache, or is let through to the server. Connecting
 * is the server's: it checks the number that it gave out, so none of the edge's can stand for it.
 *
 * params[0]: SOURCE_GNS, Steam networking begins here, too (Counter-Strike 2).
 */
#include "gns.h"
#include "oob.h"
#include "zero.h"

#define SOURCE_GNS 1

#define CHALLENGE 1 /* cookie's purpose */

enum a2s { A2S_INFO = 0, A2S_PLAYERS = 1, A2S_RULES = 2 }; /* as caches number them */

#define A2S_HEAD 5 /* 0xffffffff and the kind */
#define A2S_SHORT 9 /* that and a challenge */
#define INFO_BARE 25 /* that and "Source Engine Query" */
#define INFO_PADDED 1200
/* Sums of the questions with all ones for a challenge: there is nothing else in them that could vary. */
#define INFO_SUM 0xb9be
#define PLAYERS_SUM 0x55
#define RULES_SUM 0x56
#define CONNECT_TEXT 18 /* "connect0x", eight digits, NUL */

/* 0xffffffff, 'A', a challenge: written and summed from registers, since every spoofed query gets one. */
static __always_inline int challenge(struct xdp_md *ctx, struct gate *g)
{
	__u32 c = gate_cookie(g, CHALLENGE), low = 'A' | c << 8, high = c >> 24;
	__u8 *p;

	if (gate_resize(ctx, g, A2S_SHORT))
		return GATE_QUERY; /* one of 5 bytes, and no room in its buffer */
	p = gate_data(ctx, g, A2S_SHORT);
	if (!p)
		return GATE_REFUSE;
	*(__u64 *)p = ~0U | (__u64)low << 32;
	p[8] = high;
	g->sum = (low & 0xffff) + (low >> 16) + high; /* 0xffffffff is nothing in such a sum */
	return GATE_ANSWER;
}

/* The question as a server takes it from one who has no challenge of its own yet: all ones in the challenge's place. */
static __always_inline int forward(struct xdp_md *ctx, struct gate *g, enum a2s kind)
{
	__u32 at = kind == A2S_INFO ? INFO_BARE : A2S_HEAD;
	__u32 *c;

	if (gate_resize(ctx, g, at + 4))
		return GATE_REFUSE;
	c = gate_at(ctx, g, at, 4);
	if (!c)
		return GATE_REFUSE;
	*c = ~0U;
	g->sum = kind == A2S_INFO ? INFO_SUM : kind == A2S_PLAYERS ? PLAYERS_SUM : RULES_SUM;
	g->flags |= GATE_MODIFIED;
	return GATE_QUERY;
}

/* A query of a kind, with the challenge `c`: none where it is 0 or all ones. */
static __always_inline int query(struct xdp_md *ctx, struct gate *g, enum a2s kind, __u32 c)
{
	struct gate_answer *a;

	/* The server's own challenges, where the edge has no answers that it could keep from spoofers. */
	if (g->flags & GATE_WATCH || (g->answers == ~0U && !(g->flags & GATE_COOKIES)))
		return GATE_QUERY;
	if (!c || c == ~0U || !gate_cookie_holds(g, CHALLENGE, c))
		return challenge(ctx, g);
	g->proof = GATE_PROOF_STRONG;
	g->kind = kind;
	a = gate_cached(g, kind);
	if (!a)
		return forward(ctx, g, kind);
	return a->several ? GATE_ASK : gate_serve(ctx, g, a);
}

/* The challenge at `at`, which ends a query. */
static __always_inline bool ends(struct xdp_md *ctx, const struct gate *g, __u32 at, __u32 *c)
{
	const __u32 *p = gate_at(ctx, g, at, 4);

	if (p)
		*c = *p;
	return p && g->length == at + 4;
}

/* A2S_INFO, in any of its lengths; its challenge, if it has one. */
static __always_inline bool info(struct xdp_md *ctx, const struct gate *g, __u32 *c)
{
	const __u8 *p = gate_data(ctx, g, INFO_BARE);

	if (!p || !gate_same(p + A2S_HEAD, "Source Engine Query", 20))
		return false;
	if (g->length == INFO_BARE || ends(ctx, g, INFO_BARE, c))
		return true;
	return g->length == INFO_PADDED && gate_zero(ctx, g, INFO_BARE + 4);
}

/* Is it a query that a challenge guards? */
static __always_inline bool a2s(struct xdp_md *ctx, const struct gate *g, __u8 letter, enum a2s *kind, __u32 *c)
{
	*kind = A2S_INFO;
	switch (letter) {
	case 'T':
		return info(ctx, g, c);
	case 'U':
	case 'V':
		*kind = letter == 'U' ? A2S_PLAYERS : A2S_RULES;
		return ends(ctx, g, A2S_HEAD, c);
	case 'W': /* A2S_SERVERQUERY_GETCHALLENGE: asks for nothing else */
		return g->length == A2S_HEAD;
	}
	return false;
}

static __always_inline bool asks_to_connect(struct xdp_md *ctx, const struct gate *g)
{
	const __u8 *p = gate_at(ctx, g, A2S_HEAD, CONNECT_TEXT);

	if (!p || g->length != A2S_HEAD + CONNECT_TEXT || !gate_same(p, "connect0x", 9) || p[17])
		return false;
	for (int i = 9; i < 17; i++) {
		if (!(p[i] >= '0' && p[i] <= '9') && !(p[i] >= 'A' && p[i] <= 'F') && !(p[i] >= 'a' && p[i] <= 'f'))
			return false;
	}
	return true;
}

/* GoldSrc's way in, in words: "getchallenge steam", "connect 48 ..." with the protocol's number. */
static __always_inline bool goldsrc(struct xdp_md *ctx, const struct gate *g)
{
	__u32 rest = 0;
	enum oob_word word = oob_word(ctx, g, &rest);
	const __u8 *p = gate_at(ctx, g, rest, 6);

	if (!p)
		return false;
	if (word == OOB_GETCHALLENGE)
		return gate_same(p, " steam", 6);
	return word == OOB_CONNECT && p[0] == ' ' && p[1] == '4' && (p[2] == '7' || p[2] == '8') && p[3] == ' ';
}

PARRY_GATE(source, GATE_PROOF_STRONG, "Source, GoldSrc: A2S queries (answered by the edge), connect")
{
	const __u8 *p = gate_data(ctx, g, A2S_HEAD);
	enum a2s kind;
	__u32 c = 0;

	if (g->proto != GATE_UDP)
		return GATE_PASS;
	if (!p)
		return GATE_REFUSE;
	if (*(const __u32 *)p != ~0U)
		return g->params[0] & SOURCE_GNS && (gns_begins(ctx, g) || sdr_pings(ctx, g)) ? GATE_PASS : GATE_REFUSE;
	if (a2s(ctx, g, p[4], &kind, &c))
		return query(ctx, g, kind, c);
	switch (p[4]) {
	case 'i': /* A2A_PING */
		return g->length == A2S_HEAD ? GATE_QUERY : GATE_REFUSE;
	case 'q':
		return asks_to_connect(ctx, g) ? GATE_PASS : GATE_REFUSE;
	case 'k':
		return g->length > A2S_SHORT ? GATE_PASS : GATE_REFUSE;
	}
	return goldsrc(ctx, g) ? GATE_PASS : GATE_REFUSE;
}

PARRY_GATE_LICENSE;
