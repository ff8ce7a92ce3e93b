// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"encoding/binary"
	"strings"
	"testing"
)

func varint(v uint32) (b []byte) {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// frame puts a packet's length before it.
func frame(parts ...[]byte) []byte {
	body := join(parts...)
	return join(varint(uint32(len(body))), body)
}

func text(s string) []byte { return join(varint(uint32(len(s))), []byte(s)) }

// handshake is the one of that protocol version, host, next state.
func handshake(version uint32, host string, next byte) []byte {
	return frame([]byte{0}, varint(version), text(host), hx("63dd"), []byte{next})
}

const host = "mc.example"

func TestMinecraftHandshakes(t *testing.T) {
	r := newRig(t, "minecraft_java")
	status, login := handshake(765, host, 1), handshake(765, host, 2)
	start := frame([]byte{0}, text("Steve"), zeros(16))
	r.rows(t, []row{
		{"status", status, pass},
		{"status and its request", join(status, hx("0100")), pass},
		{"status, its request, a ping", join(status, hx("0100 0901"), zeros(8)), pass},
		{"status and a login start", join(status, start), refuse},
		{"status and a ping that is cut", join(status, hx("0100 0901"), zeros(7)), refuse},
		{"login", login, pass},
		{"login and its start", join(login, start), pass},
		{"login and its start, of 1.8", join(handshake(47, host, 2), frame([]byte{0}, text("Steve"))), pass},
		{"login and its start, with a key and its signature", join(handshake(759, host, 2), frame([]byte{0}, text("Steve"), []byte{1}, zeros(820))), pass},
		{"login and more than its start", join(login, start, []byte{0}), refuse},
		{"login and a start that is cut", join(login, start[:9]), refuse},
		{"login of nobody", join(login, frame([]byte{0}, text(""), zeros(16))), refuse},
		{"login of too long a name", join(login, frame([]byte{0}, text(strings.Repeat("x", 65)), zeros(16))), refuse},
		{"login and another packet", join(login, frame([]byte{1}, zeros(16))), refuse},
		{"transfer", handshake(766, host, 3), pass},
		{"transfer before there was one", handshake(765, host, 3), refuse},
		{"no such state", handshake(765, host, 4), refuse},
		{"no state", handshake(765, host, 0), refuse},
		{"1.7.2", handshake(4, host, 2), pass},
		{"before 1.7", handshake(3, host, 2), refuse},
		{"version 0", handshake(0, host, 1), refuse},
		{"a ping that says no version", handshake(^uint32(0), host, 1), pass},
		{"a login that says no version", handshake(^uint32(0), host, 2), refuse},
		{"a snapshot", handshake(1<<30|205, host, 2), pass},
		{"no version there can be", handshake(1<<29, host, 2), refuse},
		{"a long host", handshake(765, strings.Repeat("h", 255)+"\x00FML3\x00", 2), pass},
		{"too long a host", handshake(765, strings.Repeat("h", 766), 2), refuse},
		{"another id", frame([]byte{1}, varint(765), text(host), hx("63dd01")), refuse},
		{"longer than its fields", frame([]byte{0}, varint(765), text(host), hx("63dd0101")), refuse},
		{"shorter than its fields", frame([]byte{0}, varint(765), text(host), hx("6301")), refuse},
		{"a length of four bytes", join(hx("90808000"), status[1:]), refuse},
		{"a version without an end", join(hx("10 00 ffffffffffff"), zeros(20)), refuse},
		{"MySQL's greeting", join(hx("4a000000 0a"), []byte("5.5.5-10.3.39-MariaDB\x00"), zeros(52)), refuse},
		{"TLS", join(hx("160301 0200 01 0001fc 0303"), zeros(507)), refuse},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: mc.example\r\n\r\n"), refuse},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.2p1\r\n"), refuse},
	})
	r.exact(t, status)
	r.exact(t, join(status, hx("0100")), len(status))
	r.exact(t, join(login, start), len(login))
	r.box.Params = [6]uint64{47, 340}
	r.rows(t, []row{
		{"the lowest let in", handshake(47, host, 2), pass},
		{"the highest let in", handshake(340, host, 2), pass},
		{"below", handshake(46, host, 2), refuse},
		{"above", handshake(341, host, 2), refuse},
		{"a snapshot", handshake(1<<30|205, host, 2), refuse},
		{"a ping that says no version", handshake(^uint32(0), host, 1), pass},
	})
}

func TestMinecraftLegacyPings(t *testing.T) {
	r := newRig(t, "minecraft_java")
	utf16 := func(s string) (b []byte) {
		for _, c := range s {
			b = binary.BigEndian.AppendUint16(b, uint16(c))
		}
		return b
	}
	name := utf16(host)
	new16 := join(hx("fe01fa 000b"), utf16("MC|PingHost"), []byte{0, byte(7 + len(name))}, []byte{74}, []byte{0, byte(len(host))}, name, hx("000063dd"))
	r.rows(t, []row{
		{"1.3", hx("fe"), pass},
		{"1.5", hx("fe01"), pass},
		{"1.6", new16, pass},
		{"1.6, no host", join(new16[:27], hx("0007 4a 0000 000063dd")), pass},
		{"1.6, another channel", put(new16, 6, 'm'), refuse},
		{"1.6, a host of another length", put(new16, 31, 9), refuse},
		{"of none", hx("fe02"), refuse},
	})
	r.exact(t, new16, 1, 2)
}
