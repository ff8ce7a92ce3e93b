// SPDX-License-Identifier: Apache-2.0

package handshake

import (
	"errors"
	"testing"
)

// segment is a server's: ports 25565 to 40000, it acknowledges 8 = 7 + 1.
func segment(flags byte, options ...byte) []byte {
	b := []byte{0x63, 0xdd, 0x9c, 0x40, 1, 2, 3, 4, 0, 0, 0, 8, byte(headerTCP+len(options)) / 4 << 4, flags, 0xff, 0xff, 0, 0, 0, 0}
	return append(b, options...)
}

func TestAnswers(t *testing.T) {
	all := []byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 9}
	later := segment(18, all...)
	later[11]++
	other := segment(18, all...)
	other[3]++
	long := segment(18, all...)
	long[12] = 0xf0
	for name, c := range map[string]struct {
		segment []byte
		v6      bool
		want    Options
		answer  bool
		refused bool
	}{
		"everything":           {segment: segment(18, all...), want: Options{1460, 9, true, true}, answer: true},
		"nothing":              {segment: segment(18), want: Options{536, NoWindowScale, false, false}, answer: true},
		"nothing by IPv6":      {segment: segment(18), v6: true, want: Options{1220, NoWindowScale, false, false}, answer: true},
		"an MSS of 0":          {segment: segment(18, 2, 4, 0, 0), want: Options{leastMSS, NoWindowScale, false, false}, answer: true},
		"a scale of 200":       {segment: segment(18, 3, 3, 200, 0), want: Options{536, mostWindowScale, false, false}, answer: true},
		"behind the end":       {segment: segment(18, 0, 4, 2, 0), want: Options{536, NoWindowScale, false, false}, answer: true},
		"a length of 0":        {segment: segment(18, 4, 2, 8, 0), want: Options{536, NoWindowScale, true, false}, answer: true},
		"a length beyond":      {segment: segment(18, 4, 2, 8, 10), want: Options{536, NoWindowScale, true, false}, answer: true},
		"lengths that are odd": {segment: segment(18, 2, 3, 1, 3, 2, 4, 3, 0, 0, 0, 0), want: Options{536, NoWindowScale, false, false}, answer: true},
		"ECN":                  {segment: segment(18|64, all...), want: Options{1460, 9, true, true}, answer: true},
		"a refusal":            {segment: segment(20), answer: true, refused: true},
		"a RST of nobody":      {segment: segment(4)},
		"an ACK":               {segment: segment(16, all...)},
		"to another SYN":       {segment: later},
		"to another port":      {segment: other},
		"a header that is cut": {segment: long},
		"too short":            {segment: segment(18)[:19]},
		"empty":                {},
	} {
		t.Run(name, func(t *testing.T) {
			got, answer, err := answerOf(c.segment, !c.v6, 25565, 40000, 7)
			if answer != c.answer || errors.Is(err, errRefused) != c.refused || answer && !c.refused && got != c.want {
				t.Errorf("%v, %v, %v; want %v", got, answer, err, c.want)
			}
		})
	}
}

func TestOptionsInWords(t *testing.T) {
	for want, o := range map[string]Options{
		"MSS 1460, window scale 7, SACK, timestamps":       {1460, 7, true, true},
		"MSS 536, no window scale, no SACK, no timestamps": {536, NoWindowScale, false, false},
		"MSS 8960, window scale 0, SACK, no timestamps":    {8960, 0, true, false},
	} {
		if got := o.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// FuzzAnswers reads what a hostile server sends: whatever it is, what is learned is within its bounds.
func FuzzAnswers(f *testing.F) {
	f.Add(segment(18, 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 9))
	f.Add(segment(18, 3, 3, 200, 2, 4, 0, 0, 0))
	f.Add(segment(20))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v4 := range []bool{true, false} {
			o, ok, err := answerOf(b, v4, 25565, 40000, 7)
			if ok && err == nil && (o.MSS < leastMSS || o.WindowScale > mostWindowScale && o.WindowScale != NoWindowScale) {
				t.Errorf("%v of %x", o, b)
			}
		}
	})
}
