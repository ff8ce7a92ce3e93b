// SPDX-License-Identifier: Apache-2.0

package blocklist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var sameEntry = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmpopts.EquateApproxTime(0),
}

func noon() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC) }

func at(d time.Duration) *time.Time { t := noon().Add(d); return &t }

func entry(prefix string, change func(*Entry)) Entry {
	e := Entry{Prefix: netip.MustParsePrefix(prefix), Source: SourceCLI, Added: noon()}
	if change != nil {
		change(&e)
	}
	return e
}

func parseAll(t *testing.T, in string) (got []Entry, bad []LineError) {
	t.Helper()
	n, bad, err := Parse(strings.NewReader(in), Entry{Source: SourceCLI, Added: noon()}, func(e Entry) error {
		got = append(got, e)
		return nil
	})
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	if n != len(got) {
		t.Errorf("Parse said %d entries and gave %d", n, len(got))
	}
	return got, bad
}

func TestParseTakesAGoodList(t *testing.T) {
	plain := []Entry{entry("203.0.113.7/32", nil)}
	tests := []struct {
		name, in string
		want     []Entry
	}{
		{"nothing", "", nil},
		{"only comments", "# a\n\n  ; b\n", nil},
		{"an address", "203.0.113.7", plain},
		{"line end", "203.0.113.7\n", plain},
		{"CRLF and blanks", "\r\n \t203.0.113.7 \t\r\n", plain},
		{"byte order mark", "\xef\xbb\xbf203.0.113.7\n", plain},
		{"comment behind", "203.0.113.7 # why\n", plain},
		{"comment close behind", "203.0.113.7;SBL1\n", plain},
		{"mapped", "::ffff:203.0.113.7\n", plain},
		{"mapped prefix", "::ffff:203.0.113.0/120", []Entry{entry("203.0.113.0/24", nil)}},
		{"everything", "0.0.0.0/0\n::/0\n", []Entry{entry("0.0.0.0/0", nil), entry("::/0", nil)}},
		{"IPv6", "2001:db8::/64\n2001:DB8::1\n", []Entry{entry("2001:db8::/64", nil), entry("2001:db8::1/128", nil)}},
		{"fields", `10.0.0.0/8 reason="a \"b\" # c" ttl=90m service=arena unlimited=true # rest`,
			[]Entry{entry("10.0.0.0/8", func(e *Entry) {
				e.Reason, e.Service, e.Unlimited, e.Expires = `a "b" # c`, "arena", true, at(90*time.Minute)
			})}},
		{"bare reason", "10.0.0.0/8 reason=flood\tttl=7d", []Entry{entry("10.0.0.0/8", func(e *Entry) {
			e.Reason, e.Expires = "flood", at(7*24*time.Hour)
		})}},
		{"export fields", "10.0.0.0/8 source=detect confidence=0.9 added=2026-01-31T11:00:00Z expires=2026-01-31T13:00:00+01:00 hits=7",
			[]Entry{entry("10.0.0.0/8", func(e *Entry) {
				e.Source, e.Confidence, e.Added, e.Expires, e.Hits = SourceDetect, 0.9, noon().Add(-time.Hour), at(0), 7
			})}},
		{"longest reason", "10.0.0.0/8 reason=" + strings.Repeat("x", MaxReason),
			[]Entry{entry("10.0.0.0/8", func(e *Entry) { e.Reason = strings.Repeat("x", MaxReason) })}},
		{"JSON lines", `{"prefix":"203.0.113.7"}` + "\n" + `{"prefix":"10.0.0.0/8","reason":"a\u0041ä","expires":null,"hits":3}`,
			[]Entry{plain[0], entry("10.0.0.0/8", func(e *Entry) { e.Reason, e.Hits = "aAä", 3 })}},
		{"JSON array", "[\n  {\n    \"prefix\": \"203.0.113.7\"\n  },\n {\"prefix\":\"::1\",\"ttl\":\"1h\",\"added\":\"0001-01-01T00:00:00Z\"}\n]\n",
			[]Entry{plain[0], entry("::1/128", func(e *Entry) { e.Expires = at(time.Hour) })}},
		{"empty JSON array", "[]", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, bad := parseAll(t, tt.in)
			if diff := cmp.Diff(tt.want, got, sameEntry); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			if len(bad) > 0 {
				t.Errorf("bad lines: %v", bad)
			}
		})
	}
}

func TestParseSaysWhatIsWrongWithALine(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"no address", "hello", `line 1: "hello" is not an address or prefix`},
		{"second line", "::1\nhello\n", `line 2: "hello" is not an address or prefix`},
		{"host bits", "10.1.2.3/8", "line 1: 10.1.2.3/8 has bits set beyond its length: did you mean 10.0.0.0/8 (the network) or 10.1.2.3 (the address)?"},
		{"host bits v6", "2001:db8::1/64", "line 1: 2001:db8::1/64 has bits set beyond its length: did you mean 2001:db8::/64 (the network) or 2001:db8::1 (the address)?"},
		{"length", "10.0.0.0/33", `line 1: "10.0.0.0/33" is not a prefix: "33" is not a length between 0 and 32`},
		{"length zero-led", "10.0.0.0/08", `line 1: "10.0.0.0/08" is not a prefix: "08" is not a length between 0 and 32`},
		{"leading zero", "010.0.0.1", `line 1: "010.0.0.1" is not an address or prefix`},
		{"zone", "fe80::1%eth0", `line 1: "fe80::1%eth0" has a zone: lists take addresses without one`},
		{"port", "10.0.0.1:80", `line 1: "10.0.0.1:80" has a port: lists take addresses, did you mean 10.0.0.1?`},
		{"reason", "::1 reason=" + strings.Repeat("x", 40), "line 1: the reason is 40 bytes long and only 39 fit: shorten it"},
		{"reason in two words", "::1 reason=a b", `line 1: "b" is not key=value (a comment starts with #)`},
		{"control", "::1 reason=\"a\x1b[2J\"", "line 1: the reason has a control character (U+001B)"},
		{"latin1", "::1 reason=\xe4", "line 1: the reason is not UTF-8 text"},
		{"misspelled", "::1 reson=x", `line 1: unknown field "reson": did you mean reason?`},
		{"unknown", "::1 colour=x", `line 1: unknown field "colour": known are prefix, reason, source, confidence, added, expires, hits, service, unlimited, ttl`},
		{"twice", "::1 ttl=1h ttl=2h", "line 1: ttl is given twice"},
		{"both", "::1 ttl=1h expires=never", "line 1: expires and ttl are both given: keep one"},
		{"ttl", "::1 ttl=soon", `line 1: ttl "soon" is not a duration like 90s, 1h30m, 7d or never`},
		{"negative ttl", "::1 ttl=-1h", `line 1: ttl -1h is not above 0 ("never" is for entries without an end)`},
		{"quote", `::1 reason="a`, "line 1: reason: the closing quote is missing"},
		{"source", "::1 source=me", `line 1: source "me" is none of cli, api, detect, fleet, map`},
		{"confidence", "::1 confidence=NaN", `line 1: confidence "NaN" is not between 0 and 1`},
		{"long line", "# " + strings.Repeat("x", 200_000) + "\n", "line 1: the line is longer than 4096 bytes"},
		{"binary", "\x7fELF\x00\x01", "line 1: the line holds bytes that are not text"},
		{"JSON without prefix", `{"reason":"x"}`, "line 1: the object has no prefix"},
		{"JSON unknown", `{"prefix":"::1","tll":"1h"}`, `line 1: unknown field "tll": did you mean ttl?`},
		{"JSON type", `{"prefix":"::1","hits":"7"}`, "line 1: hits is in quotes: write it without"},
		{"JSON type 2", `{"prefix":"::1","reason":7}`, "line 1: reason is not in quotes"},
		{"JSON nested", `{"prefix":{"a":1}}`, "line 1: prefix is an object or a list: expected one value"},
		{"JSON cut", `[{"prefix":"::1"`, "line 1: the list ends inside an object"},
		{"JSON array cut", "[{\"prefix\":\"::1\"}\n", "line 2: the list ends before its closing ]"},
		{"JSON long", "\n[" + `{"prefix":"` + strings.Repeat("x", 5000) + `"}]`, "line 2: the object is longer than 4096 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, bad := parseAll(t, tt.in)
			if len(bad) != 1 || bad[0].Error() != tt.want {
				t.Errorf("got %v\nwant [%s]", bad, tt.want)
			}
		})
	}
}

func TestABadLineCostsOnlyItself(t *testing.T) {
	for _, in := range []string{
		"::1\nx\n" + strings.Repeat("y", 100_000) + "\n::2",
		`[{"prefix":"::1"},` + "\n" + `{"prefix":"x"},` + "\n" + `{"reason":"}{][\"", "prefix":"y"},{"prefix":"::2"}]`,
	} {
		got, bad := parseAll(t, in)
		if len(got) != 2 || len(bad) != 2 || bad[0].Line != 2 || bad[1].Line != 3 {
			t.Errorf("got %d entries and bad lines %v", len(got), bad)
		}
	}
}

func TestParseStopsAtCallersAndReadersErrors(t *testing.T) {
	stop := errors.New("full")
	n, _, err := Parse(strings.NewReader("::1\n::2\n"), Entry{}, func(e Entry) error {
		if e.Prefix.Addr() == netip.MustParseAddr("::2") {
			return stop
		}
		return nil
	})
	if n != 1 || err != stop {
		t.Errorf("got %d, %v", n, err)
	}
	broken := io.MultiReader(strings.NewReader("::1\n::2\n"), iotest.ErrReader(errors.New("disk gone")))
	n, _, err = Parse(broken, Entry{}, func(Entry) error { return nil })
	if n != 2 || err == nil || err.Error() != "read list: line 3: disk gone" {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestParseGivesUpOnWhatIsNoList(t *testing.T) {
	_, bad, err := Parse(strings.NewReader(strings.Repeat("x\n", MaxBad+10)), Entry{}, func(Entry) error { return nil })
	if !errors.Is(err, ErrTooManyBad) || len(bad) != MaxBad {
		t.Errorf("got %d bad lines, %v", len(bad), err)
	}
	_, _, err = Parse(strings.NewReader("\xff\xfe1\x000\x00"), Entry{}, func(Entry) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Errorf("UTF-16: %v", err)
	}
}

func all(es []Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range es {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func someEntries() []Entry {
	return []Entry{
		entry("203.0.113.7/32", nil),
		entry("2001:db8::/64", func(e *Entry) {
			e.Reason, e.Service, e.Hits, e.Confidence = `"quoted" \ <ä> &`, "arena 2", 1<<63, 0.123456789
			e.Expires, e.Unlimited, e.Source = at(time.Nanosecond), true, SourceFleet
		}),
		{Prefix: netip.MustParsePrefix("0.0.0.0/0")},
	}
}

func TestWhatIsWrittenReadsBackTheSame(t *testing.T) {
	for _, es := range [][]Entry{nil, someEntries()[:1], someEntries()} {
		for _, format := range []string{FormatText, FormatJSON, FormatJSONL} {
			var buf bytes.Buffer
			if err := Write(&buf, format, all(es)); err != nil {
				t.Fatal(err)
			}
			var got []Entry
			_, bad, err := Parse(bytes.NewReader(buf.Bytes()), Entry{}, func(e Entry) error { got = append(got, e); return nil })
			if err != nil || len(bad) > 0 {
				t.Fatalf("%s: %v %v\n%s", format, bad, err, buf.String())
			}
			if diff := cmp.Diff(es, got, sameEntry); diff != "" {
				t.Errorf("%s (-want +got):\n%s", format, diff)
			}
			if format == FormatJSON && !json.Valid(buf.Bytes()) {
				t.Errorf("not a JSON document:\n%s", buf.String())
			}
		}
	}
}

func TestWriteFormats(t *testing.T) {
	var text, doc bytes.Buffer
	if err := errors.Join(Write(&text, FormatText, all(someEntries()[:1])), Write(&doc, FormatJSON, all(someEntries()[:1]))); err != nil {
		t.Fatal(err)
	}
	if want := "203.0.113.7 source=cli added=2026-01-31T12:00:00Z\n"; text.String() != want {
		t.Errorf("got %q want %q", text.String(), want)
	}
	want := `[` + "\n" + `{"prefix":"203.0.113.7","reason":"","source":"cli","confidence":0,"added":"2026-01-31T12:00:00Z","expires":null,"hits":0,"service":""}` + "\n]\n"
	if doc.String() != want {
		t.Errorf("got %q want %q", doc.String(), want)
	}
}

func TestWriteStopsAtErrors(t *testing.T) {
	lost := errors.New("map gone")
	seq := func(yield func(Entry, error) bool) { yield(Entry{}, lost) }
	if err := Write(io.Discard, FormatText, seq); !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
	if err := Write(io.Discard, "xml", seq); err == nil || !strings.Contains(err.Error(), `unknown format "xml"`) {
		t.Errorf("got %v", err)
	}
}

func TestEntryIsOneJSONObjectBothWays(t *testing.T) {
	for _, e := range someEntries() {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var got Entry
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, got, sameEntry); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	var e Entry
	if err := json.Unmarshal([]byte(`{"prefix":"10.0.0.1/8"}`), &e); err == nil || e != (Entry{}) {
		t.Errorf("a refused object changed the entry: %v %v", e, err)
	}
}

func TestValidate(t *testing.T) {
	for _, e := range someEntries() {
		if err := e.Validate(); err != nil {
			t.Errorf("%v: %v", e, err)
		}
	}
	for name, e := range map[string]Entry{
		"no prefix":  {},
		"mapped":     {Prefix: netip.MustParsePrefix("::ffff:1.2.3.4/128")},
		"host bits":  {Prefix: netip.MustParsePrefix("10.0.0.1/8")},
		"reason":     entry("::1/128", func(e *Entry) { e.Reason = strings.Repeat("ä", 20) }),
		"source":     entry("::1/128", func(e *Entry) { e.Source = "x" }),
		"confidence": entry("::1/128", func(e *Entry) { e.Confidence = 1.1 }),
		"service":    entry("::1/128", func(e *Entry) { e.Service = "a\nb" }),
	} {
		if e.Validate() == nil {
			t.Errorf("%s: took %v", name, e)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("203.0.113.7 reason=\"a\" ttl=1h\n# x\n2001:db8::/64 service=a;b\n")
	f.Add("[{\"prefix\":\"::1\",\"expires\":null},\n{\"prefix\":\"10.0.0.0/8\",\"reason\":\"\\u00e4\"}]")
	f.Add("{\"prefix\":\"::1\"}{\"prefix\":\"1.2.3.4\",\"hits\":1e3}")
	f.Fuzz(func(t *testing.T, in string) {
		var got []Entry
		_, bad, err := Parse(strings.NewReader(in), Entry{}, func(e Entry) error {
			if err := e.Validate(); err != nil {
				t.Fatalf("Parse let %+v through: %v", e, err)
			}
			got = append(got, e)
			return nil
		})
		for _, b := range bad {
			if b.Line < 1 || b.Line > strings.Count(in, "\n")+1 || b.Err == nil || len(b.Text) > 256 {
				t.Fatalf("bad line error %+v", b)
			}
		}
		if err != nil {
			return
		}
		for _, format := range []string{FormatText, FormatJSON, FormatJSONL} {
			var buf bytes.Buffer
			if err := Write(&buf, format, all(got)); err != nil {
				t.Fatal(err)
			}
			var again []Entry
			_, bad, err := Parse(bytes.NewReader(buf.Bytes()), Entry{}, func(e Entry) error { again = append(again, e); return nil })
			if err != nil || len(bad) > 0 {
				t.Fatalf("%s: %v %v\n%s", format, bad, err, buf.String())
			}
			if diff := cmp.Diff(got, again, sameEntry); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", format, diff)
			}
		}
	})
}

// FuzzPrefix compares the short way for IPv4 with netip.
func FuzzPrefix(f *testing.F) {
	f.Add("1.2.3.4")
	f.Add("10.0.0.0/8")
	f.Add("256.1.1.1/3")
	f.Fuzz(func(t *testing.T, in string) {
		fast, ferr := prefixOf([]byte(in))
		slow, serr := ParsePrefix(in)
		if fast != slow || (ferr == nil) != (serr == nil) {
			t.Errorf("%q: %v %v, netip says %v %v", in, fast, ferr, slow, serr)
		}
	})
}

func lines(n int, format string) []byte {
	var b bytes.Buffer
	for i := range n {
		a := netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
		fmt.Fprintf(&b, format+"\n", a)
	}
	return b.Bytes()
}

func BenchmarkParseMillion(b *testing.B) {
	for _, bb := range []struct{ name, line string }{
		{"address", "%s"},
		{"fields", "%s reason=\"syn flood\" ttl=1h service=arena"},
		{"json", `{"prefix":"%s","reason":"syn flood","source":"cli","confidence":0,"added":"2026-01-31T12:00:00Z","expires":null,"hits":0,"service":""}`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			in := lines(1_000_000, bb.line)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				n, bad, err := Parse(bytes.NewReader(in), Entry{Added: noon()}, func(Entry) error { return nil })
				if n != 1_000_000 || len(bad) > 0 || err != nil {
					b.Fatal(n, bad, err)
				}
			}
		})
	}
}

func BenchmarkWriteMillion(b *testing.B) {
	e := someEntries()[1]
	seq := func(yield func(Entry, error) bool) {
		for range 1_000_000 {
			if !yield(e, nil) {
				return
			}
		}
	}
	for _, format := range []string{FormatText, FormatJSON} {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := Write(io.Discard, format, seq); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
