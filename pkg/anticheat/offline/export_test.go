// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"io"

	"parry/pkg/anticheat"
	"parry/pkg/pcap"
)

// Read analyses a capture with room for so many flows at once.
func Read(in io.Reader, room int, tell func(*Flow) error) error {
	r, err := pcap.NewReader(in)
	if err != nil {
		return err
	}
	return read(r, "capture", Options{Policy: anticheat.Default()}, room, tell, nil)
}
