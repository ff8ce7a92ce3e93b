// SPDX-License-Identifier: Apache-2.0

package game

import (
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFamiliesAreThoseOfTheSpecification(t *testing.T) {
	want := []string{
		"minecraft_java", "raknet", "source", "quake3", "unreal", "riot", "steam_sdr", "enet", "photon",
		"teamspeak3", "mumble", "stun_turn", "wireguard", "quic", "generic_udp", "generic_tcp", "auto",
	}
	if diff := cmp.Diff(want, Families()); diff != "" {
		t.Errorf("families (-want +got):\n%s", diff)
	}
}

func TestTitlesStandForFamilyClassAndPort(t *testing.T) {
	for _, tc := range []struct {
		name, family, class, proto string
		port                       uint16
	}{
		{"minecraft", "minecraft_java", ClassMMORPG, "tcp", 25565},
		{"bedrock", "raknet", ClassMMORPG, "udp", 19132},
		{"cs2", "source", ClassFPS, "udp", 27015},
		{"csgo", "source", ClassFPS, "udp", 27015},
		{"rust", "source", ClassFPS, "udp", 28015},
		{"gmod", "source", ClassFPS, "udp", 27015},
		{"tf2", "source", ClassFPS, "udp", 27015},
		{"openarena", "quake3", ClassFPS, "udp", 27960},
		{"ioquake3", "quake3", ClassFPS, "udp", 27960},
		{"minetest", "generic_udp", ClassMMORPG, "udp", 30000},
		{"luanti", "generic_udp", ClassMMORPG, "udp", 30000},
		{"ddnet", "generic_udp", ClassFPS, "udp", 8303},
		{"teeworlds", "generic_udp", ClassFPS, "udp", 8303},
		{"openttd", "generic_tcp", ClassRTS, "tcp", 3979},
		{"lol", "riot", ClassMOBA, "udp", 5000},
	} {
		p, ok := Lookup(tc.name)
		if !ok {
			t.Errorf("%s: unknown", tc.name)
			continue
		}
		got := []any{p.Name, p.Family, p.Class, p.Proto, p.Port}
		want := []any{tc.name, tc.family, tc.class, tc.proto, tc.port}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

// Every row must be usable as it stands: a slip in the table shows here.
func TestEveryProfileIsComplete(t *testing.T) {
	word := regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	seen := map[string]bool{}
	for _, name := range Names() {
		if seen[name] {
			t.Errorf("%s: named twice", name)
		}
		seen[name] = true
		p, ok := Lookup(name)
		if !ok {
			t.Errorf("%s: in Names, unknown to Lookup", name)
			continue
		}
		if p.Name != name || !word.MatchString(name) || p.Title == "" {
			t.Errorf("%s: bad name or title: %+v", name, p)
		}
		if !slices.Contains(Families(), p.Family) {
			t.Errorf("%s: family %q is none", name, p.Family)
		}
		if !slices.Contains(Classes(), p.Class) {
			t.Errorf("%s: class %q is none", name, p.Class)
		}
		for i, proto := range p.Protos {
			if proto != "udp" && proto != "tcp" || i == 0 && proto != p.Proto {
				t.Errorf("%s: protocols %q, first %q", name, p.Protos, p.Proto)
			}
		}
		if len(p.Protos) == 0 && p.Family != Auto {
			t.Errorf("%s: no protocol", name)
		}
		family, _ := Lookup(p.Family)
		if p.Family != Auto && !slices.Contains(family.Protos, p.Proto) {
			t.Errorf("%s: play over %s, its family %s over %v", name, p.Proto, p.Family, family.Protos)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, tc := range []struct{ word, want string }{
		{"quake", "quake3"}, {"Quake3", "quake3"}, {"minecraf", "minecraft"}, {"open-arena", "openarena"},
		{"countrstrike", ""}, {"tetris9000", ""},
	} {
		if got, _ := Nearest(tc.word); got != tc.want {
			t.Errorf("Nearest(%q) = %q, want %q", tc.word, got, tc.want)
		}
	}
	if _, ok := Lookup("Minecraft"); ok {
		t.Error("Lookup is exact: Minecraft must be unknown, and suggested as minecraft")
	}
}

// A caller may change what it got; the table must not change with it.
func TestProfilesAreCopies(t *testing.T) {
	p, _ := Lookup("mumble")
	p.Protos[0] = "changed"
	if q, _ := Lookup("mumble"); q.Protos[0] != "udp" {
		t.Errorf("the table changed: %v", q.Protos)
	}
}
