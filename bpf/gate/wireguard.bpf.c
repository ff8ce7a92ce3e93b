// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* WireGuard: nothing but a handshake initiation begins a tunnel. Its mac1 needs the server's key: that is the server's check. */
#include "parry_gate.h"

#define INITIATION 148 /* bytes: WireGuard white paper, 5.4.2 */

PARRY_GATE(wireguard, GATE_PROOF_NONE, "WireGuard: a handshake initiation, 148 bytes")
{
	const __u32 *head = gate_data(ctx, g, INITIATION);

	if (g->proto != GATE_UDP)
		return GATE_PASS;
	if (!head || g->length != INITIATION)
		return GATE_REFUSE;
	return *head == bpf_htonl(0x01000000) ? GATE_PASS : GATE_REFUSE; /* the type, three reserved zeros */
}

PARRY_GATE_LICENSE;
