// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

const (
	q3Info   = 0
	q3Status = 1
)

func oob(text string) []byte { return join(all, []byte(text)) }

func TestQuake3Shapes(t *testing.T) {
	r := newRig(t, "quake3")
	long := strings.Repeat("x", 128)
	r.rows(t, []row{
		{"getinfo", oob("getinfo\n"), query},
		{"getinfo, no line's end", oob("getinfo"), query},
		{"getinfo, a NUL behind it", oob("getinfo\n\x00"), query},
		{"getinfo with a challenge", oob("getinfo k7w"), query},
		{"getinfo with two words", oob("getinfo k7w twice\n"), query},
		{"getinfo with the longest challenge", oob("getinfo " + long + "\n"), query},
		{"getinfo with a longer one", oob("getinfo x" + long), refuse},
		{"getinfo with a far longer one", oob("getinfo " + strings.Repeat(long, 9)), refuse},
		{"getinfo and more", oob("getinfos"), refuse},
		{"getstatus", oob("getstatus"), query},
		{"getstatus with a challenge", oob("getstatus 12345\n"), query},
		{"getstatus with a tab", oob("getstatus\t12345"), refuse},
		{"getstatus, not printable at its end", oob("getstatus 12345\x7f"), refuse},
		{"getstatus, a NUL in it", oob("getstatus 12\x0045"), refuse},
		{"getstatus, eight bits", oob("getstatus 12345678\x80"), refuse},
		{"getstatus, a line in it", oob("getstatus 1234\n5"), refuse},
		{"getchallenge", oob("getchallenge -1413938263 Quake3Arena"), pass},
		{"getchallenge alone", oob("getchallenge"), pass},
		{"getchallenge, not printable", oob("getchallenge \x01"), refuse},
		{"connect", join(oob("connect "), bytes.Repeat(hx("f28a00ff"), 55)), pass},
		{"connect without anything", oob("connect "), refuse},
		{"connect, too long", join(oob("connect "), zeros(1388)), refuse},
		{"connected", oob("connected"), refuse},
		{"rcon", oob("rcon secret status"), refuse},
		{"disconnect", oob("disconnect"), refuse},
		{"ipAuthorize", oob("ipAuthorize 1"), refuse},
		{"a reply", oob("statusResponse\n\\sv_hostname\\x\n"), refuse},
		{"netchan", hx("01000000 5a5a 0102030405060708"), refuse},
		{"netchan, a fragment", hx("01000080 5a5a 0000 1405"), refuse},
		{"A2S", infoBare, refuse},
	})
}

// The server's answer, with the asker's challenge where the server would say it, whatever the lengths are.
func TestQuake3Answers(t *testing.T) {
	r := newRig(t, "quake3")
	for _, kind := range []struct {
		number     uint32
		ask, reply string
	}{{q3Info, "getinfo", "infoResponse\n"}, {q3Status, "getstatus", "statusResponse\n"}} {
		for _, rest := range []string{"\\sv_hostname\\even", "\\sv_hostname\\an odd one\n0 0 \"player\"\n", strings.Repeat("\\key\\value", 110)} {
			stored := oob(kind.reply + rest)
			r.cache(kind.number, stored, now+1)
			for n := range 129 {
				arg := strings.Repeat("aZ09!~_-+xyz", 11)[:n]
				want := stored
				request := kind.ask
				if n > 0 {
					request += " " + arg
					want = oob(kind.reply + "\\challenge\\" + arg + rest)
				}
				for _, end := range []string{"", "\n", "\n\x00"} {
					got := r.run(oob(request + end))
					if got.verdict != answer || got.proof != none || !bytes.Equal(got.payload, want) {
						t.Fatalf("%q: %+v, want the answer %q", request+end, got, want)
					}
				}
			}
		}
	}
}

// What the server would read in its own way, or answer otherwise, is the server's.
func TestQuake3LeavesItToTheServer(t *testing.T) {
	r := newRig(t, "quake3")
	stored := oob("infoResponse\n\\sv_hostname\\x")
	r.cache(q3Info, stored, now+1)
	for _, arg := range []string{"a b", `a"b"`, `a\b`, "a;b", "a%sb", "a//b", "abcdefgh;", "1234567 9", strings.Repeat("x", 127) + ";"} {
		if got := r.run(oob("getinfo " + arg)); got.verdict != query {
			t.Errorf("%q: %+v, want a query", arg, got)
		}
	}
	if got := r.run(oob("getstatus")); got.verdict != query {
		t.Errorf("no status in the cache: %+v, want a query", got)
	}
	r.cache(q3Info, oob("infoResponse\n"+strings.Repeat("x", answerMax-17)), now+1)
	if got := r.run(oob("getinfo")); got.verdict != answer || len(got.payload) != answerMax {
		t.Errorf("the longest: verdict %d, %d bytes", got.verdict, len(got.payload))
	}
	if got := r.run(oob("getinfo k7w")); got.verdict != query {
		t.Errorf("too long with its challenge: %+v, want a query", got)
	}
	r.cache(q3Info, oob("infoResponse"), now+1)
	if got := r.run(oob("getinfo k7w")); got.verdict != query {
		t.Errorf("a damaged cache: %+v, want a query", got)
	}
	r.cache(q3Info, stored, now+1)
	r.box.Flags = watch
	if got := r.run(oob("getinfo")); got.verdict != query {
		t.Errorf("where nothing is enforced: %+v, want a query", got)
	}
	r.box.Flags, r.box.Now = 0, now+1
	if got := r.run(oob("getinfo")); got.verdict != query {
		t.Errorf("stale: %+v, want a query", got)
	}
}

// Every byte that may not be in an argument is found at every place.
func TestQuake3ReadsEveryByte(t *testing.T) {
	r := newRig(t, "quake3")
	r.cache(q3Info, oob("infoResponse\n\\sv_hostname\\x"), now+1)
	for _, at := range []int{1, 7, 8, 9, 64, 127} {
		for c := range 256 {
			arg := []byte(strings.Repeat("x", 128))
			arg[at-1] = byte(c)
			want := answer
			switch {
			case c < ' ' || c >= 0x7f:
				want = refuse
			case strings.ContainsRune(" \"\\;%/", rune(c)):
				want = query
			}
			if got := r.run(oob(fmt.Sprintf("getinfo %s", arg))); got.verdict != want {
				t.Errorf("byte %#x at %d: verdict %d, want %d", c, at, got.verdict, want)
			}
		}
	}
}
