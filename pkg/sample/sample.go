// SPDX-License-Identifier: Apache-2.0

// Package sample reads what the fast path tells of single packets: records of its ring, each a header and the beginning of the
// packet's frame. Nothing is allocated for a record, whatever is in it.
package sample

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// headerLen is what lies before the frame: struct sample of bpf/abi.h.
const headerLen = 80

// Flags of a Sample.
const (
	Down    = 1  // from a server to a client
	First   = 2  // it began its session; refused: it would have begun one
	Regular = 4  // one of those that are taken always: one a source and second of what is dropped
	Out     = 8  // as it left this host; else as it came in
	Player  = 16 // its client is one: proven strongly, or has played for a while
)

// Kind is why a packet is told that no capture asked for.
type Kind uint8

// The kinds.
const (
	KindDrop  Kind = 0 // its source's drop of the second (Regular), or none: captures alone have asked
	KindFirst Kind = 1 // of the first ones of its session, each way
	KindTurn  Kind = 2 // one at which its session was judged again: every two seconds at most, each way
	KindStep  Kind = 3 // a Step that nobody can forge, and told for nothing else: without its frame
	KindBegin Kind = 4 // the same of any other: a stranger's session began
)

// Step is what attacks are found by, bits of it.
type Step uint8

// The steps.
const (
	StepBegan   Step = 1  // it began its session
	StepStrong  Step = 2  // it proved its client's address strongly; of TCP that a gate hears, and it was heard
	StepLasting Step = 4  // with it, its session came to last
	StepLasts   Step = 8  // its session has come to last before: of a turn
	StepQuery   Step = 16 // a query: its client wants no session
	StepRefused Step = 32 // it would have begun one, and its source's own limits refuse that
	StepCalled  Step = 64 // its server spoke first: it began its session so
)

// Urgent tells whether the fast path wakes its reader for it.
func (s Step) Urgent() bool { return s&^(StepLasts|StepQuery|StepCalled) != 0 }

// The verdicts.
const (
	Pass     = 1 // to this host's own stack
	Drop     = 2
	TX       = 3 // out by the interface it came in by
	Redirect = 4
	Abort    = 5
)

// Sample is one packet.
type Sample struct {
	Time    uint64     // CLOCK_MONOTONIC, ns
	Client  netip.Addr // whom policy judged; not valid where nobody knows
	Front   netip.Addr // the edge's address that the client speaks to; not valid where nobody knows
	Ifindex uint32     // that it came in by (Out: left by)
	Length  uint32     // of the frame
	Rule    uint32     // of the operator's, that judged it; 0 = none
	Every   uint32     // it stands for so many (KindTurn: so many turns); 0 = for itself, or nobody knows
	Packets uint32     // KindFirst and KindTurn: that its direction had before
	Service uint16
	CPU     uint16
	Reason  uint8 // number of the drop reason; 0 = none
	Shadow  uint8 // of what policy would have said, were it enforced
	Verdict uint8
	Flags   uint8
	Slots   uint8 // a bit for each capture that it is for
	Kind    Kind
	Step    Step
	Proto   uint8  // 6, 17, ...; 0 = not known
	Ports   Ports  // of Client and Front
	Frame   []byte // the beginning of it, within the record
}

// Ports are those of a session's two ends; 0 = none, or nobody knows.
type Ports struct{ Client, Front uint16 }

// ErrShort says that a record is no sample.
var ErrShort = errors.New("a record that is no sample")

// Decode reads a record. Frame stays within it.
func (s *Sample) Decode(record []byte) error {
	if len(record) < headerLen {
		return ErrShort
	}
	b := (*[headerLen]byte)(record)
	taken := int(binary.NativeEndian.Uint16(b[58:]))
	if taken > len(record)-headerLen {
		return ErrShort
	}
	s.Time = binary.NativeEndian.Uint64(b[:])
	s.Client, s.Front = netip.Addr{}, netip.Addr{}
	switch b[65] {
	case 4:
		s.Client, s.Front = netip.AddrFrom4([4]byte(b[8:12])), known(netip.AddrFrom4([4]byte(b[24:28])))
	case 6:
		s.Client, s.Front = netip.AddrFrom16([16]byte(b[8:24])), known(netip.AddrFrom16([16]byte(b[24:40])))
	}
	s.Ifindex = binary.NativeEndian.Uint32(b[40:])
	s.Length = binary.NativeEndian.Uint32(b[44:])
	s.Rule = binary.NativeEndian.Uint32(b[48:])
	s.Every = binary.NativeEndian.Uint32(b[52:])
	s.Service = binary.NativeEndian.Uint16(b[56:])
	s.Reason, s.Shadow, s.Verdict, s.Flags, s.Slots = b[60], b[61], b[62], b[63], b[64]
	s.CPU = binary.NativeEndian.Uint16(b[66:])
	s.Ports = Ports{binary.BigEndian.Uint16(b[68:]), binary.BigEndian.Uint16(b[70:])}
	s.Proto, s.Kind, s.Step = b[72], Kind(b[73]), Step(b[74])
	s.Packets = binary.NativeEndian.Uint32(b[76:])
	s.Frame = record[headerLen : headerLen+taken]
	return nil
}

// known is no address for the one that nobody has.
func known(a netip.Addr) netip.Addr {
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// Dropped tells whether it was dropped, or would have been were policy enforced.
func (s *Sample) Dropped() bool { return s.Reason|s.Shadow != 0 }
