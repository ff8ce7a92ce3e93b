// SPDX-License-Identifier: Apache-2.0

package diff

// strangerMutants are faults in the tier of strangers, and in gates.
func strangerMutants() []mutant {
	return []mutant{
		{"greylist: too soon counts", "stage/greylist.h", "		return !soon;", "		return true;", "strangers", ""},
		{"greylist: remembers for ever", "stage/greylist.h", "bool next = l->generation + 1 == generation;", "bool next = true;", "strangers", ""},
		{"greylist: one port is as good as another", "stage/greylist.h", "return hash_mix(h ^ (p->sport | (__u32)p->dport << 16", "return hash_mix(h ^ ((__u32)p->dport << 16", "strangers", ""},
		{"the ring pushes out the proven", "stage/unproven.h", "FLOW_PHASE(up->state) != PHASE_OPENING)", "!carries(up->state))", "strangers", ""},
		{"a slot is every session's of its tuple", "stage/unproven.h", "return down && (down->peer | 1) == begun;", "return down && begun;", "strangers", ""},
		{"a slot is taken while it is held", "stage/unproven.h", "tick - up->checked < CLOSING_TICKS", "0", "strangers", ""},
		{"who was pushed out comes back", "stage/revive.h", "	if (up->state & FLOW_EVICTED)\n		return drop(p, DROP_REASON_STRANGERS_FULL);\n", "", "strangers", ""},
		{"the used-up allowance keeps a tuple alive", "stage/revive.h", "!known && !p->down && exhausted(p, up)", "0", "strangers", ""},
		{"a weak session leaves another service's books", "stage/revive.h", "	p->service = up->service; /* a server's first word may be another service's */\n", "", "gates", ""},
		{"weak: the quota is not given back", "stage/proof.h", "		weak_free(p, client);\n}\n\n/* ---- the two halves", "		;\n}\n\n/* ---- the two halves", "gates", ""},
		{"weak: no quota of a prefix", "stage/proof.h", "__sync_fetch_and_add(n, 1) >= svc->weak_prefix && svc->weak_prefix", "__sync_fetch_and_add(n, 1) && 0", "gates", ""},
		{"weak: lasting too early", "stage/proof.h", "#define LASTING_TICKS (30 *", "#define LASTING_TICKS (26 *", "gates", ""},
		{"weak: regulars under attack", "stage/proof.h", "old & FLOW_STRONG || !under_attack(p)", "1", "gates", ""},
		{"weak: idle as long as others", "stage/reap.h", "flags & FLOW_WEAK && svc->timeout_weak", "0", "gates", ""},
		{"TCP: an answer to a SYN proves", "stage/proof.h", "} else if (!(p->tcp & (TCP_SYN | TCP_RST))) {", "} else {", "gates", ""},
		{"TCP: the refused are reset in vain", "stage/first.h", "((__u8 *)tcp)[13] = TCP_RST;", "((__u8 *)tcp)[13] = TCP_RST | TCP_ACK;", "gates", ""},
		{"TCP: silence costs nothing", "stage/reap.h", "is_silent(up) && svc->timeout_silent && svc->timeout_silent < svc->timeout_opening", "0", "gates", ""},
		{"the unproven go on and on", "stage/proof.h", "svc->unanswered && f->packets >= svc->unanswered &&", "0 &&", "gates", ""},
		{"reflector: what servers answer is nobody's", "stage/proof.h", "over = over < gives ? over : gives;", "over = 0;", "gates", ""},
		{"reflector: an answer may be longer", "stage/gate.h", "g->proof != GATE_PROOF_STRONG && gives > asked", "g->proof != GATE_PROOF_STRONG && gives > asked + 200", "gates", ""},
		{"reflector: answered at first sight", "stage/gate.h", "(g->state == GATE_ATTACK || !answer_take(", "(!answer_take(", "gates", ""},
		{"reflector: a prefix pays for what nobody got", "stage/answer.h", "	rate_give(mine, &prefix, bytes);\n", "", "gates", ""},
		{"reflector: each service has a budget", "stage/answer.h", "prefix_of(p, PREFIX_ANSWERS, client, 24, 48, 0)", "prefix_of(p, PREFIX_ANSWERS, client, 24, 48, p->service)", "gates", ""},
		{"reflector: later parts cost nothing", "stage/proof.h", "p->frag != FRAG_FIRST || p->proto != IPPROTO_UDP ||", "1 ||", "gates", ""},
		{"reflector: errors cost nothing", "stage/icmp.h", "f->state & FLOW_SERVER_STARTED ||\n	    answer_take(p, client, p->l3_len, f->state & FLOW_AGAIN))", "1)", "gates", ""},
		{"reflector: who comes again takes the others' share", "stage/answer.h", "again ? BUCKET_ANSWERS_AGAIN : BUCKET_ANSWERS", "BUCKET_ANSWERS", "gates", ""},
		{"reflection: any answer from port 53", "stage/reflection.h", "return length >= 12 && (head >> 40 & 0x80);", "return length >= 12;", "gates", ""},
		{"sketch: every counter counts", "stage/sketch.h", "			*c = window << 24 | (low + 1);", "			*c = window << 24 | (sketch_count(*c, window) + 1);\n		else\n			*c += 1;", "gates", ""},
		{"sketch: its windows never end", "stage/sketch.h", "return cell >> 24 == (window & 0xff) ? cell & SKETCH_COUNT : 0;", "return cell & SKETCH_COUNT;", "gates", ""},
		{"sketch: proof does not help", "stage/gate.h", "p->proof != GATE_PROOF_STRONG && svc->stranger_packets", "svc->stranger_packets", "gates", ""},
		{"admissions: one prefix may have all", "stage/newcomer.h", "	if (!rate_take(prefix, &svc->admissions_prefix, p->now, 1, 0))\n		return false;\n", "", "gates", ""},
		{"regulars stand in line", "stage/newcomer.h", "if (!st || is_regular(p))", "if (!st)", "gates", ""},
		{"the strongly proven are strangers", "stage/newcomer.h", "return !p->allowed && p->proof != GATE_PROOF_STRONG;", "return !p->allowed;", "strangers", ""},
		{"a query is a connection", "stage/limit.h", "p->new_taken = !p->query && rate_take", "p->new_taken = rate_take", "gates", ""},
		{"cookies: another port's", "gate/parry_gate.h", "gate_sip_word(&s, g->sport | (__u32)g->dport << 16", "gate_sip_word(&s, (__u32)g->dport << 16", "gates", "source"},
		{"cookies: another service's", "gate/parry_gate.h", "(__u64)g->service << 48", "0", "gates", "source"},
		{"cookies: expired", "gate/parry_gate.h", "return cookie == gate_cookie_of(g, purpose, step);", "return cookie == gate_cookie_of(g, purpose, step) || cookie == gate_cookie_of(g, purpose, step - 2);", "gates", "source"},
		{"answers: stale", "gate/parry_gate.h", "(__s64)(a->until - g->now) > 0 && ", "", "gates", "quake3"},
		{"raknet: the server gets the cookie", "gate/raknet.bpf.c", "return tail == OPEN2_TAIL4 ? strip(ctx, g, OPEN2_TAIL4) : strip(ctx, g, OPEN2_TAIL6);", "return GATE_PASS;", "gates", "raknet"},
		{"stun: another's address", "gate/stun.bpf.c", ".port = g->sport ^", ".port = g->dport ^", "gates", "stun"},
	}
}
