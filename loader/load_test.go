// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"parry/test/need"
)

func smallSizes() Sizes {
	return Sizes{Sessions: 1024, Blocks: 1024, Allows: 1024, Prefixes: 1024, Sources: 1024, Fragments: 64, Services: 16, NAT4: 2, NAT6: 1}
}

func fillTable(i uint32) []uint32 {
	t := make([]uint32, MaglevSize)
	for j := range t {
		t[j] = i
	}
	return t
}

// featurePlan is a plan with each feature on or off.
func featurePlan(ipv4, ipv6, nat, transparent, local, limits, sizes, frags, wide, proxied bool) *Plan {
	p := &Plan{Enforce: true, NATPorts: [2]uint16{2000, 2100}, Frags: frags, Host: HostBudget{
		PacketsPerSecond: 1000, SourcePacketsPerSecond: 100, Always: []ProtoPort{{ProtoTCP, 22}}}}
	pool := Pool{Name: "p", Table4: fillTable(0), Table6: fillTable(1), Servers: []Server{
		{Name: "a", Addr: netip.MustParseAddr("198.51.100.11"), Port: 27960, NAT: []netip.Addr{netip.MustParseAddr("203.0.113.10")}},
		{Name: "b", Addr: netip.MustParseAddr("2001:db8:5::11"), Port: 27960, NAT: []netip.Addr{netip.MustParseAddr("2001:db8::10")}},
	}}
	add := func(name string, f Forward, port uint16) {
		s := Service{Name: name, Forward: f, Pool: "p", Enforce: true, EnforceLimits: true, MaxPacket: 65535,
			Timeouts: Timeouts{UDP: time.Minute, TCP: time.Hour, Closing: 5 * time.Second, Opening: 10 * time.Second},
			Limits:   Limits{Prefix4: 32, Prefix6: 64}}
		if ipv4 {
			s.Fronts = append(s.Fronts, Front{Addr: netip.MustParseAddr("203.0.113.10"), Proto: ProtoUDP, First: port, Last: port})
		}
		if ipv6 {
			s.Fronts = append(s.Fronts, Front{Addr: netip.MustParseAddr("2001:db8::10"), Proto: ProtoTCP, First: port, Last: port})
		}
		if f == Local {
			s.Pool = ""
		}
		if limits {
			s.Limits = Limits{1000, 2000, 1e6, 1e6, 10, time.Minute, 64, 32, 64, Shared{}}
		}
		if wide {
			s.Prefix = WideLimits{1000, 2000, 1e6, 1e6, 10, time.Minute, true, 24, 48}
			s.Unproven, s.Limits.Shared, s.Geo = s.Prefix, Shared{8, 4}, 1
			p.Geo = &GeoTable{Default: 1, Entries: []GeoEntry{{netip.MustParsePrefix("192.0.2.0/24"), 1}, {netip.MustParsePrefix("2001:db8::/32"), 1}}}
		}
		if sizes {
			s.MaxPacket = 1200
		}
		if proxied && f != Local {
			s.SynProxy, s.ProxyHeader = SynProxyAuto, true
		}
		p.Services = append(p.Services, s)
	}
	if nat {
		add("nat", NAT, 1001)
		p.Pools = []Pool{pool}
	}
	if transparent {
		add("transparent", Transparent, 1002)
		p.Pools = []Pool{pool}
	}
	if local {
		add("local", Local, 1003)
	}
	return p
}

// Every program loads with all features on, all off, and each one alone off and on: run on the oldest kernel by
// make kernels-load.
func TestLoadMatrix(t *testing.T) {
	need.Root(t)
	names := []string{"ipv4", "ipv6", "nat", "transparent", "local", "limits", "sizes", "frags", "wide", "proxied"}
	type row struct {
		name    string
		on      [10]bool
		samples SampleLevel
	}
	all := [10]bool{true, true, true, true, true, true, true, true, true, true}
	rows := []row{{"all", all, SamplesAll}, {"none", [10]bool{}, SamplesNone}, {"always", all, SamplesAlways}, {"drops", all, SamplesDrops}}
	if os.Getenv("PARRY_LOAD") == "full" || !testing.Short() {
		for i, n := range names {
			off := all
			off[i] = false
			rows = append(rows, row{"without " + n, off, SamplesAlways})
		}
	}
	e, err := Open(Options{Sizes: smallSizes(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer e.Close()
	t.Logf("a jiffy is %v", time.Duration(e.clock.jiffyNs))
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			began := time.Now()
			p := featurePlan(r.on[0], r.on[1], r.on[2], r.on[3], r.on[4], r.on[5], r.on[6], r.on[7], r.on[8], r.on[9])
			p.Samples, p.Rules = r.samples, sampleRules(t)
			p.Told = r.name != "always" // which is what `samples: drops` makes
			p.Doubts = p.Told
			p.Watch = r.name != "drops" && r.name != "none"
			for i := range p.Services { // shadow mode and a trial, with and without samples
				p.Services[i].Trial = flag(r.samples != SamplesAlways)
				p.Services[i].WatchGate = r.name == "all"
			}
			g, err := e.Prepare(p)
			var v *ebpf.VerifierError
			if errors.As(err, &v) {
				t.Fatalf("%v\n%+v", err, v)
			}
			if err != nil {
				t.Fatal(err)
			}
			for name, p := range g.coll.Programs {
				info, err := p.Info()
				if err != nil {
					t.Fatal(err)
				}
				insns, _ := info.VerifiedInstructions()
				size, _ := info.JitedSize()
				t.Logf("%-12s verified %6d instructions, %6d bytes of machine code", name, insns, size)
			}
			t.Logf("loaded in %v", time.Since(began))
			if err := e.Use(g); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A daemon that is replaced by a newer one left a shorter struct service.
func TestReadServicesOfAnOlderParry(t *testing.T) {
	need.Root(t)
	want := bpfService{Forward: uint8(Local), Ever: everLocal}
	copy(want.Name[:], "arena")
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(unsafe.Sizeof(want)) - 8, MaxEntries: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Put(uint32(1), bytesOf(&want)[:m.ValueSize()]); err != nil {
		t.Fatal(err)
	}
	got, err := readServices(m)
	if err != nil || len(got) != 2 || got[1] != want {
		t.Errorf("readServices = %+v, %v; want the second to be %+v", got, err, want)
	}
}
