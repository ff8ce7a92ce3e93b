// SPDX-License-Identifier: Apache-2.0

package spell

import (
	"strings"
	"testing"
)

func TestNearestSuggestsOnlyWhatIsClose(t *testing.T) {
	keys := []string{"listen", "protocol", "game", "forward", "pool", "limits", "packets_per_second", "udp", "tcp", "quake3"}
	for _, tc := range []struct{ word, want string }{
		{"lisetn", "listen"},                         // neighbours swapped
		{"lisen", "listen"},                          // letter missing
		{"Listen", "listen"},                         // case only
		{"packets-per-second", "packets_per_second"}, // separator only
		{"packetspersecond", "packets_per_second"},   // no separator
		{"packet_per_seconds", "packets_per_second"}, // two slips in a long word
		{"upd", "udp"},                               // short word, one swap
		{"proto", "protocol"},                        // abbreviation
		{"quake3arena", "quake3"},                    // too long by an ending
		{"xyz", ""},                                  // nothing like it
		{"", ""},                                     // nothing at all
		{"ab", ""},                                   // too short to guess from
		{strings.Repeat("listen", 20), ""},           // longer than any word
		{"\xff\xfe\xfd", ""},                         // not text
	} {
		got, ok := Nearest(tc.word, keys)
		if got != tc.want || ok != (tc.want != "") {
			t.Errorf("Nearest(%q) = %q, %v; want %q", tc.word, got, ok, tc.want)
		}
	}
}

func TestNearestOfEquallyNearIsTheFirst(t *testing.T) {
	if got, _ := Nearest("cat", []string{"bat", "hat"}); got != "bat" {
		t.Errorf("got %q, want bat", got)
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ä", "a", 1}} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
