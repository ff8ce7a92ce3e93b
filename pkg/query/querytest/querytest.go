// SPDX-License-Identifier: Apache-2.0

// Package querytest plays game servers that answer queries and nothing else: for tests of what asks them.
package querytest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
)

// Handler answers one datagram with any number of them.
type Handler func(request []byte, from netip.AddrPort) [][]byte

// Listen serves on a free port of loopback until the test ends, and says where.
func Listen(t testing.TB, h Handler) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	Serve(t, conn, h)
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Serve serves on conn, and closes it when the test ends.
func Serve(t testing.TB, conn *net.UDPConn, h Handler) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // an ICMP error about a reply: the next request is another matter
			}
			for _, p := range h(bytes.Clone(buf[:n]), from) {
				_, _ = conn.WriteToUDPAddrPort(p, from) // the client misses it if that fails
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
}

// Source is a server of the Source engine.
type Source struct {
	Open                 bool // it answers without a challenge
	Info, Players, Rules []byte
	// Split cuts a reply that is too long into packets; nil = SplitSource of 1200 bytes.
	Split func(id uint32, reply []byte) [][]byte
}

const longest = 1400

// Handle answers as the engine does.
func (s *Source) Handle(request []byte, from netip.AddrPort) [][]byte {
	const head = "\xff\xff\xff\xff"
	rest, ok := bytes.CutPrefix(request, []byte(head))
	if !ok || len(rest) == 0 {
		return nil
	}
	var body, given []byte
	switch rest[0] {
	case 'T':
		if given, ok = bytes.CutPrefix(rest, []byte("TSource Engine Query\x00")); !ok {
			return nil
		}
		body = s.Info
	case 'U':
		body, given = s.Players, rest[1:]
	case 'V':
		body, given = s.Rules, rest[1:]
	default:
		return nil
	}
	if challenge := ChallengeOf(from); !s.Open && string(given) != challenge {
		return [][]byte{[]byte(head + "A" + challenge)}
	}
	reply := append([]byte(head), body...)
	if len(reply) <= longest {
		return [][]byte{reply}
	}
	if s.Split != nil {
		return s.Split(7, reply)
	}
	return SplitSource(7, reply, 1200)
}

// ChallengeOf is the challenge that a Source server gives to a client.
func ChallengeOf(from netip.AddrPort) string {
	return string(binary.LittleEndian.AppendUint32(nil, 0x50000000+uint32(from.Port())))
}

// SplitSource cuts a reply as Source does, into parts of at most size bytes beside their headers.
func SplitSource(id uint32, reply []byte, size int) [][]byte {
	return cut(reply, size, func(i, n int) []byte {
		h := binary.LittleEndian.AppendUint32([]byte("\xfe\xff\xff\xff"), id)
		return binary.LittleEndian.AppendUint16(append(h, byte(n), byte(i)), 1248)
	})
}

// SplitGoldSrc cuts a reply as GoldSrc does.
func SplitGoldSrc(id uint32, reply []byte, size int) [][]byte {
	return cut(reply, size, func(i, n int) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte("\xfe\xff\xff\xff"), id), byte(i<<4|n))
	})
}

func cut(reply []byte, size int, header func(i, n int) []byte) [][]byte {
	var all [][]byte
	n := (len(reply) + size - 1) / size
	for i := range n {
		all = append(all, append(header(i, n), reply[i*size:min((i+1)*size, len(reply))]...))
	}
	return all
}

// Info is the body of an A2S_INFO reply.
func Info(name, level string, players, most byte, more string) []byte {
	b := fmt.Appendf([]byte{'I', 17}, "%s\x00%s\x00tf\x00Team Fortress\x00", name, level)
	b = append(b, 0xb8, 0x01, players, most, 0, 'd', 'l', 0, 1)
	return append(b, "1.0.0.0\x00"+more...)
}

// Rules is the body of an A2S_RULES reply with n rules.
func Rules(n int) []byte {
	b := binary.LittleEndian.AppendUint16([]byte{'E'}, uint16(n))
	for i := range n {
		b = fmt.Appendf(b, "rule_%03d\x00%020d\x00", i, i*i)
	}
	return b
}

// Players is the body of an A2S_PLAYER reply with n players.
func Players(n int) []byte {
	b := []byte{'D', byte(n)}
	for i := range n {
		b = fmt.Appendf(append(b, byte(i)), "player %d\x00", i)
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, uint32(i)), 0x42000000)
	}
	return b
}

// Quake3 is a server of the Quake III engine: what its two replies say, `\key\value…`, and the lines of its players.
type Quake3 struct {
	Info, Status, Players string
}

// Handle answers as the engine does: a challenge stands behind the other keys of an info, and before those of a status.
func (q *Quake3) Handle(request []byte, _ netip.AddrPort) [][]byte {
	line, _, _ := bytes.Cut(bytes.TrimRight(request, "\x00"), []byte("\n"))
	word, argument, _ := bytes.Cut(line, []byte(" "))
	challenge := ""
	if len(argument) > 0 {
		challenge = `\challenge\` + string(argument)
	}
	switch string(word) {
	case "\xff\xff\xff\xffgetinfo":
		return [][]byte{[]byte("\xff\xff\xff\xffinfoResponse\n" + q.Info + challenge)}
	case "\xff\xff\xff\xffgetstatus":
		return [][]byte{[]byte("\xff\xff\xff\xffstatusResponse\n" + challenge + q.Status + "\n" + q.Players)}
	}
	return nil
}

// RakNet is a server that answers unconnected pings with a text.
type RakNet struct{ Text string }

// Handle answers as RakNet does.
func (r *RakNet) Handle(request []byte, _ netip.AddrPort) [][]byte {
	const magic = "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"
	if len(request) != 33 || request[0] != 1 || string(request[9:25]) != magic {
		return nil
	}
	pong := append([]byte{0x1c}, request[1:9]...)
	pong = append(pong, "\x11\x22\x33\x44\x55\x66\x77\x88"+magic...)
	pong = binary.BigEndian.AppendUint16(pong, uint16(len(r.Text)))
	return [][]byte{append(pong, r.Text...)}
}
