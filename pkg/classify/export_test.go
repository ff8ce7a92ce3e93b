// SPDX-License-Identifier: Apache-2.0

package classify

import (
	"io"

	"parry/pkg/frame"
	"parry/pkg/pcap"
)

// Read classifies a capture with room for so many flows at once.
func Read(in io.Reader, room int, tell func(*Flow) error) error {
	r, err := pcap.NewReader(in)
	if err != nil {
		return err
	}
	return read(r, "capture", room, tell)
}

// Tuple is the flow that a frame is of, whichever way it goes; false of what is no IP.
func Tuple(b []byte) (any, bool) {
	var p frame.Packet
	ok := frame.Parse(b, &p)
	return keyOf(&p), ok
}
