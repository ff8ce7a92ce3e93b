// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Cluster is a NATS cluster that is there already, by which edges hear of each other.
type Cluster struct {
	URL         []string // of its servers
	Credentials string   // a file that `nsc` makes; "": none
	Keys        Keys     // of mutual TLS; an Authority alone only checks the cluster
	Replicas    int      // of the stream, where this edge makes it; 0: 3
}

const (
	clusterLink     = "cluster"
	clusterStream   = "parry"
	clusterPrefix   = "parry.edges." // + EDGE.KIND.AUTHOR.KEY: who writes under a name of its own overwrites nobody's word
	clusterReplicas = 3
	clusterMax      = 8 << 30 // bytes
	tellEvery       = time.Second
)

func clusterSubject(e *Entry) string {
	return e.register().subject(clusterPrefix + subjectKey(e.Edge) + ".")
}

// followCluster follows the cluster's stream and, once it has read it all, tells what this edge decided and the stream has not.
func (h *Hub) followCluster(ctx context.Context) error {
	c := h.o.Cluster
	options, err := c.options()
	if err != nil {
		return err
	}
	nc, err := nats.Connect(strings.Join(c.URL, ","), append(options, nats.Name("parry "+h.o.Node))...)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(answerWithin))
	if err != nil {
		return fmt.Errorf("use the cluster's JetStream: %w", err)
	}
	stream, err := c.ensure(ctx, js)
	if err != nil {
		return err
	}
	if h.position(clusterLink, stream.Created) == 0 {
		h.allUntold()
	}
	expires := stream.Config.AllowMsgTTL
	ctx, cancel := context.WithCancel(ctx)
	telling := make(chan struct{})
	started := false
	defer func() {
		cancel()
		if started {
			<-telling
		}
	}()
	return h.follow(ctx, nc, following{
		name: clusterLink, stream: clusterStream, filter: clusterPrefix + ">", subject: clusterSubject,
		caughtUp: func(_ context.Context, js jetstream.JetStream) {
			started = true
			go func() {
				defer close(telling)
				h.tellCluster(ctx, js, expires)
			}()
		},
	})
}

func (c *Cluster) options() ([]nats.Option, error) {
	all := []nats.Option{nats.NoReconnect(), nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(2), nats.Timeout(dialWithin)}
	if c.Credentials != "" {
		all = append(all, nats.UserCredentials(c.Credentials))
	}
	if c.Keys.Certificate != "" {
		config, err := c.Keys.config()
		if err != nil {
			return nil, err
		}
		return append(all, nats.Secure(config)), nil
	}
	if c.Keys.Authority != "" {
		roots, err := readAuthority(c.Keys.Authority)
		if err != nil {
			return nil, err
		}
		all = append(all, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}))
	}
	return all, nil
}

// ensure makes the stream where it is missing.
func (c *Cluster) ensure(ctx context.Context, js jetstream.JetStream) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	s, err := js.Stream(ctx, clusterStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		replicas := c.Replicas
		if replicas == 0 {
			replicas = clusterReplicas
		}
		s, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: clusterStream, Subjects: []string{clusterPrefix + ">"}, MaxMsgsPerSubject: 1, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
			MaxMsgSize: maxPayload, MaxBytes: clusterMax, Replicas: replicas, AllowMsgTTL: true, AllowDirect: true,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open the cluster's stream %q: %w", clusterStream, err)
	}
	return s.CachedInfo(), nil
}

// allUntold notes that the cluster may lack anything that this edge decided. What it tells itself of that is struck out (take).
func (h *Hub) allUntold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.o.Now()
	for _, both := range h.all {
		for _, e := range []*Entry{both.person, both.detector} {
			if e != nil && e.Edge == h.o.Node && !forgotten(e, now) {
				h.untold[e.register()] = struct{}{}
			}
		}
	}
}

// tellCluster tells what this edge decides, until ctx ends.
func (h *Hub) tellCluster(ctx context.Context, js jetstream.JetStream, expires bool) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			var entries []*Entry
			h.mu.Lock()
			entries, more = h.next(h.untold)
			h.mu.Unlock()
			n, err := publish(ctx, js, h.clusterMessages(entries, expires))
			h.mu.Lock()
			h.stats.ToldCluster += uint64(n)
			h.back(h.untold, entries[n:])
			h.mu.Unlock()
			if err != nil {
				h.tell("tell the cluster what was decided: it is tried again", err)
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-h.toTell:
		case <-tick.C:
		}
	}
}

// clusterMessages lets what will be over go by itself, by the cluster's clock, where it can.
func (h *Hub) clusterMessages(entries []*Entry, expires bool) []message {
	now := h.o.Now()
	all := messages(entries, "")
	for i := range all {
		all[i].subject = clusterSubject(entries[i])
		if end := entries[i].Expires; expires && !end.IsZero() {
			all[i].keep = max(end.Add(graceLift).Sub(now), time.Second).Round(time.Second)
		}
	}
	return all
}
