// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* TeamSpeak 3: a client begins with step 0 of TS3INIT1. Steps 1 to 4 are the server's own proof: an echo, then a puzzle. */
#include "parry_gate.h"

struct ts3_init {
	char mac[8]; /* "TS3INIT1" stands where later packets have a MAC */
	__be16 packet; /* 0x65 */
	__be16 client; /* none yet */
	__u8 type;
	__u8 version[4];
	__u8 step;
	__u8 time[4];
	__u8 chance[4];
	__u8 zero[8];
} __attribute__((packed));
_Static_assert(sizeof(struct ts3_init) == 34, "34 bytes on the wire");

PARRY_GATE(teamspeak3, GATE_PROOF_NONE, "TeamSpeak 3: TS3INIT1, step 0, 34 bytes")
{
	const struct ts3_init *p = gate_data(ctx, g, sizeof(*p));

	if (g->proto != GATE_UDP)
		return GATE_PASS;
	if (!p || g->length != sizeof(*p) || !gate_same(p->mac, "TS3INIT1", 8))
		return GATE_REFUSE;
	if (p->packet != bpf_htons(0x65) || p->client || p->type != 0x88 || p->step)
		return GATE_REFUSE;
	return gate_same(p->zero, "\0\0\0\0\0\0\0", 8) ? GATE_PASS : GATE_REFUSE;
}

PARRY_GATE_LICENSE;
