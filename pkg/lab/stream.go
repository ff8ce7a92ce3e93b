// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
)

// Protocol is what a stream's packets are.
type Protocol string

// The protocols that the generator builds.
const (
	UDP       Protocol = "udp"
	TCPSYN    Protocol = "tcp-syn"
	TCPSYNACK Protocol = "tcp-synack"
	TCPACK    Protocol = "tcp-ack"
	TCPRST    Protocol = "tcp-rst"
	Ping      Protocol = "ping" // ICMP or ICMPv6 echo request

	ethLen  = 14
	ipv4Len = 20
	ipv6Len = 40
	fragLen = 8
	udpLen  = 8
	tcpLen  = 20
	pingLen = 8
	ttl     = 60

	mostOptions = 40 // bytes of TCP's

	maxRandom = 128 // GEN_WORDS of bpf/lab/gen.bpf.c

	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoFrag   = 44
	protoICMPv6 = 58
)

// Source is where packets claim to come from: any address of the prefix, any port from FirstPort to LastPort, at
// random for each packet. Protocols without ports ignore them.
type Source struct {
	Prefix              netip.Prefix
	FirstPort, LastPort uint16
	// Cycle, if not 0, is how many addresses of the prefix (IPv4) are used in turn, over and over, each with a port of its
	// own; such a source is its stream's only one.
	Cycle uint32
}

// Fragment makes a packet an IP fragment.
type Fragment struct {
	Offset uint16 // bytes into the datagram, a multiple of 8; not 0: the payload starts there, without L4 header
	More   bool   // others follow
}

// Stream is one kind of packet of a flood.
type Stream struct {
	Sources  []Source // a packet takes any of them; all of the target's family
	Target   netip.AddrPort
	Protocol Protocol
	Options  []byte // of TCP, a multiple of 4 bytes
	Payload  []byte
	Random   bool // some of the payload is random: four bytes at RandomAt. TCP sequence numbers and ping ids always are
	RandomAt int  // an even offset in the payload
	// RandomBytes is how much is random instead of four bytes: a multiple of 4, at most 128.
	RandomBytes int
	Fragment    *Fragment
}

// randomBytes is how much of the payload is random.
func (s Stream) randomBytes() int {
	if !s.Random {
		return 0
	}
	return max(4, s.RandomBytes)
}

// build makes the stream's template: a frame from one station to another, its partial sums, and where what varies
// lies. The caller fills in the sources' place.
func (s Stream) build(from, to net.HardwareAddr) (floodGenTemplate, error) {
	if err := s.check(); err != nil {
		return floodGenTemplate{}, err
	}
	frame := make([]byte, 0, ethLen+ipv6Len+fragLen+tcpLen+mostOptions+len(s.Payload))
	frame = append(append(frame, to...), from...)
	t := floodGenTemplate{L3: ethLen, Family: 4, Pseudo: 1}
	proto := s.protocolNumber()
	if s.Target.Addr().Is6() {
		t.Family = 6
		frame = append(frame, 0x86, 0xdd)
		frame = s.appendIPv6(frame, proto)
	} else {
		frame = append(frame, 0x08, 0x00)
		frame = s.appendIPv4(frame, proto)
		t.IpSum = sum(frame[ethLen:])
	}
	l4 := len(frame)
	if s.Fragment != nil && t.Family == 6 {
		t.Vary, t.VaryWords = uint32(l4-4), 1 // the fragment's identification
	}
	if s.Fragment == nil || s.Fragment.Offset == 0 {
		frame = s.appendL4(frame, &t)
	}
	payload := len(frame)
	frame = append(frame, s.Payload...)
	if s.Random {
		n := s.randomBytes()
		t.Vary, t.VaryWords = uint32(payload+s.RandomAt), uint32(n/4)
		clear(frame[payload+s.RandomAt:][:n]) // the sums leave it out
	}
	if len(frame) > len(t.Frame)-16 {
		return t, fmt.Errorf("a frame of %d bytes is longer than %d", len(frame), len(t.Frame)-16)
	}
	if s.Fragment != nil {
		t.L4Check = 0 // it would cover the whole datagram
	}
	t.L4Sum = sum(frame[l4:])
	if t.Pseudo == 1 {
		t.L4Sum += sum(s.Target.Addr().AsSlice()) + uint32(swap(uint16(len(frame)-l4))) + uint32(swap(uint16(proto)))
	}
	t.Len = uint32(len(frame))
	copy(t.Frame[:], frame)
	return t, nil
}

func (s Stream) check() error {
	var errs []error
	if len(s.Sources) == 0 {
		errs = append(errs, errors.New("no source"))
	}
	for _, src := range s.Sources {
		if src.Prefix.Addr().Is6() != s.Target.Addr().Is6() {
			errs = append(errs, fmt.Errorf("source %s is not of the family of %s", src.Prefix, s.Target.Addr()))
		}
		if src.LastPort < src.FirstPort {
			errs = append(errs, fmt.Errorf("source ports %d to %d", src.FirstPort, src.LastPort))
		}
		if src.Cycle > 0 && (len(s.Sources) > 1 || src.Prefix.Addr().Is6() || uint64(src.Cycle) > src.all()) {
			errs = append(errs, fmt.Errorf("source %s can't cycle through %d addresses", src.Prefix, src.Cycle))
		}
	}
	if n := s.randomBytes(); n > 0 && (len(s.Payload) < s.RandomAt+n || s.RandomAt%2 != 0 || n%4 != 0 || n > maxRandom) {
		errs = append(errs, errors.New("no room for random bytes in the payload"))
	}
	if n := len(s.Options); n > 0 && (s.flags() == 0 || n%4 != 0 || n > mostOptions) {
		errs = append(errs, fmt.Errorf("%d bytes of TCP options", n))
	}
	if s.Random && s.flags() != 0 {
		errs = append(errs, errors.New("of TCP the numbers are random"))
	}
	if s.Fragment != nil && s.Fragment.Offset%8 != 0 {
		errs = append(errs, fmt.Errorf("fragment offset %d is no multiple of 8", s.Fragment.Offset))
	}
	return errors.Join(errs...)
}

// flags of TCP; 0 = it is another protocol.
func (s Stream) flags() byte {
	return map[Protocol]byte{TCPSYN: 0x02, TCPSYNACK: 0x12, TCPACK: 0x10, TCPRST: 0x04}[s.Protocol]
}

func (s Stream) protocolNumber() byte {
	switch {
	case s.flags() != 0:
		return protoTCP
	case s.Protocol == Ping && s.Target.Addr().Is6():
		return protoICMPv6
	case s.Protocol == Ping:
		return protoICMP
	}
	return protoUDP
}

// l4Size is the length of what follows the IP headers.
func (s Stream) l4Size() int {
	if s.Fragment != nil && s.Fragment.Offset > 0 {
		return len(s.Payload)
	}
	if s.flags() != 0 {
		return tcpLen + len(s.Options) + len(s.Payload)
	}
	return len(s.Payload) + map[Protocol]int{UDP: udpLen, Ping: pingLen}[s.Protocol]
}

// appendIPv4 leaves out what varies: id, checksum and source.
func (s Stream) appendIPv4(frame []byte, proto byte) []byte {
	var h [ipv4Len]byte
	h[0] = 0x45
	binary.BigEndian.PutUint16(h[2:], uint16(ipv4Len+s.l4Size()))
	if s.Fragment != nil {
		binary.BigEndian.PutUint16(h[6:], s.Fragment.Offset/8|uint16(moreBit(s.Fragment.More))<<13)
	}
	h[8], h[9] = ttl, proto
	copy(h[16:], s.Target.Addr().AsSlice())
	return append(frame, h[:]...)
}

func (s Stream) appendIPv6(frame []byte, proto byte) []byte {
	var h [ipv6Len]byte
	h[0] = 0x60
	h[6], h[7] = proto, ttl
	size := s.l4Size()
	if s.Fragment != nil {
		h[6] = protoFrag
		size += fragLen
	}
	binary.BigEndian.PutUint16(h[4:], uint16(size))
	copy(h[24:], s.Target.Addr().AsSlice())
	frame = append(frame, h[:]...)
	if s.Fragment != nil {
		var f [fragLen]byte
		f[0] = proto
		binary.BigEndian.PutUint16(f[2:], s.Fragment.Offset|uint16(moreBit(s.Fragment.More)))
		frame = append(frame, f[:]...)
	}
	return frame
}

func moreBit(more bool) int {
	if more {
		return 1
	}
	return 0
}

// appendL4 adds the L4 header and notes where its varying fields lie.
func (s Stream) appendL4(frame []byte, t *floodGenTemplate) []byte {
	at := uint32(len(frame))
	switch s.Protocol {
	case TCPSYN, TCPSYNACK, TCPACK, TCPRST:
		var h [tcpLen]byte
		binary.BigEndian.PutUint16(h[2:], s.Target.Port())
		h[12], h[13] = byte(tcpLen+len(s.Options))/4<<4, s.flags()
		binary.BigEndian.PutUint16(h[14:], 64240)
		t.Port, t.Vary, t.VaryWords, t.L4Check = at, at+4, 1, at+16
		if s.flags()&0x10 != 0 {
			t.VaryWords = 2 // what it acknowledges, too
		}
		return append(append(frame, h[:]...), s.Options...)
	case Ping:
		var h [pingLen]byte
		h[0] = 8
		if t.Family == 6 {
			h[0] = 128
		} else {
			t.Pseudo = 0
		}
		t.Vary, t.VaryWords, t.L4Check = at+4, 1, at+2
		return append(frame, h[:]...)
	default:
		var h [udpLen]byte
		binary.BigEndian.PutUint16(h[2:], s.Target.Port())
		binary.BigEndian.PutUint16(h[4:], uint16(udpLen+len(s.Payload)))
		t.Port, t.L4Check, t.Udp = at, at+6, 1
		return append(frame, h[:]...)
	}
}

// sum adds 16-bit words as the BPF program reads them: in memory order on a little-endian machine.
func sum(b []byte) uint32 {
	var n uint32
	for ; len(b) > 1; b = b[2:] {
		n += uint32(binary.LittleEndian.Uint16(b))
	}
	if len(b) == 1 {
		n += uint32(b[0])
	}
	return n
}

func swap(v uint16) uint16 { return v<<8 | v>>8 }

// entry is the source as the BPF program takes it.
func (s Source) entry() floodGenSource {
	e := floodGenSource{FirstPort: uint32(s.FirstPort), Ports: uint32(s.LastPort-s.FirstPort) + 1, Cycle: s.Cycle}
	addr := s.Prefix.Masked().Addr().AsSlice()
	for i := range len(addr) / 4 {
		e.Addr[i] = binary.LittleEndian.Uint32(addr[4*i:])
		var mask [4]byte
		binary.BigEndian.PutUint32(mask[:], uint32(math.MaxUint32)>>min(32, max(0, s.Prefix.Bits()-32*i)))
		e.Random[i] = binary.LittleEndian.Uint32(mask[:])
	}
	return e
}

// all is how many addresses the prefix has, at most 2^62.
func (s Source) all() uint64 { return 1 << min(62, s.Prefix.Addr().BitLen()-s.Prefix.Bits()) }

// distinctOf is how many different addresses are to be expected in n of the source's packets.
func (s Source) distinctOf(n float64) float64 {
	if s.Cycle > 0 {
		return min(n, float64(s.Cycle))
	}
	return distinct(n, float64(s.all()))
}
