// SPDX-License-Identifier: Apache-2.0

package game

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// GateShape is the gate that is told what a game's first packets look like (bpf/gate/shape.bpf.c).
const GateShape = "shape"

const (
	shapeWindows = 3 // of eight bytes each, in all shapes of a game together
	windowBytes  = 8
	noMost       = 65535

	windowUsed = 1 // enum shape_flag
	windowMore = 2
	windowTCP  = 4
)

// Shape is what first packets of one kind have in common: how long their payload is, and bytes of it that never change.
type Shape struct {
	Length Bounds // in bytes; a most of 0 is none
	At     int    // where Bytes begin
	Bytes  Pattern
}

// Pattern are bytes of a payload, one after the other; those that may be anything are Any.
type Pattern []int16

// Any stands for a byte that may be anything.
const Any = -1

// ParsePattern reads bytes in hexadecimal, two dots for one that may be anything: "ffffffff ..02".
func ParsePattern(s string) (Pattern, error) {
	var p Pattern
	for _, word := range strings.Fields(s) {
		if len(word)%2 != 0 {
			return nil, fmt.Errorf("%q: want two hexadecimal digits for each byte, or two dots for one that may be anything", word)
		}
		for ; word != ""; word = word[2:] {
			if word[:2] == ".." {
				p = append(p, Any)
				continue
			}
			b, err := hex.DecodeString(word[:2])
			if err != nil {
				return nil, fmt.Errorf("%q is no byte: want two hexadecimal digits, or two dots for one that may be anything", word[:2])
			}
			p = append(p, int16(b[0]))
		}
	}
	return p, nil
}

// String writes a pattern as ParsePattern reads it.
func (p Pattern) String() string {
	var b strings.Builder
	for _, v := range p {
		if v == Any {
			b.WriteString("..")
		} else {
			fmt.Fprintf(&b, "%02x", v)
		}
	}
	return b.String()
}

// String writes bounds as a configuration does: 20-48, 20- and 20; "" for none.
func (b Bounds) String() string {
	switch {
	case b == Bounds{}:
		return ""
	case b.Max == 0:
		return fmt.Sprintf("%d-", b.Min)
	case b.Min == b.Max:
		return strconv.Itoa(int(b.Min))
	}
	return fmt.Sprintf("%d-%d", b.Min, b.Max)
}

// bounds are the shape's lengths, its bytes reckoned in.
func (s *Shape) bounds() (least, most int) {
	least, most = int(s.Length.Min), int(s.Length.Max)
	for i, v := range s.Bytes {
		if v != Any {
			least = max(least, s.At+i+1)
		}
	}
	if most == 0 {
		most = noMost
	}
	return least, most
}

// Fixed is how many bytes a shape says.
func (s *Shape) Fixed() int {
	n := 0
	for _, v := range s.Bytes {
		if v != Any {
			n++
		}
	}
	return n
}

// Fault says why a shape can't be: it means no packet, or every packet. "" = it can.
func (s *Shape) Fault() string {
	least, most := s.bounds()
	switch {
	case s.Length == Bounds{} && s.Fixed() == 0:
		return "a shape of no length and no bytes is every packet's: leave `first` out, and all are let in"
	case least > most:
		return fmt.Sprintf("its bytes need a payload of %d, and its length is %d at most", least, most)
	}
	return ""
}

// Match tells whether a payload has the shape. Of one that was cut off, length is how long it was, and what is not there fits.
func (s *Shape) Match(payload []byte, length int) bool {
	if least, most := s.bounds(); length < least || length > most {
		return false
	}
	for i, v := range s.Bytes {
		if at := s.At + i; v != Any && at < len(payload) && int16(payload[at]) != v {
			return false
		}
	}
	return true
}

// ShapeParams are what the gate is told of a game's shapes over a protocol.
func ShapeParams(proto string, shapes []Shape) ([]uint64, error) {
	var params []uint64
	for i := range shapes {
		params = append(params, shapes[i].windows(proto)...)
	}
	if n := len(params) / 2; n > shapeWindows {
		return nil, fmt.Errorf("the bytes of all shapes lie in %d windows of %d bytes: at most %d", n, windowBytes, shapeWindows)
	}
	return params, nil
}

// windows are a shape's: as few as its bytes lie in, one at least.
func (s *Shape) windows(proto string) []uint64 {
	least, most := s.bounds()
	flags := uint64(windowUsed)
	if proto == "tcp" {
		flags |= windowTCP
	}
	var params []uint64
	for i := 0; i < len(s.Bytes); i++ {
		if s.Bytes[i] == Any {
			continue
		}
		var value, count uint64
		for n, v := range s.Bytes[i:min(i+windowBytes, len(s.Bytes))] {
			if v != Any {
				value, count = value|uint64(v)<<(8*n), count|1<<n
			}
		}
		params = append(params, value, uint64(least)|uint64(most)<<16|uint64(s.At+i)<<32|count<<48|(flags|windowMore)<<56)
		i += windowBytes - 1
	}
	if params == nil {
		params = []uint64{0, uint64(least) | uint64(most)<<16 | (flags|windowMore)<<56}
	}
	params[len(params)-1] &^= windowMore << 56
	return params
}

// Custom is the profile of a game that a configuration defines. Shapes that ShapeParams refuses are left out.
func Custom(name, title, class string, protos []string, first []Shape) Profile {
	p := Profile{Name: name, Class: class, Title: title, Protos: protos, Family: "generic_udp", Proof: ProofWeak}
	if p.Class == "" {
		p.Class = ClassMMORPG
	}
	if p.Title == "" {
		p.Title = name
	}
	if len(protos) > 0 {
		p.Proto = protos[0]
	}
	if p.Proto == "tcp" {
		p.Family, p.Proof = "generic_tcp", ProofStrong
	}
	params, err := ShapeParams(p.Proto, first)
	if err != nil || len(first) == 0 {
		return p
	}
	p.Gate, p.GateParams = GateShape, params
	lo, hi := noMost, 0
	for i := range first {
		least, most := first[i].bounds()
		lo, hi = min(lo, least), max(hi, most)
	}
	p.First = Bounds{uint16(lo), uint16(hi)}
	if hi == noMost {
		p.First.Max = 0
	}
	return p
}
