// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"testing"
	"time"
)

// tiny is a policy under which everything is full at once.
func tiny(p *Policy) {
	p.Sizes = Sizes{Strangers: 4, Sources: 4, Prefixes: 2, Offences: 3, Heavy: 3, Services: 2, Games: 2}
}

// FuzzObserve feeds anything, and holds what must always be: nothing grows beyond its bound, each decision is about a source that was
// seen, has evidence, and a duration within its policy; what nobody proved is never enough for a block of all that a source sends.
func FuzzObserve(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, true)
	seed := make([]byte, 0, 12*14)
	for i := range 14 {
		seed = append(seed, 7, 1, 2, 0, 10, byte(i), 0, 1, 0, 0, 1, 0)
	}
	f.Add(seed, true)
	f.Fuzz(func(t *testing.T, in []byte, proves bool) {
		r := newRig(t, tiny)
		var at uint64
		seen := map[netip.Prefix]bool{}
		for ; len(in) >= 12; in = in[12:] {
			b := in[:12]
			o := Observation{
				Source: netip.AddrFrom4([4]byte{198, 51, 100 + b[0]%2, b[0] % 16}), Kind: Kind(b[1] % 12), Proof: Proof(b[2] % 4),
				EndedBy: EndedBy(b[3] % 6), Lasted: b[3]&64 != 0, Regular: b[3]&128 != 0, Mute: b[3]&32 != 0, Service: uint16(b[5] % 4), Port: uint16(b[5]),
				Client: uint16(b[6]), Weight: uint32(b[7]) << (b[8] % 25), Length: uint16(b[8]), Lived: time.Duration(int8(b[9])) * time.Second,
				Game: string(b[10:11]), Reason: []string{"", "no_server", "rate_sessions", "denied", "gate_refused"}[b[11]%5],
			}
			if b[0]&128 != 0 {
				o.Source = netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 0, b[0] % 3, 0, b[0] % 8})
			}
			if !proves { // what a forger can do: nothing proves itself, nor lasts, nor is known
				o.Proof, o.Regular, o.Lasted = o.Proof%2, false, false
				if o.Kind == Handshake || o.Kind == Lasting || o.Kind == Playing {
					o.Kind = Attempt
				}
			}
			at += uint64(b[4]) * uint64(b[4]) << (b[11] % 40)
			if b[4] == 255 {
				at -= binary.BigEndian.Uint64(b)
			}
			o.Time = at
			s, _ := sourceOf(o.Source)
			seen[s.prefix()], seen[s.network().prefix()] = true, true
			r.Observe(&o)
			if w, ok := r.Explain(o.Source); !ok || w.Risk < 0 || w.Risk > 1 || w.Connections < 0 {
				t.Fatalf("it stands as %+v", w)
			}
		}
		for _, v := range r.made {
			if !seen[v.Prefix] || len(v.Facts) == 0 || v.Text() == "" || v.Reason.String() == "" || v.Confidence <= 0 || v.Confidence > 1 {
				t.Errorf("decided without evidence: %+v", v)
			}
			if v.For <= 0 || v.For > r.p.Block.Longest || !proves && v.Scope == Whole {
				t.Errorf("decided too much: %+v", v)
			}
		}
		z := &r.p.Sizes
		if r.young.n > z.Strangers || r.known.n > z.Sources || r.nets.n > z.Prefixes || r.offences.n > z.Offences || len(r.services) > z.Services ||
			len(r.heavy.places) > z.Heavy || len(r.gameNames) > z.Games+1 {
			t.Errorf("beyond its bounds: %+v", r.Counts())
		}
		if err := newRig(t, tiny).Import(r.Export(wall()), wall()); err != nil {
			t.Errorf("what it exports can't be imported: %v", err)
		}
	})
}

// FuzzImport feeds any document: it is refused or taken in, within bounds, and nobody is blocked by it who isn't named.
func FuzzImport(f *testing.F) {
	f.Add([]byte(`[{"prefix":"198.51.100.7/32","offences":2,"until":"2026-11-23T20:05:00Z","reason":"risk","people":9,"seen":"2026-11-23T19:59:00Z"}]`))
	f.Add([]byte(`[{"prefix":"2001:db8:1::/48","offences":30},{"prefix":"::/0","people":-1},{}]`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var list []Record
		if json.Unmarshal(doc, &list) != nil {
			return
		}
		r := newRig(t, tiny)
		_ = r.Import(list, wall()) // what can't be is said, and left out
		if len(r.made) != 0 || r.offences.n > 3 || r.netOffences.n > 2 || r.known.n > 4 {
			t.Errorf("%+v, decided %+v", r.Counts(), r.made)
		}
		for _, e := range r.Export(wall()) {
			if e.Offences > mostLevel || e.Until.After(wall().Add(r.p.Block.Longest)) {
				t.Errorf("kept %+v", e)
			}
		}
		for i := range 11 {
			r.see("192.0.2.200", Observation{Kind: Attempt, Proof: Strong, Client: uint16(i + 1)})
			r.now += time.Second
		}
	})
}
