// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// door is where other edges come in. The embedded server listens on nothing: who has shown a certificate with a configured edge's name is
// led to it as the user who may follow `shared` alone. So no stranger's byte reaches NATS, and what is refused is told in parry's words.
type door struct {
	h     *Hub
	slots chan struct{} // a place for each handshake
	wg    sync.WaitGroup
	mu    sync.Mutex // guards open
	open  map[string]int
}

// run listens until ctx ends; an address that can't be had is tried again.
func (d *door) run(ctx context.Context) {
	defer d.wg.Wait()
	for ctx.Err() == nil {
		err := d.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		d.h.tell("listen for other edges: it is tried again", err)
		timer := time.NewTimer(relisten)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (d *door) listen(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.h.o.Peers.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", d.h.o.Peers.Listen, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close()
	d.h.listens(l.Addr().String())
	defer d.h.listens("")
	for {
		conn, err := l.Accept()
		if err != nil {
			return fmt.Errorf("listen on %s: %w", d.h.o.Peers.Listen, err)
		}
		select {
		case d.slots <- struct{}{}:
			d.wg.Go(func() { d.meet(ctx, conn) })
		default: // who holds all places is let go within handshakeWithin
			_ = conn.Close()
			d.refused(conn, errors.New("too many handshakes at a time"))
		}
	}
}

func (d *door) refused(conn net.Conn, err error) {
	d.h.refuse(conn.RemoteAddr().String(), "no known edge", err)
}

// meet asks who comes, and leads an edge to the server.
func (d *door) meet(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	secure, name, err := d.ask(ctx, conn)
	<-d.slots
	if err != nil {
		if ctx.Err() == nil {
			d.refused(conn, err)
		}
		return
	}
	if !d.enter(name) {
		d.refused(conn, fmt.Errorf("%s has %d connections already", name, perPeer))
		return
	}
	defer d.leave(name)
	disk, err := d.h.open()
	if err != nil {
		return // it comes again
	}
	inside, err := disk.srv.InProcessConn()
	if err != nil {
		return
	}
	splice(secure, inside)
}

// ask shakes hands and gives the name of the edge, which is a configured one.
func (d *door) ask(ctx context.Context, conn net.Conn) (*tls.Conn, string, error) {
	config, err := d.h.o.Peers.Keys.config()
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeWithin)
	defer cancel()
	secure := tls.Server(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, "", fmt.Errorf("no mutual TLS: %w", err)
	}
	leaf := secure.ConnectionState().PeerCertificates[0]
	for _, p := range d.h.o.Peers.Edges {
		if leaf.VerifyHostname(p.Name) == nil {
			return secure, p.Name, nil
		}
	}
	return nil, "", fmt.Errorf("its certificate is for %.200q and none of that is in peers.edges", leaf.DNSNames)
}

func (d *door) enter(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[name] >= perPeer {
		return false
	}
	d.open[name]++
	return true
}

func (d *door) leave(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[name]--
}

// splice carries bytes both ways until either side ends.
func splice(a, b net.Conn) {
	var wg sync.WaitGroup
	carry := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // an end is an end
		_, _ = to.Close(), from.Close()
	}
	wg.Go(func() { carry(a, b) })
	wg.Go(func() { carry(b, a) })
	wg.Wait()
}

// listening is where other edges reach this one; "": nowhere now.
func (h *Hub) listening() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats.Listening
}

func (h *Hub) listens(at string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Listening = at
}
