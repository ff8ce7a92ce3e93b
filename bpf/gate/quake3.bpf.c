// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Quake III and its kin: out-of-band words. getinfo and getstatus are answered from the cache, to which the edge adds the
 * asker's own challenge right behind the first line (so does ioquake3 in a status; in an info it says it last; keys have no
 * order). It is the client's nonce and no proof of its address: that is getchallenge and connect, between the server and
 * its client, and strong where its packets of play have a checksum of that challenge (stage/netchan.h).
 */
#include "oob.h"

#define INFO 0 /* as caches number them */
#define STATUS 1
#define INFO_LINE 16 /* where the first line ends: "infoResponse", "statusResponse" */
#define STATUS_LINE 18
#define TAIL_MOST 1380 /* bytes behind it: GATE_ANSWER_MAX has room for both */
#define CONNECT_MOST 1400

/* What goes in behind the first line, and that line's end before it. */
struct insert {
	__u8 pad[5];
	__u8 key[11]; /* "\n\challenge"; a backslash then stands for the space before the argument */
	__u64 argument[OOB_WORDS];
};

#define KEY "\n\\challenge"

static __always_inline __u32 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u32 swap(__u32 sum)
{
	return (sum & 0xff) << 8 | sum >> 8;
}

/* Serves an answer whose first line ends at `at`, with the challenge behind it: `argument` bytes, with the space before. */
static __always_inline int serve(struct xdp_md *ctx, struct gate *g, struct gate_answer *a, struct insert *in,
				 __u32 argument, __u32 at)
{
	__u32 tail = a->length - at - 1, added = sizeof(in->key) + argument, head, rest;

	if (!argument)
		return gate_serve(ctx, g, a);
	if (a->length <= at + 1 || gate_resize(ctx, g, at + added + tail))
		return GATE_QUERY; /* too long with it or for the packet's buffer, or not what the daemon stores */
	__builtin_memcpy(in->key, KEY, sizeof(in->key));
	*(__u8 *)in->argument = '\\';
	if (gate_write(ctx, g, 0, a->data, at))
		return GATE_REFUSE;
	if (!gate_bounded(added, sizeof(in->key) + sizeof(in->argument)) || gate_write(ctx, g, at, in->key, added))
		return GATE_REFUSE;
	if (!gate_bounded(tail, TAIL_MOST) || gate_write(ctx, g, at + added, a->data + at + 1, tail))
		return GATE_REFUSE;
	head = gate_sum(a->data, 16);
	if (at == STATUS_LINE)
		head += *(__u16 *)(a->data + 16);
	head = fold(head);
	rest = fold((__u64)a->sum + (__u16)~head + (__u16) ~'\n');
	if (added % 2 == 0) /* what follows moved by an odd number of bytes */
		rest = swap(rest);
	/* The line's end lies at an even place of the answer, at an odd one of `in`. */
	g->sum = head + swap(fold(gate_sum(in, sizeof(*in)))) + rest;
	return GATE_ANSWER;
}

/* getinfo and getstatus. */
static __always_inline int query(struct xdp_md *ctx, struct gate *g, bool status, __u32 rest)
{
	struct insert in = {};
	struct oob_argument asked = oob_argument(ctx, g, rest, in.argument);
	struct gate_answer *a;

	if (!asked.sound)
		return GATE_REFUSE;
	a = asked.plain && !(g->flags & GATE_WATCH) ? gate_cached(g, status ? STATUS : INFO) : NULL;
	return a ? serve(ctx, g, a, &in, asked.length, status ? STATUS_LINE : INFO_LINE) : GATE_QUERY;
}

/* getchallenge: a number, a game's name. */
static __always_inline bool challenge(struct xdp_md *ctx, const struct gate *g, __u32 rest)
{
	__u64 text[OOB_WORDS] = {};

	return oob_argument(ctx, g, rest, text).sound;
}

/* connect: what follows is compressed. */
static __always_inline bool connect(struct xdp_md *ctx, const struct gate *g, __u32 rest)
{
	const __u8 *p = gate_at(ctx, g, rest, 2);

	return p && *p == ' ' && g->length < CONNECT_MOST;
}

PARRY_GATE(quake3, GATE_PROOF_NETCHAN, "Quake III: getinfo, getstatus (answered by the edge), getchallenge, connect")
{
	__u32 rest = 0;

	if (g->proto != GATE_UDP)
		return GATE_PASS;
	switch (oob_word(ctx, g, &rest)) {
	case OOB_GETINFO:
		return query(ctx, g, false, rest);
	case OOB_GETSTATUS:
		return query(ctx, g, true, rest);
	case OOB_GETCHALLENGE:
		return challenge(ctx, g, rest) ? GATE_PASS : GATE_REFUSE;
	case OOB_CONNECT:
		return connect(ctx, g, rest) ? GATE_PASS : GATE_REFUSE;
	default:
		return GATE_REFUSE;
	}
}

PARRY_GATE_LICENSE;
