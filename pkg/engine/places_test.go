// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parry/loader"
	"parry/pkg/config"
	"parry/pkg/geo/geotest"
)

// located is a configuration with rules about places, and the file that they are read from.
func located(t *testing.T) (c *config.Config, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "country.mmdb")
	if err := geotest.Countries(file, map[string]string{"192.0.2.0/24": "DE", "198.51.100.0/24": "FR"}); err != nil {
		t.Fatal(err)
	}
	return parse(t, fmt.Sprintf(`geo: {country: %s}
services:
  - {name: a, listen: 203.0.113.10:1, game: quake3, forward: local, geo: {allow: [DE]}}
  - {name: b, listen: 203.0.113.10:2, game: quake3, forward: local}
  - {name: c, listen: 203.0.113.10:3, game: quake3, forward: local, geo: {deny: [FR]}}
  - {name: d, listen: 203.0.113.10:4, game: quake3, forward: local, geo: {allow: [DE, DE]}}
`, file)), file
}

func TestPlaces(t *testing.T) {
	c, file := located(t)
	p, err := placesFor(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	plan := &loader.Plan{Services: make([]loader.Service, len(c.Services))}
	p.put(c, plan)
	var rules []uint8
	for _, s := range plan.Services {
		rules = append(rules, s.Geo)
	}
	if fmt.Sprint(rules) != "[1 0 2 1]" || plan.Geo.Default != 1 || fmt.Sprint(plan.Geo.Entries) != "[{192.0.2.0/24 1} {198.51.100.0/24 2}]" {
		t.Errorf("rules %v, table %+v", rules, plan.Geo)
	}

	same, err := placesFor(c, p)
	if err != nil || same.db != p.db || same.table != p.table {
		t.Errorf("what did not change is read again (%v)", err)
	}
	// Only the bytes tell that a file is another: its time does, where it has one.
	if err := geotest.Countries(file, map[string]string{"192.0.2.0/25": "DE"}); err != nil {
		t.Fatal(err)
	}
	touch(t, file)
	again, err := placesFor(c, p)
	if err != nil || again.table == p.table || fmt.Sprint(again.table.Entries) != "[{192.0.2.0/25 1}]" {
		t.Errorf("the new file: %+v, %v", again, err)
	}
	if err := os.WriteFile(file, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	touch(t, file)
	if _, err := placesFor(c, again); err == nil || !strings.Contains(err.Error(), "geo.country: "+file+" is no mmdb file") || !strings.HasPrefix(err.Error(), "t.yaml:1:6: ") {
		t.Errorf("a damaged file: %v", err)
	}
	if n, bytes := again.entries(); n != 1 || bytes == 0 {
		t.Errorf("%d entries, %d bytes", n, bytes)
	}
}

func touch(t *testing.T, file string) {
	t.Helper()
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
}
