// SPDX-License-Identifier: Apache-2.0

package config

import (
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/google/go-cmp/cmp"
)

// items returns the texts of {l: [...]}, or nil if any is no scalar.
func items(t *testing.T, list string, mended bool) []string {
	t.Helper()
	tokens := lexer.Tokenize("{l: " + list + "}")
	if mended {
		tokens = joinColons(tokens)
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil
	}
	seq, ok := f.Docs[0].Body.(*ast.MappingNode).Values[0].Value.(*ast.SequenceNode)
	if !ok {
		return nil
	}
	var texts []string
	for _, v := range seq.Values {
		text, ok := scalarText(v)
		if !ok {
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}

func TestColonsInsideWordsAreText(t *testing.T) {
	for _, tc := range []struct {
		list string
		want []string
	}{
		{"[203.0.113.10:1, 203.0.113.11:80-90 ]", []string{"203.0.113.10:1", "203.0.113.11:80-90"}},
		{"[2001:db8::1, ::1, 2001:db8::/32, fd00::]", []string{"2001:db8::1", "::1", "2001:db8::/32", "fd00::"}},
		{"[tcp/22, 5:6:7]", []string{"tcp/22", "5:6:7"}},
		{"[\n a:b,\n c:d\n]", []string{"a:b", "c:d"}},
		{"[a: b]", nil},   // a space: a mapping
		{`["a":b]`, nil},  // a quoted key needs none
		{"[{a: b}]", nil}, // braces
		{"[a:b, c: d]", nil},
	} {
		if diff := cmp.Diff(tc.want, items(t, tc.list, true)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.list, diff)
		}
	}
}

// When this fails, the library has learnt it: colons.go can go.
func TestTheLibraryStillNeedsMending(t *testing.T) {
	if got := items(t, "[203.0.113.10:1]", false); got != nil {
		t.Errorf("go-yaml reads %q by itself now", got)
	}
}
