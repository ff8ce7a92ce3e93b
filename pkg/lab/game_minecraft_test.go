// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// mineListener serves on loopback until the test ends.
func mineListener(t *testing.T, serve func(c *mineConn) error) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_ = serve(newMineConn(c)) // the client sees it
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() { must(t, l.Close()); wg.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func mineTry(t *testing.T, to netip.AddrPort, patience time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := JoinMinecraft(ctx, &net.Dialer{}, to, "player1")
	if err == nil {
		must(t, c.Close())
	}
	return err
}

func TestMinecraftClientJoinsTheStandIn(t *testing.T) {
	to := mineListener(t, mineServe)
	for range 2 {
		if err := mineTry(t, to, 10*time.Second); err != nil {
			t.Error(err)
		}
	}
}

// compressed is a packet as servers send it that compress.
func compressed(id byte, body []byte, deflate bool) []byte {
	whole := append([]byte{id}, body...)
	b := []byte{0}
	if deflate {
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		_, _ = w.Write(whole) // into memory
		_ = w.Close()
		b, whole = binary.AppendUvarint(nil, uint64(len(whole))), z.Bytes()
	}
	b = append(b, whole...)
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

// mineLoginOf answers a ping as it should be, and logins by bytes.
func mineLoginOf(login []byte) func(c *mineConn) error {
	return func(c *mineConn) error {
		head, err := c.in.Peek(int(mineHandshake(netip.AddrPort{}, 0)[0]) + 1)
		if err != nil {
			return err
		}
		n := int(head[0]) + 1
		if head, err = c.in.Peek(n); err != nil || head[n-1] == mineStatus {
			return mineServe(c)
		}
		if _, err := c.Write(login); err != nil {
			return err
		}
		_, err = c.in.Discard(1 << 20)
		return err
	}
}

func TestMinecraftClientKnowsPlayFromOtherAnswers(t *testing.T) {
	in := minePacket(mineLoggedIn, mineText("uuid"), mineText("player1"))
	compress := minePacket(mineCompress, []byte{64})
	play := []byte{0, 0, 0, 7}
	for name, c := range map[string]struct {
		login []byte
		ok    bool
	}{
		"plain":           {append(in, minePacket(mineJoinGame, play)...), true},
		"compressed":      {append(append(compress, compressed(mineLoggedIn, []byte("x"), false)...), compressed(mineJoinGame, bytes.Repeat(play, 100), true)...), true},
		"another before":  {append(append(in, minePacket(0x3f, []byte("MC|Brand"))...), minePacket(mineJoinGame, play)...), true},
		"no play":         {in, false},
		"play at once":    {minePacket(mineJoinGame, play), false},
		"kicked":          {minePacket(mineDisconnect, mineText(`{"text":"full"}`)), false},
		"a huge packet":   {binary.AppendUvarint(nil, mineLongest+1), false},
		"an empty packet": {[]byte{0}, false},
		"no zlib":         {append(compress, 3, 5, 1, 2), false},
		"nothing":         {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := mineTry(t, mineListener(t, mineLoginOf(c.login)), 300*time.Millisecond); (err == nil) != c.ok {
				t.Errorf("joined: %v", err)
			}
		})
	}
	if err := mineTry(t, mineListener(t, func(c *mineConn) error { _, err := c.Write(minePacket(mineResponse, mineText("{}"))); return err }), time.Second); err == nil {
		t.Error("took a status without players for one")
	}
}
