// SPDX-License-Identifier: Apache-2.0

// Package blocklist holds what one line of the deny or the allow list is, and
// reads and writes lists of them as text or JSON. It knows nothing of maps: the
// loader enforces entries, this package only carries them in and out of files.
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
	"unicode"
	"unicode/utf8"
)

// MaxReason is the longest reason in bytes: the text lives inside the map value,
// where bpftool shows it too.
const MaxReason = 39

// MaxService is the longest service name in bytes that an entry may carry.
const MaxService = 64

// Who made an entry.
const (
	SourceCLI    = "cli"    // a person at the command line
	SourceAPI    = "api"    // a program, by the API
	SourceDetect = "detect" // a detector of this edge
	SourceFleet  = "fleet"  // another edge
	SourceMap    = "map"    // found in the map: written by bpftool or by a daemon that is gone
)

// Entry is one prefix that a list refuses or welcomes. The zero Entry is not
// valid: it needs a Prefix.
type Entry struct {
	// Prefix is masked and never IPv4-mapped IPv6; a single address is a /32 or /128.
	Prefix netip.Prefix `json:"prefix"`
	// Reason is free text of at most MaxReason bytes without control characters.
	Reason string `json:"reason"`
	// Source is one of the Source constants, or empty when nobody said.
	Source string `json:"source"`
	// Confidence is between 0 and 1; a person's entries have 1 or 0 (not said).
	Confidence float64 `json:"confidence"`
	// Added is when the entry was made; zero when unknown.
	Added time.Time `json:"added"`
	// Expires is when it stops to hold; nil means never.
	Expires *time.Time `json:"expires"`
	// Hits counts the packets it decided about.
	Hits uint64 `json:"hits"`
	// Service limits the entry to one service; empty means all. One that only has a number is written as Unnamed does.
	Service string `json:"service"`
	// Unlimited lifts the limits too; it means something on the allow list only.
	Unlimited bool `json:"unlimited,omitempty"`
}

// Unnamed writes the service of an entry for a number that no service has: somebody wrote it into the map. An import
// takes it again.
func Unnamed(number uint32) string { return "#" + strconv.FormatUint(uint64(number), 10) }

// UnnamedNumber reads what Unnamed writes.
func UnnamedNumber(service string) (uint32, bool) {
	digits, ok := strings.CutPrefix(service, "#")
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), ok && err == nil && n > 0
}

// Key names an entry in a list: no list holds two entries of one key.
type Key struct {
	Prefix  netip.Prefix
	Service string
}

// Key returns what names e in its list.
func (e *Entry) Key() Key { return Key{Prefix: e.Prefix, Service: e.Service} }

// Validate reports the first thing that keeps e out of a list, in words.
func (e *Entry) Validate() error {
	if err := checkPrefix(e.Prefix); err != nil {
		return err
	}
	if err := checkReason(e.Reason); err != nil {
		return err
	}
	if err := checkService(e.Service); err != nil {
		return err
	}
	if err := checkSource(e.Source); err != nil {
		return err
	}
	if math.IsNaN(e.Confidence) || e.Confidence < 0 || e.Confidence > 1 {
		return fmt.Errorf("confidence %v is not between 0 and 1", e.Confidence)
	}
	return nil
}

func checkPrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return errors.New("the prefix is missing or not valid")
	case p.Addr().Is4In6():
		return fmt.Errorf("%s is IPv4 written as IPv6: write it as IPv4", p)
	case p != p.Masked():
		return hostBitsError(p)
	}
	return nil
}

func hostBitsError(p netip.Prefix) error {
	return fmt.Errorf("%s has bits set beyond its length: did you mean %s (the network) or %s (the address)?",
		p, p.Masked(), p.Addr())
}

func checkReason(s string) error {
	if len(s) > MaxReason {
		return fmt.Errorf("the reason is %d bytes long and only %d fit: shorten it", len(s), MaxReason)
	}
	return checkText("reason", s)
}

func checkService(s string) error {
	if len(s) > MaxService {
		return fmt.Errorf("the service name is %d bytes long and only %d fit", len(s), MaxService)
	}
	return checkText("service", s)
}

func checkSource(s string) error {
	if s == "" || slices.Contains(sources(), s) {
		return nil
	}
	return fmt.Errorf("source %q is none of %s", s, strings.Join(sources(), ", "))
}

func sources() []string {
	return []string{SourceCLI, SourceAPI, SourceDetect, SourceFleet, SourceMap}
}

// checkText refuses what would garble a terminal or a log line.
func checkText(what, s string) error {
	plain := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			plain = false
			break
		}
	}
	if plain {
		return nil
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("the %s is not UTF-8 text", what)
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fmt.Errorf("the %s has a control character (%U)", what, r)
		}
	}
	return nil
}

// ParsePrefix reads an address or a prefix: "203.0.113.7", "2001:db8::/64".
// IPv4-mapped IPv6 becomes IPv4, a zone is refused, and so are bits set beyond
// the length, with the prefix that was probably meant.
func ParsePrefix(s string) (netip.Prefix, error) {
	if strings.IndexByte(s, '/') < 0 {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, notAnAddress(s)
		}
		if a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q has a zone: lists take addresses without one", clip(s))
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, notAPrefix(s)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, hostBitsError(p)
	}
	return p, nil
}

func notAnAddress(s string) error {
	if h, _, ok := strings.Cut(s, ":"); ok {
		if _, err := netip.ParseAddrPort(s); err == nil {
			return fmt.Errorf("%q has a port: lists take addresses, did you mean %s?", clip(s), clip(h))
		}
	}
	return fmt.Errorf("%q is not an address or prefix", clip(s))
}

func notAPrefix(s string) error {
	addr, bits, _ := strings.Cut(s, "/")
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return fmt.Errorf("%q is not a prefix: %q is not an address", clip(s), clip(addr))
	}
	if a.Zone() != "" {
		return fmt.Errorf("%q has a zone: lists take addresses without one", clip(s))
	}
	return fmt.Errorf("%q is not a prefix: %q is not a length between 0 and %d", clip(s), clip(bits), a.BitLen())
}

// clip keeps hostile text short in messages.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// FormatPrefix writes p as lists show it: a single address without its length.
func FormatPrefix(p netip.Prefix) string {
	return string(appendPrefix(nil, p))
}

func appendPrefix(b []byte, p netip.Prefix) []byte {
	if p.IsSingleIP() {
		return p.Addr().AppendTo(b)
	}
	return p.AppendTo(b)
}
