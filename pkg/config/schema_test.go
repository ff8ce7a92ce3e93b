// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"parry/pkg/game"
)

// schema generates the JSON Schema from the types, their check tags and their comments.
func schema(t *testing.T) []byte {
	t.Helper()
	about := comments(t)
	r := &jsonschema.Reflector{
		FieldNameTag: "yaml", Anonymous: true, RequiredFromJSONSchemaTags: true, Mapper: scalarSchema,
		LookupComment: func(t reflect.Type, f string) string {
			if f == "" {
				return about[t.Name()]
			}
			return about[t.Name()+"."+f]
		},
	}
	s := r.Reflect(&Config{})
	s.Title = "parry configuration"
	for _, part := range structs() {
		typ := part.defaults.Type()
		def, ok := s.Definitions[typ.Name()]
		if !ok {
			t.Fatalf("no definition of %s", typ.Name())
		}
		for _, f := range sortedFields(fieldsOf(typ)) {
			p, ok := def.Properties.Get(f.key)
			if !ok {
				t.Fatalf("no property %s.%s", typ.Name(), f.key)
			}
			def.Properties.Set(f.key, refine(p, f, part))
			if f.rules.required {
				def.Required = append(def.Required, f.key)
			}
		}
	}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func scalarSchema(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.Prefix](), reflect.TypeFor[Listen](), reflect.TypeFor[ProtoPort]():
		return &jsonschema.Schema{Type: "string", Examples: []any{strings.TrimPrefix(wanted(t), "a prefix as ")}}
	case reflect.TypeFor[PortRange](), reflect.TypeFor[game.Bounds]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, {Type: "integer"}}}
	case reflect.TypeFor[time.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9.]+(h|m|s|ms|us|ns))+$`}
	case reflect.TypeFor[[2]float64]():
		two := uint64(2)
		return &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "number"}, MinItems: &two, MaxItems: &two}
	}
	return nil
}

// refine adds to a property what its check tag says, and its default.
func refine(p *jsonschema.Schema, f field, part section) *jsonschema.Schema {
	value, array := p, p
	if p.Type == "array" && p.Items != nil {
		value = p.Items
	}
	if len(f.rules.enum) > 0 {
		value.Enum = nil
		for _, word := range f.rules.enum {
			value.Enum = append(value.Enum, word)
		}
		if f.rules.games { // and what the file defines itself
			value.AnyOf, value.Enum = []*jsonschema.Schema{{Enum: value.Enum}, {Pattern: nameForm.String()}}, nil
		}
	}
	if p.Type == "integer" {
		p.Minimum, p.Maximum = json.Number(orZero(f.rules.min)), json.Number(f.rules.max)
	}
	switch f.rules.format {
	case "name":
		value.Pattern = nameForm.String()
	case "gate":
		value.Pattern = gateForm.String()
	case "country":
		value.Pattern = countryForm.String()
	case "place":
		value.Pattern = placeForm.String()
	}
	if f.rules.items > 0 {
		n := uint64(f.rules.items)
		array.MaxItems = &n
	}
	if v := plain(part.defaults.FieldByIndex(f.index)); v != "" && v != "0" && p.Ref == "" && p.Type != "array" && part.path != "services[]" {
		p.Default = typed(p.Type, v)
	}
	if f.rules.single {
		about := p.Description
		p.Description = ""
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{value, array}, Description: about}
	}
	return p
}

func typed(kind, text string) any {
	switch kind {
	case "integer":
		return json.Number(text)
	case "boolean":
		return text == "true"
	}
	return text
}

func TestSchemaIsFresh(t *testing.T) {
	compare(t, filepath.Join(docs, "parry.schema.json"), schema(t))
}

// compiled returns the checked-in schema, ready to validate.
func compiled(t *testing.T) *validator.Schema {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(docs, "parry.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("parry.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("parry.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *validator.Schema, text []byte) error {
	t.Helper()
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func TestExamplesAreAcceptedByParseAndSchema(t *testing.T) {
	s := compiled(t)
	files, err := filepath.Glob(filepath.Join(docs, "examples", "*.yaml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d examples, %v: want at least 5", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Parse(f, text); err != nil {
				t.Error(err)
			}
			if err := validate(t, s, text); err != nil {
				t.Error(err)
			}
		})
	}
}

// An editor with the schema must see what Parse refuses for its shape alone.
func TestSchemaRefusesWhatParseRefuses(t *testing.T) {
	s := compiled(t)
	good, err := os.ReadFile(filepath.Join(docs, "examples", "full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, old, bad string }{
		{"unknown key", "game: quake3", "gaem: quake3"},
		{"unknown word", "forward: nat", "forward: net"},
		{"no name of a game", "game: quake3", "game: Quake 3"},
		{"text for a number", "fragments: 8192", "fragments: many"},
		{"out of bounds", "fragments: 8192", "fragments: 1"},
		{"number for a duration", "closing: 5s", "closing: 5"},
		{"no name", "- {name: eth0, mode: native}", "- {mode: native}"},
		{"bad name", "name: arena\n", "name: The Arena\n"},
		{"bad country", "[DE, FR]", "[de, FR]"},
		{"text for a flag", "enforce: true\npin", "enforce: maybe\npin"},
		{"half a location", "[50.1, 8.7]", "[50.1]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := bytes.Replace(good, []byte(tc.old), []byte(tc.bad), 1)
			if bytes.Equal(text, good) {
				t.Fatalf("full.yaml has no %q", tc.old)
			}
			if _, err := Parse("x", text); err == nil {
				t.Error("Parse accepts it")
			}
			if validate(t, s, text) == nil {
				t.Error("the schema accepts it")
			}
		})
	}
}
