// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second // a test's, for what is awaited

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// speech is a log that tests read.
type speech struct {
	mu   sync.Mutex // guards text
	text []byte
}

func (s *speech) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	return len(p), nil
}

func (s *speech) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	n    int64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a := &authority{key: key, file: filepath.Join(t.TempDir(), "ca.crt"), n: 1}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	must(t, err)
	a.cert, err = x509.ParseCertificate(der)
	must(t, err, os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return a
}

// keys are those of an edge.
func (a *authority) keys(t testing.TB, name string) Keys {
	t.Helper()
	a.n++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	form := &x509.Certificate{SerialNumber: big.NewInt(a.n), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	cert, err := x509.CreateCertificate(rand.Reader, form, a.cert, key.Public(), a.key)
	must(t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	k := Keys{Certificate: filepath.Join(t.TempDir(), name+".crt"), Key: filepath.Join(t.TempDir(), name+".key"), Authority: a.file}
	must(t, os.WriteFile(k.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(k.Key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o600))
	return k
}

// edge is an edge of a test: a hub, and lists that it has applied to.
type edge struct {
	t    testing.TB
	name string
	hub  *Hub
	said *speech
	stop func()
	done chan struct{}

	mu      sync.Mutex // guards what follows
	applied map[ref]Winner
	times   map[ref]time.Time // when it was first applied
	moved   chan struct{}
	broken  error
}

// openEdge opens a hub over a folder. It doesn't run yet.
func openEdge(t testing.TB, name, dir string, change ...func(*Options)) *edge {
	t.Helper()
	e := &edge{t: t, name: name, said: &speech{}, applied: map[ref]Winner{}, times: map[ref]time.Time{}, moved: make(chan struct{}, 1), stop: func() {}}
	o := Options{Dir: dir, Node: name, Log: slog.New(slog.NewTextHandler(e.said, nil))}
	for _, c := range change {
		c(&o)
	}
	var err error
	e.hub, err = Open(t.Context(), o)
	must(t, err)
	t.Cleanup(e.close)
	return e
}

func (e *edge) run() *edge {
	ctx, cancel := context.WithCancel(context.Background())
	e.done = make(chan struct{})
	e.stop = sync.OnceFunc(func() {
		cancel()
		<-e.done
	})
	go func() {
		defer close(e.done)
		if err := e.hub.Run(ctx, e.apply); err != nil {
			fmt.Fprintf(e.said, "Run: %v\n", err)
		}
	}()
	return e
}

func (e *edge) close() {
	e.stop()
	if err := e.hub.Close(); err != nil {
		e.t.Error(err)
	}
	if e.t.Failed() {
		e.t.Logf("%s said:\n%s", e.name, e.said)
	}
}

func (e *edge) apply(_ context.Context, all []Winner) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for _, w := range all {
		e.applied[w.ref()] = w
		if _, ok := e.times[w.ref()]; !ok {
			e.times[w.ref()] = now
		}
	}
	poke(e.moved)
	return e.broken
}

// blocks are the keys of the blocks that were applied and hold.
func (e *edge) blocks() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for r, w := range maps.All(e.applied) {
		if w.Holds && r.kind == Block {
			all = append(all, r.key)
		}
	}
	slices.Sort(all)
	return all
}

// await waits until what is asked is true: it is asked when something was applied, and at times.
func (e *edge) await(what string, is func() bool) {
	e.t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-e.moved:
		case <-tick.C:
		case <-end.C:
			e.t.Fatalf("%s waited for %s: it has %d blocks, %+v", e.name, what, len(e.blocks()), e.hub.Stats())
		}
	}
}

func (e *edge) awaitBlocks(want ...string) {
	e.t.Helper()
	e.await(fmt.Sprintf("blocks %v", want), func() bool { return slices.Equal(e.blocks(), want) })
}

func (e *edge) put(all ...Entry) {
	e.t.Helper()
	must(e.t, e.hub.Put(all...))
}

// relay is a cable between two edges, which can be cut.
type relay struct {
	l  net.Listener
	to func() string
	wg sync.WaitGroup

	mu    sync.Mutex // guards what follows
	cut   bool
	conns map[net.Conn]bool
}

func newRelay(t testing.TB, to func() string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &relay{l: l, to: to, conns: map[net.Conn]bool{}}
	r.wg.Go(r.serve)
	t.Cleanup(func() {
		r.set(true)
		_ = l.Close()
		r.wg.Wait()
	})
	return r
}

func (r *relay) serve() {
	for {
		in, err := r.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.to())
		if err != nil || !r.hold(in, out) {
			_ = in.Close()
			if err == nil {
				_ = out.Close()
			}
			continue
		}
		for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
			r.wg.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				_, _ = in.Close(), out.Close()
			})
		}
	}
}

func (r *relay) hold(all ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range all {
		r.conns[c] = true
	}
	return !r.cut
}

// set cuts the cable, or mends it.
func (r *relay) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	if cut {
		for c := range r.conns {
			_ = c.Close()
		}
		clear(r.conns)
	}
}

// world is some edges, each of which is connected with each other by cables of their own.
type world struct {
	t      testing.TB
	ca     *authority
	edges  []*edge
	dirs   []string
	cables map[[2]int]*relay // from, to
	keys   []Keys
	change func(*Options)
	mu     sync.Mutex // guards edges' places, for the cables
}

func newWorld(t testing.TB, n int, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t, ca: newAuthority(t), edges: make([]*edge, n), cables: map[[2]int]*relay{}, change: change}
	for i := range n {
		w.dirs = append(w.dirs, filepath.Join(t.TempDir(), "state"))
		w.keys = append(w.keys, w.ca.keys(t, nameOf(i)))
		for j := range n {
			if i != j {
				w.cables[[2]int{i, j}] = newRelay(t, func() string { return w.edge(j).hub.listening() })
			}
		}
	}
	for i := range n {
		w.open(i)
	}
	for _, e := range w.edges {
		e.run()
	}
	w.connected()
	return w
}

func nameOf(i int) string { return fmt.Sprintf("edge-%d", i+1) }

func (w *world) open(i int) *edge {
	w.t.Helper()
	peers := &Peers{Listen: "127.0.0.1:0", Keys: w.keys[i]}
	for j := range w.dirs {
		if c := w.cables[[2]int{i, j}]; c != nil {
			peers.Edges = append(peers.Edges, Peer{Name: nameOf(j), Address: c.l.Addr().String()})
		}
	}
	e := openEdge(w.t, nameOf(i), w.dirs[i], func(o *Options) {
		o.Peers = peers
		if w.change != nil {
			w.change(o)
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.edges[i] = e
	return e
}

func (w *world) edge(i int) *edge {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.edges[i]
}

// connected waits until each hears each.
func (w *world) connected() {
	w.t.Helper()
	for _, e := range w.edges {
		e.await("its links", func() bool {
			links := e.hub.Stats().Links
			return len(links) == len(w.edges)-1 && !slices.ContainsFunc(links, func(l Link) bool { return !l.Connected })
		})
	}
}

// cut takes an edge off all others, or brings it back.
func (w *world) cut(i int, cut bool) {
	for ends, c := range w.cables {
		if ends[0] == i || ends[1] == i {
			c.set(cut)
		}
	}
}
