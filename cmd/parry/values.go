// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
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

// timeValue is a flag that holds a moment.
type timeValue struct {
	now  func() time.Time
	time time.Time // zero: not set
}

// Set reads it: a duration ago, a time of day (the last one that is over), a date and time, or RFC 3339. Without a zone it is local time.
func (v *timeValue) Set(s string) error {
	now := v.now()
	if ago, err := time.ParseDuration(s); err == nil {
		if ago < 0 {
			return fmt.Errorf("%q lies ahead", s)
		}
		v.time = now.Add(-ago)
		return nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		v.time = t
		return nil
	}
	for _, form := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			v.time = t
			return nil
		}
	}
	for _, form := range []string{"15:04", "15:04:05"} {
		t, err := time.Parse(form, s)
		if err != nil {
			continue
		}
		y, m, day := now.Local().Date()
		v.time = time.Date(y, m, day, t.Hour(), t.Minute(), t.Second(), 0, time.Local)
		if v.time.After(now) { // yesterday's; a day of 23 or 25 hours has it, too
			v.time = time.Date(y, m, day-1, t.Hour(), t.Minute(), t.Second(), 0, time.Local)
		}
		return nil
	}
	return fmt.Errorf("%q is no time: write 10m (ago), 15:04, 2026-01-31 15:04 or 2026-01-31T15:04:05Z", s)
}

// Type names it in help texts.
func (v *timeValue) Type() string { return "time" }

// String shows it; empty when not set.
func (v *timeValue) String() string {
	if v == nil || v.time.IsZero() {
		return ""
	}
	return v.time.Format(time.RFC3339)
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
