// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Peers are the other edges that this one shares its decisions with: blocks, allows, and what else is remembered (docs/state.md). Either
// `edges`, which then speak with each other by mutual TLS, or `url` of a NATS cluster that is there already. Without either an
// edge remembers for itself.
type Peers struct {
	// Listen is the host:port that the other edges reach this one at.
	Listen string `yaml:"listen" check:"format=hostport"`
	// Edges are the others, all of them on each: at most 63.
	Edges []PeerEdge `yaml:"edges" check:"items=63"`
	// Certificate is a PEM file: this edge's own certificate, with its `node` as a DNS name, good for servers and for clients.
	Certificate string `yaml:"certificate" check:"format=path"`
	// Key is a PEM file: the key of the certificate.
	Key string `yaml:"key" check:"format=path"`
	// Authority is a PEM file: who signs the others' certificates.
	Authority string `yaml:"authority" check:"format=path"`
	// URL are servers of a NATS cluster with JetStream (2.11 or newer), as nats://HOST:PORT or tls://HOST:PORT.
	URL []string `yaml:"url" check:"single items=16"`
	// Credentials is a file that the cluster's operator gave (`nsc generate creds`).
	Credentials string `yaml:"credentials" check:"format=path"`
	// Replicas is how many of the cluster's servers keep what the edges tell, where this edge is the first to.
	Replicas uint8 `yaml:"replicas" check:"min=1 max=5"`
}

// PeerEdge is another edge.
type PeerEdge struct {
	// Name is its `node`, for which its certificate is made.
	Name string `yaml:"name" check:"required format=node"`
	// Address is the host:port that it listens on for others.
	Address string `yaml:"address" check:"required format=hostport"`
}

// Any tells whether there is somebody to share with.
func (p Peers) Any() bool { return len(p.Edges) > 0 || len(p.URL) > 0 }

func (k *checker) peers() {
	p := k.c.Peers
	if len(p.URL) > 0 && (len(p.Edges) > 0 || p.Listen != "") {
		k.fail("peers.url", "", "edges speak by a cluster (url) or with each other (listen and edges), not by both")
		return
	}
	k.peerEdges()
	k.clusterURLs()
	if len(p.Edges) > 0 {
		for _, need := range []struct{ key, value, why string }{
			{"listen", p.Listen, "the others reach this edge there"}, {"certificate", p.Certificate, "edges know each other by certificates"},
			{"key", p.Key, "edges know each other by certificates"}, {"authority", p.Authority, "edges know each other by certificates"},
		} {
			if need.value == "" && !k.bad["peers."+need.key] {
				k.fail("peers.edges", "", "peers.%s is missing: %s", need.key, need.why)
			}
		}
	}
	for _, odd := range []struct {
		key  string
		lone bool
		why  string
	}{
		{"listen", len(p.Edges) == 0, "it names an address for other edges, and there are no edges"},
		{"credentials", len(p.URL) == 0, "credentials are a cluster's, and there is no url"},
		{"replicas", len(p.URL) == 0, "replicas are a cluster's, and there is no url"},
		{"certificate", p.Key == "", "a certificate needs its key"},
		{"key", p.Certificate == "", "a key needs its certificate"},
		{"certificate", p.Authority == "" && p.Key != "", "mutual TLS needs an authority by which the others are checked"},
	} {
		if odd.lone && k.has("peers."+odd.key) {
			k.fail("peers."+odd.key, "", "%s", odd.why)
		}
	}
}

func (k *checker) peerEdges() {
	at := func(i int) string { return "peers.edges[" + strconv.Itoa(i) + "]" }
	for i, e := range k.c.Peers.Edges {
		if k.c.Node != "" && e.Name == k.c.Node && k.has(at(i)+".name") {
			k.fail(at(i)+".name", "", "%s is this edge itself (node): name the others alone", e.Name)
		}
		if host, port, err := net.SplitHostPort(e.Address); k.has(at(i)+".address") && (err != nil || host == "" || port == "0") {
			k.fail(at(i)+".address", "", "%q: want the host:port of the other edge", e.Address)
		}
	}
	k.unique(len(k.c.Peers.Edges), "edge", func(i int) string { return at(i) + ".name" }, func(i int) string { return k.c.Peers.Edges[i].Name })
	k.unique(len(k.c.Peers.Edges), "address", func(i int) string { return at(i) + ".address" }, func(i int) string { return k.c.Peers.Edges[i].Address })
}

func (k *checker) clusterURLs() {
	for i, text := range k.c.Peers.URL {
		at := "peers.url[" + strconv.Itoa(i) + "]"
		if k.bad[at] {
			continue
		}
		if _, ok := k.pos[at]; !ok {
			at = "peers.url"
		}
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls"}, u.Scheme):
			hint := ""
			if !strings.Contains(text, "/") && text != "" {
				hint = "nats://" + text
			}
			k.fail(at, hint, "that is no URL of a NATS server: want nats://HOST:PORT or tls://HOST:PORT")
		case u.User != nil:
			k.fail(at, u.Scheme+"://"+u.Host, "a password doesn't belong in this file: use credentials, or certificate and key")
		}
	}
}
