// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"testing"
	"time"

	"parry/loader"
)

// On each port of a range, and of a service of this host, is a server of its own, with answers of its own.
func TestEachPortHasItsAnswers(t *testing.T) {
	t.Parallel()
	quake := func(s *loader.Service) { s.Gate, s.Answers = "quake3", true }
	w := newWorldOf(t, with(with(gatedPlan(), "range", quake), "local", quake), strangerSizes())
	env, err := w.edge.Env()
	must(t, err)
	for _, v := range []struct {
		name string
		port uint16
		cell loader.AnswerCell
	}{
		{"range", rangePort + 1, loader.AnswerCell{Pool: "range", Server: "range4", Offset: 1}},
		{"range", rangePort + 10, loader.AnswerCell{Pool: "range", Server: "range4", Offset: 4}},
		{"local", localPort, loader.AnswerCell{Server: "local"}},
	} {
		answer := "\xff\xff\xff\xffinfoResponse\n\\hostname\\" + v.name
		must(t, w.edge.SetAnswer(v.cell, 0, []byte(answer), false, uint64(env.Now+5*time.Second)))
		r := w.send(t, says(player4, v.port, getinfo).Bytes(), outcome{verdict: "tx", service: v.name}, nil)
		if got, want := payloadOf(t, r.Out), "\xff\xff\xff\xffinfoResponse\n\\challenge\\xyz\\hostname\\"+v.name; got != want {
			t.Errorf("port %d: %q", v.port, got)
		}
	}
	w.wantSessions(t, 0)
	w.quietly(t, says(player4, rangePort, getinfo).Bytes()) // nobody has asked that one yet
	w.wantSessions(t, 1)
}
