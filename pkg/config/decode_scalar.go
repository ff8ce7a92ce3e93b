// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"parry/pkg/game"
	"parry/pkg/spell"
)

// scalar decodes one text or number into v and holds it against the rules.
func (d *decoder) scalar(n ast.Node, v reflect.Value, path string, r rules) {
	text, ok := scalarText(n)
	if !ok {
		d.fail(path, "", "want %s, found %s", wanted(v.Type()), kind(n))
		return
	}
	switch out := v.Addr().Interface().(type) {
	case *netip.Addr:
		parseInto(d, path, text, out, parseAddr)
	case *netip.Prefix:
		parseInto(d, path, text, out, parsePrefix)
	case *Listen:
		parseInto(d, path, text, out, ParseListen)
	case *game.Bounds:
		parseInto(d, path, text, out, parseLength)
	case *PortRange:
		parseInto(d, path, text, out, parsePorts)
	case *ProtoPort:
		parseInto(d, path, text, out, parseProtoPort)
	case *time.Duration:
		if parseInto(d, path, text, out, parseDuration) {
			d.durationBounds(*out, path, r)
		}
	case *bool:
		d.boolean(n, out, text, path)
	case *string:
		d.text(n, out, text, path, r)
	case *float64:
		d.float(n, out, text, path, r)
	default:
		d.integer(n, v, text, path, r)
	}
}

// parseInto sets out to the parsed text, or notes why that can't be.
func parseInto[T any](d *decoder, path, text string, out *T, parse func(string) (T, error)) bool {
	v, err := parse(text)
	if err != nil {
		f := asFault(err)
		d.fail(path, f.hint, "%s", f.message)
		return false
	}
	*out = v
	return true
}

func (d *decoder) durationBounds(v time.Duration, path string, r rules) {
	// The tags are constants of this package; a test parses them all.
	lo, _ := time.ParseDuration(r.min)
	hi, _ := time.ParseDuration(r.max)
	if r.max != "" && (v < lo || v > hi) {
		d.fail(path, "", "%s is out of bounds: want %s to %s", short(v), short(lo), short(hi))
	}
}

// short writes a duration as people do: 60s, not 1m0s; 24h, not 24h0m0s.
func short(v time.Duration) string {
	if v < 2*time.Minute && v%time.Second == 0 {
		return strconv.Itoa(int(v/time.Second)) + "s"
	}
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (d *decoder) boolean(n ast.Node, out *bool, text, path string) {
	if b, ok := n.(*ast.BoolNode); ok {
		*out = b.Value
		return
	}
	hint := ""
	switch strings.ToLower(text) {
	case "yes", "on", "1", "true", "y":
		hint = "true"
	case "no", "off", "0", "false", "n":
		hint = "false"
	}
	d.fail(path, hint, "want true or false, found %q", text)
}

func (d *decoder) text(n ast.Node, out *string, text, path string, r rules) {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
	default:
		d.fail(path, "", "want text, found %s: write it in quotes, %q", kind(n), text)
		return
	}
	words := r.enum
	if r.games {
		words = append(slices.Clip(words), d.games()...)
	}
	if words != nil && !slices.Contains(words, text) {
		d.unknownWord(path, text, words)
		return
	}
	if f := checkFormat(r.format, text); f != nil {
		d.fail(path, f.hint, "%s", f.message)
		return
	}
	*out = text
}

func (d *decoder) unknownWord(path, text string, words []string) {
	key := path[strings.LastIndexByte(path, '.')+1:]
	key, _, _ = strings.Cut(key, "[")
	if key == "forward" && text == "tunnel" {
		d.fail(path, "", "forward: tunnel comes with a later version: until then use nat or transparent")
		return
	}
	hint, _ := spell.Nearest(text, words)
	known := strings.Join(words, ", ")
	if key == "game" {
		known = "see docs/configuration.md, or use generic_udp or generic_tcp"
	}
	if hint == "" {
		d.fail(path, "", "unknown %s %q, known: %s", key, text, known)
		return
	}
	d.fail(path, hint, "unknown %s %q", key, text)
}

func (d *decoder) float(n ast.Node, out *float64, text, path string, r rules) {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		v, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
		if most, _ := strconv.ParseFloat(r.max, 64); err == nil && r.max != "" && !(v >= 0 && v <= most) {
			d.fail(path, "", "%s is out of bounds: want 0 to %s", text, r.max)
			return
		}
		if err == nil {
			*out = v
			return
		}
	}
	d.fail(path, "", "want a number, found %q", text)
}

// integer decodes every unsigned type.
func (d *decoder) integer(n ast.Node, v reflect.Value, text, path string, r rules) {
	node, ok := n.(*ast.IntegerNode)
	if !ok {
		hint := ""
		if f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64); err == nil && f >= 0 && f == float64(uint64(f)) && f < 1e15 {
			hint = strconv.FormatUint(uint64(f), 10)
		}
		d.fail(path, hint, "want a whole number, found %q", text)
		return
	}
	var value uint64
	switch i := node.Value.(type) {
	case uint64:
		value = i
	case int64:
		if i < 0 {
			d.fail(path, "", "%s is out of bounds: want %s to %s", text, orZero(r.min), r.max)
			return
		}
		value = uint64(i)
	}
	lo, _ := strconv.ParseUint(orZero(r.min), 10, 64)
	hi, _ := strconv.ParseUint(r.max, 10, 64)
	if value < lo || value > hi || v.OverflowUint(value) {
		d.fail(path, "", "%s is out of bounds: want %s to %s", text, orZero(r.min), r.max)
		return
	}
	v.SetUint(value)
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}
