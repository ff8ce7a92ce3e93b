// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsCluster is an existing cluster of three servers, as an operator has one.
type natsCluster struct {
	t       *testing.T
	options []*server.Options
	servers []*server.Server
}

func newCluster(t *testing.T) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t}
	var routes []*url.URL
	var ports []int
	for range 6 { // found free, and let go for the servers to take
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		must(t, l.Close())
	}
	for i := range 3 {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[2*i])})
	}
	for i := range 3 {
		c.options = append(c.options, &server.Options{
			ServerName: fmt.Sprintf("nats-%d", i+1), Host: "127.0.0.1", Port: ports[2*i+1], NoSigs: true, NoLog: true, JetStream: true, StoreDir: filepath.Join(t.TempDir(), "js"), Routes: routes,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: ports[2*i]}, DisableJetStreamBanner: true,
		})
		c.servers = append(c.servers, nil)
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	return c
}

func (c *natsCluster) start(i int) {
	c.t.Helper()
	s, err := server.NewServer(c.options[i].Clone())
	must(c.t, err)
	s.Start()
	c.servers[i] = s
}

func (c *natsCluster) stop(i int) {
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

func (c *natsCluster) urls() (all []string) {
	for _, o := range c.options {
		all = append(all, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	return all
}

func byCluster(c *natsCluster) func(*Options) {
	return func(o *Options) { o.Cluster = &Cluster{URL: c.urls()} }
}

// Edges that speak by a cluster agree, too: while one of its servers is gone, and after all of them were.
func TestEdgesByACluster(t *testing.T) {
	c := newCluster(t)
	dirs := []string{t.TempDir(), t.TempDir()}
	a, b := openEdge(t, "a", dirs[0], byCluster(c)).run(), openEdge(t, "b", dirs[1], byCluster(c)).run()
	a.put(now("one"), now("two", byPerson))
	b.awaitBlocks("one", "two")
	b.put(now("one", byPerson, asLift))
	a.await("the lift", func() bool { return slices.Equal(holding(a.hub), []string{"two"}) })

	nc, err := nats.Connect(strings.Join(c.urls(), ","))
	must(t, err)
	js, err := jetstream.New(nc)
	must(t, err)
	s, err := js.Stream(t.Context(), clusterStream)
	must(t, err)
	if info := s.CachedInfo(); info.Config.Replicas != 3 || info.State.Msgs != 3 || !info.Config.AllowMsgTTL {
		t.Errorf("the stream: %+v", info)
	}
	nc.Close()

	c.stop(2)
	a.put(now("three"))
	b.await("three", func() bool { return slices.Contains(b.blocks(), "three") })
	c.stop(0)
	c.stop(1)
	for _, e := range []*edge{a, b} {
		e.await("to be alone", func() bool { return !e.hub.Stats().Links[0].Connected })
	}
	a.put(now("alone-a"), now("two", byPerson, asLift))
	b.put(now("alone-b"))
	b.stop() // and comes back with what it knew
	must(t, b.hub.Close())
	for i := range 3 {
		c.start(i)
	}
	b = openEdge(t, "b", dirs[1], byCluster(c)).run()
	want := []string{"alone-a", "alone-b", "three"}
	for _, e := range []*edge{a, b} {
		e.await("the same on both", func() bool { return slices.Equal(holding(e.hub), want) })
	}
	fresh := openEdge(t, "c", t.TempDir(), byCluster(c)).run()
	fresh.await("all of it", func() bool { return slices.Equal(holding(fresh.hub), want) })
	told := b.hub.Stats().ToldCluster
	if told > 2 {
		t.Errorf("after its restart b told %d entries, which the cluster mostly had", told)
	}
}

// What the cluster is wrong about is told, and costs nothing else.
func TestNoCluster(t *testing.T) {
	e := openEdge(t, "a", t.TempDir(), func(o *Options) {
		o.Cluster = &Cluster{URL: []string{"nats://127.0.0.1:1"}, Credentials: "/nowhere.creds"}
	}).run()
	e.put(now("x"))
	must(t, e.hub.Flush(t.Context()))
	e.await("its words", func() bool { return strings.Contains(e.said.String(), "nowhere.creds") })
	if got := holding(e.hub); !slices.Equal(got, []string{"x"}) {
		t.Errorf("there are %v", got)
	}
}
