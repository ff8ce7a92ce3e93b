// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"encoding/binary"
	"testing"
)

var stunID = hx("0102030405060708090a0b0c")

// stunRequest is one with these attributes.
func stunRequest(kind uint16, attributes ...[]byte) []byte {
	body := join(attributes...)
	p := binary.BigEndian.AppendUint16(nil, kind)
	p = binary.BigEndian.AppendUint16(p, uint16(len(body)))
	return join(p, hx("2112a442"), stunID, body)
}

var (
	software    = hx("8022 0006 706172727921 0000")
	fingerprint = hx("8028 0004 01020304")
	username    = hx("0006 0003 61626300")
)

func TestSTUNShapes(t *testing.T) {
	r := newRig(t, "stun")
	r.box.Flags = watch // what is answered is not of interest here
	many := bytes.Repeat(hx("8022 0000"), 24)
	r.rows(t, []row{
		{"bare", stunRequest(1), query},
		{"with software and a fingerprint", stunRequest(1, software, fingerprint), query},
		{"with credentials", stunRequest(1, username, fingerprint), pass},
		{"with a change of address", stunRequest(1, hx("0003 0004 00000006")), pass},
		{"the fingerprint is not last", stunRequest(1, fingerprint, software), refuse},
		{"23 attributes", stunRequest(1, many[:92]), query},
		{"25 attributes", stunRequest(1, many, hx("8022 0000")), refuse},
		{"an attribute beyond the end", stunRequest(1, hx("8022 0005 70617272")), refuse},
		{"half an attribute", put(join(stunRequest(1), hx("8022")), 3, 2), refuse},
		{"a length that is no multiple of 4", put(join(stunRequest(1), hx("80220000 8022")), 3, 6), refuse},
		{"a length that is not its own", put(stunRequest(1), 3, 4), refuse},
		{"without the cookie", put(stunRequest(1), 4, 0x20), refuse},
		{"of RFC 3489", join(hx("0001 0008 9429ef88"), stunID, hx("00030004 00000000")), refuse},
		{"indication", stunRequest(0x11), refuse},
		{"answer", stunRequest(0x101), refuse},
		{"error", stunRequest(0x111), refuse},
		{"allocate", stunRequest(3, hx("0019 0004 11000000")), pass},
		{"allocate, damaged", stunRequest(3, hx("0019 0008 11000000")), refuse},
		{"refresh", stunRequest(4), refuse},
		{"channel data", hx("40000004 01020304 0000 0000 0000 0000 0000 0000"), refuse},
	})
	r.exact(t, stunRequest(1, software))
}

// RFC 5769's addresses and transaction id, with its answers' XOR-MAPPED-ADDRESS.
func TestSTUNAnswers(t *testing.T) {
	id := hx("b7e7a701bc34d686fa87dfae")
	for _, tc := range []struct{ src, dst, mapped string }{
		{"192.0.2.1", "203.0.113.10", "0020 0008 0001 a147 e112a643"},
		{"2001:db8:1234:5678:11:2233:4455:6677", "2001:db8::10", "0020 0014 0002 a147 0113a9faa5d3f179bc25f4b5bed2b9d9"},
	} {
		r := newRig(t, "stun")
		r.from(tc.src, tc.dst)
		r.box.Sport = [2]byte{0x80, 0x55} // 32853
		mapped := hx(tc.mapped)
		want := join([]byte{1, 1, 0, byte(len(mapped))}, hx("2112a442"), id, mapped)
		for _, request := range [][]byte{stunRequest(1), stunRequest(1, software), stunRequest(1, software, fingerprint), stunRequest(1, hx("8022 0100"), zeros(256))} {
			got := r.run(put(request, 8, id...))
			if got.verdict != answer || got.proof != none || !bytes.Equal(got.payload, want) {
				t.Errorf("%s: %+v, want the answer %x", tc.src, got, want)
			}
		}
		if got := r.run(stunRequest(1, username)); got.verdict != pass {
			t.Errorf("%s, with credentials: %+v, want PASS", tc.src, got)
		}
	}
}
