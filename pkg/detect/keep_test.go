// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func wall() time.Time { return time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC) }

// What one life learned, the next one knows: who is flagged, how often he offended, and which addresses people share.
func TestOffencesOutliveTheDaemon(t *testing.T) {
	r := newRig(t)
	r.connect(victim, 11, time.Second)
	r.connect("2001:db8:1:2::1", 11, time.Second)
	for i := range 8 {
		r.connect(fmt.Sprintf("192.0.2.%d", i), 11, time.Second)
	}
	for i := range 12 {
		r.see("203.0.113.9", Observation{Kind: Attempt, Proof: Strong, Client: uint16(i + 1)})
		r.see("203.0.113.9", Observation{Kind: Lasting, Client: uint16(i + 1)})
	}
	doc, err := json.Marshal(r.Export(wall()))
	if err != nil {
		t.Fatal(err)
	}
	var list []Record
	if err := json.Unmarshal(doc, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 12 {
		t.Fatalf("%d records: %s", len(list), doc)
	}
	next := newRig(t)
	if err := next.Import(list, wall().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{victim, "2001:db8:1:2::1", "192.0.2.77"} {
		if v := next.Judge(netip.MustParseAddr(a)); !v.Refuse || v.Reason == 0 {
			t.Errorf("%s is judged %+v", a, v)
		}
	}
	if len(next.made) != 0 {
		t.Errorf("an import decided %+v", next.made)
	}
	if w, _ := next.Explain(netip.MustParseAddr("203.0.113.9")); w.People != 12 || !w.Player {
		t.Errorf("the shared address stands as %+v", w)
	}
	again := next.Export(wall().Add(time.Minute))
	near := cmpopts.EquateApproxTime(2 * time.Second)
	if diff := cmp.Diff(list, again, near, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("exported again (-first +second):\n%s", diff)
	}
	next.see("192.0.2.1", Observation{Kind: Query}) // its clock begins
	next.now += 30 * time.Minute
	next.connect(victim, 11, time.Second)
	if v := next.made[len(next.made)-1]; v.Level != 2 || v.For != 40*time.Minute {
		t.Errorf("the next offence: %+v", v)
	}
}

func TestRecordKeysAreAStores(t *testing.T) {
	for prefix, want := range map[string]string{
		"198.51.100.7/32": "4/198.51.100.7/32", "198.51.100.0/24": "4/198.51.100.0/24",
		"2001:db8:1:2::/64": "6/20010db800010002/64", "2001:db8:1::/48": "6/20010db800010000/48",
	} {
		if got := (&Record{Prefix: netip.MustParsePrefix(prefix)}).Key(); got != want {
			t.Errorf("key %s, want %s", got, want)
		}
	}
}

func TestImportRefusesWhatCantBe(t *testing.T) {
	r := newRig(t)
	p := netip.MustParsePrefix
	err := r.Import([]Record{
		{}, {Prefix: p("0.0.0.0/0"), Offences: 1}, {Prefix: p("198.51.100.7/31"), Offences: 1}, {Prefix: p("::1/128"), Offences: 1},
		{Prefix: p("198.51.100.7/24"), Offences: 1}, {Prefix: p("198.51.100.7/32"), Offences: -1}, {Prefix: p("198.51.100.7/32"), Offences: 99},
		{Prefix: p("198.51.100.0/24"), People: 5}, {Prefix: p("2001:db8::/32"), Offences: 1},
	}, wall())
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("said: %v", err)
	}
	if got := r.Export(wall()); len(got) != 0 {
		t.Errorf("taken in: %+v", got)
	}
	far := Record{Prefix: p("198.51.100.7/32"), Offences: 2, Until: wall().Add(1e6 * time.Hour)}
	if err := r.Import([]Record{far}, wall()); err != nil {
		t.Fatal(err)
	}
	if w, _ := r.Explain(far.Prefix.Addr()); w.Left > 24*time.Hour || !w.Blocked {
		t.Errorf("a record of the far future: %+v", w)
	}
}

// What a supporter reads is whole, and no question changes what is known.
func TestExplainChangesNothing(t *testing.T) {
	r := newRig(t)
	r.connect(victim, 7, time.Second)
	a := netip.MustParseAddr(victim)
	first, ok := r.Explain(a)
	if !ok || !first.Known || !first.Proven || first.Connections != 7 || first.Game != "quake3" || first.Risk != 0.6 || len(first.Factors) != 3 {
		t.Errorf("it stands as %+v", first)
	}
	for range 10 {
		again, _ := r.Explain(a)
		if diff := cmp.Diff(first, again, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Fatal(diff)
		}
	}
	if doc, err := json.Marshal(first); err != nil || !strings.Contains(string(doc), `"robotic"`) {
		t.Errorf("as JSON: %s, %v", doc, err)
	}
	if w, ok := r.Explain(netip.MustParseAddr("203.0.113.1")); !ok || w.Known || r.find(source(0xcb007101)) != nil {
		t.Errorf("of a source that was never seen: %+v", w)
	}
	if _, ok := r.Explain(netip.Addr{}); ok {
		t.Error("nobody is somebody")
	}
}

func TestPolicyIsChecked(t *testing.T) {
	p := Default()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	bad := Policy{}
	if _, err := New(bad, Handler{}); err == nil || strings.Count(err.Error(), "\n") < 8 {
		t.Errorf("said of an empty one: %v", err)
	}
}
