// SPDX-License-Identifier: Apache-2.0

package geo_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/geo"
	"parry/pkg/geo/geotest"
)

// world writes two files: DE and FR beside each other, a network in both, and one of IPv6.
func world(t *testing.T) (country, asn string) {
	t.Helper()
	dir := t.TempDir()
	country, asn = filepath.Join(dir, "country.mmdb"), filepath.Join(dir, "asn.mmdb")
	if err := geotest.Countries(country, map[string]string{
		"192.0.2.0/25": "DE", "192.0.2.128/25": "FR", "198.51.100.0/24": "DE", "2001:db8::/32": "DE", "203.0.113.0/24": "NL",
	}); err != nil {
		t.Fatal(err)
	}
	if err := geotest.Networks(asn, map[string]uint32{"192.0.2.64/26": 3320, "192.0.2.128/26": 3320, "203.0.113.0/25": 64500}); err != nil {
		t.Fatal(err)
	}
	return country, asn
}

func open(t *testing.T, country, asn string) *geo.DB {
	t.Helper()
	db, err := geo.Open(country, asn)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestLookup(t *testing.T) {
	db := open(t, first(world(t)), second(world(t)))
	for addr, want := range map[string]geo.Place{
		"192.0.2.1":        {Country: "DE", Name: "Land DE"},
		"192.0.2.100":      {Country: "DE", Name: "Land DE", ASN: 3320, Org: "Net 3320"},
		"::ffff:192.0.2.1": {Country: "DE", Name: "Land DE"},
		"2001:db8::1":      {Country: "DE", Name: "Land DE"},
		"10.0.0.1":         {},
		"2001:db9::1":      {},
	} {
		got, ok := db.Lookup(netip.MustParseAddr(addr))
		if got != want || ok != (want != geo.Place{}) {
			t.Errorf("%s: %+v, %t", addr, got, ok)
		}
	}
	if p, ok := (*geo.DB)(nil).Lookup(netip.MustParseAddr("192.0.2.1")); ok {
		t.Errorf("nobody knows of %+v", p)
	}
}

func first(a, _ string) string  { return a }
func second(_, b string) string { return b }

func TestCompile(t *testing.T) {
	country, asn := world(t)
	db := open(t, country, asn)
	for _, row := range []struct {
		name    string
		rules   []geo.Rule
		entries []string
		refused uint64
	}{
		{"a country, neighbours as one", []geo.Rule{{Deny: []string{"DE", "FR"}}}, []string{"192.0.2.0/24 1", "198.51.100.0/24 1", "2001:db8::/32 1"}, 0},
		{"only a country", []geo.Rule{{Allow: []string{"FR"}}}, []string{"192.0.2.128/25 1"}, 1},
		{"a country but for a network", []geo.Rule{{Allow: []string{"DE"}, Deny: []string{"AS3320"}}}, []string{"192.0.2.0/26 1", "198.51.100.0/24 1", "2001:db8::/32 1"}, 1},
		{"what nobody is in", []geo.Rule{{Deny: []string{"JP"}}}, nil, 0},
		{
			"several rules", []geo.Rule{{Deny: []string{"DE"}}, {Allow: []string{"AS3320"}}, {Deny: []string{"NL"}}},
			[]string{"192.0.2.0/26 1", "192.0.2.64/26 3", "192.0.2.128/26 2", "198.51.100.0/24 1", "203.0.113.0/24 4", "2001:db8::/32 1"}, 2,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			table, err := db.Compile(row.rules)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range table.Entries {
				got = append(got, fmt.Sprint(e.Prefix, " ", e.Mask))
			}
			if diff := cmp.Diff(row.entries, got); diff != "" || table.Default != row.refused {
				t.Errorf("default %b, want %b; (-want +got):\n%s", table.Default, row.refused, diff)
			}
		})
	}
}

// What a table says of an address is what its rules say, whoever lies in whose midst.
func TestCompileAgreesWithLookup(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	codes := []string{"DE", "FR", "NL", "PL"}
	for range 30 {
		dir := t.TempDir()
		country, asn := filepath.Join(dir, "c.mmdb"), filepath.Join(dir, "a.mmdb")
		countries, networks := map[string]string{}, map[string]uint32{}
		for range 40 {
			for _, v6 := range []bool{false, true} {
				countries[prefix(r, v6)] = codes[r.IntN(4)]
				networks[prefix(r, v6)] = 1 + r.Uint32N(3)
			}
		}
		for _, err := range []error{geotest.Countries(country, countries), geotest.Networks(asn, networks)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		db := open(t, country, asn)
		rules := []geo.Rule{
			{Deny: []string{"DE", "AS1"}}, {Allow: []string{"FR", "AS2"}}, {Allow: []string{"DE", "NL"}, Deny: []string{"AS3"}}, {Allow: []string{"AS1"}, Deny: []string{"PL"}},
		}
		table, err := db.Compile(rules)
		if err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			a := netip.AddrFrom4([4]byte{byte(10 + r.IntN(2)), byte(r.IntN(4)), byte(r.Uint32()), byte(r.Uint32())})
			if r.IntN(2) == 0 {
				b := [16]byte{0x2a, 0x00, byte(r.IntN(2)), byte(r.IntN(4)), 4: byte(r.Uint32()), 15: byte(r.Uint32())}
				a = netip.AddrFrom16(b)
			}
			place, _ := db.Lookup(a)
			for i, rule := range rules {
				if got, want := table.Refuses(i, a), refuses(rule, place); got != want {
					t.Fatalf("rule %d refuses %s (%+v): %t, want %t", i, a, place, got, want)
				}
			}
		}
	}
}

func prefix(r *rand.Rand, v6 bool) string {
	if v6 {
		return fmt.Sprintf("2a00:%02x%02x:%02x00::/%d", r.IntN(2), r.IntN(4), r.IntN(256), 24+r.IntN(20))
	}
	return fmt.Sprintf("%d.%d.%d.0/%d", 10+r.IntN(2), r.IntN(4), r.IntN(256), 10+r.IntN(15))
}

func refuses(r geo.Rule, p geo.Place) bool {
	in := func(names []string) bool {
		for _, n := range names {
			if n == p.Country || n == fmt.Sprint("AS", p.ASN) {
				return true
			}
		}
		return false
	}
	return in(r.Deny) || len(r.Allow) > 0 && !in(r.Allow)
}

func TestRefusedFiles(t *testing.T) {
	country, asn := world(t)
	raw, err := os.ReadFile(country)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	damaged := append([]byte{}, raw...)
	for i := range 64 {
		damaged[i] ^= 0x5a
	}
	for want, path := range map[string]string{
		"no mmdb file":     put("text.mmdb", []byte("This is not a database")),
		"or a part of one": put("short.mmdb", raw[:len(raw)/2]),
		"is damaged":       put("damaged.mmdb", damaged),
		"no such file":     filepath.Join(t.TempDir(), "none.mmdb"),
		"names no country": asn,
		"is no file":       t.TempDir(),
	} {
		_, err := geo.Open(path, "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := geo.Open("", country); err == nil || !strings.Contains(err.Error(), "names no network") {
		t.Errorf("a file of countries is one of networks: %v", err)
	}
	db := open(t, country, "")
	if _, err := db.Compile([]geo.Rule{{Deny: []string{"AS1"}}}); err == nil || !strings.Contains(err.Error(), "geo.asn names no file") {
		t.Errorf("networks without a file: %v", err)
	}
}

func TestStale(t *testing.T) {
	country, _ := world(t)
	db := open(t, country, "")
	if db.Stale() {
		t.Fatal("nobody wrote it")
	}
	if err := os.Chtimes(country, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if !db.Stale() {
		t.Error("it was written")
	}
	if err := os.Remove(country); err != nil {
		t.Fatal(err)
	}
	if !db.Stale() {
		t.Error("it is gone")
	}
}
