// SPDX-License-Identifier: Apache-2.0

package quality

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"parry/pkg/anticheat"
	"parry/pkg/anticheat/mix"
	"parry/pkg/anticheat/offline"
	"parry/test/need"
)

// judgeCrowd analyses many sessions at a time; found is by session.
func judgeCrowd(t *testing.T, all []mix.Member) []anticheat.Report {
	a := analyser(t, nil)
	front := netip.MustParseAddrPort("203.0.113.10:27960")
	key := func(m *mix.Member) anticheat.Session {
		return anticheat.Session{Client: m.Client, Front: front, Proto: m.Proto}
	}
	next := make([]int, len(all))
	for at := time.Duration(0); ; at += 50 * time.Millisecond { // in slices of time: sessions' packets need not be in one order
		left := false
		for i := range all {
			m := &all[i]
			for ; next[i] < len(m.Packets) && m.Packets[next[i]].At < at; next[i]++ {
				feed(a, key(m), m.Game, &m.Packets[next[i]])
			}
			left = left || next[i] < len(m.Packets)
		}
		if !left {
			break
		}
	}
	reports := make([]anticheat.Report, len(all))
	for i := range all {
		reports[i], _ = a.End(key(&all[i]), 0)
	}
	return reports
}

// What shows only beside others: clocks that are fast, rhythms of no person, farms, and who is unlike all.
func TestCheatsInCrowds(t *testing.T) {
	each, length := 1, 160*time.Second
	kinds := []anticheat.Kind{"", anticheat.SpeedUp, anticheat.Robotic, anticheat.Farm, anticheat.Anomaly}
	if os.Getenv("PARRY_QUALITY") != "" {
		each = 12
	}
	dev, eval := mix.Halves()
	halves := []mix.Half{dev, eval}
	if os.Getenv("PARRY_QUALITY") == "" {
		halves = halves[1:]
	}
	games := map[anticheat.Kind]string{"": "quake3", anticheat.SpeedUp: "raknet", anticheat.Robotic: "quake3", anticheat.Farm: "quake3", anticheat.Anomaly: "enet"}
	for _, half := range halves {
		t.Run(half.Name, func(t *testing.T) {
			c := newCheats()
			for _, kind := range kinds {
				for n := range each {
					m := mix.New(half, uint64(5000+100*len(kind)+n))
					for _, g := range mix.Games() {
						if g.Name != games[kind] {
							continue
						}
						all := m.Crowd(g, 30, kind, length)
						for i, r := range judgeCrowd(t, all) {
							x := &all[i]
							c.count(x.Cheat, 0, length, r.Findings, since, fmt.Sprintf("%q among %d of %s, %s, %d", kind, len(all), g.Name, x.Line, n))
						}
					}
				}
			}
			fmt.Fprintf(print(), "\nCheats that show beside 30 others, %s half:\n\n", half.Name)
			c.table(print())
			c.check(t)
		})
	}
}

// Captured flows that nobody cheats in: of real clients and servers, of games and of what is no game.
func TestCapturesAreHonest(t *testing.T) {
	dir := need.Captures(t)
	files, err := filepath.Glob(filepath.Join(dir, "*.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	minutes, flows := 0.0, 0
	var flags []string
	for _, path := range files {
		name := filepath.Base(path)
		if cheats, _ := filepath.Match("q3cheat_*", name); cheats {
			continue
		}
		err := offline.File(path, offline.Options{Policy: anticheat.Default()}, func(f *offline.Flow) error {
			if !f.Game.Plays() {
				return nil
			}
			flows++
			minutes += f.Lasted.Minutes()
			for _, x := range f.Report.Findings {
				if !x.Observe {
					flags = append(flags, fmt.Sprintf("%s %s > %s %s: %s: %s", name, f.Src, f.Dst, f.Game, x.Kind, x.Text()))
				}
			}
			return nil
		})
		if err != nil {
			t.Logf("%v", err)
		}
	}
	out := print()
	fmt.Fprintf(out, "\nCaptured flows of games and voice that nobody cheats in: %d flags in %d flows of %.0f minutes\n", len(flags), flows, minutes)
	for _, f := range flags {
		fmt.Fprintln(out, " ", f)
	}
	if float64(len(flags)) > minutes/flagsPer {
		t.Errorf("%d flags in %.0f minutes", len(flags), minutes)
	}
}
