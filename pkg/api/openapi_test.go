// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
	"parry/pkg/blocklist"
)

// document is what the tests read of docs/openapi.yaml.
type document struct {
	Paths      map[string]map[string]operation
	Components struct {
		Parameters map[string]parameter
		Responses  map[string]any
		Schemas    map[string]struct{ Properties map[string]map[string]any }
	}
}

// parameter has all that one may say, so that a stray comma in a description shows as an unknown key.
type parameter struct {
	Name, In, Description string
	Required, Explode     bool
	Schema                map[string]any
}

type operation struct {
	Parameters []struct {
		Ref string `yaml:"$ref"`
	}
	Responses map[string]any
}

func openAPI(t *testing.T) (document, string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	known := []string{"type", "description", "enum", "default", "format", "items", "oneOf", "$ref", "minimum", "maximum", "maxLength", "maxItems"}
	for name, schema := range doc.Components.Schemas {
		for property, says := range schema.Properties {
			for k := range says {
				if !slices.Contains(known, k) {
					t.Errorf("%s.%s: unknown key %q: a stray comma?", name, property, k)
				}
			}
		}
	}
	return doc, string(text)
}

func TestOpenAPIDescribesExactlyTheRoutes(t *testing.T) {
	doc, _ := openAPI(t)
	var described []string
	for path, ops := range doc.Paths {
		for method := range ops {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	routes := api.NewHTTPServer(nil, api.HTTPOptions{}, quiet()).Patterns()
	slices.Sort(described)
	slices.Sort(routes)
	if diff := cmp.Diff(routes, described); diff != "" {
		t.Errorf("(-routes +described):\n%s", diff)
	}
}

// Each parameter that is described is known to its route, and the routes know no other.
func TestOpenAPIDescribesTheParameters(t *testing.T) {
	doc, _ := openAPI(t)
	h := api.As(0, api.NewHTTPServer(apitest.World(), api.HTTPOptions{SpoolDir: t.TempDir()}, quiet()).Handler())
	unknown := func(method, path, name string) bool {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(method, path+"?"+name+"=", nil))
		return strings.Contains(rec.Body.String(), "unknown parameter")
	}
	all := map[string]bool{}
	for _, p := range doc.Components.Parameters {
		if p.In == "query" {
			all[p.Name] = true
		}
	}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			described := map[string]bool{}
			for _, ref := range op.Parameters {
				described[doc.Components.Parameters[strings.TrimPrefix(ref.Ref, "#/components/parameters/")].Name] = true
			}
			for name := range all {
				if described[name] == unknown(strings.ToUpper(method), path, name) {
					t.Errorf("%s %s: parameter %s: described %v, known %v", method, path, name, described[name], !described[name])
				}
			}
		}
	}
}

func TestOpenAPIDescribesTheShapes(t *testing.T) {
	doc, text := openAPI(t)
	for name, shape := range api.Shapes() {
		want := jsonKeys(reflect.TypeOf(shape))
		got := slices.Sorted(maps.Keys(doc.Components.Schemas[name].Properties))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-code +described):\n%s", name, diff)
		}
	}
	entry, err := json.Marshal(blocklist.Entry{Unlimited: true})
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(entry, &keys); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(keys)), slices.Sorted(maps.Keys(doc.Components.Schemas["Entry"].Properties))); diff != "" {
		t.Errorf("Entry (-code +described):\n%s", diff)
	}
	for _, line := range strings.Split(text, "\n") {
		for _, part := range strings.Split(line, `$ref: "#/`)[1:] {
			ref, _, _ := strings.Cut(part, `"`)
			if !has(doc, ref) {
				t.Errorf("%s is referred to and not there", ref)
			}
		}
	}
}

func jsonKeys(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func has(doc document, ref string) bool {
	parts := strings.Split(ref, "/")
	if len(parts) != 3 {
		return false
	}
	var ok bool
	switch parts[1] {
	case "parameters":
		_, ok = doc.Components.Parameters[parts[2]]
	case "responses":
		_, ok = doc.Components.Responses[parts[2]]
	case "schemas":
		_, ok = doc.Components.Schemas[parts[2]]
	}
	return ok
}
