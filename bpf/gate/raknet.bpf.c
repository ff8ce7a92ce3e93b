// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * RakNet (Minecraft Bedrock and relatives). Pings are answered from the cache. A connection is opened by two requests; under
 * attack the edge answers the first by itself, with a cookie, and takes the cookie out of the second: the server hears of a
 * source that has proven its address, and of no other, and needs no first request to take the second. Clients of versions
 * before COOKIE_VERSION may not know cookies (jsp-raknet reads one as an MTU): theirs is the server's, as in peace.
 *
 * params: [0] RAKNET_OWN_COOKIES, of servers that make cookies themselves: both requests are left to them. [1] protocol
 * versions to let in besides 6 and 8 to 11: bit n is version n. [2] the largest MTU to offer, 0 = 1492.
 */
#include "parry_gate.h"
#include "zero.h"

#define RAKNET_OWN_COOKIES 1

#define COOKIE 3 /* purpose */
#define PONG 0 /* as caches number them */

#define PING_LENGTH 33
#define OPEN_LEAST 400 /* bytes of the first request: it is as long as the MTU that it tries */
#define OPEN_MOST 1492
#define COOKIE_VERSION 11
#define HEADERS 28 /* that its sender counts in, IPv4's and UDP's */
#define VERSIONS (1 << 6 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11)

#define MAGIC1 0x00ffff00fefefefeULL
#define MAGIC2 0xfdfdfdfd12345678ULL

enum raknet_id {
	PING = 0x01,
	PING_IF_OPEN = 0x02, /* only if the server has room */
	OPEN1 = 0x05,
	OPEN1_REPLY = 0x06,
	OPEN2 = 0x07,
};

struct ping {
	__u8 id, time[8], magic[16], guid[8];
};
_Static_assert(sizeof(struct ping) == PING_LENGTH, "33 bytes on the wire");

struct pong { /* then how long the text is, and the text */
	__u8 id, time[8];
	__u64 guid;
	__u8 magic[16];
} __attribute__((packed));

struct open1 { /* then zeros */
	__u8 id, magic[16], version;
};

struct open1_reply {
	__u8 id, magic[16];
	__u64 guid; /* the server's */
	__u8 security;
	__u32 cookie;
	__be16 mtu;
} __attribute__((packed));
_Static_assert(sizeof(struct open1_reply) == 32, "32 bytes on the wire");

/* The second request: the cookie and a zero (no challenge of its own), or nothing; address, MTU, GUID. */
#define OPEN2_HEAD 17
#define OPEN2_COOKIE 5
#define OPEN2_TAIL4 17
#define OPEN2_TAIL6 39

static __always_inline bool magic(const __u8 *p)
{
	return *(const __be64 *)p == bpf_cpu_to_be64(MAGIC1) && *(const __be64 *)(p + 8) == bpf_cpu_to_be64(MAGIC2);
}

static __always_inline int ping(struct xdp_md *ctx, struct gate *g)
{
	const struct ping *p = gate_data(ctx, g, sizeof(*p));
	struct gate_answer *a;
	union {
		__u8 bytes[12];
		__u32 words[3];
	} was, is;
	int v;

	if (!p || g->length != sizeof(*p) || !magic(p->magic))
		return GATE_REFUSE;
	a = g->flags & GATE_WATCH ? NULL : gate_cached(g, PONG);
	if (!a)
		return GATE_QUERY;
	__builtin_memcpy(&was, a->data, 12);
	is = was;
	__builtin_memcpy(is.bytes + 1, p->time, 8);
	v = gate_serve(ctx, g, a);
	if (v != GATE_ANSWER)
		return v;
	if (gate_write(ctx, g, 0, &is, 12))
		return GATE_REFUSE;
	g->sum = bpf_csum_diff(was.words, 12, is.words, 12, a->sum);
	return GATE_ANSWER;
}

/* The first request, answered as the server would, with a cookie. The magic stays where it is. */
static __always_inline int offer(struct xdp_md *ctx, struct gate *g, const struct gate_answer *pong)
{
	__u32 cookie = gate_cookie(g, COOKIE), mtu = g->length + HEADERS,
	      most = g->params[2] ? g->params[2] : OPEN_MOST;
	struct open1_reply *r;

	if (mtu > most)
		mtu = most;
	if (gate_resize(ctx, g, sizeof(*r)))
		return GATE_REFUSE;
	r = gate_data(ctx, g, sizeof(*r));
	if (!r)
		return GATE_REFUSE;
	r->id = OPEN1_REPLY;
	r->guid = ((const struct pong *)pong->data)->guid;
	r->security = 1;
	r->cookie = cookie;
	r->mtu = bpf_htons(mtu);
	g->sum = gate_sum(r, sizeof(*r));
	return GATE_ANSWER;
}

static __always_inline int open1(struct xdp_md *ctx, struct gate *g)
{
	const struct open1 *p = gate_data(ctx, g, sizeof(*p));
	struct gate_answer *pong;

	if (!p || g->length < OPEN_LEAST || g->length > OPEN_MOST || !magic(p->magic))
		return GATE_REFUSE;
	if (p->version > 63 || !((VERSIONS | g->params[1]) >> p->version & 1) || !gate_zero(ctx, g, sizeof(*p)))
		return GATE_REFUSE;
	if (!(g->flags & GATE_COOKIES) || g->flags & GATE_WATCH || g->params[0] & RAKNET_OWN_COOKIES ||
	    p->version < COOKIE_VERSION)
		return GATE_PASS;
	pong = gate_cached(g, PONG); /* it has the server's GUID */
	return pong ? offer(ctx, g, pong) : GATE_PASS;
}

/* Takes the cookie out of a second request with `tail` bytes behind it. */
static __always_inline int strip(struct xdp_md *ctx, struct gate *g, __u32 tail)
{
	__u8 q[OPEN2_HEAD + OPEN2_TAIL6 + 4] = {};

	if (gate_read(ctx, g, 0, q, OPEN2_HEAD) || gate_read(ctx, g, OPEN2_HEAD + OPEN2_COOKIE, q + OPEN2_HEAD, tail))
		return GATE_REFUSE;
	if (gate_write(ctx, g, OPEN2_HEAD, q + OPEN2_HEAD, tail) || gate_resize(ctx, g, OPEN2_HEAD + tail))
		return GATE_REFUSE;
	g->sum = gate_sum(q, sizeof(q));
	g->flags |= GATE_MODIFIED;
	return GATE_PASS;
}

static __always_inline int open2(struct xdp_md *ctx, struct gate *g)
{
	const __u8 *p = gate_data(ctx, g, OPEN2_HEAD + OPEN2_COOKIE);
	__u32 tail = g->length - OPEN2_HEAD, cookie;

	if (!p || !magic(p + 1))
		return GATE_REFUSE;
	if (tail == OPEN2_TAIL4 || tail == OPEN2_TAIL6)
		return g->flags & GATE_COOKIES && !(g->params[0] & RAKNET_OWN_COOKIES) ? GATE_REFUSE : GATE_PASS;
	tail -= OPEN2_COOKIE;
	if ((tail != OPEN2_TAIL4 && tail != OPEN2_TAIL6) || p[OPEN2_HEAD + 4] > 1)
		return GATE_REFUSE;
	if (g->params[0] & RAKNET_OWN_COOKIES || g->flags & GATE_WATCH)
		return GATE_PASS;
	/* Also in peace: the edge may have given it out a moment before. */
	__builtin_memcpy(&cookie, p + OPEN2_HEAD, 4);
	if (!gate_cookie_holds(g, COOKIE, cookie))
		return g->flags & GATE_COOKIES ? GATE_REFUSE : GATE_PASS;
	g->proof = GATE_PROOF_STRONG;
	return tail == OPEN2_TAIL4 ? strip(ctx, g, OPEN2_TAIL4) : strip(ctx, g, OPEN2_TAIL6);
}

PARRY_GATE(raknet, GATE_PROOF_STRONG,
	   "RakNet: ping (answered by the edge), open connection requests (cookies under attack)")
{
	const __u8 *id = gate_data(ctx, g, 1);

	if (g->proto != GATE_UDP)
		return GATE_PASS;
	if (!id)
		return GATE_REFUSE;
	switch (*id) {
	case PING:
	case PING_IF_OPEN:
		return ping(ctx, g);
	case OPEN1:
		return open1(ctx, g);
	case OPEN2:
		return open2(ctx, g);
	}
	return GATE_REFUSE; /* connected ones, too: nothing can begin with those */
}

PARRY_GATE_LICENSE;
