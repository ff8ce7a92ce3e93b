// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * ENet 1.3: a client without a peer id says CONNECT, alone in its packet; with the host's CRC behind the header, or not.
 * params[0]: ENET_COMPRESSED, of hosts that compress (only the header can be read then); ENET_OOB, of those that answer
 * Quake III's queries on the same port (FiveM).
 */
#include "oob.h"

#define ENET_COMPRESSED 1
#define ENET_OOB 2

#define NO_PEER 0x0fff
#define SENT_TIME 0x8000
#define COMPRESSED 0x4000

struct enet_connect {
	__u8 command, channel;
	__be16 sequence;
	__be16 peer;
	__u8 sessions[2];
	__be32 mtu, window, channels;
	__be32 bandwidth[2];
	__be32 throttle[3];
	__be32 id, data;
};
_Static_assert(sizeof(struct enet_connect) == 48, "48 bytes on the wire");

#define HEADER 4 /* peer id and flags, time */
#define CRC 4

static __always_inline bool in(__be32 be, __u32 least, __u32 most)
{
	__u32 v = bpf_ntohl(be);

	return v >= least && v <= most;
}

static __always_inline int connect(struct xdp_md *ctx, const struct gate *g, __u32 at)
{
	const struct enet_connect *p = gate_at(ctx, g, at, sizeof(*p));

	if (!p || p->command != 0x82 || p->channel != 0xff || p->sequence != bpf_htons(1))
		return GATE_REFUSE;
	return in(p->mtu, 576, 4096) && in(p->window, 4096, 65536) && in(p->channels, 1, 255) ? GATE_PASS : GATE_REFUSE;
}

static __always_inline int query(struct xdp_md *ctx, const struct gate *g)
{
	__u64 text[OOB_WORDS] = {};
	__u32 rest = 0;
	enum oob_word word = oob_word(ctx, g, &rest);

	if (word != OOB_GETINFO && word != OOB_GETSTATUS)
		return GATE_REFUSE;
	return oob_argument(ctx, g, rest, text).sound ? GATE_QUERY : GATE_REFUSE;
}

PARRY_GATE(enet, GATE_PROOF_NONE, "ENet 1.3: CONNECT, 52 or 56 bytes")
{
	const __be16 *head = gate_data(ctx, g, HEADER);

	if (g->proto != GATE_UDP)
		return GATE_PASS;
	if (!head)
		return GATE_REFUSE;
	if (*head == bpf_htons(SENT_TIME | NO_PEER)) {
		if (g->length == HEADER + sizeof(struct enet_connect))
			return connect(ctx, g, HEADER);
		if (g->length == HEADER + CRC + sizeof(struct enet_connect))
			return connect(ctx, g, HEADER + CRC);
	}
	if (*head == bpf_htons(SENT_TIME | COMPRESSED | NO_PEER) && g->params[0] & ENET_COMPRESSED)
		return g->length < HEADER + CRC + sizeof(struct enet_connect) ? GATE_PASS : GATE_REFUSE;
	return g->params[0] & ENET_OOB ? query(ctx, g) : GATE_REFUSE;
}

PARRY_GATE_LICENSE;
