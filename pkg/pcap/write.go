// SPDX-License-Identifier: Apache-2.0

package pcap

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Options and blocks that are written (draft-ietf-opsawg-pcapng).
const (
	blockStatistics = 5

	optComment   = 1
	optUserAppl  = 4 // of a section
	optIfName    = 2
	optIfFilter  = 11
	optFlags     = 2 // of a packet
	optVerdict   = 7
	optStatStart = 2 // of statistics
	optStatEnd   = 3
	optStatDrop  = 5
	optDelivered = 8

	verdictXDP = 2 // of optVerdict: eight bytes of XDP_*

	nanoseconds = 9 // resolution of time: 10^-9
)

// Directions of a Record.
const (
	Unknown  = 0
	Inbound  = 1
	Outbound = 2
)

// Record is a packet to be written. Its time stands still at the epoch before 1970.
type Record struct {
	Time      time.Time
	Interface int    // as AddInterface numbered it
	Data      []byte // the beginning of an Ethernet frame
	WireLen   int    // how long it was
	Direction int    // Inbound or Outbound
	XDP       int    // XDP_*, what the fast path returned; below 0: it doesn't apply
	Comment   string // what Wireshark shows beside it
}

// Writer writes pcapng, with each packet's time to the nanosecond. Each call writes whole blocks by one Write: what is cut off between
// two is a capture still. It isn't safe for concurrent use.
type Writer struct {
	out    io.Writer
	buf    []byte
	ifaces int
}

// NewWriter begins a capture; program is what it says it was made by.
func NewWriter(out io.Writer, program, comment string) (*Writer, error) {
	w := &Writer{out: out}
	w.begin(blockSection)
	w.u32(sectionMagic)
	w.u16(1)
	w.u16(0)
	w.u64(^uint64(0)) // its length is not known
	w.option(optComment, comment)
	w.option(optUserAppl, program)
	return w, w.end()
}

// AddInterface tells of an interface, and returns its number.
func (w *Writer) AddInterface(name string, snap int, filter string) (int, error) {
	w.begin(blockInterface)
	w.u16(linkEthernet)
	w.u16(0)
	w.u32(uint32(snap))
	w.option(optIfName, name)
	w.bytes(optTSResol, []byte{nanoseconds})
	if filter != "" {
		w.option(optIfFilter, "\x00"+filter) // 0: as a string
	}
	w.ifaces++
	return w.ifaces - 1, w.end()
}

// Write writes a packet.
func (w *Writer) Write(r *Record) error {
	if r.Interface < 0 || r.Interface >= w.ifaces {
		return fmt.Errorf("a packet of interface %d, of %d", r.Interface, w.ifaces)
	}
	w.begin(blockEnhanced)
	w.u32(uint32(r.Interface))
	w.time(r.Time)
	w.u32(uint32(len(r.Data)))
	w.u32(uint32(max(r.WireLen, len(r.Data))))
	w.buf = append(w.buf, r.Data...)
	w.pad()
	w.option(optComment, r.Comment)
	if r.Direction != Unknown {
		w.bytes(optFlags, binary.LittleEndian.AppendUint32(nil, uint32(r.Direction)))
	}
	if r.XDP >= 0 {
		w.bytes(optVerdict, binary.LittleEndian.AppendUint64([]byte{verdictXDP}, uint64(r.XDP)))
	}
	return w.end()
}

// Statistics is what became of a capture.
type Statistics struct {
	Interface  int
	Start, End time.Time
	Taken      uint64 // packets
	Lost       uint64 // that matched, and are not in the file
	Comment    string
}

// End writes statistics, which belong behind the last packet.
func (w *Writer) End(s Statistics) error {
	w.begin(blockStatistics)
	w.u32(uint32(s.Interface))
	w.time(s.End)
	w.option(optComment, s.Comment)
	w.stamp(optStatStart, s.Start)
	w.stamp(optStatEnd, s.End)
	w.bytes(optStatDrop, binary.LittleEndian.AppendUint64(nil, s.Lost))
	w.bytes(optDelivered, binary.LittleEndian.AppendUint64(nil, s.Taken))
	return w.end()
}

func (w *Writer) begin(typ uint32) {
	w.buf = w.buf[:0]
	w.u32(typ)
	w.u32(0) // its length: end knows
}

// end puts the block's length where it belongs, and writes it.
func (w *Writer) end() error {
	w.u32(0) // end of options, where there are some; else none is needed, and it does no harm
	w.u32(0)
	binary.LittleEndian.PutUint32(w.buf[4:], uint32(len(w.buf)))
	binary.LittleEndian.PutUint32(w.buf[len(w.buf)-4:], uint32(len(w.buf)))
	if _, err := w.out.Write(w.buf); err != nil {
		return fmt.Errorf("write the capture: %w", err)
	}
	return nil
}

func (w *Writer) u16(v uint16) { w.buf = binary.LittleEndian.AppendUint16(w.buf, v) }
func (w *Writer) u32(v uint32) { w.buf = binary.LittleEndian.AppendUint32(w.buf, v) }
func (w *Writer) u64(v uint64) { w.buf = binary.LittleEndian.AppendUint64(w.buf, v) }

func (w *Writer) pad() {
	for len(w.buf)%4 != 0 {
		w.buf = append(w.buf, 0)
	}
}

// time is in two halves, the higher first.
func (w *Writer) time(t time.Time) {
	ns := uint64(max(t.UnixNano(), 0))
	w.u32(uint32(ns >> 32))
	w.u32(uint32(ns))
}

func (w *Writer) stamp(code uint16, t time.Time) {
	w.u16(code)
	w.u16(8)
	w.time(t)
}

// option writes a text; an empty one is none.
func (w *Writer) option(code uint16, text string) {
	const longest = 1<<16 - 4
	if text == "" {
		return
	}
	w.bytes(code, []byte(text[:min(len(text), longest)]))
}

func (w *Writer) bytes(code uint16, b []byte) {
	w.u16(code)
	w.u16(uint16(len(b)))
	w.buf = append(w.buf, b...)
	w.pad()
}
