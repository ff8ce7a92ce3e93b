// SPDX-License-Identifier: Apache-2.0

package geo

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	// MaxRules is how many different rules all services together may have: an entry has a bit for each.
	MaxRules = 64
	// MaxEntries is how many prefixes of a family the fast path is given at most.
	MaxEntries = 1 << 20
)

// Rule says from where a service takes players: DE is a country, AS3320 a network. Who is in Deny is refused; where Allow names
// anything, so is who is not in it, those of whom nothing is known included.
type Rule struct{ Allow, Deny []string }

// Table is the rules as the fast path is to know them.
type Table struct {
	// Rules are the different ones, by number: bit n of an Entry is rule n's.
	Rules []Rule
	// Default is what becomes of addresses that no entry is about: bit n is set where rule n refuses them.
	Default uint64
	// Entries are prefixes that don't overlap, IPv4's first, each in its order. Bit n of Mask says that rule n judges it otherwise
	// than Default does.
	Entries []Entry
}

// Entry is a prefix that some rule judges otherwise than the rest of the world.
type Entry struct {
	Prefix netip.Prefix
	Mask   uint64
}

// Refuses is what a rule says of an address: what the fast path does with the table.
func (t *Table) Refuses(rule int, a netip.Addr) bool {
	mask := t.Default
	for _, e := range t.Entries {
		if e.Prefix.Contains(a) {
			mask ^= e.Mask
		}
	}
	return mask>>rule&1 != 0
}

// ParseName reads a country as DE or a network as AS3320.
func ParseName(s string) (country string, asn uint32, err error) {
	if n, ok := strings.CutPrefix(s, "AS"); ok && n != "" {
		v, err := strconv.ParseUint(n, 10, 32)
		if err != nil || v == 0 || n[0] == '0' {
			return "", 0, fmt.Errorf("%q is no network: want AS and its number, as AS3320", s)
		}
		return "", uint32(v), nil
	}
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return "", 0, fmt.Errorf("%q is no country and no network: want two capital letters (DE), or AS and a number (AS3320)", s)
	}
	return s, 0, nil
}

// named are the rules that name a country or network, by what they do with it.
type named struct{ deny, allow uint64 }

// span is a range of addresses, and which rules name it.
type span struct {
	first, last netip.Addr
	named
}

// Compile makes a table of rules that are all different: at most MaxRules. Rules that name a kind of which there is no file are
// refused.
func (d *DB) Compile(rules []Rule) (*Table, error) {
	t := &Table{Rules: rules}
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("%d different geo rules: at most %d", len(rules), MaxRules)
	}
	countries, networks := map[string]named{}, map[uint32]named{}
	for i, r := range rules {
		if len(r.Allow) > 0 {
			t.Default |= 1 << i
		}
		for at, names := range [][]string{r.Deny, r.Allow} {
			for _, s := range names {
				c, n, err := ParseName(s)
				if err != nil {
					return nil, err
				}
				bit := named{deny: uint64(1-at) << i, allow: uint64(at) << i}
				if c != "" {
					countries[c] = countries[c].and(bit)
				} else {
					networks[n] = networks[n].and(bit)
				}
			}
		}
	}
	if len(countries) > 0 && (d == nil || d.country == nil) {
		return nil, fmt.Errorf("geo rules name countries, and geo.country names no file")
	}
	if len(networks) > 0 && (d == nil || d.asn == nil) {
		return nil, fmt.Errorf("geo rules name networks, and geo.asn names no file")
	}
	for _, v4 := range []bool{true, false} {
		if err := t.add(d, v4, countries, networks); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (n named) and(o named) named { return named{n.deny | o.deny, n.allow | o.allow} }

// add puts in the prefixes of one family.
func (t *Table) add(d *DB, v4 bool, countries map[string]named, networks map[uint32]named) error {
	var both [2][]span
	var err error
	if len(countries) > 0 {
		if both[0], err = d.country.spans(v4, func(r *record) named { return countries[r.iso()] }); err != nil {
			return err
		}
	}
	if len(networks) > 0 {
		if both[1], err = d.asn.spans(v4, func(r *record) named { return networks[r.ASN] }); err != nil {
			return err
		}
	}
	before := len(t.Entries)
	t.put(overlay(both[0], both[1]))
	if n := len(t.Entries) - before; n > MaxEntries {
		return fmt.Errorf("geo rules name %d prefixes: at most %d of a family", n, MaxEntries)
	}
	return nil
}

// spans are the ranges of a family that some rule names, in their order.
func (f *file) spans(v4 bool, of func(*record) named) ([]span, error) {
	within := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	if v4 {
		within = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	} else if f.reader.Metadata.IPVersion == 4 {
		return nil, nil
	}
	memo := map[uintptr]named{} // entries are few, prefixes many
	var all []span
	for n := range f.reader.NetworksWithin(within) {
		if err := n.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.path, err)
		}
		p := n.Prefix()
		if p.Addr().Is4() != v4 || p.Addr().Is4In6() { // IPv4's part of an IPv6 tree
			continue
		}
		v, ok := memo[n.Offset()]
		if !ok {
			var r record
			if err := n.Decode(&r); err != nil {
				return nil, fmt.Errorf("read %s: %s: %w", f.path, p, err)
			}
			v = of(&r)
			memo[n.Offset()] = v
		}
		if v != (named{}) {
			all = append(all, span{p.Addr(), lastOf(p), v})
		}
	}
	slices.SortFunc(all, func(a, b span) int { return a.first.Compare(b.first) })
	return all, nil
}

// overlay lays two lists of ranges, each without overlaps and in order, over each other.
func overlay(a, b []span) []span {
	var out []span
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].last.Less(b[0].first):
			out, a = append(out, a[0]), a[1:]
		case len(a) == 0 || b[0].last.Less(a[0].first):
			out, b = append(out, b[0]), b[1:]
		case a[0].first.Less(b[0].first):
			out = append(out, span{a[0].first, b[0].first.Prev(), a[0].named})
			a = cutTo(a, b[0].first)
		case b[0].first.Less(a[0].first):
			out = append(out, span{b[0].first, a[0].first.Prev(), b[0].named})
			b = cutTo(b, a[0].first)
		default:
			end := a[0].last
			if b[0].last.Less(end) {
				end = b[0].last
			}
			out = append(out, span{a[0].first, end, a[0].named.and(b[0].named)})
			a, b = cutTo(a, end.Next()), cutTo(b, end.Next())
		}
	}
	return out
}

// cutTo leaves off what is before an address of the first range; an invalid address is the one behind the last.
func cutTo(s []span, from netip.Addr) []span {
	if !from.IsValid() || s[0].last.Less(from) {
		return s[1:]
	}
	s[0].first = from
	return s
}

// put adds what is judged otherwise than the rest of the world, neighbours that are judged alike as one.
func (t *Table) put(all []span) {
	var run *span
	var mask uint64
	flush := func() {
		if run != nil {
			t.Entries = appendPrefixes(t.Entries, run.first, run.last, mask)
			run = nil
		}
	}
	for _, s := range all {
		// Refused: denied, or there is a list of who is allowed and it is not on it.
		m := (s.deny | t.Default&^s.allow) ^ t.Default
		if run != nil && (m != mask || run.last.Next() != s.first) {
			flush()
		}
		switch {
		case m == 0:
		case run == nil:
			run, mask = &span{first: s.first, last: s.last}, m
		default:
			run.last = s.last
		}
	}
	flush()
}

// appendPrefixes adds the fewest prefixes that make a range.
func appendPrefixes(to []Entry, first, last netip.Addr, mask uint64) []Entry {
	for {
		length := first.BitLen() - min(zeros(first), first.BitLen())
		p := netip.PrefixFrom(first, length)
		for last.Less(lastOf(p)) {
			length++
			p = netip.PrefixFrom(first, length)
		}
		to = append(to, Entry{p, mask})
		end := lastOf(p)
		if end == last {
			return to
		}
		first = end.Next()
	}
}

// zeros is how many of an address's last bits are 0.
func zeros(a netip.Addr) int {
	n := 0
	for _, b := range slices.Backward(a.AsSlice()) {
		if b != 0 {
			return n + bits.TrailingZeros8(b)
		}
		n += 8
	}
	return n
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := range b {
		if free := 8*(i+1) - p.Bits(); free >= 8 {
			b[i] = 0xff
		} else if free > 0 {
			b[i] |= 1<<free - 1
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
