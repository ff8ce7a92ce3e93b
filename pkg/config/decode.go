// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"parry/pkg/spell"
)

// source remembers where the values of a parsed file stand.
type source struct {
	file string
	pos  map[string]place // by path, e.g. services[2].listen[0]
}

type place struct{ line, column int }

// find returns the place of the value at path, or of the nearest one around it.
func (s *source) find(path string) place {
	for path != "" {
		if p, ok := s.pos[path]; ok {
			return p
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return s.pos[""]
}

// decoder lays a YAML tree over Go values that hold the defaults, and collects faults
// instead of stopping at one.
type decoder struct {
	source
	errs Errors
	more int             // faults beyond maxErrors
	bad  map[string]bool // paths whose value was refused: checks that build on it stay silent
	// fresh returns a list element with its defaults.
	fresh  func(reflect.Type) reflect.Value
	games  func() []string // that the file itself defines
	fields map[reflect.Type]map[string]field
}

// fieldsOf is the package's fieldsOf, remembered: a file may have thousands of servers.
func (d *decoder) fieldsOf(t reflect.Type) map[string]field {
	f, ok := d.fields[t]
	if !ok {
		f = fieldsOf(t)
		d.fields[t] = f
	}
	return f
}

// fail notes a fault of the value at path.
func (d *decoder) fail(path, hint, format string, args ...any) {
	d.failAt(d.find(path), path, hint, fmt.Sprintf(format, args...))
}

func (d *decoder) failAt(at place, path, hint, message string) {
	d.bad[path] = true
	if len(d.errs) == maxErrors {
		d.more++
		return
	}
	d.errs = append(d.errs, Error{
		File: d.file, Line: at.line, Column: at.column, Path: path, Message: message, Hint: hint,
	})
}

// has reports whether the file sets the value at path, and well so far.
func (d *decoder) has(path string) bool {
	_, ok := d.pos[path]
	return ok && !d.bad[path]
}

// value decodes n into v.
func (d *decoder) value(n ast.Node, v reflect.Value, path string, r rules) {
	line, column := position(n)
	if _, known := d.pos[path]; !known {
		d.pos[path] = place{line, column}
	}
	if _, ok := n.(*ast.NullNode); ok {
		d.fail(path, "", "want %s, found nothing", wanted(v.Type()))
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.value(n, p.Elem(), path, r)
		if !d.bad[path] {
			v.Set(p)
		}
	case isScalar(v.Type()):
		d.scalar(n, v, path, r)
	case v.Kind() == reflect.Struct:
		d.structure(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path, r)
	case v.Kind() == reflect.Array:
		d.array(n, v, path)
	default:
		panic("config: no decoder for " + v.Type().String()) // a field of a new type: tests meet it at once
	}
}

// structure decodes a mapping, key by key; fields marked "last" come after the others.
func (d *decoder) structure(n ast.Node, v reflect.Value, path string) {
	entries, ok := pairs(n)
	if !ok {
		d.fail(path, nameOnly(n, v.Type()), "want %s, found %s", wanted(v.Type()), kind(n))
		return
	}
	fields := d.fieldsOf(v.Type())
	seen := map[string]int{}
	var last []func()
	for _, e := range entries {
		key, at := e.Key.GetToken().Value, keyPlace(e)
		if line, dup := seen[key]; dup {
			d.failAt(at, join(path, key), "", fmt.Sprintf("key %q is already there, in line %d", key, line))
			continue
		}
		seen[key] = at.line
		f, ok := fields[key]
		if !ok {
			d.unknownKey(at, path, key, v.Type())
			continue
		}
		decode := func() { d.field(e.Value, at, v, f, join(path, key)) }
		if f.rules.last {
			last = append(last, decode)
			continue
		}
		decode()
	}
	for _, decode := range last {
		decode()
	}
	for _, f := range sortedFields(fields) {
		if _, ok := seen[f.key]; !ok && f.rules.required {
			d.fail(join(path, f.key), "", "%s: %q is missing", describe(path), f.key)
		}
	}
}

// field decodes one key's value. A value that begins on a later line (a list, a
// mapping) is better found at its key.
func (d *decoder) field(n ast.Node, at place, v reflect.Value, f field, path string) {
	if line, _ := position(n); line != at.line || isNull(n) {
		d.pos[path] = at
	}
	if f.rules.endpoint {
		d.endpoint(n, v, path)
		return
	}
	d.value(n, v.FieldByIndex(f.index), path, f.rules)
}

// endpoint decodes a server's address and ports, which are one text in the file.
func (d *decoder) endpoint(n ast.Node, v reflect.Value, path string) {
	var l Listen
	d.value(n, reflect.ValueOf(&l).Elem(), path, rules{})
	if s, ok := v.Addr().Interface().(*Server); ok && !d.bad[path] {
		s.Address, s.First, s.Last = l.Addr, l.First, l.Last
	}
}

func (d *decoder) unknownKey(at place, path, key string, t reflect.Type) {
	known := keysOf(t)
	hint, ok := spell.Nearest(key, known)
	if !ok {
		hint = deeper(t, key)
	}
	if !ok && hint != "" {
		d.failAt(at, join(path, key), hint, fmt.Sprintf("unknown key %q here: it belongs one level deeper", key))
		return
	}
	message := fmt.Sprintf("unknown key %q", key)
	if hint == "" {
		message += ", known here: " + strings.Join(known, ", ")
	}
	d.failAt(at, join(path, key), hint, message)
}

// deeper finds a key in the mappings below t: limits.packets_per_second means
// limits.source.packets_per_second.
func deeper(t reflect.Type, key string) string {
	for _, f := range sortedFields(fieldsOf(t)) {
		if f.typ.Kind() == reflect.Struct && !isScalar(f.typ) {
			if _, ok := fieldsOf(f.typ)[key]; ok {
				return f.key + "." + key
			}
		}
	}
	return ""
}

// list decodes a sequence; with rule "single", a lone value stands for a list of one.
func (d *decoder) list(n ast.Node, v reflect.Value, path string, r rules) {
	var nodes []ast.Node
	switch n := n.(type) {
	case *ast.SequenceNode:
		nodes = n.Values
	default:
		if !r.single {
			d.fail(path, listOf(n, v.Type()), "want %s, found %s", wanted(v.Type()), kind(n))
			return
		}
		nodes = []ast.Node{n}
	}
	if r.items > 0 && len(nodes) > r.items {
		d.fail(path, "", "%d entries: the limit is %d", len(nodes), r.items)
		return
	}
	if len(nodes) == 0 && (r.required || r.single) {
		d.fail(path, "", "the list is empty")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(nodes), len(nodes))
	for i, e := range nodes {
		list.Index(i).Set(d.fresh(v.Type().Elem()))
		at := fmt.Sprintf("%s[%d]", path, i)
		d.value(e, list.Index(i), at, r)
		if d.bad[at] && isScalar(v.Type().Elem()) {
			d.bad[path] = true
		}
	}
	v.Set(list)
}

func (d *decoder) array(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok || len(seq.Values) != v.Len() {
		d.fail(path, "", "want a list of %d numbers, [latitude, longitude]", v.Len())
		return
	}
	for i, e := range seq.Values {
		d.value(e, v.Index(i), fmt.Sprintf("%s[%d]", path, i), rules{})
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// describe names a mapping for a message about what it lacks.
func describe(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

func keyPlace(e *ast.MappingValueNode) place {
	p := e.Key.GetToken().Position
	return place{p.Line, p.Column}
}

func isNull(n ast.Node) bool {
	_, ok := n.(*ast.NullNode)
	return ok
}

// nameOnly hints at the mapping that a lone name stands for: [eth0] means [{name: eth0}].
func nameOnly(n ast.Node, t reflect.Type) string {
	s, ok := scalarText(n)
	if _, named := fieldsOf(t)["name"]; !ok || !named || len(s) > 31 {
		return ""
	}
	return "{name: " + s + "}"
}

// listOf hints at the list that a lone scalar stands for.
func listOf(n ast.Node, t reflect.Type) string {
	s, ok := scalarText(n)
	if !ok || !isScalar(t.Elem()) || len(s) > 64 {
		return ""
	}
	return "[" + s + "]"
}

func sortedFields(fields map[string]field) []field {
	list := make([]field, 0, len(fields))
	for _, f := range fields {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b field) int { return a.index[0] - b.index[0] })
	return list
}
