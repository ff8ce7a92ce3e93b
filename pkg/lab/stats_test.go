// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, tt := range []struct {
		values []time.Duration
		q      float64
		want   time.Duration
	}{
		{nil, 0.5, 0},
		{[]time.Duration{7}, 0.5, 7},
		{[]time.Duration{7}, 0.99, 7},
		{[]time.Duration{1, 2}, 0.5, 1},
		{[]time.Duration{1, 2, 3}, 0.5, 2},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 1, 100},
		{hundred[:10], 0.99, 10},
	} {
		if got := quantile(tt.values, tt.q); got != tt.want {
			t.Errorf("quantile(%d values, %v) = %d, want %d", len(tt.values), tt.q, got, tt.want)
		}
	}
	if got := spreadOf([]time.Duration{3, 1, 2}); got != (spread{2, 3}) {
		t.Errorf("spread of unsorted values: %v", got)
	}
}

func TestLostIsWhatWentInAndDidNotComeOut(t *testing.T) {
	var s Score
	up, down := make([]uint64, 1024), make([]uint64, 1024)
	play := func(phase int, g Group, game gameID, sent, arrived, answered, back uint64) {
		c := cell(phase, g, game)
		s.cells[c].sent.Store(sent)
		s.cells[c].atServer.Store(arrived)
		s.cells[c].fromServer.Store(answered)
		s.cells[c].received.Store(back)
		up[c], down[c] = arrived, back
	}
	play(0, Established, quakeGame, 100, 100, 100, 100)
	play(1, Established, quakeGame, 100, 97, 97, 95) // 3 lost on the way up, 2 on the way down
	play(1, New, arenaGame, 10, 9, 9, 9)
	play(1, Joining, arenaGame, 50, 0, 0, 0) // refused strangers are no loss
	play(2, Established, quakeGame, 10, 10, 9, 9)
	up[cell(2, Established, quakeGame)] = 10 // out of the edge, lost in the server's socket: not the edge's
	for _, tt := range []struct {
		g      Group
		phases []int
		want   uint64
	}{
		{Established, []int{0}, 0}, {Established, []int{1}, 5}, {Established, []int{0, 1, 2}, 5},
		{New, []int{0, 1, 2}, 1}, {Established, nil, 0},
	} {
		got := uint64(0)
		for game := range games {
			got += s.lost(up, down, tt.g, game, tt.phases)
		}
		if got != tt.want {
			t.Errorf("group %d in phases %v lost %d, want %d", tt.g, tt.phases, got, tt.want)
		}
	}
	if n := s.lost(up, down, Established, arenaGame, []int{0, 1, 2}); n != 0 {
		t.Errorf("a game that nobody plays lost %d", n)
	}
	want := Tally{Sent: 210, AtServer: 207, FromServer: 206, Received: 204}
	if diff := cmp.Diff(want, s.Tally(Established)); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
}

func TestPacketRoundTrip(t *testing.T) {
	want := packet{cell: 513, kind: kindMove, player: 42, seq: 1 << 30, sent: 1 << 60}
	var b [packetSize]byte
	want.encode(&b)
	got, ok := decode(b[:])
	if !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
	if _, ok := decode(b[:packetSize-1]); ok {
		t.Error("a short datagram was taken")
	}
	b[0]++
	if _, ok := decode(b[:]); ok {
		t.Error("a stranger's datagram was taken")
	}
}

func TestDistinctSources(t *testing.T) {
	if got := distinct(1000, 1<<44); math.Abs(got-1000) > 0.01 {
		t.Errorf("few of many: %v", got)
	}
	if got := distinct(1e6, 100); math.Abs(got-100) > 0.01 {
		t.Errorf("many of few: %v", got)
	}
	all := map[string]Scenario{}
	for _, s := range Scenarios() {
		all[s.Name] = s
	}
	for _, tt := range []struct {
		name     string
		wave     int
		n        uint64
		min, max uint64
	}{
		{"fixed-udp", 0, 1_000_000, fixedAttackers, fixedAttackers},
		{"random-udp", 0, 1_000_000, 990_000, 1_000_000},
		{"random-udp", 0, 0, 0, 0},
		{"random-udp", 1, 1_000_000, 1_000_000, 1_000_000},
		{"random-udp", 1, 30_000_000, cycled, cycled},
		{"slow-bots", 0, 0, slowBots, slowBots},
		{"mix", 0, 20, slowBots + 1, slowBots + 20},
	} {
		if got := all[tt.name].waves[tt.wave].sourceCount(tt.n); got < tt.min || got > tt.max {
			t.Errorf("%s: %d sources of %d packets, want %d to %d", tt.name, got, tt.n, tt.min, tt.max)
		}
	}
}

func TestScenarioTable(t *testing.T) {
	// The names that the specification fixes, and two more of TCP.
	want := strings.Fields(`play random-udp fixed-udp blind-two-way a2s raknet-ping getstatus fragments reflection slow-bots
		host-udp host-icmp syn ack synack rst carpet mix all`)
	if diff := cmp.Diff(want, ScenarioNames()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for _, s := range Scenarios() {
		for _, w := range s.waves {
			streams := w.all()
			if len(streams) > 128 || len(streams)+w.bots == 0 {
				t.Errorf("%s, %s: %d streams", s.Name, w.name, len(streams))
			}
			for i, st := range streams {
				if _, err := st.build(make([]byte, 6), make([]byte, 6)); err != nil {
					t.Errorf("%s, stream %d: %v", s.Name, i, err)
				}
			}
		}
		for _, short := range []bool{false, true} {
			var sum time.Duration
			phases := makePhases(s, DefaultDuration, short)
			for _, p := range phases {
				sum += p.lasts
			}
			if sum < DefaultDuration*98/100 || sum > DefaultDuration || len(phases) > maxPhases {
				t.Errorf("%s: %d phases last %v together, want %v", s.Name, len(phases), sum, DefaultDuration)
			}
		}
	}
}

func TestScenarioThatCannotRunSaysWhatCan(t *testing.T) {
	for name, want := range map[string]string{
		"randm-udp": `there is no scenario "randm-udp", did you mean random-udp? There are play, random-udp`,
		"zzz":       `there is no scenario "zzz": choose one of play, random-udp`,
	} {
		_, err := findScenario(name)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

func TestEveryDropReasonHasWords(t *testing.T) {
	text, err := os.ReadFile("../../bpf/abi.h")
	must(t, err)
	found := regexp.MustCompile(`(?m)^\tDROP_REASON_([A-Z0-9_]+) = \d+`).FindAllSubmatch(text, -1)
	if len(found) < 10 {
		t.Fatalf("only %d drop reasons in bpf/abi.h", len(found))
	}
	for _, m := range found {
		reason := strings.ToLower(string(m[1]))
		if reason == "none" || strings.HasSuffix(reason, "_retired") {
			continue
		}
		if words := reasonWords(reason); words == strings.ReplaceAll(reason, "_", " ") {
			t.Errorf("%s has no words", reason)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[uint64]string{999: "999", 123456: "123,456", 1_250_000: "1.2 million", 31_600_000: "32 million"} {
		if got := short(n); got != want {
			t.Errorf("short(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		210 * time.Microsecond: "0.21 ms", 12340 * time.Microsecond: "12.3 ms", 1500 * time.Millisecond: "1500 ms",
	} {
		if got := millis(d); got != want {
			t.Errorf("millis(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestParseSNMP(t *testing.T) {
	v4 := "Ip: Forwarding DefaultTTL\nIp: 2 64\nTcp: MaxConn InSegs\nTcp: -1 5\n" +
		"Udp: InDatagrams RcvbufErrors InCsumErrors\nUdp: 100 7 3\nUdpLite: InDatagrams InCsumErrors\nUdpLite: 1 9\n"
	got := parseSNMP(v4, "Ip6InReceives \t 4\nUdp6InCsumErrors 2\n")
	want := map[string]uint64{"IpForwarding": 2, "IpDefaultTTL": 64, "TcpInSegs": 5, "UdpInDatagrams": 100, "UdpRcvbufErrors": 7,
		"UdpInCsumErrors": 3, "UdpLiteInDatagrams": 1, "UdpLiteInCsumErrors": 9, "Ip6InReceives": 4, "Udp6InCsumErrors": 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
