// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"strings"
	"testing"

	"parry/loader"
	"parry/test/need"
	"parry/test/packet"
)

// Whatever an operator's gate says or does, what leaves is as long as it says it is.
func TestGatesThatAreWrong(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, body, verdict, reason string }{
		{"a number below all", "	return -1;", "drop", "gate_refused"},
		{"a number beyond all", "	return 77;", "drop", "gate_refused"},
		{"an answer that it has not made room for", "	g->length = 1000;\n	return GATE_ANSWER;", "abort", "internal"},
		{"an answer longer than any", "	g->length = 65535;\n	return GATE_ANSWER;", "abort", "internal"},
		{"a change that it has not made room for", "	g->length = 1000;\n	g->flags |= GATE_MODIFIED;\n	return GATE_PASS;", "abort", "internal"},
		{"a frame that is shorter, and nothing said", "	return gate_resize(ctx, g, 2) ? GATE_REFUSE : GATE_PASS;", "abort", "internal"},
		{"a frame that is longer, and nothing said", "	return gate_resize(ctx, g, 999) ? GATE_REFUSE : GATE_PASS;", "abort", "internal"},
		{"an ask without proof", "	return GATE_ASK;", "drop", "gate_refused"},
		{"a proof that is none", "	g->proof = 200;\n	return GATE_PASS;", "tx", ""},
		{"another place, another service", "	g->payload = 9;\n	g->service = 7;\n	g->family = 5;\n	return GATE_PASS;", "tx", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			g, err := loader.ReadGate(need.Gate(t, need.GateText(row.body)))
			must(t, err)
			plan := basePlan()
			plan.Gates, plan.Services[0].Gate = []loader.Gate{g}, g.Name
			w := newWorldOf(t, plan, strangerSizes())
			for _, p := range []packet.Packet{says(player4, natPort, strings.Repeat("hello there ", 10)), says(player6, natPort, "hello there")} {
				r, err := w.edge.Process(p.Bytes())
				must(t, err)
				if r.Verdict != row.verdict || r.Reason != row.reason {
					t.Errorf("%s %q, want %s %q", r.Verdict, r.Reason, row.verdict, row.reason)
				}
				if r.Verdict == "tx" {
					must(t, packet.Check(r.Out))
				}
			}
		})
	}
}
