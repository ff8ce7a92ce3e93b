// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/api"
	"parry/pkg/handshake"
)

func TestWhoIsShakenHandsWith(t *testing.T) {
	c := parse(t, `
services:
  - {name: craft, listen: "203.0.113.10:25565", protocol: tcp, pool: p}
  - {name: list, listen: ["203.0.113.11:25565", "203.0.113.11:25570", "203.0.113.12:25565"], protocol: [udp, tcp], pool: p, syn_proxy: always}
  - {name: off, listen: "203.0.113.12:25575", protocol: tcp, pool: q, syn_proxy: "off"}
  - {name: udp, listen: "203.0.113.13:27015", protocol: udp, pool: q}
  - {name: mine, listen: "203.0.113.14:80", protocol: tcp, forward: local}
  - {name: six, listen: "[2001:db8::10]:25565", protocol: tcp, pool: r, forward: transparent}
  - {name: many, listen: ["203.0.113.15:1", "203.0.113.15:2", "203.0.113.15:3", "203.0.113.15:4", "203.0.113.15:5"], protocol: tcp, pool: s}
pools:
  - {name: p, servers: [{name: a, address: "10.0.1.11:25565"}, {name: b, address: "10.0.1.12:5000"}]}
  - {name: q, servers: [{name: c, address: "10.0.1.13:27015"}]}
  - {name: r, servers: [{name: d, address: "[fd00::21]:25565"}]}
  - {name: s, servers: [{name: e, address: "10.0.1.14:1"}]}
`)
	var got []string
	for _, v := range shakenWith(c) {
		got = append(got, fmt.Sprint(v))
	}
	want := []string{
		"{p a 10.0.1.11 [25565 25570]}", "{p b 10.0.1.12 [5000 5005]}", "{r d fd00::21 [25565]}", "{s e 10.0.1.14 [1 2 3 4]}",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

func TestTCPInTheWordsOfTheAPI(t *testing.T) {
	got := apiTCP(&handshake.Options{MSS: 1460, WindowScale: handshake.NoWindowScale, SACK: true})
	want := &api.ServerTCP{Known: true, MSS: new(uint16(1460)), SACK: new(true), Timestamps: new(false)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
