// SPDX-License-Identifier: Apache-2.0

package signature_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"parry/pkg/game"
	"parry/pkg/signature"
)

func pattern(t testing.TB, s string) game.Pattern {
	t.Helper()
	p, err := game.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each part of a rule counts.
func TestMatch(t *testing.T) {
	set, err := signature.Compile([]signature.Rule{
		{Name: "anywhere", Offset: signature.Anywhere, Content: pattern(t, "deadbeef")},
		{Name: "at-4", Offset: 4, Content: pattern(t, "deadbeef")},
		{Name: "gap", Offset: signature.Anywhere, Content: pattern(t, "aa .. bbccdd")},
		{Name: "short", Offset: signature.Anywhere, Content: pattern(t, "deadbeef"), Length: game.Bounds{Max: 8}},
		{Name: "down", Offset: signature.Anywhere, Content: pattern(t, "deadbeef"), Direction: signature.Down},
		{Name: "both", Offset: signature.Anywhere, Content: pattern(t, "adbeef"), Direction: signature.Both, Severity: 0.5},
		{Name: "quake", Offset: signature.Anywhere, Content: pattern(t, "deadbeef"), Game: "openarena"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		payload, family string
		down            bool
		want            string
	}{
		{"\xde\xad\xbe\xef", "", false, "anywhere both short"},
		{"\x00\x00\x00\x00\xde\xad\xbe\xef\x00", "quake3", false, "anywhere at-4 both quake"},
		{"\xde\xad\xbe\xef\x00\x00\x00\x00\x00", "source", true, "both down"},
		{"\x01\xaa\x77\xbb\xcc\xdd", "", false, "gap"},
		{"\xbb\xcc\xdd", "", false, ""},
		{"\xaa\x77\xbb\xcc", "", false, ""},
		{"", "", false, ""},
	} {
		var got []string
		set.Match([]byte(c.payload), len(c.payload), c.down, c.family, func(name string, severity float64) {
			if want := map[bool]float64{true: 0.5, false: 0.9}[name == "both"]; severity != want {
				t.Errorf("%s: severity %g", name, severity)
			}
			got = append(got, name)
		})
		slices.Sort(got)
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%x: %q, want %q", c.payload, s, c.want)
		}
	}
}

// What can't be, or would be too much, is refused.
func TestRefusals(t *testing.T) {
	ok := signature.Rule{Name: "x", Content: pattern(t, "010203")}
	long := slices.Repeat(game.Pattern{1}, signature.MaxContent+1)
	for _, c := range []struct {
		change func(*signature.Rule)
		want   string
	}{
		{func(r *signature.Rule) { r.Content = nil }, "says no bytes"},
		{func(r *signature.Rule) { r.Content = long }, "at most 128"},
		{func(r *signature.Rule) { r.Content = pattern(t, "0102..0304") }, "in a row"},
		{func(r *signature.Rule) { r.Offset = 70000 }, "offset"},
		{func(r *signature.Rule) { r.Length = game.Bounds{Max: 2} }, "end at 3"},
		{func(r *signature.Rule) { r.Severity = 2 }, "severity"},
		{func(r *signature.Rule) { r.Game = "chess" }, "chess"},
	} {
		r := ok
		c.change(&r)
		if _, err := signature.Compile([]signature.Rule{r}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	var many []signature.Rule
	for i := range signature.MaxRules + 1 {
		many = append(many, signature.Rule{Name: fmt.Sprint(i), Content: game.Pattern{1, 2, int16(i % 256), int16(i / 256)}})
	}
	if _, err := signature.Compile(many); err == nil {
		t.Error("too many are taken")
	}
	if set, err := signature.Compile(many[1:]); err != nil || set.Len() != signature.MaxRules {
		t.Error(err)
	}
	for i := range many {
		many[i].Content = slices.Concat(slices.Repeat(game.Pattern{7}, 60), many[i].Content)
	}
	if _, err := signature.Compile(many[1:]); err == nil || !strings.Contains(err.Error(), "runs") {
		t.Errorf("too many bytes: %v", err)
	}
}

// FuzzMatch holds the automaton against a search that can't be wrong.
func FuzzMatch(f *testing.F) {
	f.Add([]byte("\x01\x02\x03\x01\x02\x03\x04"), []byte("\x01\x02\x03"), uint8(2))
	f.Add([]byte("aaaaaaaaaaaa"), []byte("aaaa"), uint8(0))
	f.Fuzz(func(t *testing.T, payload, content []byte, hole uint8) {
		r := signature.Rule{Name: "x", Offset: signature.Anywhere}
		for i, b := range content {
			v := int16(b)
			if hole > 0 && i%int(hole) == int(hole)-1 {
				v = game.Any
			}
			r.Content = append(r.Content, v)
		}
		set, err := signature.Compile([]signature.Rule{r, {Name: "other", Content: game.Pattern{0, 0, 0}}})
		if err != nil {
			return
		}
		want := 0
		for at := 0; at+len(r.Content) <= len(payload); at++ {
			fits := true
			for k, v := range r.Content {
				fits = fits && (v == game.Any || int16(payload[at+k]) == v)
			}
			if fits {
				want++
			}
		}
		got := 0
		set.Match(bytes.Clone(payload), len(payload), false, "", func(name string, _ float64) {
			if name == "x" {
				got++
			}
		})
		if got != want {
			t.Errorf("%x in %x: %d times, want %d", r.Content, payload, got, want)
		}
	})
}
