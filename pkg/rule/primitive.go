// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"parry/pkg/spell"
)

// quality is what an address or number is said to be: `udp dst port`.
type quality struct {
	proto string // "", ip, ip6, tcp, udp …
	dir   direction
	of    string // host, net, port, portrange, proto; "" = host
}

func (q *quality) words() string {
	dirs := map[direction]string{dirSource: "src ", dirDestination: "dst ", dirBoth: "src and dst "}
	of := q.of
	if of == "" {
		of = "host"
	}
	return strings.TrimSpace(q.proto + " " + dirs[q.dir] + of)
}

// test reads what begins with a keyword: a protocol, or a quality and what is of it.
func (p *parser) test() (value, error) {
	first := p.peek()
	q := &quality{}
	_, isLayer := layers()[first.text]
	if isLayer {
		q.proto = p.next().text
	}
	directed, err := p.direction(q)
	if err != nil {
		return value{}, err
	}
	if t, ok := p.accept("host", "net", "port", "portrange", "proto"); ok {
		q.of = t.text
		if t.text == "proto" && directed {
			return value{}, p.fail(t, "a protocol has no direction")
		}
	} else if !directed {
		if !isLayer {
			return value{}, p.unexpected(first)
		}
		return value{truth: p.abbreviation(q.proto)}, nil
	}
	if err := p.fits(q, first); err != nil {
		return value{}, err
	}
	v, err := p.id(q)
	return v, err
}

// direction reads src, dst, or both.
func (p *parser) direction(q *quality) (bool, error) {
	t, ok := p.accept("src", "dst")
	if !ok {
		return false, nil
	}
	q.dir = dirSource
	if t.text == "dst" {
		q.dir = dirDestination
	}
	after := p.tokens[min(p.at+1, len(p.tokens)-1)]
	if !after.is("src") && !after.is("dst") {
		return true, nil
	}
	op, ok := p.accept("and", "&&", "or", "||")
	if !ok {
		return true, nil
	}
	if other := p.tokens[p.at]; other.text == t.text {
		return true, p.fail(other, "it says %s twice", t.text)
	}
	if behind := p.tokens[p.at+1]; behind.is("port") || behind.is("portrange") || behind.is("host") || behind.is("net") || behind.kind != kindWord {
		p.next()
		q.dir = dirEither
		if op.text == "and" || op.text == "&&" {
			q.dir = dirBoth
		}
		return true, nil
	}
	return true, p.unexpected(p.tokens[p.at+1])
}

// abbreviation is a protocol's name alone.
func (p *parser) abbreviation(name string) node {
	l := layers()[name]
	switch l {
	case layerIP, layerIP6:
		return family{l == layerIP6}
	case layerICMP:
		return proto{4, protoICMP}
	case layerICMP6:
		return proto{6, protoICMP6}
	}
	return proto{0, l.number()}
}

// fits refuses a protocol before what it can't be said of.
func (p *parser) fits(q *quality, t token) error {
	switch q.of {
	case "port", "portrange":
		if q.proto != "" && q.proto != "tcp" && q.proto != "udp" {
			return p.fail(t, "%s has no ports: say udp or tcp", q.proto)
		}
	default:
		if q.proto != "" && q.proto != "ip" && q.proto != "ip6" {
			what := q.of
			if what == "" {
				what = "host"
			}
			return p.fail(t, "%s can't be said of a %s: write `%s and %s …`", q.proto, what, q.proto, (&quality{dir: q.dir, of: q.of}).words())
		}
	}
	return nil
}

// leaf reads the address, number or range that a quality is about.
func (p *parser) leaf(q *quality) (node, error) {
	switch q.of {
	case "port", "portrange":
		return p.portLeaf(q)
	case "proto":
		return p.protoLeaf(q)
	}
	t := p.peek()
	switch t.kind {
	case kindIP6:
		return p.host6Leaf(q)
	case kindQuad, kindNumber:
		return p.host4Leaf(q)
	case kindWord:
		return nil, p.fail(t, "%q is no address: names are not looked up", t.text)
	}
	return nil, p.fail(t, "want an address behind %q", q.words())
}

func (p *parser) portLeaf(q *quality) (node, error) {
	t := p.next()
	from, to, ok := strings.Cut(t.text, "-")
	if !ok || q.of == "port" {
		to = from
	}
	if t.kind == kindRange && q.of == "port" {
		return nil, p.fail(t, "several ports are a portrange: write portrange %s", t.text)
	}
	if t.kind != kindNumber && t.kind != kindRange {
		return nil, p.fail(t, "want a port's number behind %q", q.words())
	}
	first, err := number(from)
	last, err2 := number(to)
	if err != nil || err2 != nil || first > 65535 || last > 65535 {
		return nil, p.fail(t, "%s is no port: 0 to 65535", t.text)
	}
	return ports{of: layers()[q.proto].number(), dir: q.dir, from: uint16(min(first, last)), to: uint16(max(first, last))}, nil
}

func (p *parser) protoLeaf(q *quality) (node, error) {
	of := map[string]uint8{"ip": 4, "ip6": 6}[q.proto]
	if _, ok := p.accept(`\`); ok {
		t := p.next()
		l, ok := layers()[t.text]
		if !ok || l.number() == 0 {
			near, _ := spell.Nearest(t.text, []string{"tcp", "udp", "icmp", "icmp6"})
			return nil, &Error{Text: p.text, Offset: t.at, Length: len(t.text), Msg: fmt.Sprintf("%q is no protocol that has a name here", t.text), Near: near}
		}
		return proto{of, l.number()}, nil
	}
	t := p.next()
	if t.kind != kindNumber || t.value > 255 {
		return nil, p.fail(t, "want a protocol's number (0 to 255), or its name behind a backslash (%s)", `\udp`)
	}
	return proto{of, uint8(t.value)}, nil
}

// host4Leaf reads 10.1.2.3, 10.1 (whose missing parts are anything), 10.0.0.0/8, 10.0.0.0 mask 255.0.0.0.
func (p *parser) host4Leaf(q *quality) (node, error) {
	t := p.next()
	if q.proto == "ip6" {
		return nil, p.fail(t, "%s is no address of IPv6", t.text)
	}
	addr, bits, err := p.quad(t)
	if err != nil {
		return nil, err
	}
	h := host4{dir: q.dir, addr: addr, mask: ^uint32(0) << (32 - bits)}
	sign, sized := p.accept("/", "mask")
	if !sized && q.of != "net" {
		return h, nil
	}
	if !sized {
		if addr>>24 == 0 && t.kind == kindQuad || addr == 0 {
			return nil, p.fail(t, "say how long that network's prefix is: net %s/…", t.text)
		}
		for ; h.addr>>24 == 0; h.addr, h.mask = h.addr<<8, h.mask<<8 { // net 10 is 10.0.0.0/8
		}
		return h, nil
	}
	if q.of != "net" || t.kind == kindNumber {
		return nil, p.fail(t, "a network is a `net`, and has its dots: net 10.0.0.0/8")
	}
	m := p.next()
	switch {
	case sign.text == "/":
		if m.kind != kindNumber || m.value > 32 {
			return nil, p.fail(m, "want a prefix length of 0 to 32")
		}
		h.mask = uint32(^uint64(0) << (32 - m.value))
	default:
		mask, bits, err := p.quad(m)
		if err != nil {
			return nil, err
		}
		if bits != 32 {
			return nil, p.fail(m, "want a mask of four parts")
		}
		h.mask = mask
	}
	if addr&^h.mask != 0 {
		return nil, p.fail(t, "%s has bits outside of its network", t.text)
	}
	return h, nil
}

// quad reads one to four parts of an IPv4 address, and how many bits they are.
func (p *parser) quad(t token) (addr uint32, bits int, err error) {
	if t.kind == kindNumber {
		return t.value, 32, nil
	}
	parts := strings.Split(t.text, ".")
	if t.kind != kindQuad || len(parts) > 4 {
		return 0, 0, p.fail(t, "%q is no address", t.text)
	}
	for _, s := range parts {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil || len(s) > 1 && s[0] == '0' {
			return 0, 0, p.fail(t, "%q is no address: %q is no part of one", t.text, s)
		}
		addr = addr<<8 | uint32(n)
	}
	bits = 8 * len(parts)
	return addr << (32 - bits), bits, nil
}

func (p *parser) host6Leaf(q *quality) (node, error) {
	t := p.next()
	addr, err := netip.ParseAddr(t.text)
	if err != nil || addr.Zone() != "" {
		return nil, p.fail(t, "%q is no address of IPv6", t.text)
	}
	if q.proto == "ip" {
		return nil, p.fail(t, "%s is no address of IPv4", t.text)
	}
	bits := uint32(128)
	if _, ok := p.accept("/"); ok {
		m := p.next()
		if q.of != "net" {
			return nil, p.fail(t, "a network is a `net`: net %s/%s", t.text, m.text)
		}
		if m.kind != kindNumber || m.value > 128 {
			return nil, p.fail(m, "want a prefix length of 0 to 128")
		}
		bits = m.value
	}
	if prefix := netip.PrefixFrom(addr, int(bits)); prefix.Masked().Addr() != addr {
		return nil, p.fail(t, "%s has bits outside of its network", t.text)
	}
	h := host6{dir: q.dir}
	for i, b := 0, addr.As16(); i < 4; i++ {
		h.addr[i] = binary.BigEndian.Uint32(b[4*i:])
		h.mask[i] = uint32(^uint64(0) << (32 - min(max(int(bits)-32*i, 0), 32)))
	}
	return h, nil
}
