// SPDX-License-Identifier: Apache-2.0

// Package handshake learns what servers take of TCP, for the SYN proxy, which answers clients in their place and must promise no more
// than they keep. A Keeper begins a handshake with each server now and then, and never ends one: its application hears of none. It
// knows neither BPF nor configuration.
package handshake

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Options are what a server answers to a SYN that offers everything.
type Options struct {
	MSS         uint16 // bytes; what the standard says where the server says nothing
	WindowScale uint8  // NoWindowScale = it takes none
	SACK        bool
	Timestamps  bool
}

// NoWindowScale as Options.WindowScale.
const NoWindowScale = 15

func (o Options) String() string {
	text := fmt.Sprintf("MSS %d, ", o.MSS)
	if o.WindowScale == NoWindowScale {
		text += "no window scale, "
	} else {
		text += fmt.Sprintf("window scale %d, ", o.WindowScale)
	}
	return text + yes(o.SACK) + "SACK, " + yes(o.Timestamps) + "timestamps"
}

func yes(b bool) string {
	if b {
		return ""
	}
	return "no "
}

const (
	headerTCP = 20
	flagSYN   = 2
	flagRST   = 4
	flagACK   = 16

	optEnd           = 0
	optNothing       = 1
	optMSS           = 2
	optWindowScale   = 3
	optSACKPermitted = 4
	optTimestamps    = 8

	defaultMSS4, defaultMSS6 = 536, 1220 // RFC 9293, 3.7.1
	leastMSS                 = 128       // a PROXY header and options leave room for data
	mostWindowScale          = 14        // RFC 7323, 2.3
)

var errRefused = errors.New("it refuses connections")

// answerOf reads what a server answers to the SYN with a number. False: the segment is no answer to it. An error: it is a refusal.
func answerOf(segment []byte, v4 bool, from, to uint16, isn uint32) (Options, bool, error) {
	o := Options{MSS: defaultMSS6, WindowScale: NoWindowScale}
	if v4 {
		o.MSS = defaultMSS4
	}
	if len(segment) < headerTCP {
		return o, false, nil
	}
	be := binary.BigEndian
	length := int(segment[12]>>4) * 4
	if be.Uint16(segment) != from || be.Uint16(segment[2:]) != to || be.Uint32(segment[8:]) != isn+1 || length < headerTCP || length > len(segment) {
		return o, false, nil
	}
	switch flags := segment[13]; {
	case flags&(flagRST|flagACK) == flagRST|flagACK:
		return o, true, errRefused
	case flags&(flagSYN|flagACK|flagRST) != flagSYN|flagACK:
		return o, false, nil
	}
	o.read(segment[headerTCP:length])
	return o, true, nil
}

// read takes what it knows of an option list, up to one that is damaged.
func (o *Options) read(list []byte) {
	for len(list) > 0 && list[0] != optEnd {
		if list[0] == optNothing {
			list = list[1:]
			continue
		}
		if len(list) < 2 || list[1] < 2 || int(list[1]) > len(list) {
			return
		}
		switch kind, n := list[0], list[1]; {
		case kind == optMSS && n == 4:
			o.MSS = max(binary.BigEndian.Uint16(list[2:]), leastMSS)
		case kind == optWindowScale && n == 3:
			o.WindowScale = min(list[2], mostWindowScale)
		case kind == optSACKPermitted && n == 2:
			o.SACK = true
		case kind == optTimestamps && n == 10:
			o.Timestamps = true
		}
		list = list[list[1]:]
	}
}
