// SPDX-License-Identifier: Apache-2.0

package config

import (
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// joinColons mends what go-yaml v1.19.2 gets wrong in a list inside braces: in
// {listen: [203.0.113.10:80]} it takes the colon of the address for that of a key,
// although a plain scalar may hold a colon that no space follows (YAML 1.2.2, section 7.3.3).
// It may go when the library reads that as one text; a test notices.
func joinColons(tokens token.Tokens) token.Tokens {
	var out token.Tokens
	var open []token.Type // brackets and braces around the token
	for i := 0; i < len(tokens); i++ {
		tk := tokens[i]
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			open = append(open, tk.Type)
		case token.SequenceEndType, token.MappingEndType:
			open = open[:max(0, len(open)-1)]
		case token.MappingValueType:
			inList := len(open) > 0 && open[len(open)-1] == token.SequenceStartType
			if inList && i+1 < len(tokens) && plainScalar(tokens[i+1]) && touches(tk, tokens[i+1]) {
				out, tk = joinText(out, tk, tokens[i+1])
				i++
			}
		}
		out.Add(tk)
	}
	return out
}

// joinText makes one text of a colon, what follows it, and the plain scalar at the end of
// out if that touches the colon.
func joinText(out token.Tokens, colon, after *token.Token) (token.Tokens, *token.Token) {
	text, pos := ":"+after.Value, colon.Position
	if n := len(out); n > 0 && plainScalar(out[n-1]) && touches(out[n-1], colon) {
		before := out[n-1]
		text, pos, out = before.Value+text, before.Position, out[:n-1]
	}
	return out, token.String(text, text, pos)
}

func plainScalar(tk *token.Token) bool {
	switch tk.Type {
	case token.StringType, token.BoolType, token.NullType, token.FloatType, token.InfinityType, token.NanType,
		token.IntegerType, token.BinaryIntegerType, token.OctetIntegerType, token.HexIntegerType:
		return true
	}
	return false
}

// touches reports whether b begins in the column where a ends.
func touches(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}
