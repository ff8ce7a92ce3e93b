// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"strconv"
	"strings"
)

type kind uint8

const (
	kindEnd    kind = iota
	kindWord        // a keyword or a name
	kindNumber      // value holds it
	kindQuad        // 10.1 or 10.1.2.3
	kindIP6
	kindRange // 10-20
	kindSign  // an operator or bracket
)

// token is a word of an expression.
type token struct {
	kind  kind
	text  string
	at    int
	value uint32
}

func (t token) is(text string) bool {
	return (t.kind == kindSign || t.kind == kindWord) && t.text == text
}

const wordBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-"

// signs, the longer ones first.
func signs() []string {
	return []string{"<<", ">>", "<=", ">=", "!=", "==", "&&", "||", "(", ")", "[", "]", ":", "+", "-", "*", "/", "%", "&", "|", "^", "<", ">", "=", "!", `\`}
}

// lex cuts a text into words. Inside of brackets ':' and '-' are signs, outside they may be part of a word.
func lex(text string) ([]token, error) {
	var all []token
	depth := 0
	for at := 0; at < len(text); {
		c := text[at]
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			at++
			continue
		}
		t, err := word(text, at, depth > 0)
		if err != nil {
			return nil, err
		}
		if t.text == "" {
			t, err = sign(text, at)
			if err != nil {
				return nil, err
			}
		}
		switch t.text {
		case "[":
			depth++
		case "]":
			depth--
		}
		all = append(all, t)
		at += len(t.text)
	}
	return append(all, token{kind: kindEnd, at: len(text)}), nil
}

func sign(text string, at int) (token, error) {
	for _, s := range signs() {
		if strings.HasPrefix(text[at:], s) {
			return token{kind: kindSign, text: s, at: at}, nil
		}
	}
	size := 1
	for size < 4 && at+size < len(text) && text[at+size]&0xc0 == 0x80 {
		size++
	}
	return token{}, &Error{Text: text, Offset: at, Length: size, Msg: fmt.Sprintf("%q has no meaning here", text[at:at+size])}
}

// word takes letters, digits and what addresses and names are made of. An empty one is none.
func word(text string, at int, inside bool) (token, error) {
	end := at
	for end < len(text) && strings.IndexByte(wordBytes, text[end]) >= 0 {
		c := text[end]
		if (c == '-' && (end == at || inside && !named(text[at:end]))) || (c == ':' && inside) {
			break
		}
		end++
	}
	w := text[at:end]
	t := token{kind: kindWord, text: w, at: at}
	switch {
	case w == "":
		return t, nil
	case strings.Count(w, ":") >= 2:
		t.kind = kindIP6
	case w[0] < '0' || w[0] > '9':
		return t, nil
	case strings.Contains(w, "."):
		t.kind = kindQuad
	case !strings.HasPrefix(w, "0x") && strings.Contains(w, "-"):
		t.kind = kindRange
	default:
		t.kind = kindNumber
		v, err := number(w)
		if err != nil {
			return t, &Error{Text: text, Offset: at, Length: len(w), Msg: err.Error()}
		}
		t.value = v
	}
	return t, nil
}

// named: inside of brackets tcp-syn is a name, and 4-2 is not.
func named(w string) bool { return w[0] < '0' || w[0] > '9' }

// number reads decimal, 0x hexadecimal and 0 octal ones, as tcpdump does.
func number(w string) (uint32, error) {
	base, digits := 10, w
	switch {
	case strings.HasPrefix(w, "0x") || strings.HasPrefix(w, "0X"):
		base, digits = 16, w[2:]
	case len(w) > 1 && w[0] == '0':
		base, digits = 8, w[1:]
	}
	v, err := strconv.ParseUint(digits, base, 64)
	if err != nil || strings.HasPrefix(digits, "+") {
		if base == 8 {
			return 0, fmt.Errorf("%s is no number: one that begins with 0 is octal", w)
		}
		return 0, fmt.Errorf("%s is neither a number nor an address", w)
	}
	if v > 1<<32-1 {
		return 0, fmt.Errorf("%s is too large: numbers have 32 bits", w)
	}
	return uint32(v), nil
}
