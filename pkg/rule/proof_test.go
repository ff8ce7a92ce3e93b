// SPDX-License-Identifier: Apache-2.0

package rule_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"parry/pkg/rule"
	"parry/test/filter"
)

const framesEach = 100

// pairs is how many of expression and packet are compared: PARRY_RULE_PAIRS, or a few.
func pairs(t *testing.T) int {
	n := 10_000
	if s := os.Getenv("PARRY_RULE_PAIRS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("PARRY_RULE_PAIRS: %v", err)
		}
	}
	return n
}

// TestMatchAgreesWithTcpdump compares what Match says of random packets, damaged ones too, with tcpdump's own compiler.
func TestMatchAgreesWithTcpdump(t *testing.T) {
	filter.NeedTcpdump(t)
	seed := uint64(1)
	if s := os.Getenv("PARRY_RULE_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	r := rand.New(rand.NewPCG(seed, 5))
	var all, matched, split int
	for all < pairs(t) {
		text := filter.Expression(r)
		reference, err := filter.Compile(t.Context(), text)
		if err != nil {
			if errors.Is(err, filter.ErrConstant) {
				continue // it takes the index of a byte for the divisor
			}
			t.Fatal(err)
		}
		e, err := rule.Parse(text)
		if err != nil && (strings.Contains(err.Error(), "divides by zero") || strings.Contains(err.Error(), "shifts all of them out")) {
			continue // of constants that tcpdump doesn't work out before it looks
		}
		if err != nil {
			t.Fatalf("%q: tcpdump takes it, parry doesn't: %v", text, err)
		}
		for i := range framesEach {
			frame := filter.Frame(r, i%3 == 0)
			want, agree, err := reference.Match(frame)
			if err != nil {
				t.Fatal(err)
			}
			if !agree {
				split++
			}
			p := rule.Packet{IP: frame[filter.LinkHeader:], V6: binary.BigEndian.Uint16(frame[12:]) == 0x86dd, Length: uint32(len(frame))}
			if got := e.Match(&p); got != want {
				t.Fatalf("%q on %x: parry says %v, tcpdump %v (its optimizer agrees: %v)", text, frame, got, want, agree)
			}
			if want {
				matched++
			}
			all++
		}
	}
	t.Logf("%d pairs agree with tcpdump's compiler, %d of them matches; in %d its optimizer contradicts itself and the plain program holds", all, matched, split)
	if matched < all/20 || matched > all*19/20 {
		t.Error("nearly all say the same: that proves little")
	}
}
