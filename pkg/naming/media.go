// SPDX-License-Identifier: Apache-2.0

package naming

// Calls: RTP and RTCP (RFC 3550), SIP (RFC 3261), MGCP (RFC 3435).
var mediaRules = [...]rule{
	{RTPVoIP, 60, "RTCP, as long as it says", rtcp},
	{RTPVoIP, 90, "SIP", sip},
	{RTPVoIP, 85, "MGCP", mgcp},
}

var mediaSequels = [...]pairRule{
	{RTPVoIP, 70, "RTP of one source, numbered one after the other", rtpInSequence},
}

// rtcp: version 2, a type from 200 to 204, and a length in words of 4 bytes; several may follow each other.
func rtcp(p *packet) bool {
	kind, size := p.u8(1), 4*int(p.be16(2))+4
	return p.u8(0)>>6 == 2 && kind >= 200 && kind <= 204 && p.n >= 8 && (p.n == size || p.n > size && p.n < size+200)
}

// rtpInSequence: version 2 both times, one type, no type of RTCP's, one source, and numbers that are 1 to 3 apart.
func rtpInSequence(last, p *packet) bool {
	if last.u8(0)>>6 != 2 || p.u8(0)>>6 != 2 || !last.has(12) || !p.has(12) {
		return false
	}
	kind, step := p.u8(1)&0x7f, p.be16(2)-last.be16(2)
	return kind == last.u8(1)&0x7f && (kind < 64 || kind >= 96) && step >= 1 && step <= 3 && p.be32(8) == last.be32(8) && p.be32(8) != 0
}

var sipWords = [...]string{"SIP/2.0 ", "INVITE sip", "REGISTER sip", "OPTIONS sip", "ACK sip", "BYE sip", "NOTIFY sip", "SUBSCRIBE sip", "MESSAGE sip", "CANCEL sip"}

func sip(p *packet) bool { return p.beginsAny(sipWords[:]) }

func (p *packet) beginsAny(words []string) bool {
	for _, w := range words {
		if p.is(0, w) {
			return true
		}
	}
	return false
}

var mgcpWords = [...]string{"AUEP ", "AUCX ", "CRCX ", "MDCX ", "DLCX ", "RQNT ", "NTFY ", "RSIP ", "EPCF "}

// mgcp: a verb and a number.
func mgcp(p *packet) bool { return p.beginsAny(mgcpWords[:]) && p.u8(5) >= '0' && p.u8(5) <= '9' }
