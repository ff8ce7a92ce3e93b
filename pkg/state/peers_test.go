// SPDX-License-Identifier: Apache-2.0

package state

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// now is an entry of a detector that holds for an hour from now on.
func now(key string, change ...func(*Entry)) Entry {
	e := Entry{Kind: Block, Key: key, Author: Detector, Expires: time.Now().Add(time.Hour), Value: json.RawMessage(`{"reason":"flood"}`)}
	for _, c := range change {
		c(&e)
	}
	return e
}

func TestWhatOneDecidesAllEnforce(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.edges[0].put(now("a"), now("b", byPerson))
	w.edges[1].put(now("c"))
	for _, e := range w.edges[1:] {
		e.await("a and b", func() bool { return slices.Contains(e.blocks(), "a") && slices.Contains(e.blocks(), "b") })
	}
	w.edges[0].awaitBlocks("c")
	w.edges[2].awaitBlocks("a", "b", "c")
	w.edges[2].put(now("a", byPerson, asLift))
	w.edges[0].await("the lift", func() bool { return slices.Equal(holding(w.edges[0].hub), []string{"b", "c"}) })
	w.edges[1].awaitBlocks("b")
	w.edges[0].put(now("a")) // its detector again: the lift is a person's
	w.edges[0].await("its own block to be taken back", func() bool {
		e := w.edges[0]
		e.mu.Lock()
		defer e.mu.Unlock()
		last, ok := e.applied[ref{Block, "a"}]
		return ok && last.Lift
	})
}

// holding are the keys of all blocks that a hub says to hold.
func holding(h *Hub) []string {
	var all []string
	for _, e := range h.Snapshot(Block) {
		all = append(all, e.Key)
	}
	slices.Sort(all)
	return all
}

// A partition stops nobody; after it nothing is lost and nothing comes back. An edge that died meanwhile is heard of by the others.
func TestPartitionAndHealing(t *testing.T) {
	w := newWorld(t, 3, nil)
	first, second, third := w.edges[0], w.edges[1], w.edges[2]
	first.put(now("old"), now("both"), now("lifted-there"))
	second.awaitBlocks("both", "lifted-there", "old")
	third.awaitBlocks("both", "lifted-there", "old")
	w.cut(2, true)
	third.await("to be alone", func() bool {
		return !slices.ContainsFunc(third.hub.Stats().Links, func(l Link) bool { return l.Connected })
	})
	third.put(now("alone"), now("lifted-there", byPerson, asLift), now("both"))
	first.put(now("meanwhile"), now("both", byPerson, asLift))
	second.await("what the others go on with", func() bool { return slices.Equal(holding(second.hub), []string{"lifted-there", "meanwhile", "old"}) })
	first.stop() // it is gone before the cable is mended
	must(t, first.hub.Close())
	w.cut(2, false)
	want := []string{"alone", "meanwhile", "old"}
	for _, e := range []*edge{second, third} {
		e.await("the same on both", func() bool { return slices.Equal(holding(e.hub), want) })
	}
	back := w.open(0).run()
	back.await("what it missed", func() bool { return slices.Equal(holding(back.hub), want) })
	w.connected()
}

func TestWrongCredentialsAreRefusedAndTold(t *testing.T) {
	w := newWorld(t, 2, nil)
	door := w.edges[1].hub.listening()
	other := newAuthority(t)
	for _, row := range []struct {
		name string
		keys Keys
		say  string
	}{
		{"another authority's", other.keys(t, nameOf(0)), "no mutual TLS"},
		{"an edge that nobody named", w.ca.keys(t, "edge-9"), "none of that is in peers.edges"},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.keys.Authority = w.ca.file
			config, err := row.keys.config()
			must(t, err)
			config.ServerName = nameOf(1)
			if conn, err := tls.Dial("tcp", door, config); err == nil { // TLS 1.3: the server's word on the certificate comes after
				defer conn.Close()
				if _, err := conn.Read(make([]byte, 1)); err == nil {
					t.Error("it was let in")
				}
			}
			w.edges[1].await("its words", func() bool { return strings.Contains(w.edges[1].said.String(), row.say) })
			w.edges[1].hub.mu.Lock()
			clear(w.edges[1].hub.told) // else the next is only counted for a while
			w.edges[1].hub.mu.Unlock()
		})
	}
	conn, err := net.Dial("tcp", door)
	must(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("CONNECT {\"user\":\"daemon\"}\r\nPING\r\n"))
	must(t, err)
	w.edges[1].await("to count three", func() bool { return w.edges[1].hub.Stats().Refused["no known edge"] >= 3 })
	lone := openEdge(t, "edge-9", t.TempDir(), func(o *Options) {
		o.Peers = &Peers{Listen: "127.0.0.1:0", Keys: other.keys(t, "edge-9"), Edges: []Peer{{Name: nameOf(1), Address: door}}}
	}).run()
	lone.await("why", func() bool { return strings.Contains(lone.said.String(), "certificate") })
}

// asPeer is a connection through an edge's door, with which a peer may do as it likes.
func asPeer(t *testing.T, w *world, as, to int) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect("nats://peer", nats.SetCustomDialer(&tlsDialer{ctx: t.Context(), peer: Peer{nameOf(to), w.edges[to].hub.listening()}, keys: w.keys[as]}), nats.UserInfo(peerUser, ""), nats.SkipHostLookup(), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(500*time.Millisecond))
	must(t, err)
	return nc, js
}

// A peer reads what edges agree upon, and can do nothing else.
func TestAPeerMayOnlyRead(t *testing.T) {
	w := newWorld(t, 2, nil)
	must(t, w.edges[1].hub.Local().Put(t.Context(), "secret", "k", json.RawMessage(`1`)))
	w.edges[1].put(now("kept"))
	w.edges[0].awaitBlocks("kept")
	nc, js := asPeer(t, w, 0, 1)
	ctx := t.Context()
	if _, err := js.Stream(ctx, localName); err == nil {
		t.Error("it sees the edge's own stream")
	}
	s, err := js.Stream(ctx, sharedName)
	must(t, err)
	forged := now("forged")
	forged.Made, forged.Edge = time.Now(), nameOf(0)
	doc, err := forged.encode()
	must(t, err)
	if _, err := js.Publish(ctx, forged.register().subject(sharedPrefix), doc); err == nil {
		t.Error("it wrote")
	}
	if s.Purge(ctx) == nil || js.DeleteStream(ctx, sharedName) == nil || s.DeleteMsg(ctx, 1) == nil {
		t.Error("it removed")
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "own", Subjects: []string{"own"}}); err == nil {
		t.Error("it made a stream")
	}
	if _, err := nc.SubscribeSync(">"); err == nil {
		must(t, nc.Flush())
		if nc.LastError() == nil {
			t.Error("it hears everything")
		}
	}
	if got := holding(w.edges[1].hub); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("there are %v", got)
	}
	for range maxConsumers + 5 { // what it reads by is bounded, too
		_, err = s.CreateConsumer(ctx, jetstream.ConsumerConfig{InactiveThreshold: time.Second})
	}
	if err == nil {
		t.Error("it made as many readers as it liked")
	}
}

// What a peer tells is bounded and checked; what is refused is counted, and what is good beside it is taken.
func TestHostileMessagesAreRefused(t *testing.T) {
	w := newWorld(t, 2, func(o *Options) {
		o.Check = func(e *Entry) error {
			if strings.HasPrefix(e.Key, "bad") {
				return errors.New("no such source")
			}
			return nil
		}
	})
	d, err := w.edges[0].hub.open()
	must(t, err)
	good, early, elsewhere := now("good"), now("early"), now("elsewhere")
	good.Edge, good.Made = nameOf(0), time.Now()
	early.Edge, early.Made = nameOf(0), time.Now().Add(30*time.Minute)
	elsewhere.Edge, elsewhere.Made = nameOf(0), time.Now()
	bad := now("bad")
	bad.Edge, bad.Made = nameOf(0), time.Now()
	var all []message
	for _, e := range []*Entry{&early, &bad, &good} {
		doc, err := e.encode()
		must(t, err)
		all = append(all, message{subject: e.register().subject(sharedPrefix), data: doc})
	}
	doc, err := elsewhere.encode()
	must(t, err)
	all = append([]message{
		{subject: sharedPrefix + "block.detector.x", data: []byte("{")}, {subject: sharedPrefix + "x", data: nil}, {subject: sharedPrefix + "block.detector.y", data: doc},
		{subject: sharedPrefix + "z", data: []byte(strings.Repeat("z", maxPayload-100))},
	}, all...)
	_, err = publish(t.Context(), d.js, all)
	must(t, err)
	w.edges[1].awaitBlocks("good")
	refused := w.edges[1].hub.Stats().Refused
	if refused["malformed"] != 4 || refused["from the future"] != 1 || refused["not valid here"] != 1 {
		t.Errorf("refused: %v\n%s", refused, w.edges[1].said)
	}
}

// An entry from the future is taken when its time has come.
func TestClocksThatDiffer(t *testing.T) {
	w := newWorld(t, 2, func(o *Options) {
		if o.Node == nameOf(0) {
			o.Now = func() time.Time { return time.Now().Add(40 * time.Second) } // ahead, but not too far
		}
	})
	w.edges[0].put(now("ahead"))
	w.edges[1].awaitBlocks("ahead")
	w.edges[1].put(now("ahead", asLift)) // its clock is behind: the lift is later all the same
	w.edges[0].await("the lift", func() bool { return len(holding(w.edges[0].hub)) == 0 })
}
