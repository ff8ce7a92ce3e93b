// SPDX-License-Identifier: Apache-2.0

package diff

// doubtMutants are faults in what is done to sources whose address is doubted.
func doubtMutants() []mutant {
	return []mutant{
		{"doubts: they are for ever", "stage/doubt.h", "return until && (__s64)(*until - p->now) > 0;", "return until;", "gates", ""},
		{"doubts: one of a network of 64 bits is lost", "stage/doubt.h", "one = p->family == 4 ? 32 : 64;", "one = 32;", "gates", ""},
		{"doubts: one service's is nobody's", "stage/doubt.h", " || doubt_holds(p, p->service, one) ||", " ||", "gates", ""},
		{"doubts: a network's is nobody's", "stage/doubt.h", "doubt_holds(p, 0, one) || doubt_holds(p, 0, net) ||", "doubt_holds(p, 0, one) ||", "gates", ""},
		{"doubts: newcomers are let be", "stage/newcomer.h", "if (cfg.doubts && doubted_source(p) &&", "if (cfg.doubts && 0 &&", "gates", ""},
		{"doubts: who has proven it is held to them", "stage/flow.h", "!(state & (FLOW_STRONG | FLOW_LASTING)) && doubted_source", "!(state & FLOW_LASTING) && doubted_source", "gates", ""},
		{"doubts: who is allowed is held to them", "stage/flow.h", "!p->down && !p->allowed && !(state", "!p->down && !(state", "gates", ""},
	}
}
