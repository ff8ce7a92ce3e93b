/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A gate for MyGame, a game that nobody else knows. Its client begins with 16 to 64 bytes:
 *
 *	0  'M' 'G'
 *	2  kind: 1 = hello, 3 = status query
 *	3  version of the protocol
 *	4  token, 4 bytes: 0 in the first hello; then what the challenge said
 *
 * Who is asked for a token gets 'M' 'G' 2 0 and the token: 8 bytes, fewer than any hello. In peace the server asks, as it
 * always did, and its token is its own to check. Under attack the edge asks in its place: then no hello reaches the server
 * whose sender has not shown that it can be reached, and the server is run so that it takes any token.
 */
#include "parry_gate.h"

enum { HELLO = 1, CHALLENGE = 2, STATUS = 3 };

struct hello {
	__u8 magic[2];
	__u8 kind;
	__u8 version;
	__u32 token;
};

#define COOKIE 100 /* the gate's own number for what its cookies are for */

static __always_inline int challenge(struct xdp_md *ctx, struct gate *g, struct hello *h)
{
	h->kind = CHALLENGE;
	h->version = 0;
	h->token = gate_cookie(g, COOKIE);
	if (gate_resize(ctx, g, sizeof(*h)) || gate_write(ctx, g, 0, h, sizeof(*h)))
		return GATE_REFUSE;
	g->sum = gate_sum(h, sizeof(*h));
	return GATE_ANSWER;
}

PARRY_GATE(mygame, GATE_PROOF_STRONG, "MyGame: hello or status query, 16 to 64 bytes; gate_params: [oldest version]")
{
	struct hello h;

	if (g->proto != GATE_UDP || g->length < 16 || g->length > 64 || gate_read(ctx, g, 0, &h, sizeof(h)))
		return GATE_REFUSE;
	if (h.magic[0] != 'M' || h.magic[1] != 'G' || h.version < g->params[0])
		return GATE_REFUSE;
	if (h.kind == STATUS)
		return GATE_QUERY;
	if (h.kind != HELLO)
		return GATE_REFUSE;
	if (!(g->flags & GATE_COOKIES) || g->flags & GATE_WATCH)
		return GATE_PASS;
	if (!gate_cookie_holds(g, COOKIE, h.token))
		return challenge(ctx, g, &h); /* none yet, or one of before the attack, or an old one */
	g->proof = GATE_PROOF_STRONG;
	return GATE_PASS;
}

PARRY_GATE_LICENSE;
