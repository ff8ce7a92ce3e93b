// SPDX-License-Identifier: Apache-2.0

package diff

// wideMutants are faults in limits of more than one source, in shared addresses, and in rules about where players are.
func wideMutants() []mutant {
	return []mutant{
		{"wide: strangers take all of a prefix's bucket", "stage/wide.h", "		r.burst = whole->burst / 2;", "		r.burst = whole->burst;", "wide", ""},
		{"wide: who has lasted has no more than others", "stage/wide.h", "	else if (!(state & FLOW_LASTING))", "	else", "wide", ""},
		{"wide: prefixes of all services are one", "stage/wide.h", "(__u64)service << 16 | bits << 8", "bits << 8", "wide", ""},
		{"wide: a /16 for a /24", "stage/wide.h", "	a >>= 64 - bits;", "	a >>= 72 - bits;", "wide", ""},
		{"wide: a source pays for what its prefix refuses", "stage/limit.h", "svc->enforce_prefix)\n		loan_keep(l, 0, 0);", "svc->enforce_prefix)\n		;", "wide", ""},
		{"wide: a prefix gets nothing back", "stage/limit.h", "	loan_give(l, &l->prefix->packets, &l->svc->prefix_packets, true, packets);\n", "", "wide", ""},
		{"wide: packets are drawn though bytes are refused", "stage/limit.h", "	loan_give(l, &u->packets, &l->svc->prefix_packets, true, l->drawn_packets);\n	l->drawn_packets = 0;\n", "	l->drawn_packets = 0;\n", "wide", ""},
		{"wide: strangers borrow many", "stage/limit.h", "batch && !(l->prefix && FLOW_PHASE(state) == PHASE_OPENING)", "batch", "wide", ""},
		{"wide: who did not come in is counted", "stage/wide.h", "			rate_give(&u->sessions, &svc->prefix_sessions, 1);", "			;", "wide", ""},
		{"wide: a prefix's sessions are known or not alike", "stage/wide.h", "known ? PHASE_OPEN | FLOW_LASTING : PHASE_OPENING", "PHASE_OPEN | FLOW_LASTING", "wide", ""},
		{"wide: queries are connections", "stage/wide.h", "if (p->unlimited || p->query)", "if (p->unlimited)", "wide", ""},
		{"wide: first packets are free", "stage/begin.h", "	loan_of(&l, s, wide_of_packet(p, svc), svc, m->flags);\n	refused", "	loan_of(&l, s, NULL, svc, m->flags);\n	refused", "wide", ""},
		{"wide: later fragments are free", "stage/frag.h", "wide_of_packet(p, svc)", "NULL", "wide", ""},
		{"wide: who is only watched is held to it", "stage/limit.h", "refuse(p, LOAN_BY_PREFIX(refused), svc->enforce && svc->enforce_prefix)", "refuse(p, LOAN_BY_PREFIX(refused), svc->enforce && svc->enforce_limits)", "wide", ""},
		{"all: what is refused for its bytes costs a packet", "stage/wide.h", "	rate_give(&st->packets, &svc->all_packets, 1);\n	return DROP_REASON_SERVICE_BYTES;", "	return DROP_REASON_SERVICE_BYTES;", "wide", ""},
		{"all: who was a player before is refused", "stage/proof.h", "	down = other_half(p, f);\n	if (down && down->state & FLOW_LASTING)\n		return 0;\n	return refuse", "	down = NULL;\n	return refuse", "wide", ""},
		{"all: the proven draw on it", "stage/proof.h", "	if (!svc || FLOW_PHASE(*(volatile __u32 *)&f->state) != PHASE_OPENING)", "	if (!svc)", "wide", ""},
		{"all: first packets are free", "stage/begin.h", "	if (cfg.all && FLOW_PHASE(m->flags) == PHASE_OPENING) {", "	if (0) {", "wide", ""},
		{"all: who has played before is a stranger", "stage/newcomer.h", "wide_begin(p, svc, p->regular)", "wide_begin(p, svc, false)", "wide", ""},
		{"all: the proven are counted among new sessions", "stage/newcomer.h", "return wide_begin(p, svc, true);", "return wide_begin(p, svc, false);", "wide", ""},
		{"all: later fragments are free", "stage/frag.h", "return cfg.all && half", "return 0 && half", "wide", ""},
		{"shared: sessions that are over still count", "stage/limit.h", "	if (lasting)\n		__sync_fetch_and_add(&s->lasting, -1);\n", "", "wide", ""},
		{"shared: sessions that begin again still count", "stage/revive.h", "	if (lasted) /* it has to last again */\n		limit_lasting(p, up, -1);\n", "", "wide", ""},
		{"shared: packets alone are more", "stage/limit.h", "svc->max_sessions * svc->shared_factor", "svc->max_sessions", "wide", ""},
		{"shared: one more is needed", "stage/limit.h", "&s->lasting >= svc->shared_sessions", "&s->lasting > svc->shared_sessions", "wide", ""},
		{"shared: new sessions are not more", "stage/limit.h", "		news = source_rate(&svc->sessions, svc, shared);", "		news = svc->sessions;", "wide", ""},
		{"geo: one rule for all", "stage/geo.h", "*mask >> ((svc->geo - 1) & 63) & 1", "*mask & 1", "wide", ""},
		{"geo: the rest of the world is welcome", "stage/geo.h", ") != svc->geo_default;", ") != 0;", "wide", ""},
		{"geo: what is only watched is judged once", "stage/deny.h", " || p->shadow == DROP_REASON_GEO", "", "wide", ""},
		{"geo: ordinary strangers are not asked", "stage/brief.h", "	if (cfg.geo && geo_refuses4(addr4(p->src), svc))\n		v = drop(p, DROP_REASON_GEO); /* one exit for all: the stack beneath a gate has no room for two */\n	else\n		v = brief_ruled", "	v = brief_ruled", "wide", ""},
		{"geo: servers may speak to anybody", "stage/geo.h", "const __u8 *client = client_of(p);", "const __u8 *client = p->src;", "wide", ""},
	}
}
