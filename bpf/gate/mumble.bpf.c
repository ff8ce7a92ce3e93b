// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Mumble: TLS and UDP on one port. TLS begins with a ClientHello. UDP is a 12-byte ping, or voice and pings that are
 * encrypted with a key that TLS agreed on: of those a stranger to the key can say no more than how long they may be.
 */
#include "parry_gate.h"

#define PING 12
#define VOICE_LEAST 6 /* four bytes of header, a ping's type and time */
#define VOICE_MOST 1024
#define TLS_HANDSHAKE 22
#define TLS_CLIENT_HELLO 1

struct tls_hello {
	__u8 type, major, minor;
	__u8 length[2]; /* big-endian */
	__u8 handshake;
};

static __always_inline int hello(struct xdp_md *ctx, const struct gate *g)
{
	const struct tls_hello *p = gate_data(ctx, g, sizeof(*p));

	if (!p || p->type != TLS_HANDSHAKE || p->major != 3 || p->minor > 4 || p->handshake != TLS_CLIENT_HELLO)
		return GATE_REFUSE;
	return p->length[0] < 64 ? GATE_PASS : GATE_REFUSE; /* a record holds 2^14 bytes */
}

PARRY_GATE(mumble, GATE_PROOF_NONE, "Mumble: TLS ClientHello; UDP ping, or what can be encrypted voice")
{
	const __u32 *head;

	if (g->proto == GATE_TCP)
		return hello(ctx, g);
	if (g->length < VOICE_LEAST || g->length > VOICE_MOST)
		return GATE_REFUSE;
	head = gate_data(ctx, g, PING);
	return head && g->length == PING && !*head ? GATE_QUERY : GATE_PASS;
}

PARRY_GATE_LICENSE;
