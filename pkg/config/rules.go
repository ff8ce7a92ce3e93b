// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"parry/pkg/game"
)

// rules are what a field's check tag says, space-separated: required, last (decoded after its
// neighbours), single (a lone value is a list of one), endpoint (address with port), items=N,
// min=, max= (numbers or durations), enum=a|b or a named set, format=NAME (see checkFormat).
type rules struct {
	required, last, single, endpoint bool
	games                            bool // the file's own are words of the enum, too
	items                            int
	min, max                         string
	enum                             []string
	format                           string
}

type field struct {
	key   string
	index []int
	typ   reflect.Type
	rules rules
}

// fieldsOf returns the fields of a struct by their YAML keys.
func fieldsOf(t reflect.Type) map[string]field {
	fields := make(map[string]field, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		fields[key] = field{key: key, index: f.Index, typ: f.Type, rules: parseRules(f.Tag.Get("check"))}
	}
	return fields
}

// keysOf returns the YAML keys of a struct in the order of its fields.
func keysOf(t reflect.Type) []string {
	var keys []string
	for _, f := range sortedFields(fieldsOf(t)) {
		keys = append(keys, f.key)
	}
	return keys
}

func parseRules(tag string) rules {
	var r rules
	for _, word := range strings.Fields(tag) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "required":
			r.required = true
		case "last":
			r.last = true
		case "single":
			r.single = true
		case "endpoint":
			r.endpoint = true
		case "items":
			r.items, _ = strconv.Atoi(value)
		case "min":
			r.min = value
		case "max":
			r.max = value
		case "format":
			r.format = value
		case "enum":
			r.enum, r.games = wordsOf(value), value == "@games"
		}
	}
	return r
}

// wordsOf resolves the sets that other packages own.
func wordsOf(enum string) []string {
	switch enum {
	case "@games":
		return game.Names()
	case "@classes":
		return game.Classes()
	}
	return strings.Split(enum, "|")
}

// isScalar reports whether a value of type t is one text or number in the file.
func isScalar(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.Prefix](), reflect.TypeFor[time.Duration](),
		reflect.TypeFor[Listen](), reflect.TypeFor[PortRange](), reflect.TypeFor[ProtoPort](), reflect.TypeFor[game.Bounds]():
		return true
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Slice, reflect.Array, reflect.Pointer:
		return false
	}
	return true
}

// wanted says what a value of type t looks like in the file.
func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[netip.Addr]():
		return "an IP address"
	case reflect.TypeFor[netip.Prefix]():
		return "a prefix as 198.51.100.0/24"
	case reflect.TypeFor[time.Duration]():
		return "a duration as 60s"
	case reflect.TypeFor[Listen]():
		return "address:port"
	case reflect.TypeFor[PortRange]():
		return "ports as 1024-32767"
	case reflect.TypeFor[game.Bounds]():
		return "a length as 20-48"
	case reflect.TypeFor[ProtoPort]():
		return "protocol/port as tcp/22"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct:
		return fmt.Sprintf("a mapping (%s)", strings.Join(keysOf(t), ", "))
	}
	return "a whole number"
}
