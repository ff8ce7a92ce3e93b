// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// goodReport is one that passes every check, just so.
func goodReport() *Report {
	none := 0
	r := &Report{Scenario: "getstatus", Edge: "parry", DurationMS: 20000, Players: []GroupReport{
		{Group: "established", Protocol: "udp", Players: 100, Joined: 100, Sent: 90000, Received: 89990, LossPPM: 1100, LossCalmPPM: 100},
		{Group: "new", Protocol: "udp", Players: 200, Joined: 199, ByGame: []GameReport{
			{Game: "source", Players: 50, Joined: 50, InTime: 50, LimitMS: 1000}, {Game: "raknet", Players: 50, InTime: 49, LimitMS: 1000},
			{Game: "quake3", Players: 20, InTime: 20, LimitMS: 3000}, {Game: "generic_udp", Players: 80, InTime: 79, LimitMS: 3000}}},
		{Group: "established", Protocol: "tcp", Players: 4, Joined: 4},
		{Group: "new", Protocol: "tcp", Players: 100, ByGame: []GameReport{{Game: "minecraft_java", Players: 100, InTime: 99, LimitMS: 2000}}},
	},
		Queries: []QueryReport{{Kind: "a2s_info", Asked: 60, Answered: 60}, {Kind: "getstatus", Asked: 40, Answered: 39}},
		Evicted: &none, Memory: &MemoryReport{BeforeKB: 5, AfterKB: 5},
		Block: &BlockResult{Address: "198.18.0.66", Joined: true, Silenced: true, Released: true}, Restart: &CrashResult{}}
	r.Attack.add(WaveReport{Name: "getstatus", Offered: 12_000_000, Packets: 10_000_000, Sources: 9_000_000,
		Dropped: map[string]uint64{"gate_refused": 9_000_000}, Reached: 1000, elapsed: 10 * time.Second,
		Answers: Answers{Frames: 10, Bytes: 1000, Excess: 12_000_000, ExcessVictims: 96_000}})
	r.judge()
	return r
}

func TestChecksFailOneByOne(t *testing.T) {
	if err := goodReport().Err(); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	one := 1
	for name, spoil := range map[string]func(*Report){
		"lost_at_edge":        func(r *Report) { r.Players[0].Lost = 1 },
		"damaged":             func(r *Report) { r.Damaged = 1 },
		"end_to_end":          func(r *Report) { r.Players[0].LossPPM++ },
		"tcp_unbroken":        func(r *Report) { r.Players[2].Broken = 1 },
		"evicted":             func(r *Report) { r.Evicted = &one },
		"memory":              func(r *Report) { r.Memory.AfterKB++ },
		"join_challenge":      func(r *Report) { r.Players[1].ByGame[1].InTime-- },
		"join_plain":          func(r *Report) { r.Players[1].ByGame[3].InTime -= 2 },
		"join_tcp":            func(r *Report) { r.Players[3].ByGame[0].InTime-- },
		"queries":             func(r *Report) { r.Queries[1].Answered-- },
		"no_reflector":        func(r *Report) { r.Attack.Answers.Excess++ },
		"no_reflector_victim": func(r *Report) { r.Attack.Answers.ExcessVictims++ },
	} {
		r := goodReport()
		spoil(r)
		r.judge()
		var failed []string
		for _, c := range r.Checks {
			if !c.OK {
				failed = append(failed, c.Name)
			}
		}
		if diff := cmp.Diff([]string{name}, failed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if err := r.Err(); r.Passed || err == nil || !strings.Contains(err.Error(), "getstatus, parry edge: failed: "+name+" (") {
			t.Errorf("%s: passed %v, error %v", name, r.Passed, err)
		}
	}
	r := goodReport()
	r.Evicted, r.Memory = nil, nil // an edge that can't say
	r.judge()
	if !r.Passed {
		t.Errorf("an edge that can't say: %v", r.Err())
	}
}

func TestSuiteAddsUpAndNamesWhatFailed(t *testing.T) {
	all := &Suite{Scenario: AllScenarios, Passed: true}
	bad := goodReport()
	bad.Scenario = "mix"
	bad.Players[0].Lost = 7
	bad.Attack.Waves = append(bad.Attack.Waves, WaveReport{Name: "again", Packets: 5, Sources: 4, PPS: 3, Reached: 2})
	bad.judge()
	for _, r := range []*Report{goodReport(), bad} {
		all.add(r)
	}
	if all.Passed || all.Players[0].Lost != 7 || all.Players[1].Players != 400 || all.Attack.Packets != 20_000_005 || all.Attack.PPS != 1_000_000 {
		t.Errorf("added up: %+v", all)
	}
	if err := all.Err(); err == nil || !strings.HasPrefix(err.Error(), "mix, parry edge: failed: lost_at_edge (7 packets") {
		t.Errorf("got %v", err)
	}
	var table, doc bytes.Buffer
	must(t, all.WriteMarkdown(&table), all.WriteJSON(&doc))
	golden(t, "suite.md", table.Bytes())
	var shape struct {
		Scenario  string
		Players   []map[string]any
		Attack    map[string]any
		Scenarios []map[string]any
	}
	must(t, json.Unmarshal(doc.Bytes(), &shape))
	if shape.Scenario != "all" || len(shape.Players) != 4 || shape.Attack["packets"] == nil || len(shape.Scenarios) != 2 ||
		shape.Scenarios[1]["scenario"] != "mix" {
		t.Errorf("shape: %s", doc.String())
	}
}
