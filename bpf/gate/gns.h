/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Steam networking over plain UDP (GameNetworkingSockets), and the ping of Steam Datagram Relay. */
#pragma once

#include "parry_gate.h"

#define GNS_CHALLENGE_REQUEST 32
#define GNS_LEAST 512 /* padded, so that no answer is longer */
#define GNS_MOST 1300
#define GNS_CONNECTION_ID 0x0d /* protobuf: field 1, fixed32; the first of the body */

struct gns_request {
	__u8 type;
	__u8 length[2]; /* of the body, little-endian */
	__u8 tag;
};

/* A ChallengeRequest; what follows proves the source by the server's own challenge. */
static __always_inline bool gns_begins(struct xdp_md *ctx, const struct gate *g)
{
	const struct gns_request *p = gate_data(ctx, g, sizeof(*p));
	__u32 body;

	if (!p || p->type != GNS_CHALLENGE_REQUEST || g->length < GNS_LEAST || g->length > GNS_MOST)
		return false;
	body = p->length[0] | p->length[1] << 8;
	return body && body + 3 <= g->length && p->tag == GNS_CONNECTION_ID;
}

/* A ping for relays: 0x01, flags, "sdping". */
static __always_inline bool sdr_pings(struct xdp_md *ctx, const struct gate *g)
{
	const __u8 *p = gate_data(ctx, g, 8);

	if (!p || (g->length != 100 && g->length != 1300))
		return false;
	return p[0] == 1 && (p[1] | 0x80) == 0x81 && gate_same(p + 2, "sdping", 6);
}
