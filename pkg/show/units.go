// SPDX-License-Identifier: Apache-2.0

// Package show writes figures and tables for people: what the commands print when nobody asked for JSON.
package show

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Unknown stands for what wasn't seen or measured.
const Unknown = "-"

// Count groups an exact number: 1,234,567.
func Count[N int | int64 | uint64](n N) string {
	s := fmt.Sprint(n)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return sign + b.String()
}

// SI shortens a number to three digits and a decimal prefix, in front of its unit: 12.3 kpkt/s, 4.56 Mbit/s, 0 pkt/s.
func SI(v float64, unit string) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Unknown
	}
	prefix := ""
	for _, p := range []string{"k", "M", "G", "T", "P", "E"} {
		if math.Abs(v) < 999.5 {
			break
		}
		v, prefix = v/1000, p
	}
	digits := 0
	if a := math.Abs(v); (prefix != "" || v != math.Trunc(v)) && a < 99.95 {
		digits = 1
		if a < 9.995 {
			digits = 2
		}
	}
	number := strconv.FormatFloat(v, 'f', digits, 64)
	if prefix == "" && strings.Contains(number, ".") {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return strings.TrimRight(number+" "+prefix+unit, " ")
}

// Bytes is SI for an amount of bytes: 8.48 MB.
func Bytes(n uint64) string { return SI(float64(n), "B") }

// Percent shows a share of 0 to 1.
func Percent(share float64) string {
	p := share * 100
	switch {
	case math.IsNaN(p):
		return Unknown
	case p > 0 && p < 0.05:
		return "<0.1 %"
	case p == 0 || math.Abs(p) >= 9.95:
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	default:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
}

// Duration shows about three digits of a duration: 12ms, 1.5s, 12m34s, 2h05m, 3d04h.
func Duration(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	s := int64(d / time.Second)
	switch {
	case d == 0:
		return "0s"
	case d < 10*time.Millisecond:
		return sign + strconv.FormatFloat(float64(d)/1e6, 'f', 2, 64) + "ms"
	case d < time.Second:
		return sign + strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case s < 60:
		return sign + strconv.FormatFloat(math.Floor(d.Seconds()*10)/10, 'f', 1, 64) + "s"
	case s < 3600:
		return fmt.Sprintf("%s%dm%02ds", sign, s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%s%dh%02dm", sign, s/3600, s/60%60)
	}
	return fmt.Sprintf("%s%dd%02dh", sign, s/86400, s/3600%24)
}

// MS is Duration for a figure in milliseconds.
func MS(ms int64) string { return Duration(time.Duration(ms) * time.Millisecond) }
