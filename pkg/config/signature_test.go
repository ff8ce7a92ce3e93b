// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"strings"
	"testing"
)

const goodSignatures = `signatures:
  - name: aimhelper
    game: quake3
    content: "deadbeef .. 01"
    offset: 6
    length: 20-48
  - {name: menu, text: "hax-menu", direction: both, severity: 0.7}
`

func TestSignatures(t *testing.T) {
	set, err := ParseSignatures("rules.yaml", []byte(goodSignatures))
	if err != nil || set.Len() != 2 {
		t.Fatal(err)
	}
	found := ""
	set.Match([]byte("....hax-menu"), 12, true, "", func(name string, severity float64) {
		if found = name; severity != 0.7 {
			t.Errorf("severity %g", severity)
		}
	})
	if found != "menu" {
		t.Errorf("found %q", found)
	}
}

// All faults at once, each where it stands.
func TestSignatureFaultsHaveTheirPlaces(t *testing.T) {
	for text, want := range map[string]string{
		"signatures:\n  - {name: a, content: \"dead\"}\n":                     "rules.yaml:2:24: 2 known bytes in a row: want 3 at least",
		"signatures:\n  - {name: a, content: \"xyz\"}\n":                      "rules.yaml:2:24: ",
		"signatures:\n  - {name: a, text: abcd, ofset: 3}\n":                  `rules.yaml:2:27: unknown key "ofset" (did you mean "offset"?)`,
		"signatures:\n  - {name: a, text: abcd, game: quak3}\n":               `(did you mean "quake3"?)`,
		"signatures:\n  - {name: a, text: abcd}\n  - {name: a, text: efgh}\n": "rules.yaml:3:12: signature a is already there, in line 2",
		"signatures:\n  - {name: a}\n":                                        "want either content (in hexadecimal) or text",
		"signatures:\n  - {name: a, text: abcd, content: \"01020304\"}\n":     "want either",
		"signatures:\n  - {name: a, text: abcd, severity: 3}\n":               "rules.yaml:2:37: 3 is out of bounds",
		"signatures:\n  - {name: a, text: abcd, length: 3}\n":                 "its bytes end at 4, and its length is 3",
		"signatures:\n  - {name: a, text: abcd, direction: sideways}\n":       "rules.yaml:2:38: ",
		"signatures: []\n": "rules.yaml:1:",
		"rules: []\n":      "unknown key",
		"":                 "rules.yaml:1:1: ",
		"signatures:\n  - {name: a, text: abcd, offset: 70000}\n  - {name: b, text: x}\n": "rules.yaml:2:35: 70000 is out of bounds",
	} {
		set, err := ParseSignatures("rules.yaml", []byte(text))
		var all Errors
		if set != nil || !errors.As(err, &all) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// FuzzSignatures reads any bytes: either a set, or errors that point into the file.
func FuzzSignatures(f *testing.F) {
	f.Add([]byte(goodSignatures))
	f.Add([]byte("signatures:\n  - {name: a, content: \"dead\"}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := ParseSignatures("fuzz.yaml", data)
		var all Errors
		switch {
		case err == nil && set.Len() > 0:
		case set != nil || !errors.As(err, &all) || len(all) == 0:
			t.Errorf("%v, %v", set, err)
		default:
			for _, e := range all {
				if strings.ContainsAny(e.Error(), "\n\x00") {
					t.Errorf("%q is not one line", e.Error())
				}
			}
		}
	})
}
