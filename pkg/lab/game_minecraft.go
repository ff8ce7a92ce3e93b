// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Minecraft Java Edition as far as joining goes, in version 1.8's words (protocol 47, no encryption): a server list ping, a login, and
// what a server sends first in play. Real servers take these clients for players (test/e2e).
const (
	mineProtocol = 47
	mineStatus   = 1 // what a handshake asks for next
	mineLogin    = 2
	mineLongest  = 2 << 20 // bytes of a packet
	minePatience = 10 * time.Second

	// Packets from the server, by state.
	mineResponse     = 0x00
	minePong         = 0x01
	mineDisconnect   = 0x00
	mineLoggedIn     = 0x02
	mineCompress     = 0x03
	mineJoinGame     = 0x01
	mineUncompressed = -1
)

// mineConn is one end of a connection.
type mineConn struct {
	net.Conn
	in        *bufio.Reader
	threshold int // from how many bytes on packets are compressed
}

func newMineConn(c net.Conn) *mineConn { return &mineConn{c, bufio.NewReader(c), mineUncompressed} }

// mineText is a string as the protocol writes it.
func mineText(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }

// minePacket is one as it is sent, without compression.
func minePacket(id byte, parts ...[]byte) []byte {
	body := append([]byte{id}, bytes.Join(parts, nil)...)
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}

func mineHandshake(to netip.AddrPort, next byte) []byte {
	port := binary.BigEndian.AppendUint16(nil, to.Port())
	return minePacket(0, []byte{mineProtocol}, mineText(to.Addr().String()), port, []byte{next})
}

// read returns a packet's id and what follows it.
func (c *mineConn) read() (id byte, body []byte, err error) {
	n, err := binary.ReadUvarint(c.in)
	if err != nil {
		return 0, nil, err
	}
	if n == 0 || n > mineLongest {
		return 0, nil, fmt.Errorf("a packet of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.in, b); err != nil {
		return 0, nil, err
	}
	if c.threshold != mineUncompressed {
		if b, err = mineInflate(b); err != nil {
			return 0, nil, err
		}
	}
	if len(b) == 0 {
		return 0, nil, errors.New("an empty packet")
	}
	return b[0], b[1:], nil
}

// mineInflate takes off what compression puts before a packet.
func mineInflate(b []byte) ([]byte, error) {
	whole, n := binary.Uvarint(b)
	if n <= 0 || whole > mineLongest {
		return nil, errors.New("a compressed packet's length")
	}
	if whole == 0 {
		return b[n:], nil
	}
	z, err := zlib.NewReader(bytes.NewReader(b[n:]))
	if err != nil {
		return nil, err
	}
	out := make([]byte, whole)
	_, err = io.ReadFull(z, out)
	return out, err
}

// minePing asks a server for its status and sends a ping, as the list of servers does.
func minePing(c *mineConn, to netip.AddrPort) error {
	if _, err := c.Write(append(mineHandshake(to, mineStatus), minePacket(0)...)); err != nil {
		return err
	}
	id, body, err := c.read()
	if err != nil {
		return err
	}
	if id != mineResponse || !bytes.Contains(body, []byte(`"players"`)) {
		return fmt.Errorf("no status but packet %d: %.60q", id, body)
	}
	clock := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	if _, err := c.Write(minePacket(1, clock)); err != nil {
		return err
	}
	id, body, err = c.read()
	if err == nil && (id != minePong || !bytes.Equal(body, clock)) {
		err = fmt.Errorf("no pong but packet %d: %.60q", id, body)
	}
	return err
}

// mineJoin logs in and waits for the first packet of play.
func mineJoin(c *mineConn, to netip.AddrPort, name string) error {
	if _, err := c.Write(append(mineHandshake(to, mineLogin), minePacket(0, mineText(name))...)); err != nil {
		return err
	}
	for in := false; ; {
		id, body, err := c.read()
		switch {
		case err != nil:
			return err
		case in && id == mineJoinGame:
			return nil
		case in: // others may come before
		case id == mineCompress:
			n, _ := binary.Uvarint(body)
			c.threshold = int(min(n, mineLongest))
		case id == mineLoggedIn:
			in = true
		default:
			return fmt.Errorf("no login but packet %d: %.60q", id, body)
		}
	}
}

// mineServe is a server's side of a connection, until it ends.
func mineServe(c *mineConn) error {
	if err := c.SetDeadline(time.Now().Add(minePatience)); err != nil {
		return err
	}
	_, hello, err := c.read()
	if err != nil || len(hello) == 0 {
		return err
	}
	_, ask, err := c.read()
	if err != nil {
		return err
	}
	if hello[len(hello)-1] == mineStatus {
		status := `{"version":{"name":"1.8.9","protocol":47},"players":{"max":1024,"online":7},"description":{"text":"parry lab"}}`
		if _, err := c.Write(minePacket(mineResponse, mineText(status))); err != nil {
			return err
		}
		id, clock, err := c.read()
		if err != nil {
			return err
		}
		_, err = c.Write(minePacket(id, clock))
		return err
	}
	_, n := binary.Uvarint(ask)
	name := string(ask[max(n, 0):])
	play := minePacket(mineJoinGame, []byte{0, 0, 0, 7, 0, 0, 1, 20}, mineText("default"), []byte{0})
	if _, err := c.Write(append(minePacket(mineLoggedIn, mineText("069a79f4-44e9-4726-a5be-fca90e38aaf5"), mineText(name)), play...)); err != nil {
		return err
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c.in) // what it does in the world is nobody's business
	return err
}

// JoinMinecraft does what a player of Minecraft does to join: pings the server as its list does, and logs in on a connection of its own,
// until the first packet of play. The connection is the caller's to close.
func JoinMinecraft(ctx context.Context, d *net.Dialer, to netip.AddrPort, name string) (net.Conn, error) {
	if err := withMine(ctx, d, to, func(c *mineConn) error {
		defer c.Close()
		return minePing(c, to)
	}); err != nil {
		return nil, fmt.Errorf("ping %v: %w", to, err)
	}
	var joined net.Conn
	if err := withMine(ctx, d, to, func(c *mineConn) error {
		joined = c.Conn
		return mineJoin(c, to, name)
	}); err != nil {
		if joined != nil {
			_ = joined.Close() // the error is the news
		}
		return nil, fmt.Errorf("join %v: %w", to, err)
	}
	return joined, nil
}

// withMine connects, and has f end with the context.
func withMine(ctx context.Context, d *net.Dialer, to netip.AddrPort, f func(c *mineConn) error) error {
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return f(newMineConn(conn))
}
