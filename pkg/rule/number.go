// SPDX-License-Identifier: Apache-2.0

package rule

import "parry/pkg/spell"

// comparison reads two numbers and what compares them. A truth that needs no comparison, or a number without one, comes back as it is.
func (p *parser) comparison(before *quality) (value, error) {
	l, err := p.sum(before)
	if err != nil || l.truth != nil {
		return l, err
	}
	op, ok := p.accept("=", "==", "!=", "<=", ">=", "<", ">")
	if !ok {
		return l, nil
	}
	t := p.peek()
	r, err := p.sum(nil)
	if err != nil {
		return r, err
	}
	if r.truth != nil {
		return r, p.fail(t, "want a number behind %q", op.text)
	}
	if op.text == "==" {
		op.text = "="
	}
	return value{truth: relation{op.text, l.number, r.number}}, nil
}

// binding of the operators. tcpdump leaves that of % and ^ to its parser's tables: with others they want parentheses.
func binding(op string) int {
	switch op {
	case "|":
		return 1
	case "&":
		return 2
	case "<<", ">>":
		return 3
	case "+", "-":
		return 4
	case "*", "/", "%", "^":
		return 5
	}
	return 0
}

// sum reads numbers and operators, as far as they go.
func (p *parser) sum(before *quality) (value, error) {
	s := &sum{parser: p, before: before}
	v, err := s.climb(1)
	if err == nil && s.odd.text != "" && s.operators > 1 {
		err = p.fail(s.odd, "put parentheses: what %q binds to among other operators is anybody's guess", s.odd.text)
	}
	return v, err
}

type sum struct {
	*parser
	before    *quality
	operators int
	odd       token // a % or ^ among them
}

func (s *sum) climb(least int) (value, error) {
	l, err := s.unary(s.before)
	for err == nil {
		op := s.peek()
		bind := 0
		if op.kind == kindSign {
			bind = binding(op.text)
		}
		if bind < least {
			return l, nil
		}
		if l.truth != nil {
			return l, s.fail(op, "%q wants numbers on both sides", op.text)
		}
		s.next()
		s.operators++
		if op.text == "%" || op.text == "^" {
			s.odd = op
		}
		var r value
		if r, err = s.climb(bind + 1); err != nil {
			return r, err
		}
		if r.truth != nil {
			return r, s.fail(op, "%q wants numbers on both sides", op.text)
		}
		l, err = s.operate(op, l.number, r.number)
	}
	return l, err
}

// operate makes one number of two; of two constants a constant.
func (p *parser) operate(op token, l, r arith) (value, error) {
	if c, ok := r.(constant); ok {
		switch {
		case c == 0 && op.text == "/", c == 0 && op.text == "%":
			return value{}, p.fail(op, "it divides by zero")
		case c > 31 && (op.text == "<<" || op.text == ">>"):
			return value{}, p.fail(op, "numbers have 32 bits: it shifts all of them out")
		}
		if d, ok := l.(constant); ok {
			n, _ := compute(op.text, uint32(d), uint32(c))
			return value{number: constant(n)}, nil
		}
	}
	return value{number: operation{op.text, l, r}}, nil
}

// unary reads a number, a number's negative, a test, or something in parentheses.
func (p *parser) unary(before *quality) (value, error) {
	t := p.peek()
	switch {
	case t.is("-"), t.is("("):
		if err := p.enter(t); err != nil {
			return value{}, err
		}
		defer p.leave()
		p.next()
		if t.text == "(" {
			return p.inside(before)
		}
		v, err := p.unary(nil)
		if err == nil && v.truth != nil {
			err = p.fail(t, "want a number behind \"-\"")
		}
		if c, ok := v.number.(constant); ok {
			return value{number: -c}, err
		}
		return value{number: negative{v.number}}, err
	case t.kind == kindNumber:
		p.next()
		return value{number: constant(t.value)}, nil
	case t.is("len"), t.is("length"):
		p.next()
		return value{number: length{}}, nil
	case t.is("less"), t.is("greater"):
		return p.bound()
	case t.kind == kindWord:
		if n, ok := numbers()[t.text]; ok {
			p.next()
			return value{number: constant(n)}, nil
		}
		if l, ok := layers()[t.text]; ok && p.tokens[p.at+1].is("[") {
			p.at += 2
			return p.load(t, l)
		}
		return p.test()
	}
	return value{}, p.unexpected(t)
}

// inside reads what stands in parentheses. Behind them a bare address is what it would have been before them.
func (p *parser) inside(before *quality) (value, error) {
	v, err := p.expression(before)
	if err != nil {
		return v, err
	}
	if v.truth != nil {
		v.q = before
	}
	return v, p.expect(")", "to close the parenthesis")
}

// bound reads `less N`, `greater N`: both with N itself.
func (p *parser) bound() (value, error) {
	word, n := p.next(), p.next()
	if n.kind != kindNumber {
		return value{}, p.fail(n, "want a number of bytes behind %q", word.text)
	}
	op := "<="
	if word.text == "greater" {
		op = ">="
	}
	return value{truth: relation{op, length{}, constant(n.value)}}, nil
}

// load reads the rest of udp[8:4].
func (p *parser) load(t token, l layer) (value, error) {
	if err := p.enter(t); err != nil {
		return value{}, err
	}
	defer p.leave()
	at := p.peek()
	index, err := p.sum(nil)
	if err != nil {
		return value{}, err
	}
	if index.truth != nil {
		return value{}, p.fail(at, "want a byte's number in brackets")
	}
	if c, ok := index.number.(constant); ok && c > maxOffset-64 {
		return value{}, p.fail(at, "no packet has a byte %d: at most %d", int32(c), maxOffset-64)
	}
	b := load{l, index.number, 1}
	if _, ok := p.accept(":"); ok {
		n := p.next()
		if n.kind != kindNumber || n.value != 1 && n.value != 2 && n.value != 4 {
			return value{}, p.fail(n, "1, 2 or 4 bytes can be taken at once")
		}
		b.size = uint8(n.value)
	}
	if p.peek().kind == kindWord {
		near, _ := spell.Nearest(p.peek().text, keywords())
		return value{}, &Error{Text: p.text, Offset: p.peek().at, Length: len(p.peek().text), Msg: "want \"]\" to close the bracket", Near: near}
	}
	return value{number: b}, p.expect("]", "to close the bracket")
}

// compute is what the kernel makes of two numbers; false = a division by zero, and then nothing matches.
func compute(op string, a, b uint32) (uint32, bool) {
	switch op {
	case "+":
		return a + b, true
	case "-":
		return a - b, true
	case "*":
		return a * b, true
	case "&":
		return a & b, true
	case "|":
		return a | b, true
	case "^":
		return a ^ b, true
	case "<<":
		return a << b, true // Go's: 0 from 32 on
	case ">>":
		return a >> b, true
	}
	if b == 0 {
		return 0, false
	}
	if op == "/" {
		return a / b, true
	}
	return a % b, true
}
