// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func eth(name string, isDefault bool, prefixes ...string) HostInterface {
	i := HostInterface{Name: name, Default: isDefault}
	for _, p := range prefixes {
		i.Addresses = append(i.Addresses, netip.MustParsePrefix(p))
	}
	return i
}

func edge() HostFacts {
	return HostFacts{
		LocalPortRange: PortRange{32768, 60999},
		Interfaces: []HostInterface{
			eth("lo", false, "127.0.0.1/8", "::1/128"),
			eth("eth0", true, "203.0.113.10/24", "2001:db8::10/64"),
			eth("eth1", false, "10.0.1.1/24"),
		},
	}
}

type hostCase struct {
	name, text string
	host       func(*HostFacts)
	want       []string
}

func hostCases() []hostCase {
	const service = "services: [{name: a, listen: 203.0.113.10:27960, game: quake3, pool: p}]\npools: [{name: p, servers: [{name: s, address: 10.0.1.11:1}]}]\n"
	const local = "services: [{name: a, listen: [203.0.113.10:1, 203.0.113.99:1], game: quake3, forward: local}]\n"
	return []hostCase{
		{name: "fits", text: "interfaces: [{name: eth0}, {name: eth1}]\n" + service},
		{name: "interfaces chosen", text: service},
		{
			name: "no such interface", text: "interfaces: [{name: eht0}, {name: wlan7}]\n" + service,
			want: []string{
				`h.yaml:1:21: no interface "eht0" on this host (did you mean "eth0"?)`,
				`h.yaml:1:35: no interface "wlan7" on this host, there are: lo, eth0, eth1`,
			},
		},
		{
			name: "none to choose", text: service,
			host: func(h *HostFacts) { h.Interfaces = h.Interfaces[:1] },
			want: []string{"h.yaml:1:1: no interfaces given, and none on this host carries the services' addresses: name them as interfaces: [{name: eth0}]"},
		},
		{
			name: "local needs the address", text: local,
			want: []string{`h.yaml:1:47: service "a" is local, and 203.0.113.99 is no address of this host: nothing here would answer`},
		},
		{
			name: "NAT over the host's ports", text: "nat: {ports: 30000-40000}\n" + service,
			want: []string{`h.yaml:1:14: NAT ports 30000-40000 overlap 32768-40000, which the host uses for its own connections: reserve them with sysctl -w net.ipv4.ip_local_reserved_ports=32768-40000, or choose another range (did you mean "1024-32767"?)`},
		},
		{
			name: "what is reserved stays reserved", text: "nat: {ports: 30000-40000}\n" + service,
			host: func(h *HostFacts) { h.ReservedPorts = []PortRange{{8080, 8080}, {33000, 35000}, {50000, 50010}} },
			want: []string{`h.yaml:1:14: NAT ports 30000-40000 overlap 32768-32999,35001-40000, which the host uses for its own connections: reserve them with sysctl -w net.ipv4.ip_local_reserved_ports=8080,32768-40000,50000-50010, or choose another range (did you mean "1024-32767"?)`},
		},
		{
			name: "reserved", text: "nat: {ports: 30000-40000}\n" + service,
			host: func(h *HostFacts) { h.ReservedPorts = []PortRange{{32000, 34999}, {35000, 45000}} },
		},
		{
			name: "the host uses all", text: service,
			host: func(h *HostFacts) { h.LocalPortRange = PortRange{1024, 65535} },
			want: []string{`h.yaml:1:1: NAT ports 1024-32767 overlap 1024-32767, which the host uses for its own connections: reserve them with sysctl -w net.ipv4.ip_local_reserved_ports=1024-32767, or choose another range`},
		},
		{
			name: "the host uses the lower ones", text: service,
			host: func(h *HostFacts) { h.LocalPortRange = PortRange{1024, 40000} },
			want: []string{`h.yaml:1:1: NAT ports 1024-32767 overlap 1024-32767, which the host uses for its own connections: reserve them with sysctl -w net.ipv4.ip_local_reserved_ports=1024-32767, or choose another range (did you mean "40001-65535"?)`},
		},
		{name: "an address that isn't the host's", text: "nat: {addresses: [192.0.2.1], ports: 30000-40000}\n" + service},
		{
			name: "an address that is", text: "nat: {addresses: [192.0.2.1, 10.0.1.1], ports: 40000-40100}\n" + service,
			want: []string{`h.yaml:1:48: NAT ports 40000-40100 overlap 40000-40100, which the host uses for its own connections: reserve them with sysctl -w net.ipv4.ip_local_reserved_ports=40000-40100, or choose another range (did you mean "1024-32767"?)`},
		},
		{name: "no NAT", text: "nat: {ports: 30000-40000}\n" + strings.Replace(service, "pool: p", "pool: p, forward: transparent", 1)},
		{
			name: "nothing known of the ports", text: "nat: {ports: 30000-40000}\n" + service,
			host: func(h *HostFacts) { h.LocalPortRange = PortRange{} },
		},
	}
}

func TestCheckHost(t *testing.T) {
	for _, tc := range hostCases() {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Parse("h.yaml", []byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			host := edge()
			if tc.host != nil {
				tc.host(&host)
			}
			var got []string
			for _, e := range CheckHost(c, host) {
				got = append(got, e.Error())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestChooseInterfaces(t *testing.T) {
	for _, tc := range []struct {
		name, head, listen string
		want               []Interface
	}{
		{"the address's own", "", "203.0.113.10:1", []Interface{{"eth0", "native"}}},
		{"IPv6", "", `"[2001:db8::10]:1"`, []Interface{{"eth0", "native"}}},
		{"the network's", "", "10.0.1.77:1", []Interface{{"eth1", "native"}}},
		{"the default route's", "", "198.51.100.1:1", []Interface{{"eth0", "native"}}},
		{"two", "", "[10.0.1.1:1, 203.0.113.10:1, 10.0.1.1:2]", []Interface{{"eth1", "native"}, {"eth0", "native"}}},
		{"given ones stay", "interfaces: [{name: bond0, mode: generic}]\n", "203.0.113.10:1", []Interface{{"bond0", "generic"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := parse(t, tc.head+"services: [{name: a, listen: "+tc.listen+", game: quake3, forward: local}]")
			if diff := cmp.Diff(tc.want, ChooseInterfaces(c, edge())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParsePortRanges(t *testing.T) {
	got, err := ParsePortRanges("8080,9000-9010\n")
	if diff := cmp.Diff([]PortRange{{8080, 8080}, {9000, 9010}}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := ParsePortRanges("\n"); len(got) != 0 || err != nil {
		t.Errorf("no ports: %v, %v", got, err)
	}
	if _, err := ParsePortRanges("x"); err == nil {
		t.Error("x is taken for ports")
	}
	pair, err := ParsePortPair("32768\t60999\n")
	if err != nil || pair != (PortRange{32768, 60999}) {
		t.Errorf("%v, %v", pair, err)
	}
	for _, bad := range []string{"", "1", "a b", "1 b", "1 2 3"} {
		if _, err := ParsePortPair(bad); err == nil {
			t.Errorf("%q is taken for a range", bad)
		}
	}
}
