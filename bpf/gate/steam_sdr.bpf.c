// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Steam networking: a ChallengeRequest begins a connection, a ping asks a relay how far it is. */
#include "gns.h"

PARRY_GATE(steam_sdr, GATE_PROOF_NONE, "Steam networking: ChallengeRequest of 512 to 1300 bytes, sdping")
{
	if (g->proto != GATE_UDP || gns_begins(ctx, g))
		return GATE_PASS;
	return sdr_pings(ctx, g) ? GATE_QUERY : GATE_REFUSE;
}

PARRY_GATE_LICENSE;
