// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parry/pkg/netns"
)

const (
	transferPatience = 10 * time.Second
	slowestTransfer  = 1 << 20 // bytes per second: an emulated machine's
)

// deadline gives a transfer of n bytes its time.
func (p *tcpPlayer) deadline(n int64) error {
	return p.conn.SetDeadline(time.Now().Add(transferPatience + time.Duration(n/slowestTransfer)*time.Second))
}

// randomBytes gives the same bytes for the same seed, without end.
func randomBytes(seed uint64) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

func bytesOf(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = io.ReadFull(randomBytes(seed), b) // never fails
	return b
}

// tcpServer does what a line asks for: "who" answers the address that it sees, "put N" takes N bytes and answers
// their sum, "get N SEED" gives N bytes, "mtu" answers the path MTU that its kernel knows, "echo" echoes from then on.
type tcpServer struct {
	t    *testing.T
	l    net.Listener
	mark string
	wg   sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
}

func (w *world) tcpServer(h *netns.Host, listen netip.AddrPort, mark string) *tcpServer {
	w.t.Helper()
	s := &tcpServer{t: w.t, mark: mark, conns: map[net.Conn]bool{}}
	must(w.t, h.Do(func() (err error) {
		s.l, err = net.Listen("tcp", listen.String())
		return err
	}))
	s.wg.Go(s.accept)
	w.t.Cleanup(s.close)
	return s
}

func (s *tcpServer) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			_ = s.serve(c) // the client sees it
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *tcpServer) close() {
	s.l.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *tcpServer) serve(c net.Conn) error {
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		var verb string
		var n int64
		var seed uint64
		_, _ = fmt.Sscan(line, &verb, &n, &seed) // what isn't there stays 0
		switch verb {
		case "who":
			_, err = fmt.Fprintf(c, "%s%s\n", s.mark, c.RemoteAddr())
		case "put":
			sum := sha256.New()
			if _, err = io.CopyN(sum, in, n); err == nil {
				_, err = fmt.Fprintf(c, "%x\n", sum.Sum(nil))
			}
		case "get":
			_, err = io.CopyN(c, randomBytes(seed), n)
		case "mtu":
			var mtu int
			if mtu, err = pathMTU(c); err == nil {
				_, err = fmt.Fprintf(c, "%d\n", mtu)
			}
		case "echo":
			_, err = io.Copy(c, in)
			return err
		default:
			err = fmt.Errorf("unknown request %q", line)
		}
		if err != nil {
			return err
		}
	}
}

// pathMTU is what the kernel holds for a connection's way.
func pathMTU(c net.Conn) (int, error) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return 0, errors.New("no TCP connection")
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		info, optErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); err != nil {
		return 0, err
	}
	if optErr != nil {
		return 0, optErr
	}
	return int(info.Pmtu), nil
}

// tcpPlayer is one connection.
type tcpPlayer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (w *world) dialTCP(h *netns.Host, local netip.Addr, to netip.AddrPort, timeout time.Duration) (*tcpPlayer, error) {
	d := net.Dialer{Timeout: timeout}
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(at(local, 0))
	}
	p := &tcpPlayer{t: w.t}
	err := h.Do(func() (err error) {
		p.conn, err = d.DialContext(w.t.Context(), "tcp", to.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { p.conn.Close() })
	p.in = bufio.NewReader(p.conn)
	return p, nil
}

func (w *world) tcpPlayer(h *netns.Host, local netip.Addr, to netip.AddrPort) *tcpPlayer {
	w.t.Helper()
	p, err := w.dialTCP(h, local, to, patience)
	must(w.t, err)
	return p
}

func (p *tcpPlayer) addr() netip.AddrPort { return p.conn.LocalAddr().(*net.TCPAddr).AddrPort() }

// line asks for something and reads a line of answer.
func (p *tcpPlayer) line(format string, args ...any) string {
	p.t.Helper()
	must(p.t, p.conn.SetDeadline(time.Now().Add(transferPatience)))
	_, err := fmt.Fprintf(p.conn, format+"\n", args...)
	must(p.t, err)
	got, err := p.in.ReadString('\n')
	must(p.t, err)
	return strings.TrimSpace(got)
}

func (p *tcpPlayer) seenAs() (netip.AddrPort, string) {
	p.t.Helper()
	return parseSeen(p.t, p.line("who"))
}

// put sends n bytes and wants the server to have got these.
func (p *tcpPlayer) put(n int64) {
	p.t.Helper()
	must(p.t, p.deadline(n))
	_, err := fmt.Fprintf(p.conn, "put %d\n", n)
	must(p.t, err)
	sum := sha256.New()
	_, err = io.CopyN(io.MultiWriter(p.conn, sum), randomBytes(1), n)
	must(p.t, err)
	got, err := p.in.ReadString('\n')
	must(p.t, err)
	if want := hex.EncodeToString(sum.Sum(nil)); strings.TrimSpace(got) != want {
		p.t.Fatalf("%d bytes up arrived as others: sum %s, want %s", n, got, want)
	}
}

// get wants n bytes from the server as they are there.
func (p *tcpPlayer) get(n int64) {
	p.t.Helper()
	must(p.t, p.deadline(n))
	_, err := fmt.Fprintf(p.conn, "get %d 2\n", n)
	must(p.t, err)
	got, want := sha256.New(), sha256.New()
	_, err = io.CopyN(got, p.in, n)
	must(p.t, err)
	_, err = io.CopyN(want, randomBytes(2), n)
	must(p.t, err)
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		p.t.Fatalf("%d bytes down arrived as others", n)
	}
}
