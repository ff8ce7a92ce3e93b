// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"parry/pkg/game"
)

// docs/configuration.md, docs/parry.schema.json and the golden errors are made by
// go test ./pkg/config -update, and checked by the same tests without the flag.
var update = flag.Bool("update", false, "write the generated documents and golden files instead of comparing them")

const docs = "../../docs"

// compare holds got against the checked-in file, or writes it with -update.
func compare(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s is stale: run go test ./pkg/config -update\n--- want\n%s\n--- got\n%s", path, want, got)
	}
}

// comments returns the doc comments of this package's struct types and fields, by "Type"
// and "Type.Field", on one line each.
func comments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.TYPE {
				for _, spec := range decl.Specs {
					typeComments(found, decl, spec.(*ast.TypeSpec))
				}
			}
			return true
		})
	}
	return found
}

func typeComments(found map[string]string, decl *ast.GenDecl, spec *ast.TypeSpec) {
	st, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	found[spec.Name.Name] = sentence(spec.Name.Name, decl.Doc.Text())
	for _, f := range st.Fields.List {
		for _, name := range f.Names {
			found[spec.Name.Name+"."+name.Name] = sentence(name.Name, f.Doc.Text())
		}
	}
}

// sentence turns a Go comment ("Node is this edge's name.") into a description, in which the
// Go name of the field has no place.
func sentence(name, comment string) string {
	text := strings.TrimPrefix(strings.Join(strings.Fields(comment), " "), name+" ")
	for _, verb := range []string{"is ", "are "} {
		text = strings.TrimPrefix(text, verb)
	}
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// structs are the mappings of a file in the order of the reference, with where they stand and
// a value that holds their defaults.
func structs() []section {
	c := Default()
	element := func(v any) reflect.Value { return c.fresh(reflect.TypeOf(v)) }
	return []section{
		{"", reflect.ValueOf(*c)},
		{"interfaces[]", element(Interface{})},
		{"peers", reflect.ValueOf(c.Peers)},
		{"peers.edges[]", element(PeerEdge{})},
		{"api", reflect.ValueOf(c.API)},
		{"nat", reflect.ValueOf(c.NAT)},
		{"sizes", reflect.ValueOf(c.Sizes)},
		{"timeouts", reflect.ValueOf(c.Timeouts)},
		{"host", reflect.ValueOf(c.Host)},
		{"limits", reflect.ValueOf(c.Limits)},
		{"limits.source", reflect.ValueOf(c.Limits.Source)},
		{"limits.source.shared", reflect.ValueOf(c.Limits.Source.Shared)},
		{"limits.prefix", reflect.ValueOf(c.Limits.Prefix)},
		{"limits.service", reflect.ValueOf(c.Limits.Service)},
		{"strangers", reflect.ValueOf(c.Strangers)},
		{"queries", reflect.ValueOf(c.Queries)},
		{"attack", reflect.ValueOf(c.Attack)},
		{"attack.elevated", reflect.ValueOf(c.Attack.Elevated)},
		{"attack.attack", reflect.ValueOf(c.Attack.Attack)},
		{"detect", reflect.ValueOf(c.Detect)},
		{"detect.risk", reflect.ValueOf(c.Detect.Risk)},
		{"detect.block", reflect.ValueOf(c.Detect.Block)},
		{"health", reflect.ValueOf(c.Health)},
		{"health.fps", reflect.ValueOf(c.Health.FPS)},
		{"health.moba", reflect.ValueOf(c.Health.MOBA)},
		{"health.rts", reflect.ValueOf(c.Health.RTS)},
		{"health.mmorpg", reflect.ValueOf(c.Health.MMORPG)},
		{"geo", reflect.ValueOf(c.Geo)},
		{"games[]", element(Game{})},
		{"games[].first[]", element(Shape{})},
		{"history", reflect.ValueOf(c.History)},
		{"services[]", element(Service{})},
		{"services[].geo", reflect.ValueOf(element(Service{}).Interface().(Service).Geo)},
		{"pools[]", element(Pool{})},
		{"pools[].servers[]", element(Server{})},
		{"regions[]", element(Region{})},
	}
}

type section struct {
	path     string
	defaults reflect.Value
}

func TestReferencePageIsFresh(t *testing.T) {
	intro, err := os.ReadFile("testdata/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	about := comments(t)
	var b bytes.Buffer
	b.Write(intro)
	for _, s := range structs() {
		typ := s.defaults.Type()
		heading := "`" + s.path + "`"
		if s.path == "" {
			heading = "The file"
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", heading, about[typ.Name()])
		for _, f := range sortedFields(fieldsOf(typ)) {
			meaning := about[typ.Name()+"."+typ.FieldByIndex(f.index).Name]
			if meaning == "" {
				t.Errorf("%s.%s has no comment", typ.Name(), f.key)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.key, allowed(f), defaultText(s, f), meaning)
		}
	}
	writeGames(&b)
	compare(t, filepath.Join(docs, "configuration.md"), b.Bytes())
}

// allowed describes a field's values: kind, words, bounds.
func allowed(f field) string {
	t, r := f.typ, f.rules
	text := wanted(t)
	switch {
	case r.endpoint:
		text = wanted(reflect.TypeFor[Listen]())
	case t.Kind() == reflect.Slice && isScalar(t.Elem()) && r.single:
		text = wanted(t.Elem()) + ", or a list"
	case t.Kind() == reflect.Slice && isScalar(t.Elem()):
		text = "list: " + wanted(t.Elem())
	case t.Kind() == reflect.Slice:
		text = "list of mappings"
	case t.Kind() == reflect.Struct && !isScalar(t):
		text = "mapping"
	}
	switch {
	case f.key == "game":
		text = "see [games](#games)"
	case r.enum != nil:
		text = "`" + strings.Join(r.enum, "`, `") + "`"
		if r.single {
			text += ", or a list"
		}
	case r.max != "":
		text += fmt.Sprintf(", %s to %s", orZero(r.min), r.max)
	}
	if r.required {
		text += "; required"
	}
	return text
}

func defaultText(s section, f field) string {
	if s.path == "limits.source" && f.key == "burst" {
		return "`2000` (twice the rate)"
	}
	v := s.defaults.FieldByIndex(f.index)
	switch {
	case f.rules.required || v.Kind() == reflect.Struct && !isScalar(v.Type()):
		return ""
	case s.path == "services[]" && f.key == "enforce":
		return "the file's"
	case strings.HasPrefix(s.path, "limits") && f.key == "enforce":
		return "`true`"
	}
	text := plain(v)
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// plain writes a default as the file would, "" where there is none to show.
func plain(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return short(x)
	case netip.Addr, [2]float64, *bool:
		return ""
	case fmt.Stringer:
		return x.String()
	case []ProtoPort:
		var words []string
		for _, p := range x {
			words = append(words, p.String())
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	if v.Kind() == reflect.Slice {
		return ""
	}
	return fmt.Sprint(v.Interface())
}

func writeGames(b *bytes.Buffer) {
	b.WriteString("\n## Games\n\nProtocol families:\n\n| `game` | what | class | over | usual port |\n|---|---|---|---|---|\n")
	row := func(name string) {
		p, _ := game.Lookup(name)
		port := ""
		if p.Port != 0 {
			port = fmt.Sprint(p.Port)
		}
		what := p.Title
		if !p.IsFamily() {
			what += " (`" + p.Family + "`)"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", name, what, p.Class, strings.Join(p.Protos, ", "), port)
	}
	for _, name := range game.Families() {
		row(name)
	}
	b.WriteString("\nTitles that stand for a family, with a class and ports of their own:\n\n| `game` | what | class | over | usual port |\n|---|---|---|---|---|\n")
	for _, name := range game.Titles() {
		row(name)
	}
}

// The page is generated, so this can only fail when a mapping is missing from structs.
func TestEveryKeyIsInTheReference(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(docs, "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.ReadFile(filepath.Join(docs, "examples", "full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	allKeys(reflect.TypeFor[Config](), keys)
	if len(keys) < 50 {
		t.Errorf("only %d keys found: the walk is broken", len(keys))
	}
	for key := range keys {
		if !bytes.Contains(page, []byte("| `"+key+"` |")) {
			t.Errorf("configuration.md does not explain %q", key)
		}
		if !bytes.Contains(full, []byte(key+":")) {
			t.Errorf("full.yaml does not show %q", key)
		}
	}
}

func allKeys(t reflect.Type, keys map[string]bool) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || isScalar(t) {
		return
	}
	for _, f := range fieldsOf(t) {
		keys[f.key] = true
		allKeys(f.typ, keys)
	}
}
