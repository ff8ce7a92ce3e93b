// SPDX-License-Identifier: Apache-2.0

package query

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// A part of a split reply: "\xfe\xff\xff\xff", the reply's number, and then by Source the parts' count, this one's number and how
// long they are at most (which the oldest servers leave out); by GoldSrc one byte, its number above the count.
const (
	partID     = 4
	partCount  = 8 // GoldSrc: and number
	partNumber = 9
	goldHeader = 9
	oldHeader  = 10
	sizeHeader = 12

	packedBit = 1 << 31 // of the reply's number: it is packed by bzip2
	mostParts = 48
)

// split collects the parts of one reply. Those of another one, and duplicates, are passed over.
type split struct {
	parts [][]byte
}

func (s *split) add(p []byte) {
	if len(p) <= oldHeader || len(s.parts) == mostParts {
		return
	}
	for _, have := range s.parts {
		if !bytes.Equal(have[partID:partCount], p[partID:partCount]) || bytes.Equal(have, p) {
			return
		}
	}
	s.parts = append(s.parts, bytes.Clone(p))
}

// join returns all parts in order, and what they say together; nil while some are missing.
func (s *split) join() (packets [][]byte, body []byte, err error) {
	packets = s.ordered(func(p []byte) (int, int) { return int(p[partNumber]), int(p[partCount]) })
	if packets != nil {
		body, err = sourceBody(packets)
		if body != nil || err != nil {
			return packets, body, err
		}
	}
	packets = s.ordered(func(p []byte) (int, int) { return int(p[partCount] >> 4), int(p[partCount] & 15) })
	if packets == nil {
		return nil, nil, nil
	}
	if body = joined(packets, goldHeader); !begins(body) {
		return nil, nil, bad("%d parts that make no reply", len(packets))
	}
	return packets, body, nil
}

// ordered sorts the parts by their numbers, nil unless each is there once.
func (s *split) ordered(place func(part []byte) (number, count int)) [][]byte {
	if len(s.parts) == 0 {
		return nil
	}
	out := make([][]byte, len(s.parts))
	for _, p := range s.parts {
		number, count := place(p)
		if count != len(out) || number >= count || out[number] != nil {
			return nil
		}
		out[number] = p
	}
	return out
}

// sourceBody joins what Source split; nil where it was not Source.
func sourceBody(packets [][]byte) ([]byte, error) {
	if binary.LittleEndian.Uint32(packets[0][partID:])&packedBit != 0 {
		return unpack(joined(packets, sizeHeader))
	}
	for _, header := range []int{sizeHeader, oldHeader} {
		if body := joined(packets, header); begins(body) {
			return body, nil
		}
	}
	return nil, nil
}

func begins(body []byte) bool { return len(body) > 4 && string(body[:4]) == whole }

func joined(packets [][]byte, header int) []byte {
	var body []byte
	for _, p := range packets {
		body = append(body, p[min(header, len(p)):]...)
	}
	return body
}

// unpack undoes bzip2: before it stand the size and the CRC-32 of what comes out.
func unpack(packed []byte) ([]byte, error) {
	r := reader{rest: packed}
	size, sum := r.uint32(), r.uint32()
	if r.short || size > longestBody {
		return nil, bad("a packed reply of %d bytes", size)
	}
	body, err := io.ReadAll(io.LimitReader(bzip2.NewReader(bytes.NewReader(r.rest)), int64(size)+1))
	if err != nil {
		return nil, bad("what is packed can't be unpacked: %v", err)
	}
	if len(body) != int(size) || crc32.ChecksumIEEE(body) != sum || !begins(body) {
		return nil, bad("what is packed is not what its header says")
	}
	return body, nil
}
