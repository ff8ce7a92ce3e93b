// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Minecraft Java Edition: the first segment of a connection. It holds a whole handshake (no client splits it), and nothing
 * behind it but a status request, a ping, or a login start. What it proves is TCP's business.
 *
 * params: lowest and highest protocol version to let in; 0 = any there has been.
 */
#include "parry_gate.h"

#define FRAME_MOST 4096 /* a login start with its key and signature is far shorter */
#define HOST_MOST 765 /* 255 characters; Forge and proxies put theirs behind it */
#define NAME_MOST 16
#define VERSION_LEAST 4 /* 1.7.2; greetings of MySQL read as version 0 */
#define VERSION_MOST 1000000
#define SNAPSHOT (1u << 30)
#define VERSION_TRANSFER 766
#define VERSION_NONE ~0U /* of pings that don't say */

enum next_state { STATUS = 1, LOGIN = 2, TRANSFER = 3 };

/* A VarInt of up to `most` bytes at *at, which moves behind it; at 0 where it is none. */
static __always_inline __u32 varint(struct xdp_md *ctx, const struct gate *g, __u32 *at, int most)
{
	__u32 v = 0;

	for (int i = 0; i < most; i++) {
		const __u8 *p = gate_at(ctx, g, *at + i, 1);

		if (!p)
			break;
		v |= (__u32)(*p & 0x7f) << 7 * i;
		if (!(*p & 0x80)) {
			*at += i + 1;
			return v;
		}
	}
	*at = 0;
	return 0;
}

static __always_inline bool version(const struct gate *g, __u32 v, __u32 next)
{
	__u64 least = g->params[0] ? g->params[0] : VERSION_LEAST, most = g->params[1] ? g->params[1] : VERSION_MOST;

	if (v == VERSION_NONE)
		return next == STATUS;
	if (next == TRANSFER && v < VERSION_TRANSFER)
		return false;
	if (v & SNAPSHOT && !g->params[0] && !g->params[1])
		return (v ^ SNAPSHOT) < VERSION_MOST;
	return v >= least && v <= most;
}

/* What may follow a handshake for status: nothing, the request, the request and a ping. */
static __always_inline bool status(struct xdp_md *ctx, const struct gate *g, __u32 at)
{
	const __u8 *p = gate_at(ctx, g, at, 2);
	__u32 rest = g->length - at;

	if (!rest)
		return true;
	if (!p || p[0] != 1 || p[1] != 0)
		return false;
	if (rest == 2)
		return true;
	p = gate_at(ctx, g, at + 2, 2);
	return p && rest == 12 && p[0] == 9 && p[1] == 1;
}

/* What may follow one for login: nothing, a login start that ends with the segment. */
static __always_inline bool login(struct xdp_md *ctx, const struct gate *g, __u32 at)
{
	__u32 length, n;
	const __u8 *p;

	if (at == g->length)
		return true;
	length = varint(ctx, g, &at, 2);
	if (!at || at + length != g->length)
		return false;
	p = gate_at(ctx, g, at, 2);
	if (!p || p[0])
		return false;
	n = p[1];
	return n && n <= 4 * NAME_MOST && n + 2 <= length; /* characters of up to four bytes */
}

static __always_inline bool handshake(struct xdp_md *ctx, const struct gate *g)
{
	__u32 at = 0, length = varint(ctx, g, &at, 3), end = at + length, v, host, next;
	const __u8 *p;

	if (!at || length > FRAME_MOST || end > g->length)
		return false;
	p = gate_at(ctx, g, at, 1);
	if (!p || *p)
		return false;
	at++;
	v = varint(ctx, g, &at, 5);
	if (!at)
		return false;
	host = varint(ctx, g, &at, 2);
	if (!at || host > HOST_MOST || at + host + 3 != end) /* its port, what is next */
		return false;
	p = gate_at(ctx, g, at + host + 2, 1);
	if (!p)
		return false;
	next = *p;
	if (next < STATUS || next > TRANSFER || !version(g, v, next))
		return false;
	return next == STATUS ? status(ctx, g, end) : login(ctx, g, end);
}

#define PING_HOST "\xfa\0\013\0M\0C\0|\0P\0i\0n\0g\0H\0o\0s\0t"
#define LEGACY_HEAD 29 /* FE 01 FA, 11, "MC|PingHost", how much follows */
#define LEGACY_HOST 7 /* version, length of the host's name, its port */

/* Server list pings of versions before 1.7. */
static __always_inline bool legacy(struct xdp_md *ctx, const struct gate *g)
{
	const __u8 *p;
	__u32 rest;

	if (g->length <= 2) {
		p = gate_at(ctx, g, g->length - 1, 1);
		return g->length == 1 || (p && *p == 1);
	}
	p = gate_data(ctx, g, LEGACY_HEAD + 3);
	if (!p || p[1] != 1 || !gate_same(p + 2, PING_HOST, 25))
		return false;
	rest = p[27] << 8 | p[28];
	return LEGACY_HEAD + rest == g->length && LEGACY_HOST + 2U * (p[30] << 8 | p[31]) == rest;
}

PARRY_GATE(minecraft_java, GATE_PROOF_NONE, "Minecraft Java: a whole handshake in the first segment; old pings")
{
	const __u8 *p = gate_data(ctx, g, 1);

	if (g->proto != GATE_TCP)
		return GATE_PASS;
	if (!p)
		return GATE_REFUSE;
	return (*p == 0xfe && legacy(ctx, g)) || handshake(ctx, g) ? GATE_PASS : GATE_REFUSE;
}

PARRY_GATE_LICENSE;
