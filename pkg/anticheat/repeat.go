// SPDX-License-Identifier: Apache-2.0

package anticheat

// What makes a finding of the sums of some seconds. Tuned on the development half of generated cheats and captures; each is well above what
// lines do by themselves (a packet in a hundred repeated, one to three places out of order), and well below what a cheat needs.
const (
	dupLeast, dupShare       = 10, 0.1
	replayLeast, replayShare = 5, 0.02
	tamperLeast, tamperShare = 4, 0.01
	tamperSeconds            = 2   // that have some
	garbageShare             = 0.5 // of numbers that are no client's: what is more is a flood
)

// judgeNumbers looks for packets that come again, or that are not the client's.
func (s *session) judgeNumbers(t *second) {
	if n := part(t.dup, t.numbered); t.dup >= dupLeast && n >= dupShare {
		s.found(traceDup, Duplicate, sevDuplicate, sure(float64(t.dup), dupLeast), func() []Fact {
			return []Fact{
				fact("share", n, dupShare, "%.0f %% of packets came again, with the same number and the same bytes", 100*n),
				fact("packets", float64(s.traces[traceDup].n), dupLeast, "%d packets so far", s.traces[traceDup].n),
			}
		})
	}
	if n := part(t.replay, t.numbered); t.replay >= replayLeast && n >= replayShare {
		s.found(traceReplay, Replay, sevReplay, sure(float64(t.replay), replayLeast), func() []Fact {
			return []Fact{
				fact("share", n, replayShare, "%.0f %% of packets are old ones, byte by byte", 100*n),
				fact("behind", float64(s.oldest), near, "by up to %d packets", s.oldest),
				fact("packets", float64(s.traces[traceReplay].n), replayLeast, "%d packets so far", s.traces[traceReplay].n),
			}
		})
	}
	if n := part(t.tamper, t.numbered); t.tamper >= tamperLeast && n >= tamperShare && s.forges() {
		s.found(traceTamper, Tampered, sevTampered, sure(float64(t.tamper), tamperLeast), func() []Fact {
			return []Fact{
				fact("share", n, tamperShare, "%.0f %% of packets have numbers that the client did not give, and its own go on between them", 100*n),
				fact("packets", float64(s.traces[traceTamper].n), tamperLeast, "%d packets so far", s.traces[traceTamper].n),
			}
		})
	}
}

// forges tells forged numbers from a flood's, of which most are no client's, and from a flood's first second.
func (s *session) forges() bool {
	n := 0
	for i := range uint32(lookBack) {
		x := s.ago(i + 1)
		if x == nil || x.tamper == 0 {
			continue
		}
		if n++; s.floods(x) || part(x.tamper, x.numbered) > garbageShare {
			return false
		}
	}
	return n >= tamperSeconds
}
