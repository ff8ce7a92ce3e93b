// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Keys are the files of a side of mutual TLS, in PEM. They are read anew for each connection: a renewed certificate needs no restart.
type Keys struct {
	Certificate string // this edge's, with its name as a DNS name, for servers and clients
	Key         string // its key
	Authority   string // who signs the others'
}

// Peer is another edge.
type Peer struct {
	Name    string // as its certificate says
	Address string // host:port
}

// Peers are the other edges.
type Peers struct {
	Listen string // host:port that they reach this one at
	Edges  []Peer
	Keys   Keys
}

const (
	handshakeWithin = 5 * time.Second
	handshakes      = 32 // at a time
	perPeer         = 4  // connections
	dialWithin      = 3 * time.Second
	pingEvery       = 2 * time.Second // two that nobody answers are a lost connection
	redialFirst     = 250 * time.Millisecond
	redialMost      = 3 * time.Second
	relisten        = 5 * time.Second
)

func (k Keys) config() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(k.Certificate, k.Key)
	if err != nil {
		return nil, fmt.Errorf("read this edge's certificate: %w", err)
	}
	roots, err := readAuthority(k.Authority)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: roots, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// ErrAuthority says that it is the authority that is wrong.
var ErrAuthority = errors.New("read the authority")

// Check reads the files, and says what is wrong with them for an edge of that name.
func (k Keys) Check(node string) error {
	if k.Certificate == "" {
		if k.Authority == "" {
			return nil
		}
		_, err := readAuthority(k.Authority)
		return err
	}
	config, err := k.config()
	if err != nil {
		return err
	}
	leaf := config.Certificates[0].Leaf
	if err := leaf.VerifyHostname(node); err != nil {
		return fmt.Errorf("the certificate is not this edge's: %w", err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: config.RootCAs, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}); err != nil {
		return fmt.Errorf("the others would refuse this edge's certificate: %w", err)
	}
	return nil
}

func readAuthority(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuthority, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%w: there is no certificate in %s", ErrAuthority, path)
	}
	return roots, nil
}

// connect starts what speaks with the others.
func (h *Hub) connect(ctx context.Context, group *sync.WaitGroup) {
	if h.o.Peers != nil {
		door := &door{h: h, open: map[string]int{}, slots: make(chan struct{}, handshakes)}
		group.Go(func() { door.run(ctx) })
		for _, p := range h.o.Peers.Edges {
			group.Go(func() { h.redial(ctx, p.Name, func(ctx context.Context) error { return h.followPeer(ctx, p) }) })
		}
	}
	if h.o.Cluster != nil {
		group.Go(func() { h.redial(ctx, clusterLink, h.followCluster) })
	}
}

// redial keeps a link up until ctx ends: each that fails is tried again, at longer and longer times.
func (h *Hub) redial(ctx context.Context, name string, link func(context.Context) error) {
	h.mu.Lock()
	h.links[name] = &Link{Name: name, Since: h.o.Now(), Why: "it was not tried yet"}
	h.mu.Unlock()
	wait := redialFirst
	for ctx.Err() == nil {
		err := link(ctx)
		if h.linkDown(name, err) {
			wait = redialFirst
		}
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, errAgain) {
			h.unheard(name, err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		wait = min(2*wait, redialMost)
	}
}

// unheard says that a link is down.
func (h *Hub) unheard(name string, err error) {
	if unsaid, say := h.mayTell("link " + name); say {
		h.o.Log.Warn("state: this edge doesn't hear what another decides, and tries on", "edge", name, "why", err, "not_said_before", unsaid)
	}
}

// linkDown notes that a link ended, and tells whether it was up.
func (h *Hub) linkDown(name string, err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.links[name]
	was := l.Connected
	if l.Connected = false; was {
		l.Since = h.o.Now()
	}
	if err != nil {
		l.Why = err.Error()
	}
	return was
}

func (h *Hub) linkUp(name string) {
	h.mu.Lock()
	l := h.links[name]
	l.Connected, l.Since, l.Why = true, h.o.Now(), ""
	h.mu.Unlock()
	h.o.Log.Info("state: this edge hears what another decides", "edge", name)
}

// followPeer connects to another edge and follows its stream.
func (h *Hub) followPeer(ctx context.Context, p Peer) error {
	dialer := &tlsDialer{ctx: ctx, peer: p, keys: h.o.Peers.Keys}
	nc, err := nats.Connect("nats://"+p.Address, nats.SetCustomDialer(dialer), nats.UserInfo(peerUser, ""), nats.SkipHostLookup(),
		nats.NoReconnect(), nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(2), nats.Timeout(dialWithin), nats.Name(h.o.Node))
	if err != nil {
		return fmt.Errorf("connect to %s (%s): %w", p.Name, p.Address, cmp.Or(dialer.failed, err))
	}
	defer nc.Close()
	return h.follow(ctx, nc, following{
		name: p.Name, stream: sharedName, filter: sharedPrefix + ">", subject: func(e *Entry) string { return e.register().subject(sharedPrefix) },
	})
}

// tlsDialer connects to one edge and proves to be another, before NATS says a word.
type tlsDialer struct {
	ctx  context.Context
	peer Peer
	keys Keys

	failed error // of the last Dial: nats.go keeps to itself why it has no connection
}

// Dial is nats.go's question for a connection.
func (d *tlsDialer) Dial(_, _ string) (conn net.Conn, err error) {
	defer func() { d.failed = err }()
	ctx, cancel := context.WithTimeout(d.ctx, dialWithin)
	defer cancel()
	config, err := d.keys.config()
	if err != nil {
		return nil, err
	}
	config.ServerName = d.peer.Name
	conn, err = (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", d.peer.Address)
	if err != nil {
		return nil, fmt.Errorf("by mutual TLS: %w", err)
	}
	return conn, nil
}
