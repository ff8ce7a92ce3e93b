// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"parry/pkg/query"
	"parry/pkg/query/querytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store notes what it is told.
type store struct {
	mu  sync.Mutex // guards all below
	set map[string]string
	at  map[string]uint64 // until
	err error

	told chan struct{} // has an element after it was told something
}

func newStore() *store {
	return &store{set: map[string]string{}, at: map[string]uint64{}, told: make(chan struct{}, 1)}
}

func (s *store) SetAnswer(c Cell, kind int, payload []byte, several bool, until uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := fmt.Sprintf("%s/%s+%d %d", c.Pool, c.Server, c.Offset, kind)
	s.set[key], s.at[key] = fmt.Sprintf("%s %v", payload, several), until
	select {
	case s.told <- struct{}{}:
	default:
	}
	return s.err
}

func (s *store) all() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for k, v := range s.set {
		out[k] = v
	}
	return out
}

func (s *store) until(key string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.at[key])
}

// servers answer as reply says, and count.
type servers struct {
	mu    sync.Mutex // guards all below
	asked map[string]int
	times map[string][]time.Time
	reply func(addr netip.AddrPort, q query.Question) (*query.Reply, error)
}

func (s *servers) ask(ctx context.Context, addr netip.AddrPort, q query.Question) (*query.Reply, error) {
	s.mu.Lock()
	key := fmt.Sprintf("%v %v", addr, q)
	s.asked[key]++
	s.times[key] = append(s.times[key], time.Now())
	reply := s.reply
	s.mu.Unlock()
	if reply == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return reply(addr, q)
}

func (s *servers) change(reply func(netip.AddrPort, query.Question) (*query.Reply, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = reply
}

func (s *servers) count(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[key]
}

func plain(addr netip.AddrPort, q query.Question) (*query.Reply, error) {
	return &query.Reply{Packets: [][]byte{fmt.Appendf(nil, "%v of %v", q, addr)}}, nil
}

func target(server string, last byte, family string) Target {
	return Target{
		Cell: Cell{Pool: "arena", Server: server}, Family: family,
		Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, last}), 27015),
	}
}

// kept runs fn beside a Keeper, in a time of its own.
func kept(t *testing.T, fn func(k *Keeper, s *store, v *servers)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began, s := time.Now(), newStore()
		v := &servers{asked: map[string]int{}, times: map[string][]time.Time{}, reply: plain}
		k := New(Options{Ask: v.ask, Store: s, Now: func() uint64 { return uint64(time.Since(began)) }, Log: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		fn(k, s, v)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestServersAreAskedAgainAndAgain(t *testing.T) {
	kept(t, func(k *Keeper, s *store, v *servers) {
		k.Set([]Target{target("a", 1, "source"), target("b", 2, "quake3"), target("c", 3, "raknet")})
		time.Sleep(60 * time.Second)
		want := map[string]string{}
		for _, w := range []string{
			"a+0 0 info 1", "a+0 1 players 1", "a+0 2 rules 1", "b+0 0 info 2", "b+0 1 status 2", "c+0 0 pong 3",
		} {
			f := strings.Fields(w)
			want["arena/"+f[0]+" "+f[1]] = f[2] + " of 10.0.0." + f[3] + ":27015 false"
		}
		if diff := cmp.Diff(want, s.all()); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		for key, every := range map[string]time.Duration{
			"10.0.0.1:27015 info": 2 * time.Second, "10.0.0.1:27015 players": 4 * time.Second, "10.0.0.1:27015 rules": 10 * time.Second,
			"10.0.0.2:27015 status": 4 * time.Second, "10.0.0.3:27015 pong": 1500 * time.Millisecond,
		} {
			times := v.times[key]
			for i := 1; i < len(times); i++ {
				if gap := times[i].Sub(times[i-1]); gap < every*3/4 || gap > every*5/4 {
					t.Errorf("%s after %v, not about %v", key, gap, every)
				}
			}
			if len(times) < int(time.Minute/every)*3/4 {
				t.Errorf("%s: asked %d times in a minute", key, len(times))
			}
		}
	})
}

func TestAnswersHoldForThreeIntervals(t *testing.T) {
	kept(t, func(k *Keeper, s *store, _ *servers) {
		k.Set([]Target{target("a", 1, "source"), target("b", 2, "raknet")})
		synctest.Wait() // at no time at all
		for key, want := range map[string]time.Duration{"arena/a+0 0": 6 * time.Second, "arena/a+0 1": 12 * time.Second, "arena/a+0 2": 30 * time.Second, "arena/b+0 0": least} {
			if got := s.until(key); got != want {
				t.Errorf("%s holds until %v, want %v", key, got, want)
			}
		}
	})
}

func TestSilentServersAreAskedLessAndLess(t *testing.T) {
	kept(t, func(k *Keeper, s *store, v *servers) {
		a := target("a", 1, "raknet")
		k.Set([]Target{a})
		synctest.Wait()
		v.change(nil)
		time.Sleep(4 * time.Second)
		if st := k.States()[0]; !st.Fresh || st.Why == nil || st.Errors == 0 {
			t.Errorf("after 4 s: %+v", st)
		}
		before := s.until("arena/a+0 0")
		time.Sleep(2 * time.Minute)
		st := k.States()[0]
		if st.Fresh || !st.Known || st.Age < 2*time.Minute || !errors.Is(st.Why, context.DeadlineExceeded) {
			t.Errorf("after two minutes: %+v", st)
		}
		if got := s.until("arena/a+0 0"); got != before {
			t.Errorf("its answer holds until %v now, %v before", got, before)
		}
		if n := v.count("10.0.0.1:27015 pong"); n < 8 || n > 16 {
			t.Errorf("asked %d times", n)
		}
		v.change(plain)
		time.Sleep(longestWait*5/4 + time.Second)
		if st := k.States()[0]; !st.Fresh || st.Why != nil {
			t.Errorf("it answers again: %+v", st)
		}
	})
}

func TestOtherServersAreAskedAfterAReload(t *testing.T) {
	kept(t, func(k *Keeper, s *store, v *servers) {
		a, b := target("a", 1, "raknet"), target("b", 2, "raknet")
		k.Set([]Target{a, b})
		synctest.Wait()
		moved := b
		moved.Addr = netip.MustParseAddrPort("10.0.0.9:27015")
		fresh := newStore()
		if err := k.Fill(fresh, []Target{a, moved}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"arena/a+0 0": "pong of 10.0.0.1:27015 false"}, fresh.all()); diff != "" {
			t.Errorf("what is known (-want +got):\n%s", diff)
		}
		k.Set([]Target{a, moved})
		gone := v.count("10.0.0.2:27015 pong")
		time.Sleep(10 * time.Second)
		if n := v.count("10.0.0.2:27015 pong"); n != gone {
			t.Errorf("who is gone was asked %d times more", n-gone)
		}
		if got := s.all()["arena/b+0 0"]; got != "pong of 10.0.0.9:27015 false" {
			t.Errorf("who moved says %q", got)
		}
		k.Set(nil)
		n := v.count("10.0.0.1:27015 pong")
		time.Sleep(10 * time.Second)
		if now := v.count("10.0.0.1:27015 pong"); now != n || len(k.States()) != 0 {
			t.Errorf("asked %d times more, %d states", now-n, len(k.States()))
		}
	})
}

// Behind NAT a server sees all who come by this host under one address, and bounds what it may ask.
func TestServerOfSeveralPoolsIsAskedOnce(t *testing.T) {
	kept(t, func(k *Keeper, s *store, v *servers) {
		a, b := target("a", 1, "raknet"), target("a", 1, "raknet")
		b.Pool = "other"
		k.Set([]Target{a, b})
		synctest.Wait()
		if n := v.count("10.0.0.1:27015 pong"); n != 1 {
			t.Errorf("asked %d times", n)
		}
		want := map[string]string{"arena/a+0 0": "pong of 10.0.0.1:27015 false", "other/a+0 0": "pong of 10.0.0.1:27015 false"}
		if diff := cmp.Diff(want, s.all()); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		if st := k.States(); len(st) != 2 || st[0].Cell != a.Cell || st[1].Cell != b.Cell || !st[1].Fresh {
			t.Errorf("%+v", st)
		}
		k.Set([]Target{b})
		if k.Packets(a.Cell, 0) != nil || k.Packets(b.Cell, 0) == nil {
			t.Error("only the pool that stays has its answer")
		}
	})
}

func TestAnswersOfSeveralPackets(t *testing.T) {
	parts := querytest.SplitSource(5, querytest.Rules(200), 1200)
	kept(t, func(k *Keeper, s *store, v *servers) {
		v.change(func(addr netip.AddrPort, q query.Question) (*query.Reply, error) {
			switch q {
			case query.SourceRules:
				return &query.Reply{Packets: parts}, nil
			case query.SourcePlayers:
				return &query.Reply{Packets: [][]byte{bytes.Repeat([]byte("x"), Longest+1)}}, nil
			}
			return plain(addr, q)
		})
		a := target("a", 1, "source")
		k.Set([]Target{a})
		synctest.Wait()
		want := map[string]string{"arena/a+0 0": "info of 10.0.0.1:27015 false", "arena/a+0 2": " true"}
		if diff := cmp.Diff(want, s.all()); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(parts, k.Packets(a.Cell, 2)); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([][]byte{[]byte("info of 10.0.0.1:27015")}, k.Packets(a.Cell, 0)); diff != "" {
			t.Errorf("info (-want +got):\n%s", diff)
		}
		for name, got := range map[string][][]byte{"players": k.Packets(a.Cell, 1), "no kind": k.Packets(a.Cell, 3), "nobody": k.Packets(Cell{}, 2)} {
			if got != nil {
				t.Errorf("%s: %d packets", name, len(got))
			}
		}
		if st := k.States()[1]; !errors.Is(st.Why, errTooLong) || st.Known {
			t.Errorf("players: %+v", st)
		}
		v.change(nil)
		time.Sleep(31 * time.Second)
		if got := k.Packets(a.Cell, 2); got != nil {
			t.Errorf("stale, and %d packets", len(got))
		}
	})
}

func TestStoreThatFailsIsAnError(t *testing.T) {
	kept(t, func(k *Keeper, s *store, _ *servers) {
		s.err = errors.New("no room")
		k.Set([]Target{target("a", 1, "raknet")})
		synctest.Wait()
		if st := k.States()[0]; !errors.Is(st.Why, s.err) || st.Fresh {
			t.Errorf("%+v", st)
		}
	})
}

// Real questions, to servers on loopback.
func TestServersOnLoopback(t *testing.T) {
	source := &querytest.Source{Info: querytest.Info("A server", "map", 1, 2, ""), Players: querytest.Players(1), Rules: querytest.Rules(300)}
	raknet := &querytest.RakNet{Text: "MCPE;x;1;2;3;4;"}
	s := newStore()
	k := New(Options{Ask: query.Ask, Store: s, Now: func() uint64 { return uint64(time.Now().UnixNano()) }, Log: slog.New(slog.DiscardHandler)})
	k.Set([]Target{
		{Cell: Cell{Server: "a"}, Addr: querytest.Listen(t, source.Handle), Family: "source"},
		{Cell: Cell{Server: "b"}, Addr: querytest.Listen(t, raknet.Handle), Family: "raknet"},
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	for late := time.After(10 * time.Second); len(s.all()) < 4; {
		select {
		case <-s.told:
		case <-late:
			t.Fatalf("answers: %v", s.all())
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := len(k.Packets(Cell{Server: "a"}, 2)); n < 2 {
		t.Errorf("rules in %d packets", n)
	}
}
