// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"errors"
	"fmt"
	"strings"

	"parry/pkg/spell"
)

// parser reads an expression. As in tcpdump's language `and` and `or` bind equally and from the left, `not` binds tighter, and an
// address or number behind one of them takes over what the one before it was said to be: `port 80 or 443`.
type parser struct {
	text   string
	tokens []token // the last is the end
	at     int
	depth  int
}

// value is what some words came to: a truth or a number.
type value struct {
	truth  node
	number arith
	q      *quality // what a bare address behind it would be; nil = nothing
}

// Parse understands a text. What it refuses is an *Error.
func Parse(text string) (*Expr, error) {
	if len(text) > MaxText {
		return nil, &Error{Text: text[:MaxText], Offset: MaxText, Msg: fmt.Sprintf("an expression of %d bytes is too long: at most %d", len(text), MaxText)}
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{text: text, tokens: tokens}
	if p.peek().kind == kindEnd {
		return nil, p.fail(p.peek(), "the expression is empty")
	}
	v, err := p.expression(nil)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != kindEnd {
		return nil, p.unexpected(t)
	}
	if v.truth == nil {
		return nil, p.fail(p.peek(), "a number is neither true nor false: compare it with something")
	}
	return &Expr{text: text, root: v.truth}, nil
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != kindEnd {
		p.at++
	}
	return t
}

// accept takes the next word if it is one of these.
func (p *parser) accept(words ...string) (token, bool) {
	for _, w := range words {
		if p.peek().is(w) {
			return p.next(), true
		}
	}
	return token{}, false
}

func (p *parser) expect(sign, what string) error {
	if _, ok := p.accept(sign); ok {
		return nil
	}
	return p.fail(p.peek(), "want %q %s", sign, what)
}

// enter bounds how deep an expression is nested: the parser calls itself.
func (p *parser) enter(t token) error {
	if p.depth++; p.depth > maxDepth {
		return p.fail(t, "nested too deep: at most %d levels", maxDepth)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// unexpected says what is wrong with a word where none of its kind belongs.
func (p *parser) unexpected(t token) error {
	err := p.fail(t, "%q is not expected here", t.text)
	e := new(Error)
	errors.As(err, &e)
	switch {
	case t.kind == kindEnd:
		e.Msg = "something is missing at the end"
	case t.kind == kindWord && foreign()[t.text] != "":
		e.Msg = fmt.Sprintf("%q can't be asked for: %s", t.text, foreign()[t.text])
	case t.kind == kindWord && !known(t.text):
		e.Msg = fmt.Sprintf("%q means nothing here", t.text)
		e.Near, _ = spell.Nearest(t.text, keywords())
	case t.kind == kindRange:
		e.Msg = "a range belongs behind portrange; a difference has spaces: " + strings.Replace(t.text, "-", " - ", 1)
	case t.kind == kindQuad || t.kind == kindIP6:
		e.Msg = fmt.Sprintf("say what %s is: host, src host, dst host, net", t.text)
	}
	return e
}

func known(word string) bool {
	for _, w := range keywords() {
		if w == word {
			return true
		}
	}
	return false
}

// expression reads terms and what joins them, up to what belongs to none. before is what a bare address would be if the whole
// stood in no parentheses. A number comes back alone: behind it its caller wants a parenthesis.
func (p *parser) expression(before *quality) (value, error) {
	v, err := p.term(before)
	if err != nil || v.truth == nil {
		return v, err
	}
	for {
		op, ok := p.accept("and", "&&", "or", "||")
		if !ok {
			return v, nil
		}
		r, err := p.operand(v.q)
		if err != nil {
			return v, err
		}
		v = join(op, v, r)
	}
}

func join(op token, l, r value) value {
	if op.text == "and" || op.text == "&&" {
		return value{truth: and{l.truth, r.truth}, q: r.q}
	}
	return value{truth: or{l.truth, r.truth}, q: r.q}
}

// operand is what stands behind `and` or `or`: a term, or an address that is what the one before was.
func (p *parser) operand(q *quality) (value, error) {
	if t, ok := p.accept("not", "!"); ok {
		return p.negated(t, func() (value, error) { return p.operand(q) })
	}
	if q != nil && p.startsID() {
		return p.id(q)
	}
	return p.truth(q)
}

// truth is a term that is no number.
func (p *parser) truth(q *quality) (value, error) {
	t := p.peek()
	v, err := p.term(q)
	if err == nil && v.truth == nil {
		err = p.fail(t, "a number is neither true nor false: compare it with something")
	}
	return v, err
}

func (p *parser) negated(t token, of func() (value, error)) (value, error) {
	if err := p.enter(t); err != nil {
		return value{}, err
	}
	defer p.leave()
	v, err := of()
	if err == nil && v.truth == nil {
		err = p.fail(t, "a number is neither true nor false: compare it with something")
	}
	v.truth = not{v.truth}
	return v, err
}

// term is one test, a negation, or something in parentheses.
func (p *parser) term(before *quality) (value, error) {
	if t, ok := p.accept("not", "!"); ok {
		return p.negated(t, func() (value, error) { return p.term(before) })
	}
	return p.comparison(before)
}

// startsID looks ahead: is it a bare address or number, and not the beginning of a comparison?
func (p *parser) startsID() bool {
	at, open := p.at, 0
	for ; p.tokens[at].is("("); open++ {
		at++
		for p.tokens[at].is("not") || p.tokens[at].is("!") {
			at++
		}
	}
	switch p.tokens[at].kind {
	case kindQuad, kindIP6, kindRange:
		return true
	case kindNumber:
		at++
		for ; open > 0 && p.tokens[at].is(")"); open-- {
			at++
		}
		then := p.tokens[at]
		return then.kind != kindSign || then.is(")") || then.is("&&") || then.is("||")
	}
	return false
}

// id reads a bare address or number, or several in parentheses.
func (p *parser) id(q *quality) (value, error) {
	open, ok := p.accept("(")
	if !ok {
		n, err := p.leaf(q)
		return value{truth: n, q: q}, err
	}
	if err := p.enter(open); err != nil {
		return value{}, err
	}
	defer p.leave()
	one := func() (value, error) {
		if t, ok := p.accept("not", "!"); ok {
			return p.negated(t, func() (value, error) { return p.id(q) })
		}
		if !p.startsID() {
			return value{}, p.fail(p.peek(), "in parentheses behind %q there can be further ones of it alone", q.words())
		}
		return p.id(q)
	}
	v, err := one()
	for err == nil {
		op, ok := p.accept("and", "&&", "or", "||")
		if !ok {
			return v, p.expect(")", "after them")
		}
		var r value
		if r, err = one(); err == nil {
			v = join(op, v, r)
		}
	}
	return v, err
}
