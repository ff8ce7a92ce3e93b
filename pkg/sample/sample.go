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
const headerLen = 64

// Flags of a Sample.
const (
	Down    = 1 // from a server to a client
	First   = 2 // it began its session
	Regular = 4 // one of those that are taken always: one a source and second of what is dropped
	Out     = 8 // as it left this host; else as it came in
)

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
	Ifindex uint32     // that it came in by (Out: left by)
	Length  uint32     // of the frame
	Rule    uint32     // of the operator's, that judged it; 0 = none
	Every   uint32     // it stands for so many; 0 = for itself, or nobody knows
	Service uint16
	CPU     uint16
	Reason  uint8 // number of the drop reason; 0 = none
	Shadow  uint8 // of what policy would have said, were it enforced
	Verdict uint8
	Flags   uint8
	Slots   uint8  // a bit for each capture that it is for
	Frame   []byte // the beginning of it, within the record
}

// ErrShort says that a record is no sample.
var ErrShort = errors.New("a record that is no sample")

// Decode reads a record. Frame stays within it.
func (s *Sample) Decode(record []byte) error {
	if len(record) < headerLen {
		return ErrShort
	}
	b := record[:headerLen]
	taken := int(binary.NativeEndian.Uint16(b[42:]))
	if taken > len(record)-headerLen {
		return ErrShort
	}
	s.Time = binary.NativeEndian.Uint64(b)
	s.Client = netip.Addr{}
	switch b[49] {
	case 4:
		s.Client = netip.AddrFrom4([4]byte(b[8:12]))
	case 6:
		s.Client = netip.AddrFrom16([16]byte(b[8:24]))
	}
	s.Ifindex = binary.NativeEndian.Uint32(b[24:])
	s.Length = binary.NativeEndian.Uint32(b[28:])
	s.Rule = binary.NativeEndian.Uint32(b[32:])
	s.Every = binary.NativeEndian.Uint32(b[36:])
	s.Service = binary.NativeEndian.Uint16(b[40:])
	s.Reason, s.Shadow, s.Verdict, s.Flags, s.Slots = b[44], b[45], b[46], b[47], b[48]
	s.CPU = binary.NativeEndian.Uint16(b[50:])
	s.Frame = record[headerLen : headerLen+taken]
	return nil
}

// Dropped tells whether it was dropped, or would have been were policy enforced.
func (s *Sample) Dropped() bool { return s.Reason|s.Shadow != 0 }
