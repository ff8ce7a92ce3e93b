// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"cmp"
)

// gateMinecraft: the first segment begins with a whole handshake, with which a request may come. params: the lowest and the
// highest protocol version, 0 = any.
func gateMinecraft(g *First) bool {
	b := g.Payload
	if legacyPing(b) {
		return true
	}
	frame, rest, ok := cutFrame(b)
	if !ok {
		return false
	}
	id, frame, ok := varInt(frame, 5)
	if !ok || id != 0 {
		return false
	}
	version, frame, ok := varInt(frame, 5)
	if !ok {
		return false
	}
	n, frame, ok := varInt(frame, 2)
	if !ok || n > 765 || len(frame) < int(n)+3 {
		return false
	}
	next, frame, ok := varInt(frame[n+2:], 1)
	if !ok || len(frame) != 0 || next < 1 || next > 3 {
		return false
	}
	if !knownVersion(version, next, g.Params) {
		return false
	}
	if next == 1 {
		return isStatus(rest)
	}
	return len(rest) == 0 || isLogin(rest)
}

const snapshots = 1 << 30 // versions from here on are of snapshots

func knownVersion(v, next uint32, params [6]uint64) bool {
	if v == 1<<32-1 { // not said: pings
		return next == 1
	}
	switch {
	case next == 3 && v < 766:
		return false
	case params[0] == 0 && params[1] == 0 && v >= snapshots:
		return v-snapshots < 1_000_000
	}
	return uint64(v) >= cmp.Or(params[0], 4) && uint64(v) <= cmp.Or(params[1], 1_000_000)
}

// cutFrame takes off a packet: its length, in at most three bytes, and what that says.
func cutFrame(b []byte) (frame, rest []byte, ok bool) {
	n, b, ok := varInt(b, 3)
	if !ok || int(n) > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// varInt reads seven bits a byte, the lowest first.
func varInt(b []byte, most int) (v uint32, rest []byte, ok bool) {
	for i := range min(most, len(b)) {
		v |= uint32(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, b[i+1:], true
		}
	}
	return 0, nil, false
}

// isStatus: nothing, the request, or that and a ping.
func isStatus(b []byte) bool {
	request, ping := []byte{1, 0}, []byte{9, 1}
	return len(b) == 0 || bytes.Equal(b, request) || len(b) == 12 && bytes.HasPrefix(b, append(request, ping...))
}

// isLogin: the packet ends with the segment and has a name of up to 16 characters.
func isLogin(b []byte) bool {
	frame, rest, ok := cutFrame(b)
	if !ok || len(rest) != 0 || len(frame) == 0 || frame[0] != 0 {
		return false
	}
	n, frame, ok := varInt(frame[1:], 1)
	return ok && n >= 1 && n <= 64 && len(frame) >= int(n)
}

// legacyPing is a server list ping of before 1.7.
func legacyPing(b []byte) bool {
	if len(b) == 0 || b[0] != 0xfe {
		return false
	}
	if len(b) == 1 || len(b) == 2 && b[1] == 1 {
		return true
	}
	head := []byte{0xfe, 1, 0xfa, 0, 11}
	for _, c := range "MC|PingHost" {
		head = append(head, 0, byte(c))
	}
	rest, ok := bytes.CutPrefix(b, head)
	if !ok || len(rest) < 2 || int(be16(rest)) != len(rest)-2 || len(rest) < 9 {
		return false
	}
	return int(be16(rest[3:]))*2 == len(rest)-9 // version, host, port
}
