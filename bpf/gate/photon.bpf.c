// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Photon, a descendant of ENet: a client without a peer id says CONNECT, alone in its packet. */
#include "parry_gate.h"

struct photon_connect {
	__be16 peer; /* 0xffff: none yet */
	__u8 crc; /* flag */
	__u8 commands;
	__u8 time[4];
	__u8 challenge[4]; /* the connection's for good */
	__u8 type, channel, flags, reserved;
	__be32 length; /* of the command with its head */
	__be32 sequence;
	__be16 outgoing;
	__be16 mtu;
	__u8 rest[28];
} __attribute__((packed));
_Static_assert(sizeof(struct photon_connect) == 56, "56 bytes on the wire");

PARRY_GATE(photon, GATE_PROOF_NONE, "Photon: CONNECT, 56 bytes")
{
	const struct photon_connect *p = gate_data(ctx, g, sizeof(*p));

	if (g->proto != GATE_UDP)
		return GATE_PASS;
	if (!p || g->length != sizeof(*p) || p->peer != 0xffff || p->crc || p->commands != 1)
		return GATE_REFUSE;
	if (p->type != 2 || p->channel != 0xff || p->flags != 1 || p->reserved != 4)
		return GATE_REFUSE;
	if (p->length != bpf_htonl(44) || p->sequence != bpf_htonl(1))
		return GATE_REFUSE;
	return GATE_PASS;
}

PARRY_GATE_LICENSE;
