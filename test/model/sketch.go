// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"net/netip"
)

// How much a stranger sends is counted in a count-min sketch with conservative update (Estan, Varghese 2002), the counters of a
// source in one line: it knows nobody, and counts what collides together. Which cells a source has, the model must know as the
// fast path does.

const (
	sketchWindow = 29 // shift: half a second
	sketchRows   = 3
	sketchLines  = 65536
	sketchCells  = 16
)

// sketchCell is one counter, and the window (by its last eight bits) that it counts.
type sketchCell struct {
	window byte
	count  uint32
}

// sketched counts a packet of a source. True: it has sent so many in this window already, and this one is not counted.
func (e *Edge) sketched(p *view, limit uint32) bool {
	line, at := e.SketchCells(p.src, p.service)
	if e.sketch[line] == nil {
		e.sketch[line] = &[sketchCells]sketchCell{}
	}
	var cells []*sketchCell
	low, window := ^uint32(0), byte(e.Now>>sketchWindow)
	for _, i := range at {
		c := &e.sketch[line][i]
		if c.window != window {
			*c = sketchCell{window, 0}
		}
		cells = append(cells, c)
		low = min(low, c.count)
	}
	if low >= limit {
		return true
	}
	for _, c := range cells {
		if c.count <= low {
			c.count = low + 1
		}
	}
	return false
}

// SketchCells are the line of a source in a service's eyes, and its counters there.
func (e *Edge) SketchCells(src netip.Addr, service int) (line uint32, cells [sketchRows]int) {
	h := mix(mix(sourceWord(src)^e.Secret2) + uint64(service))
	for row := range cells {
		cells[row] = int(h >> (32 + 4*row) & (sketchCells - 1))
	}
	return uint32(h) & (sketchLines - 1), cells
}

// SketchLines are those that some stranger was counted in.
func (e *Edge) SketchLines() []uint32 {
	var all []uint32
	for i := range e.sketch {
		all = append(all, i)
	}
	return all
}

// sourceWord is an IPv4 address, or the first half of an IPv6 one, as it lies in memory.
func sourceWord(a netip.Addr) uint64 {
	if a.Is4() {
		return uint64(le32(a.AsSlice()))
	}
	return binary.LittleEndian.Uint64(a.AsSlice())
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

func words64(b []byte) (all []uint64) {
	for ; len(b) >= 8; b = b[8:] {
		all = append(all, binary.LittleEndian.Uint64(b))
	}
	return all
}

func swap16(v uint16) uint16 { return v>>8 | v<<8 }
