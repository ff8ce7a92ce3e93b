// SPDX-License-Identifier: Apache-2.0

// Package pcap reads packet captures: pcap (micro- and nanoseconds, both byte
// orders) and pcapng, gzipped or not, and hands out every packet as an Ethernet
// frame, whatever the capture's link type was. Captures come from strangers: no
// file makes it panic, loop, or take more memory than one packet needs. gopacket's
// readers bound neither, and don't say where a file is damaged.
package pcap

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// MaxPacket is the longest packet that is read, in captured bytes: what tcpdump
// takes too.
const MaxPacket = 256 << 10

// ErrPacket says that one packet can't be used (wraps its reason): too short, or of
// a link type without frames. Next goes on with the one behind it.
var ErrPacket = errors.New("packet not usable")

// Packet is one captured packet.
type Packet struct {
	N    int       // from 1, counting those that were not usable too
	Time time.Time // UTC; zero where the file has none (pcapng simple packets)
	// Data is an Ethernet frame of at least 14 bytes, as far as it was captured.
	// It is valid until the next call of Next.
	Data []byte
	// WireLen is how long the frame was on the wire, in bytes. Where its Ethernet
	// header is made up, that is counted with it.
	WireLen int
	Link    string // how it was captured: ethernet, raw, null, loop, sll, sll2
}

// Reader reads one capture. It isn't safe for concurrent use.
type Reader struct {
	in     *bufio.Reader
	off    int64 // of the next byte; in the unzipped file, if it is gzipped
	at     int64 // where the record or block begins that is being read
	closer io.Closer
	n      int
	err    error // sticky: the file can't be read any further
	next   func() (record, error)
	buf    []byte // headroom, then the packet
	scrap  [64]byte

	order binary.ByteOrder
	// pcap
	link  uint32
	nanos bool
	// pcapng
	ifaces []iface
}

// record is a packet as the file has it; its bytes are in Reader.buf, behind
// the headroom.
type record struct {
	time    time.Time
	link    uint32
	size    int
	wireLen int
}

// headroom is the room in front of a packet for an Ethernet header.
const headroom = ethLen

// Open opens a capture; "-" is standard input. An error names the file.
func Open(path string) (*Reader, error) {
	if path == "-" {
		r, err := NewReader(os.Stdin)
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		return r, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open capture: %w", err)
	}
	r, err := NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	r.closer = f
	return r, nil
}

// NewReader reads a capture from in, whose header it reads at once.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(in, 64<<10)}
	magic, err := r.in.Peek(4)
	if len(magic) > 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		unzipped, zerr := gzip.NewReader(r.in)
		if zerr != nil {
			return nil, fmt.Errorf("unzip: %w", zerr)
		}
		r.in = bufio.NewReaderSize(unzipped, 64<<10)
		magic, err = r.in.Peek(4)
	}
	if len(magic) == 0 && err == io.EOF {
		return nil, errors.New("the capture is empty")
	}
	if len(magic) < 4 {
		return nil, fmt.Errorf("not a pcap or pcapng file: %w", unexpected(err))
	}
	if binary.BigEndian.Uint32(magic) == blockSection {
		r.next = r.nextBlock
		err = r.openNG()
	} else {
		r.next = r.nextClassic
		err = r.openClassic(magic)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Close closes the file that Open opened.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// Next returns the next packet, and io.EOF behind the last. An error that wraps
// ErrPacket is about one packet; every other is the file's end.
func (r *Reader) Next() (Packet, error) {
	if r.err != nil {
		return Packet{}, r.err
	}
	rec, err := r.next()
	if err == io.EOF {
		r.err = err
		return Packet{}, err
	}
	r.n++
	if err != nil {
		if errors.Is(err, ErrPacket) {
			return Packet{}, fmt.Errorf("packet %d: %w", r.n, err)
		}
		r.err = fmt.Errorf("packet %d at byte %d: %w", r.n, r.at, err)
		return Packet{}, r.err
	}
	p := Packet{N: r.n, Time: rec.time, WireLen: max(rec.wireLen, rec.size)}
	if err := r.frame(&p, rec); err != nil {
		return Packet{}, fmt.Errorf("packet %d: %w", r.n, err)
	}
	return p, nil
}

// data reads a packet of n captured bytes to where frame finds it.
func (r *Reader) data(n uint32) error {
	if n > MaxPacket {
		return fmt.Errorf("a captured length of %d bytes, above %d: the file is damaged or no capture", n, MaxPacket)
	}
	if need := headroom + int(n); cap(r.buf) < need {
		r.buf = make([]byte, max(need, 4096))
	}
	return r.full(r.buf[headroom : headroom+int(n)])
}

// full reads len(b) bytes; a file that ends before is damaged.
func (r *Reader) full(b []byte) error {
	n, err := io.ReadFull(r.in, b)
	r.off += int64(n)
	return unexpected(err)
}

// skip passes over n bytes.
func (r *Reader) skip(n int64) error {
	const step = 1 << 30 // Discard takes an int
	for n > 0 {
		m, err := r.in.Discard(int(min(n, step)))
		r.off += int64(m)
		n -= int64(m)
		if err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// atEnd reports whether the file ends here, where it may.
func (r *Reader) atEnd() bool {
	_, err := r.in.Peek(1)
	return err == io.EOF
}

func unexpected(err error) error {
	switch {
	case err == nil:
		return nil
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return fmt.Errorf("the file ends in the middle: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read: %w", err)
}
