// SPDX-License-Identifier: Apache-2.0

package game

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPatterns(t *testing.T) {
	for text, want := range map[string]Pattern{
		"": nil, "ff": {255}, "4D47 ..01": {0x4d, 0x47, Any, 1}, "....": {Any, Any},
	} {
		got, err := ParsePattern(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v %s", text, err, diff)
		}
		if again, err := ParsePattern(got.String()); err != nil || !cmp.Equal(got, again) {
			t.Errorf("%q is written %q, which is %v", text, got, again)
		}
	}
	for _, text := range []string{"f", "4d4", ". .", "g0", "0x4d", "4d4-", ".f"} {
		if p, err := ParsePattern(text); err == nil {
			t.Errorf("%q is read as %v", text, p)
		}
	}
}

func shapeOf(t *testing.T, length Bounds, at int, bytes string) Shape {
	t.Helper()
	p, err := ParsePattern(bytes)
	if err != nil {
		t.Fatal(err)
	}
	return Shape{length, at, p}
}

func TestShapes(t *testing.T) {
	s := shapeOf(t, Bounds{4, 9}, 2, "4d..47")
	for payload, want := range map[string]bool{
		"..M.G": true, "..MxG....": true, "..MxG.....": false, "..M.H": false, "..M.": false, "": false,
	} {
		if s.Match([]byte(payload), len(payload)) != want {
			t.Errorf("%q: not %v", payload, want)
		}
	}
	if !s.Match([]byte("..M"), 9) || s.Match([]byte("..N"), 9) || s.Match([]byte("..M"), 10) {
		t.Error("what was cut off is judged by what is there")
	}
	for _, c := range []struct {
		s     Shape
		fault bool
	}{
		{Shape{}, true}, {shapeOf(t, Bounds{}, 0, "...."), true}, {shapeOf(t, Bounds{0, 4}, 2, "4d..47"), true},
		{s, false}, {Shape{Length: Bounds{1, 0}}, false}, {shapeOf(t, Bounds{}, 3, "00"), false},
	} {
		if got := c.s.Fault(); (got != "") != c.fault {
			t.Errorf("%+v: %q", c.s, got)
		}
	}
}

// What the gate is told: bpf/gate/shape.bpf.c says how.
func TestShapeParams(t *testing.T) {
	place := func(least, most, at, count, flags uint64) uint64 {
		return least | most<<16 | at<<32 | count<<48 | flags<<56
	}
	for _, c := range []struct {
		name   string
		proto  string
		shapes []Shape
		want   []uint64
	}{
		{"lengths alone", "udp", []Shape{{Length: Bounds{20, 48}}}, []uint64{0, place(20, 48, 0, 0, 1)}},
		{"no most", "tcp", []Shape{{Length: Bounds{Min: 20}}}, []uint64{0, place(20, 65535, 0, 0, 5)}},
		{"a window that begins behind what may be anything", "udp", []Shape{shapeOf(t, Bounds{}, 4, "....0102..03")},
			[]uint64{0x03_00_0201, place(10, 65535, 6, 0b1011, 1)}},
		{"two windows of one shape", "udp", []Shape{shapeOf(t, Bounds{30, 30}, 0, "0102030405060708 .... 09")},
			[]uint64{0x0807060504030201, place(30, 30, 0, 255, 3), 9, place(30, 30, 10, 1, 1)}},
		{"two shapes", "udp", []Shape{shapeOf(t, Bounds{}, 0, "01"), shapeOf(t, Bounds{}, 0, "02")},
			[]uint64{1, place(1, 65535, 0, 1, 1), 2, place(1, 65535, 0, 1, 1)}},
		{"too many windows", "udp", []Shape{shapeOf(t, Bounds{}, 0, "01................01................01................01")}, nil},
	} {
		got, err := ShapeParams(c.proto, c.shapes)
		if diff := cmp.Diff(c.want, got); diff != "" || (err != nil) != (c.want == nil) {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
	}
}
