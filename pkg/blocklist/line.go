// SPDX-License-Identifier: Apache-2.0

package blocklist

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fields reads one line into e.
func (p *parser) fields(b []byte, e *Entry) (err error) {
	word, rest := cutWord(b)
	if e.Prefix, err = prefixOf(word); err != nil {
		return err
	}
	seen := 0
	for {
		for len(rest) > 0 && space(rest[0]) {
			rest = rest[1:]
		}
		if len(rest) == 0 || rest[0] == '#' || rest[0] == ';' {
			return nil
		}
		var key, value []byte
		if key, value, rest, err = cutField(rest); err != nil {
			return err
		}
		name := keyOf(key)
		if name == "" {
			return unknownKey(string(key))
		}
		if err := p.set(e, name, value, &seen); err != nil {
			return err
		}
	}
}

// cutWord splits the address off a line.
func cutWord(b []byte) (word, rest []byte) {
	for i, c := range b {
		if space(c) || c == '#' || c == ';' {
			return b[:i], b[i:]
		}
	}
	return b, nil
}

// cutField splits key=value or key="quoted value" off b, which starts with the key.
func cutField(b []byte) (key, value, rest []byte, err error) {
	i := 0
	for i < len(b) && !space(b[i]) && b[i] != '=' && b[i] != '"' {
		i++
	}
	if i == len(b) || b[i] != '=' {
		return nil, nil, nil, fmt.Errorf("%q is not key=value (a comment starts with #)", clip(string(b[:i])))
	}
	key, b = b[:i], b[i+1:]
	if len(b) == 0 || b[0] != '"' {
		i = 0
		for i < len(b) && !space(b[i]) {
			if b[i] == '"' {
				return nil, nil, nil, fmt.Errorf("%s: a quote inside an unquoted value", clip(string(key)))
			}
			i++
		}
		return key, b[:i], b[i:], nil
	}
	for i = 1; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	if i >= len(b) {
		return nil, nil, nil, fmt.Errorf("%s: the closing quote is missing", clip(string(key)))
	}
	quoted, rest := b[:i+1], b[i+1:]
	if len(rest) > 0 && !space(rest[0]) && rest[0] != '#' && rest[0] != ';' {
		return nil, nil, nil, fmt.Errorf("%s: something follows the closing quote", clip(string(key)))
	}
	if value = quoted[1:i]; slices.Contains(value, '\\') {
		s, err := strconv.Unquote(string(quoted))
		if err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %s is not a quoted text", clip(string(key)), clip(string(quoted)))
		}
		value = []byte(s)
	}
	return key, value, rest, nil
}

// keys are the fields in the order of Write, after the prefix.
func keys() []string {
	return []string{"reason", "source", "confidence", "added", "expires", "hits", "service", "unlimited", "ttl"}
}

// keyOf returns the known key that b spells, or nothing; the constant spares a copy.
func keyOf(b []byte) string {
	switch string(b) {
	case "reason":
		return "reason"
	case "source":
		return "source"
	case "confidence":
		return "confidence"
	case "added":
		return "added"
	case "expires":
		return "expires"
	case "hits":
		return "hits"
	case "service":
		return "service"
	case "unlimited":
		return "unlimited"
	case "ttl":
		return "ttl"
	}
	return ""
}

// bit is a key's place in the set of fields that a line already had.
func bit(key string) int {
	switch key {
	case "reason":
		return 1
	case "source":
		return 2
	case "confidence":
		return 4
	case "added":
		return 8
	case "hits":
		return 16
	case "service":
		return 32
	case "unlimited":
		return 64
	case "expires":
		return bitExpires
	case "ttl":
		return bitTTL
	}
	return 0
}

const (
	bitExpires = 128
	bitTTL     = 256
)

// set stores one field of a known key. seen collects the bits of the fields that
// the line had: a field given twice is a mistake, and so is ttl beside expires.
func (p *parser) set(e *Entry, key string, value []byte, seen *int) (err error) {
	if *seen&bit(key) != 0 {
		return fmt.Errorf("%s is given twice", key)
	}
	if *seen |= bit(key); *seen&bitExpires != 0 && *seen&bitTTL != 0 {
		return errors.New("expires and ttl are both given: keep one")
	}
	switch key {
	case "reason":
		if string(value) != p.lastReason {
			p.lastReason = string(value)
		}
		e.Reason, err = p.lastReason, checkReason(p.lastReason)
	case "service":
		if string(value) != p.lastService {
			p.lastService = string(value)
		}
		e.Service, err = p.lastService, checkService(p.lastService)
	case "source":
		e.Source, err = sourceOf(value)
	case "confidence":
		e.Confidence, err = strconv.ParseFloat(string(value), 64)
		if err != nil || math.IsNaN(e.Confidence) || e.Confidence < 0 || e.Confidence > 1 {
			err = fmt.Errorf("confidence %q is not between 0 and 1", clip(string(value)))
		}
	case "added":
		e.Added, err = timeOf(key, value)
	case "expires":
		err = expiresOf(e, value)
	case "ttl":
		e.Expires, err = p.ttl(value)
	case "hits":
		if e.Hits, err = strconv.ParseUint(string(value), 10, 64); err != nil {
			err = fmt.Errorf("hits %q is not a whole number", clip(string(value)))
		}
	case "unlimited":
		if e.Unlimited, err = strconv.ParseBool(string(value)); err != nil {
			err = fmt.Errorf("unlimited %q is not true or false", clip(string(value)))
		}
	}
	return err
}

func sourceOf(value []byte) (string, error) {
	for _, s := range sources() {
		if string(value) == s {
			return s, nil
		}
	}
	return "", checkSource(clip(string(value)))
}

func expiresOf(e *Entry, value []byte) error {
	if string(value) == "never" {
		e.Expires = nil
		return nil
	}
	t, err := timeOf("expires", value)
	e.Expires = &t
	return err
}

func timeOf(key string, value []byte) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, string(value))
	if err != nil || t.Year() < 1 {
		return time.Time{}, fmt.Errorf("%s %q is not a time like 2026-01-31T12:00:00Z", key, clip(string(value)))
	}
	return t.UTC(), nil
}

func (p *parser) ttl(value []byte) (*time.Time, error) {
	if len(value) == 0 || string(value) != p.lastTTL {
		d, err := ParseTTL(string(value))
		if err != nil {
			return nil, err
		}
		p.lastTTL, p.ttlValue = string(value), d
	}
	if p.ttlValue == 0 {
		return nil, nil
	}
	t := p.now.Add(p.ttlValue).UTC()
	return &t, nil
}

// ParseTTL reads how long an entry holds: a Go duration ("90s", "1h30m"), whole
// days or weeks ("7d", "2w"), or "never", which is 0. Anything else that is not
// above 0, or above 100 years, is refused.
func ParseTTL(s string) (time.Duration, error) {
	const (
		day  = 24 * time.Hour
		most = 36525 * day
	)
	if s == "never" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil && len(s) > 1 {
		unit := map[byte]time.Duration{'d': day, 'w': 7 * day}[s[len(s)-1]]
		if k, kerr := strconv.ParseUint(s[:len(s)-1], 10, 16); unit > 0 && kerr == nil {
			d, err = time.Duration(k)*unit, nil
		}
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("ttl %q is not a duration like 90s, 1h30m, 7d or never", clip(s))
	case d <= 0:
		return 0, fmt.Errorf("ttl %s is not above 0 (\"never\" is for entries without an end)", clip(s))
	case d > most:
		return 0, fmt.Errorf("ttl %s is above 100 years: say never", clip(s))
	}
	return d, nil
}

func unknownKey(key string) error {
	best, most := "", 3
	for _, k := range keys() {
		if d := distance(key, k); d < most {
			best, most = k, d
		}
	}
	if best != "" {
		return fmt.Errorf("unknown field %q: did you mean %s?", clip(key), best)
	}
	return fmt.Errorf("unknown field %q: known are prefix, %s", clip(key), strings.Join(keys(), ", "))
}

// distance is the edit distance of two short words.
func distance(a, b string) int {
	if len(a) > 2*len(b)+2 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// prefixOf is ParsePrefix without an allocation for what nearly all lines hold.
func prefixOf(b []byte) (netip.Prefix, error) {
	if a, n, ok := ipv4(b); ok {
		if n == len(b) {
			return netip.PrefixFrom(a, 32), nil
		}
		if bits, ok := prefixLen(b[n:]); ok {
			if p := netip.PrefixFrom(a, bits); p == p.Masked() {
				return p, nil
			}
		}
	}
	return ParsePrefix(string(b))
}

// ipv4 reads dotted decimal at the start of b and says where it ended. It takes
// less than netip does: what it doesn't take goes the long way.
func ipv4(b []byte) (a netip.Addr, n int, ok bool) {
	var q [4]byte
	for i := range q {
		if i > 0 {
			if n >= len(b) || b[n] != '.' {
				return a, 0, false
			}
			n++
		}
		start, v := n, 0
		for n < len(b) && n-start < 3 && b[n] >= '0' && b[n] <= '9' {
			v = v*10 + int(b[n]-'0')
			n++
		}
		if n == start || v > 255 || n-start > 1 && b[start] == '0' {
			return a, 0, false
		}
		q[i] = byte(v)
	}
	return netip.AddrFrom4(q), n, true
}

// prefixLen reads "/0" to "/32" and nothing after it.
func prefixLen(b []byte) (int, bool) {
	switch {
	case len(b) == 2 && b[0] == '/' && b[1] >= '0' && b[1] <= '9':
		return int(b[1] - '0'), true
	case len(b) == 3 && b[0] == '/' && b[1] >= '1' && b[1] <= '3' && b[2] >= '0' && b[2] <= '9':
		v := int(b[1]-'0')*10 + int(b[2]-'0')
		return v, v <= 32
	}
	return 0, false
}
