// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What a file may be, so that reading any bytes ends soon and in little memory. The YAML
// library recurses for nesting and for each key of a mapping, and its tokens take some 170 bytes each.
const (
	// MaxFileSize is the largest configuration file, in bytes.
	MaxFileSize = 4 << 20
	maxMarks    = 1 << 20 // characters that may begin a token
	maxDepth    = 32      // the deepest value of a real file is at 6
	maxKeys     = 256     // of one mapping; the largest real one has 16
	maxScalar   = 4096    // bytes of one key or value
)

// parseYAML returns the root mapping of a file, or nil and the faults that make it no YAML (or
// YAML of a kind that a configuration has no use for).
func parseYAML(file string, data []byte) (root *ast.MappingNode, errs Errors) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if err, bad := checkBytes(file, data); bad {
		return nil, Errors{err}
	}
	// The library is fuzzed less than it should be for a reader of other people's text; a panic
	// of its own must be a refused file, not a dead daemon.
	defer func() {
		if p := recover(); p != nil {
			root, errs = nil, Errors{{File: file, Message: oneLine(fmt.Sprintf("not readable as YAML: %v", p))}}
		}
	}()
	tokens := joinColons(lexer.Tokenize(string(data)))
	if errs := checkTokens(file, tokens); len(errs) > 0 {
		return nil, errs
	}
	f, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // duplicates: the decoder finds them all
	if err != nil {
		return nil, Errors{syntaxError(file, data, err)}
	}
	return rootMapping(file, f)
}

func rootMapping(file string, f *ast.File) (*ast.MappingNode, Errors) {
	var bodies []ast.Node
	for _, doc := range f.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	if len(bodies) == 0 {
		return nil, Errors{{File: file, Line: 1, Column: 1, Message: "the file is empty: a configuration has at least a service"}}
	}
	if len(bodies) > 1 {
		e := Error{File: file, Message: "a second document begins here: a configuration is one"}
		e.Line, e.Column = position(bodies[1])
		return nil, Errors{e}
	}
	root, ok := bodies[0].(*ast.MappingNode)
	if !ok {
		e := Error{File: file, Message: "want keys and values at the top of the file, found " + kind(bodies[0])}
		e.Line, e.Column = position(bodies[0])
		return nil, Errors{e}
	}
	return root, nil
}

// checkBytes refuses what must not reach the library: too much, or no text.
func checkBytes(file string, data []byte) (Error, bool) {
	if len(data) > MaxFileSize {
		return Error{File: file, Message: fmt.Sprintf("too large: %d bytes, the limit is %d", len(data), MaxFileSize)}, true
	}
	line, start, marks := 1, 0, 0
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		bad := ""
		switch {
		case r == utf8.RuneError && n <= 1:
			bad = "not UTF-8 text"
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			bad = fmt.Sprintf("control character %U", r)
		case isMark(data, i):
			if marks++; marks > maxMarks {
				bad = fmt.Sprintf("too many values: more than %d", maxMarks)
			}
		}
		if bad != "" {
			return Error{File: file, Line: line, Column: utf8.RuneCount(data[start:i]) + 1, Message: bad}, true
		}
		i += n
		if r == '\n' {
			line, start = line+1, i
		}
	}
	return Error{}, false
}

// isMark reports whether a token may begin or end at data[i]: colons and dashes inside words
// (IPv6 addresses, ranges) don't count.
func isMark(data []byte, i int) bool {
	switch data[i] {
	case '\n', '[', ']', '{', '}', ',', '"', '\'', '!', '&', '*', '|', '>', '%', '#', '?':
		return true
	case ':', '-':
		return i+1 == len(data) || strings.IndexByte(" \t\r\n,[]{}\"'", data[i+1]) >= 0
	}
	return false
}

// position is where a person would look for n: a mapping's first key, else the value itself.
func position(n ast.Node) (line, column int) {
	tk := n.GetToken()
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			tk = n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		tk = n.Key.GetToken()
	}
	if tk == nil || tk.Position == nil {
		return 1, 1
	}
	return tk.Position.Line, tk.Position.Column
}

// unquotedV6 finds [2001:db8::1]:27960 without quotes, which YAML reads as a list.
var unquotedV6 = regexp.MustCompile(`(?:^|[\s,\[-])(\[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*\]:[0-9]+(?:-[0-9]+)?)`)

// oneLine keeps tabs and other control characters out of messages.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' {
			return -1
		}
		return r
	}, s)
}

func syntaxError(file string, data []byte, err error) Error {
	// Not err.Error(): it draws the source around the fault, in quadratic time and on many lines.
	var yerr yaml.Error
	if !errors.As(err, &yerr) {
		return Error{File: file, Message: "not YAML"}
	}
	e := Error{File: file, Message: "not YAML: " + oneLine(yerr.GetMessage())}
	if strings.Contains(yerr.GetMessage(), "character '\t'") {
		e.Message = "not YAML: a tab: lines are indented by spaces"
	}
	tk := yerr.GetToken()
	if tk == nil || tk.Position == nil {
		return e
	}
	e.Line, e.Column = tk.Position.Line, tk.Position.Column
	if lines := bytes.Split(data, []byte("\n")); e.Line >= 1 && e.Line <= len(lines) {
		text := lines[e.Line-1]
		if m := unquotedV6.FindSubmatchIndex(text); m != nil {
			e.Message = "an IPv6 address with a port needs quotes around it"
			e.Column = utf8.RuneCount(text[:m[2]]) + 1
			e.Hint = string(text[m[2]:m[3]])
		}
	}
	return e
}

// checkTokens refuses what a configuration has no use for (anchors, aliases, tags ...: with
// them goes every file that unfolds to more than it shows) and nesting beyond maxDepth.
func checkTokens(file string, tokens token.Tokens) Errors {
	var errs Errors
	var nest nesting
	for i, tk := range tokens {
		bad := refusal(tk)
		if bad == "" {
			bad = nest.add(tokens, i)
		}
		if bad != "" {
			errs = append(errs, Error{File: file, Line: tk.Position.Line, Column: tk.Position.Column, Message: bad})
			if len(errs) == maxErrors {
				break
			}
		}
	}
	return errs
}

func refusal(tk *token.Token) string {
	if len(tk.Value) > maxScalar && tk.Type != token.CommentType {
		return fmt.Sprintf("a value of %d bytes: the limit is %d", len(tk.Value), maxScalar)
	}
	switch tk.Type {
	case token.AnchorType, token.AliasType:
		return "anchors and aliases are not supported: write the value out"
	case token.MergeKeyType:
		return "merge keys are not supported: write the values out"
	case token.TagType:
		return "tags are not supported: write the plain value"
	case token.DirectiveType:
		return "directives are not supported: leave the line out"
	case token.MappingKeyType:
		return "keys marked by ? are not supported: write key: value"
	}
	return ""
}

// nesting follows the depth of a token stream: the brackets of flow style, and in
// block style the columns of keys and dashes that are open.
type nesting struct {
	flow   int
	inFlow int // keys since the last comma or bracket
	open   []block
}

type block struct {
	column int
	dash   bool
	keys   int
}

func (n *nesting) add(tokens token.Tokens, i int) string {
	tk := tokens[i]
	switch tk.Type {
	case token.SequenceStartType, token.MappingStartType:
		n.flow, n.inFlow = n.flow+1, 0
	case token.SequenceEndType, token.MappingEndType:
		n.flow, n.inFlow = max(0, n.flow-1), 0
	case token.CollectEntryType:
		n.inFlow = 0
	case token.SequenceEntryType:
		n.block(tk.Position.Column, true)
	case token.MappingValueType:
		if n.flow > 0 {
			n.inFlow++
		} else if i > 0 {
			n.block(tokens[i-1].Position.Column, false)
		}
	}
	if n.flow+len(n.open) > maxDepth {
		n.flow, n.open = 0, nil // once is enough
		return fmt.Sprintf("nested more than %d deep", maxDepth)
	}
	if keys := n.keys(); keys > maxKeys {
		n.inFlow, n.open = 0, nil
		return fmt.Sprintf("more than %d keys in one mapping", maxKeys)
	}
	return ""
}

func (n *nesting) keys() int {
	if len(n.open) == 0 {
		return n.inFlow
	}
	return max(n.inFlow, n.open[len(n.open)-1].keys)
}

// block notes a key or dash at a column: it closes what is open to its right.
func (n *nesting) block(column int, dash bool) {
	for len(n.open) > 0 {
		top := n.open[len(n.open)-1]
		if top.column < column || top.column == column && (top.dash == dash || dash) {
			break
		}
		n.open = n.open[:len(n.open)-1]
	}
	if k := len(n.open); k == 0 || n.open[k-1].column < column || n.open[k-1].dash != dash {
		n.open = append(n.open, block{column: column, dash: dash})
	}
	n.open[len(n.open)-1].keys++
	if dash {
		n.open[len(n.open)-1].keys = 0 // a list's length is the schema's business
	}
}

// kind names a node's type for people.
func kind(n ast.Node) string {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode:
		return "a number"
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a fraction"
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	default:
		return strings.ToLower(n.Type().String())
	}
}

// scalarText returns the text of a scalar as written (quotes and escapes resolved), false
// for lists, mappings and nothing.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// pairs returns the keys and values of a mapping.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return slices.Clip([]*ast.MappingValueNode{n}), true
	}
	return nil, false
}
