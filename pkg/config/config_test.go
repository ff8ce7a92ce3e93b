// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Each testdata/NAME.yaml is refused with exactly the lines of NAME.golden.
func TestRefusedFilesGetExactlyTheseErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse(name+".yaml", data)
			var all Errors
			if c != nil || !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("Parse = %v, %v: want Errors", c, err)
			}
			compare(t, filepath.Join("testdata", name+".golden"), []byte(err.Error()+"\n"))
		})
	}
}

const minimal = `
services: [{name: arena, listen: 203.0.113.10:27960, game: quake3, pool: p}]
pools: [{name: p, servers: [{name: s, address: 10.0.0.1:27960}]}]
`

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Parse:\n%v", err)
	}
	return c
}

func pointer[T any](v T) *T { return &v }

// The defaults are promises to others (spec, API users): this is the one place that lists them.
func TestMinimalFileIsCompletedWithTheDefaults(t *testing.T) {
	limits := Limits{
		Source: SourceLimits{
			PacketsPerSecond: 1000, Burst: 2000, NewSessions: 10, Window: 60 * time.Second, Sessions: 64,
			IPv4Prefix: 32, IPv6Prefix: 64, Shared: SharedLimits{Sessions: 8, Factor: 4},
		},
		Prefix:    PrefixLimits{IPv4: 24, IPv6: 48, Window: time.Minute, Enforce: pointer(true)},
		Service:   ServiceLimits{Window: time.Second, Enforce: pointer(true)},
		MaxPacket: 65535, Enforce: pointer(true),
	}
	timeouts := Timeouts{UDP: time.Minute, TCP: 15 * time.Minute, Closing: 5 * time.Second, Opening: 10 * time.Second, Weak: 20 * time.Second, Silent: 5 * time.Second}
	strangers := Strangers{SourcePacketsPerSecond: 100, UnansweredPackets: 20, WeakPerPrefix: 64}
	queries := Queries{Answer: "auto", SourcePerSecond: 20, UnprovenKbps: 64, TotalKbps: 8000}
	attack := Attack{
		Elevated: AttackLevel{StrangersPerSecond: 200, RefusedPerSecond: 1000, TimesUsual: 4},
		Attack:   AttackLevel{StrangersPerSecond: 1000, RefusedPerSecond: 5000, TimesUsual: 10}, Hold: 30 * time.Second,
	}
	detect := Detect{
		Mode: "block", Block: BlockTerms{First: 10 * time.Minute, Times: 4, Longest: 24 * time.Hour, Forgive: 6 * time.Hour, Unproven: time.Minute},
		Risk: Risk{Window: time.Minute, Connections: 10, OneGame: 5, Robotic: 3, ConnectionsWeight: 0.4, OneGameWeight: 0.3, RoboticWeight: 0.3, Above: 0.8},
	}
	health := Health{
		FPS: HealthBounds{250 * time.Millisecond, 5 * time.Millisecond, 0.1}, MOBA: HealthBounds{500 * time.Millisecond, 10 * time.Millisecond, 0.2},
		RTS: HealthBounds{time.Second, 15 * time.Millisecond, 0.3}, MMORPG: HealthBounds{2 * time.Second, 20 * time.Millisecond, 0.5},
	}
	want := &Config{
		Enforce: true, Pin: "/sys/fs/bpf/parry", State: "/var/lib/parry", Peers: Peers{Replicas: 3}, Samples: "always",
		API:     API{Socket: "/run/parry/parry.sock", Group: "parry"},
		Metrics: "127.0.0.1:9590",
		NAT:     NAT{Ports: PortRange{1024, 32767}},
		Sizes: Sizes{
			Sessions: 262144, Unproven: 32768, Blocks: 1048576, Allows: 16384, Prefixes: 131072, Sources: 131072, Fragments: 8192,
			Greylist: 4194304, Regulars: 65536, Samples: 1 << 20, Watched: 16384,
		},
		Timeouts: timeouts,
		Host:     Host{PacketsPerSecond: 200000, SourcePacketsPerSecond: 50000, Always: []ProtoPort{{"tcp", 22}}},
		Limits:   limits, Strangers: strangers, Queries: queries, Attack: attack, Detect: detect, WatchPacketsPerSecond: 500000, Health: health, Geo: GeoFiles{Refresh: 24 * time.Hour},
		History: History{Keep: 720 * time.Hour, MaxBytes: 256 << 20},
		Services: []Service{{
			Name: "arena", Listen: []Listen{{netip.MustParseAddr("203.0.113.10"), 27960, 27960}}, Protocol: []string{"udp"},
			Game: "quake3", Class: "fps", Gate: "quake3", Forward: "nat", Pool: "p", Access: "open", Fragments: "drop", SynProxy: Off, ProxyProtocol: Off, Detect: true,
			Enforce: pointer(true), EnforceGate: pointer(true), Limits: limits, Timeouts: timeouts, Strangers: strangers, Queries: queries, Attack: attack, Health: health,
		}},
		Pools: []Pool{{Name: "p", Servers: []Server{
			{Name: "s", Address: netip.MustParseAddr("10.0.0.1"), First: 27960, Last: 27960, Weight: 1},
		}}},
	}
	got := parse(t, minimal)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestServiceLimitsAreLaidOverTheFiles(t *testing.T) {
	const head = "limits: {max_packet: 1500, source: {packets_per_second: 500, new_sessions: 3, bytes_per_second: 40000}}\ntimeouts: {udp: 30s}\n"
	service := func(rest string) string {
		return head + "services: [{name: a, listen: 203.0.113.10:1, game: quake3, forward: local, " + rest + "}]\n"
	}
	file := SourceLimits{
		PacketsPerSecond: 500, Burst: 1000, BytesPerSecond: 40000, BytesBurst: 80000, NewSessions: 3,
		Window: time.Minute, Sessions: 64, IPv4Prefix: 32, IPv6Prefix: 64, Shared: SharedLimits{Sessions: 8, Factor: 4},
	}
	for _, tc := range []struct {
		name, rest string
		want       func(*SourceLimits)
	}{
		{"nothing of its own", "access: open", func(*SourceLimits) {}},
		{"another key", "limits: {source: {sessions: 5}}", func(l *SourceLimits) { l.Sessions = 5 }},
		{"its rate brings its burst", "limits: {source: {packets_per_second: 300000}}", func(l *SourceLimits) { l.PacketsPerSecond, l.Burst = 300000, 600000 }},
		{"a limit taken away", "limits: {source: {new_sessions: 0, bytes_per_second: 0}}", func(l *SourceLimits) { l.NewSessions, l.BytesPerSecond, l.BytesBurst = 0, 0, 0 }},
		{"a small byte rate passes whole packets", "limits: {source: {bytes_per_second: 1000}}", func(l *SourceLimits) { l.BytesPerSecond, l.BytesBurst = 1000, 65535 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := file
			tc.want(&want)
			s := parse(t, service(tc.rest)).Services[0]
			if diff := cmp.Diff(want, s.Limits.Source); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if s.Limits.MaxPacket != 1500 || s.Timeouts.UDP != 30*time.Second || s.Timeouts.TCP != 15*time.Minute {
				t.Errorf("not inherited: %+v", s)
			}
		})
	}
}

// Keys may come in any order: services above the limits that they inherit.
func TestOrderOfKeysDoesNotMatter(t *testing.T) {
	const services = "services: [{name: a, listen: 203.0.113.10:1, game: quake3, forward: local}]\n"
	const limits = "limits: {source: {packets_per_second: 7}}\n"
	if got := parse(t, services+limits).Services[0].Limits.Source.PacketsPerSecond; got != 7 {
		t.Errorf("packets_per_second = %d, want 7", got)
	}
}

func TestEnforceIsInherited(t *testing.T) {
	for _, tc := range []struct {
		file, limits, service, own string
		wantService, wantLimits    bool
	}{
		{"", "", "", "", true, true},
		{"false", "", "", "", false, false},
		{"false", "", "true", "", true, true},
		{"true", "", "false", "", false, false},
		{"true", "false", "", "", true, false},
		{"true", "false", "", "true", true, true},
		{"true", "", "", "false", true, false},
		{"true", "true", "false", "true", false, false},
		{"false", "true", "", "true", false, false},
	} {
		key := func(v string) string {
			if v == "" {
				return ""
			}
			return "enforce: " + v
		}
		text := fmt.Sprintf("%s\nlimits: {%s}\nservices: [{name: a, listen: 203.0.113.10:1, game: quake3, forward: local, limits: {%s}%s}]\n",
			key(tc.file), key(tc.limits), key(tc.own), strings.TrimSuffix(", "+key(tc.service), ", "))
		s := parse(t, text).Services[0]
		if *s.Enforce != tc.wantService || *s.Limits.Enforce != tc.wantLimits {
			t.Errorf("file %q limits %q service %q own %q: service %v, limits %v; want %v, %v",
				tc.file, tc.limits, tc.service, tc.own, *s.Enforce, *s.Limits.Enforce, tc.wantService, tc.wantLimits)
		}
	}
}

func TestProtocolAndClassComeFromTheGame(t *testing.T) {
	for _, tc := range []struct{ rest, protocol, class string }{
		{"game: minecraft", "tcp", "mmorpg"},
		{"game: mumble", "udp tcp", "mmorpg"},
		{"game: cs2", "udp", "fps"},
		{"game: cs2, class: rts, protocol: [tcp, udp]", "tcp udp", "rts"},
		{"protocol: tcp", "tcp", "mmorpg"},
		{"game: auto, protocol: udp", "udp", "mmorpg"},
	} {
		s := parse(t, "services: [{name: a, listen: 203.0.113.10:1, forward: local, "+tc.rest+"}]").Services[0]
		if got := strings.Join(s.Protocol, " "); got != tc.protocol || s.Class != tc.class {
			t.Errorf("%s: protocol %q, class %q; want %q, %q", tc.rest, got, s.Class, tc.protocol, tc.class)
		}
	}
}

func TestGateComesFromTheGame(t *testing.T) {
	for _, row := range []struct {
		service, gate string
		params        []uint64
	}{
		{"game: quake3", "quake3", nil},
		{"game: cs2", "source", []uint64{1}},
		{"game: cs2, gate_params: [0, 7]", "source", []uint64{0, 7}},
		{"game: cs2, gate: auto", "source", []uint64{1}},
		{"game: cs2, gate: off", "", nil},
		{"game: cs2, gate: mygame", "mygame", nil},
		{"game: rust", "", nil},
		{"game: ddnet, gate: mygame, gate_params: [18446744073709551615]", "mygame", []uint64{1<<64 - 1}},
		{"protocol: udp", "", nil},
	} {
		c := parse(t, "services: [{name: a, listen: \"203.0.113.10:1\", forward: local, "+row.service+"}]")
		if s := c.Services[0]; s.Gate != row.gate || !slices.Equal(s.GateParams, row.params) {
			t.Errorf("%s: gate %q with %v, want %q with %v", row.service, s.Gate, s.GateParams, row.gate, row.params)
		}
	}
}

func TestPortsKeepTheirDistances(t *testing.T) {
	for _, tc := range []struct {
		listen, server string
		edge, want     uint16
	}{
		{"203.0.113.10:27960", "10.0.0.1:30000", 27960, 30000},
		{"203.0.113.10:27960-27969", "10.0.0.1:30000-30009", 27963, 30003},
		{"[203.0.113.10:27015, 203.0.113.10:27020]", "10.0.0.1:27015", 27020, 27020},
		{"[203.0.113.10:27020, 203.0.113.10:27015]", "10.0.0.1:30015", 27020, 30020},
		{"[203.0.113.10:27015, 203.0.113.10:27020]", "10.0.0.1:30015-30020", 27020, 30020},
		{"[203.0.113.10:5000, 203.0.113.11:5000]", "10.0.0.1:6000", 5000, 6000},
		{"203.0.113.10:1-65535", "10.0.0.1:1-65535", 65535, 65535},
	} {
		c := parse(t, fmt.Sprintf("services: [{name: a, listen: %s, game: quake3, pool: p}]\npools: [{name: p, servers: [{name: s, address: %s}]}]",
			tc.listen, tc.server))
		if got := c.Services[0].ServerPort(c.Pools[0].Servers[0], tc.edge); got != tc.want {
			t.Errorf("%s to %s: port %d goes to %d, want %d", tc.listen, tc.server, tc.edge, got, tc.want)
		}
	}
}

func TestWhatIsFine(t *testing.T) {
	for name, text := range map[string]string{
		"byte order mark":              "\ufeff" + minimal,
		"windows line ends":            strings.ReplaceAll(minimal, "\n", "\r\n"),
		"document marker":              "---" + minimal + "...\n",
		"metrics off":                  `metrics: ""` + minimal,
		"no always":                    `host: {always: []}` + minimal,
		"group root":                   `api: {group: ""}` + minimal,
		"service port in NAT range":    strings.ReplaceAll(minimal, "203.0.113.10:27960", "203.0.113.10:2000"),
		"weight 0":                     strings.ReplaceAll(minimal, "10.0.0.1:27960", "10.0.0.1:27960, weight: 0"),
		"region without regions":       strings.ReplaceAll(minimal, "10.0.0.1:27960", "10.0.0.1:27960, region: eu"),
		"same address, other protocol": `services: [{name: a, listen: 203.0.113.10:1, protocol: udp, forward: local}, {name: b, listen: 203.0.113.10:1, protocol: tcp, forward: local}]`,
		"same port, other address":     `services: [{name: a, listen: 203.0.113.10:1, protocol: udp, forward: local}, {name: b, listen: 203.0.113.11:1, protocol: udp, forward: local}]`,
		"neighbouring ranges":          `services: [{name: a, listen: 203.0.113.10:1-9, protocol: udp, forward: local}, {name: b, listen: 203.0.113.10:10-19, protocol: udp, forward: local}]`,
		"country NO":                   minimal + "regions: [{name: no, countries: [NO, ON, NA]}]",
	} {
		t.Run(name, func(t *testing.T) { parse(t, text) })
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.yaml")
	if err := os.WriteFile(good, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(good)
	if err != nil || c.Node == "" || c.Service("arena") == nil || c.Pool("p") == nil || c.Region("x") != nil {
		t.Fatalf("Load = %+v, %v", c, err)
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, make([]byte, MaxFileSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): ": can't be read: no such file or directory",
		dir:                             ": can't be read: is a directory",
		large:                           ": too large: 4194305 bytes, the limit is 4194304",
	} {
		_, err := Load(path)
		var all Errors
		if !errors.As(err, &all) || err.Error() != path+want {
			t.Errorf("Load(%s) = %v, want %s%s", path, err, path, want)
		}
	}
}

func TestAtFindsThePlaceInTheFile(t *testing.T) {
	c := parse(t, minimal)
	for _, tc := range []struct{ path, want string }{
		{"services[0].listen[0]", `test.yaml:2:34: no (did you mean "yes"?)`},
		{"services[0].limits.source.burst", `test.yaml:2:12: no (did you mean "yes"?)`}, // not written: the service
		{"interfaces", `test.yaml:1:1: no (did you mean "yes"?)`},
	} {
		if got := c.At(tc.path, "yes", "no").Error(); got != tc.want {
			t.Errorf("At(%s) = %s, want %s", tc.path, got, tc.want)
		}
	}
	if got := (&Config{}).At("x", "", "no").Error(); got != "no" {
		t.Errorf("without a file: %q", got)
	}
}

func TestBoundsOfTheWholeFile(t *testing.T) {
	var many strings.Builder
	many.WriteString("pools:\n")
	for i := range 3 {
		fmt.Fprintf(&many, "  - name: p%d\n    servers:\n", i)
		for j := range 1400 {
			fmt.Fprintf(&many, "      - {name: s%d, address: 10.%d.%d.%d:1}\n", j, i, j/256, j%256)
		}
	}
	many.WriteString("services:\n")
	for i := range 1024 {
		fmt.Fprintf(&many, "  - {name: s%d, listen: 203.0.113.10:%d, game: quake3, forward: local}\n", i, i+1)
	}
	_, err := Parse("x", []byte(many.String()))
	want := "x:1:1: 4200 servers in all pools: the limit is 4095\nx:4208:1: 1024 entries: the limit is 1023"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = Parse("x", []byte("services: [{name: a, listen: 203.0.113.10:1-65535, protocol: [udp, tcp], forward: local}]"))
	want = "x:1:11: 131070 listened ports (address, port, protocol) in all services: the limit is 65536"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestPortsTimesServersAreBounded(t *testing.T) {
	file := func(servers int) []byte {
		var b strings.Builder
		b.WriteString("services:\n")
		for i, protocol := range []string{"udp", "tcp"} { // 65536 ports are listened to
			fmt.Fprintf(&b, "  - {name: s%d, listen: 203.0.113.10:32768-65535, protocol: %s, pool: p}\n", i, protocol)
		}
		b.WriteString("pools:\n  - name: p\n    servers:\n")
		for i := range servers {
			fmt.Fprintf(&b, "      - {name: s%d, address: 10.0.0.%d:32768-65535}\n", i, i+1)
		}
		return []byte(b.String())
	}
	if _, err := Parse("x", file(4)); err != nil {
		t.Error("as many as may be:", err)
	}
	want := "x:3:71: 327680 server ports (each listened port on each server, by protocol) up to this service: the limit is 262144; " +
		"listen on fewer ports, or split the servers over several edges"
	if _, err := Parse("x", file(5)); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestErrorReportIsBounded(t *testing.T) {
	text := "regions:\n" + strings.Repeat("  - {nam: x, a: 1, b: 1}\n", 1000)
	_, err := Parse("x", []byte(text))
	var all Errors
	if !errors.As(err, &all) || len(all) != maxErrors+1 {
		t.Fatalf("%d errors, want %d", len(all), maxErrors+1)
	}
	if got, want := all[maxErrors].Error(), "x: and 3001 more faults"; got != want {
		t.Errorf("last line %q, want %q", got, want)
	}
}
