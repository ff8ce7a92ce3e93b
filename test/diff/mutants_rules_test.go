// SPDX-License-Identifier: Apache-2.0

package diff

// ruleMutants are faults in what the core does with rules. What their compiler does is held against tcpdump's (loader, pkg/rule).
func ruleMutants() []mutant {
	return []mutant{
		{"rules: a length counts tags", "stage/rules.h", "b->length = p->len - p->tags * 4;", "b->length = p->len;", "rules", ""},
		{"rules: a source of IPv6 is its interface", "stage/rules.h", "addr4(p->src) : addr_hi(p->src);", "addr4(p->src) : addr_lo(p->src);", "rules", ""},
		{"rules: what is only watched counts as dropped", "stage/rules.h", "b->watch = !cfg.enforce || !svc->enforce;", "b->watch = 0;", "rules", ""},
		{"rules: the allowed are judged", "stage/rules.h", "return !p->allowed && rules_of(p) & rules_about(state)", "return rules_of(p) & rules_about(state)", "rules", ""},
		{"rules: sessions are judged as strangers are", "stage/rules.h", "PHASE_OPEN ? RULED_OPEN : RULED_NOT;", "PHASE_OPEN ? RULED_NOT : RULED_NOT;", "rules", ""},
		{"rules: a session is marked for good", "stage/flow.h", "	else if (state & FLOW_RULED & ~flag)\n		__sync_fetch_and_and(&f->state, ~FLOW_RULED);\n", "", "rules", ""},
		{"rules: a session is never marked later", "stage/flow.h", "	if (!p->down)\n		mark_ruled(p, f);\n", "", "rules", ""},
		{"rules: marked sessions go the express way", "abi.h", "#define FLOW_SPECIAL (FLOW_PROXIED | FLOW_HEADER | FLOW_RULED)", "#define FLOW_SPECIAL (FLOW_PROXIED | FLOW_HEADER)", "rules", ""},
		{"rules: whom they drop was no stranger", "stage/brief.h", "		STRANGER_COUNT(p, strangers);\n		return VERDICT_DROP;\n	}\n	if (p->shadow)", "		return VERDICT_DROP;\n	}\n	if (p->shadow)", "rules", ""},
		{"rules: asked again on the common way", "parry.bpf.c", "	if (said & BRIEF_RULED)\n		rules_told(p);\n", "", "rules", ""},
		{"rules: later fragments pass", "stage/frag.h", "	if (half && !p->down && half_ruled(p, half))\n		return VERDICT_RULE;\n", "", "rules", ""},
	}
}
