// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/netns"
)

// certify writes ca.crt and each edge's certificate and key into a folder.
func certify(t *testing.T, dir string, names ...string) {
	t.Helper()
	write := func(name, kind string, der []byte) {
		must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	root, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, root.Public(), root)
	must(t, err)
	write("ca.crt", "CERTIFICATE", der)
	for i, name := range names {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		form := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
		der, err := x509.CreateCertificate(rand.Reader, form, ca, key.Public(), root)
		must(t, err)
		secret, err := x509.MarshalECPrivateKey(key)
		must(t, err)
		write(name+".crt", "CERTIFICATE", der)
		write(name+".key", "EC PRIVATE KEY", secret)
	}
}

// pair is two edges, each at a site of its own, with a link between them by which they share what they decide.
type pair struct {
	t     *testing.T
	edges [2]*edge
	ends  [2]*netns.Interface
}

func newPair(t *testing.T) *pair {
	t.Helper()
	a, b := newSite(t, "sharea", siteOptions{}), newSite(t, "shareb", siteOptions{})
	p := &pair{t: t, edges: [2]*edge{a.edge, b.edge}}
	p.ends[0], p.ends[1] = a.link(ends(a.gate, "peers", "10.9.0.1/24"), ends(b.gate, "peers", "10.9.0.2/24"), netns.LinkOptions{})
	dir := t.TempDir()
	certify(t, dir, "fra-1", "fra-2")
	for i, e := range p.edges {
		e.node = fmt.Sprintf("fra-%d", i+1)
		e.run(fmt.Sprintf("peers: {listen: \"10.9.0.%d:4290\", edges: [{name: fra-%d, address: \"10.9.0.%d:4290\"}], certificate: %[4]s/%[5]s.crt, key: %[4]s/%[5]s.key, authority: %[4]s/ca.crt}\n",
			i+1, 2-i, 2-i, dir, e.node) + everyMode(unlimited))
	}
	return p
}

// blocked are the denied addresses of an edge, and where each comes from.
func (e *edge) blocked() []string {
	e.t.Helper()
	var all []string
	for b, err := range e.client.Entries(e.t.Context(), api.Block) {
		must(e.t, err)
		all = append(all, blocklist.FormatPrefix(b.Prefix)+" "+b.Source)
	}
	slices.Sort(all)
	return all
}

func (e *edge) awaitBlocked(want ...string) time.Duration {
	e.t.Helper()
	return e.await(30*time.Second, fmt.Sprintf("%v to be blocked on %s", want, e.node), func() bool { return slices.Equal(e.blocked(), want) })
}

// What one edge decides the other enforces, within a moment; a partition stops neither, and after it both agree; what was remembered is
// there after the maps are gone.
func TestEdgesShareWhatTheyDecide(t *testing.T) {
	p := newPair(t)
	a, b := p.edges[0], p.edges[1]
	a.ok("block", "add", "198.51.100.1")
	b.awaitBlocked("198.51.100.1 fleet")
	b.ok("block", "del", "198.51.100.1")
	a.awaitBlocked()

	var delays []time.Duration
	var want []string
	for n := range 50 {
		addr := netip.AddrFrom4([4]byte{198, 51, 101, byte(n)})
		must(t, a.client.Add(t.Context(), api.Block, []blocklist.Entry{{Prefix: netip.PrefixFrom(addr, 32), Source: blocklist.SourceAPI, Confidence: 1, Added: time.Now()}}))
		began := time.Now()
		b.await(5*time.Second, "a block to come over", func() bool { return slices.Contains(b.blocked(), addr.String()+" fleet") })
		delays = append(delays, time.Since(began))
		want = append(want, addr.String())
	}
	slices.Sort(delays)
	t.Logf("a block made on one edge is enforced on the other after %v (median of %d), %v at most", delays[25].Round(100*time.Microsecond), len(delays), delays[49].Round(100*time.Microsecond))
	if worst := delays[49]; worst > time.Second {
		t.Errorf("one took %v", worst)
	}
	for _, addr := range want {
		a.ok("block", "del", addr)
	}
	b.awaitBlocked()

	must(t, p.ends[0].SetUp(false))
	a.ok("block", "add", "198.51.100.2")
	b.ok("block", "add", "198.51.100.3")
	a.awaitBlocked("198.51.100.2 cli")
	b.awaitBlocked("198.51.100.3 cli")
	b.kill()
	must(t, p.ends[0].SetUp(true))
	b.start()
	took := a.awaitBlocked("198.51.100.2 cli", "198.51.100.3 fleet")
	b.awaitBlocked("198.51.100.2 fleet", "198.51.100.3 cli")
	t.Logf("after a partition and a killed daemon both agree within %v", took.Round(time.Millisecond))
}

// 100,000 blocks are on the lists of an edge whose maps are new as soon as it answers.
func TestBlocksAreRestored(t *testing.T) {
	const many = 100_000
	s := newSite(t, "restore", siteOptions{})
	s.edge.run("sizes: {sessions: 32768, unproven: 16384, blocks: 131072, prefixes: 4096, sources: 32768, fragments: 1024}\n" + everyMode(unlimited))
	var file bytes.Buffer
	for n := range many {
		fmt.Fprintf(&file, "198.%d.%d.%d\n", 18+n>>16, n>>8&255, n&255)
	}
	if o := s.edge.cli(file.String(), "block", "import", "-"); o.code != 0 {
		t.Fatal(o.err)
	}
	s.edge.term()
	s.edge.ok("detach", "--pin", s.edge.pin)
	began := time.Now()
	s.edge.start()
	took := time.Since(began)
	if n := len(s.edge.blocked()); n != many {
		t.Errorf("%d of %d are there", n, many)
	}
	t.Logf("%d blocks are enforced on new maps, and the daemon answers, after %v", many, took.Round(time.Millisecond))
}
