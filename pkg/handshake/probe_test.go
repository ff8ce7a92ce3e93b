// SPDX-License-Identifier: Apache-2.0

package handshake

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"parry/pkg/netns"
	"parry/test/need"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is an edge and a server of its own kernel settings.
type pair struct {
	t            *testing.T
	edge, server *netns.Host
}

func newPair(t *testing.T, mtu int) *pair {
	t.Helper()
	need.Root(t)
	w, err := netns.NewWorld(t.Context(), "handshake", slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &pair{t: t}
	p.edge, err = w.Host("edge")
	must(t, err)
	p.server, err = w.Host("server")
	must(t, err)
	_, _, err = w.Link(
		netns.End{Host: p.edge, Name: "servers", Addresses: prefixes("10.9.0.1/24", "fd00:9::1/64")},
		netns.End{Host: p.server, Name: "edge", Addresses: prefixes("10.9.0.2/24", "fd00:9::2/64")}, netns.LinkOptions{MTU: mtu})
	must(t, err)
	return p
}

func prefixes(text ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range text {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listen has the server accept connections, which it hands to the channel.
func (p *pair) listen(mss int) (port uint16, accepted <-chan net.Conn) {
	p.t.Helper()
	var l net.Listener
	must(p.t, p.server.Do(func() (err error) {
		c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			var set error
			err := raw.Control(func(fd uintptr) {
				if mss > 0 {
					set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, mss)
				}
			})
			return errors.Join(err, set)
		}}
		l, err = c.Listen(p.t.Context(), "tcp", ":0")
		return err
	}))
	conns := make(chan net.Conn, 16)
	go func() {
		defer close(conns)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	p.t.Cleanup(func() {
		must(p.t, l.Close())
		for c := range conns {
			_ = c.Close()
		}
	})
	return uint16(l.Addr().(*net.TCPAddr).Port), conns
}

func (p *pair) probe(addr string, port uint16) (o Options, err error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), askTimeout)
	defer cancel()
	done := p.edge.Do(func() error {
		o, err = Probe(ctx, netip.AddrPortFrom(netip.MustParseAddr(addr), port))
		return nil
	})
	must(p.t, done)
	return o, err
}

func (p *pair) want(addr string, port uint16, want Options) {
	p.t.Helper()
	got, err := p.probe(addr, port)
	if err != nil || got != want {
		p.t.Errorf("%s: %v, %v; want %v", addr, got, err, want)
	}
}

// What the kernel at the other end is told to take is what is learned, whatever the edge's own kernel takes, and its application never
// hears of it.
func TestServersOptions(t *testing.T) {
	p := newPair(t, 1500)
	must(t, p.server.Sysctl("net.ipv4.tcp_rmem", "4096 131072 6291456")) // the scale follows from the largest window
	for _, key := range []string{"net.ipv4.tcp_sack", "net.ipv4.tcp_timestamps", "net.ipv4.tcp_window_scaling"} {
		must(t, p.edge.Sysctl(key, "0"))
	}
	plain, accepted := p.listen(0)
	small, _ := p.listen(700)
	p.want("10.9.0.2", plain, Options{1460, 7, true, true})
	p.want("fd00:9::2", plain, Options{1440, 7, true, true})
	p.want("10.9.0.2", small, Options{700, 7, true, true})
	must(t, p.server.Sysctl("net.ipv4.tcp_sack", "0"))
	p.want("10.9.0.2", plain, Options{1460, 7, false, true})
	must(t, p.server.Sysctl("net.ipv4.tcp_timestamps", "0"))
	p.want("fd00:9::2", plain, Options{1440, 7, false, false})
	must(t, p.server.Sysctl("net.ipv4.tcp_window_scaling", "0"))
	p.want("10.9.0.2", plain, Options{1460, NoWindowScale, false, false})
	select {
	case c := <-accepted:
		t.Errorf("the server's application has got a connection from %v", c.RemoteAddr())
	default:
	}
	for began := time.Now(); p.waiting() != 0; { // the RST is on its way
		if time.Since(began) > 5*time.Second {
			t.Fatalf("%d handshakes wait at the server for their end", p.waiting())
		}
	}
}

// waiting counts the server's sockets in SYN-RECV.
func (p *pair) waiting() (n int) {
	p.t.Helper()
	out, err := p.server.Exec(p.t.Context(), "ss", "-Htan", "state", "syn-recv")
	must(p.t, err)
	for _, c := range out {
		if c == '\n' {
			n++
		}
	}
	return n
}

func TestServerOfLargeFrames(t *testing.T) {
	p := newPair(t, 9000)
	port, _ := p.listen(0)
	got, err := p.probe("10.9.0.2", port)
	if err != nil || got.MSS != 8960 {
		t.Errorf("%v, %v; want an MSS of 8960", got, err)
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	p := newPair(t, 1500)
	port, _ := p.listen(0)
	for _, addr := range []string{"10.9.0.2", "fd00:9::2"} {
		if o, err := p.probe(addr, port+1); !errors.Is(err, errRefused) {
			t.Errorf("a closed port of %s: %v, %v", addr, o, err)
		}
	}
	out, err := p.server.Exec(t.Context(), "ip", "route", "add", "blackhole", "10.9.0.1")
	must(t, err)
	began := time.Now()
	if o, err := p.probe("10.9.0.2", port); err == nil || errors.Is(err, errRefused) {
		t.Errorf("a server without a way back: %v, %v, %s", o, err, out)
	}
	if took := time.Since(began); took > askTimeout+5*time.Second {
		t.Errorf("it took %v", took)
	}
	if o, err := p.probe("10.9.0.77", port); err == nil {
		t.Errorf("nobody's address: %v", o)
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	p := newPair(t, 1500)
	_, err := p.server.Exec(t.Context(), "ip", "route", "add", "blackhole", "10.9.0.1")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	time.AfterFunc(again[len(again)-1]+100*time.Millisecond, cancel) // the last SYN is out
	must(t, p.edge.Do(func() error {
		_, err = Probe(ctx, netip.MustParseAddrPort("10.9.0.2:9"))
		return nil
	}))
	if err == nil {
		t.Error("it found a server")
	}
}

func TestNoWayThere(t *testing.T) {
	need.Root(t)
	w, err := netns.NewWorld(t.Context(), "alone", slog.New(slog.DiscardHandler))
	must(t, err)
	defer func() { must(t, w.Close()) }()
	h, err := w.Host("edge")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	must(t, h.Do(func() error {
		_, err = Probe(ctx, netip.MustParseAddrPort("10.9.0.2:9"))
		return nil
	}))
	if !errors.Is(err, unix.ENETUNREACH) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
