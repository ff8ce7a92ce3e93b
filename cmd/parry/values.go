// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strconv"
	"time"

	"parry/pkg/blocklist"
	"parry/pkg/show"
)

// prefixValue is a flag that holds an address or a prefix.
type prefixValue struct{ prefix netip.Prefix }

// Set reads it.
func (v *prefixValue) Set(s string) (err error) {
	v.prefix, err = blocklist.ParsePrefix(s)
	return err
}

// Type names it in help texts.
func (v *prefixValue) Type() string { return "prefix" }

// String shows it; empty when not set.
func (v *prefixValue) String() string {
	if !v.prefix.IsValid() {
		return ""
	}
	return blocklist.FormatPrefix(v.prefix)
}

// ttlValue is a flag that holds how long an entry lasts; 0 is for ever.
type ttlValue struct{ ttl time.Duration }

// Set reads it.
func (v *ttlValue) Set(s string) (err error) {
	v.ttl, err = blocklist.ParseTTL(s)
	return err
}

// Type names it in help texts.
func (v *ttlValue) Type() string { return "duration" }

// String shows it.
func (v *ttlValue) String() string {
	if v.ttl == 0 {
		return "never"
	}
	return v.ttl.String()
}

// plural counts things in words.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return show.Count(n) + " " + many
}

// milliseconds shows a figure in milliseconds with its fraction.
func milliseconds(ms float64) string { return strconv.FormatFloat(ms, 'f', 2, 64) + "ms" }
