// SPDX-License-Identifier: Apache-2.0

package pcap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxBlock is the longest block in bytes that Blocks takes for one.
const maxBlock = 1 << 20

// ErrNotCapture says that a stream is no capture as Writer writes them.
var ErrNotCapture = errors.New("not a capture")

// Blocks passes on a capture that Writer wrote, block by block: what comes in pieces goes on in whole blocks, so that it can end
// anywhere and what was passed on is a capture still.
type Blocks struct {
	Packets int    // that were passed on
	Bytes   int64  // that were passed on, whole blocks alone
	Lost    uint64 // packets, by the last statistics
	Ended   string // what they say besides; "" until they come

	out  io.Writer
	rest []byte // of a block that is not whole
}

// NewBlocks passes blocks on to out.
func NewBlocks(out io.Writer) *Blocks { return &Blocks{out: out} }

// Write takes a piece. When out fails, Bytes tells how much of what is there is whole.
func (b *Blocks) Write(p []byte) (int, error) {
	b.rest = append(b.rest, p...)
	whole, err := wholeBlocks(b.rest)
	if err != nil {
		return 0, err
	}
	if whole > 0 {
		n, err := b.out.Write(b.rest[:whole])
		b.passed(b.rest[:n])
		if err != nil {
			return 0, err
		}
		b.rest = append(b.rest[:0], b.rest[whole:]...)
	}
	return len(p), nil
}

// wholeBlocks is how many bytes of b are whole blocks.
func wholeBlocks(b []byte) (int, error) {
	at := 0
	for len(b)-at >= 12 {
		n := int(binary.LittleEndian.Uint32(b[at+4:]))
		if n < 12 || n%4 != 0 || n > maxBlock {
			return 0, fmt.Errorf("%w: a block of %d bytes", ErrNotCapture, n)
		}
		if n > len(b)-at {
			break
		}
		at += n
	}
	return at, nil
}

// passed counts what is whole of b.
func (b *Blocks) passed(p []byte) {
	n, _ := wholeBlocks(p) // it was looked at
	b.Bytes += int64(n)
	for p = p[:n]; len(p) > 0; {
		size := binary.LittleEndian.Uint32(p[4:])
		switch binary.LittleEndian.Uint32(p) {
		case blockEnhanced:
			b.Packets++
		case blockStatistics:
			b.statistics(p[8 : size-4])
		}
		p = p[size:]
	}
}

func (b *Blocks) statistics(body []byte) {
	if len(body) < 12 {
		return
	}
	for o := body[12:]; len(o) >= 4; {
		code, n := binary.LittleEndian.Uint16(o), int(binary.LittleEndian.Uint16(o[2:]))
		if code == optEnd || 4+n > len(o) {
			return
		}
		switch v := o[4 : 4+n]; {
		case code == optComment:
			b.Ended = string(v)
		case code == optStatDrop && n == 8:
			b.Lost = binary.LittleEndian.Uint64(v)
		}
		o = o[min((4+n+3)&^3, len(o)):]
	}
}
