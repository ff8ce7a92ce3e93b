// SPDX-License-Identifier: Apache-2.0

package handshake

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// servers answer as `takes` says, and count.
type servers struct {
	mu    sync.Mutex // guards all below
	takes map[netip.AddrPort]Options
	fails error
	asked []string
	most  int // at once
	now   int
	news  []string
}

func (s *servers) ask(ctx context.Context, addr netip.AddrPort) (Options, error) {
	s.mu.Lock()
	s.asked = append(s.asked, addr.String())
	s.now++
	s.most = max(s.most, s.now)
	o, ok := s.takes[addr]
	err := s.fails
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.now--; s.mu.Unlock() }()
	switch {
	case err != nil:
	case !ok:
		err = errRefused
	default:
		time.Sleep(time.Millisecond)
		return o, nil
	}
	if !errors.Is(err, errRefused) {
		<-ctx.Done()
	}
	return Options{}, err
}

func (s *servers) tell(c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news = append(s.news, fmt.Sprintf("%s/%s was %v is %v again %v", c.Pool, c.Server, c.Was, c.Known, c.Again))
}

// heard is what was told since it was last asked for.
func (s *servers) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.news
	s.news = nil
	slices.Sort(all)
	return all
}

func (s *servers) take(addr string, o Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes[netip.MustParseAddrPort(addr)] = o
}

func (s *servers) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

func (s *servers) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// play runs a Keeper beside f, in time that passes at once.
func play(t *testing.T, f func(k *Keeper, s *servers)) {
	synctest.Test(t, func(t *testing.T) {
		s := &servers{takes: map[netip.AddrPort]Options{}}
		k := New(Settings{Ask: s.ask, Tell: s.tell})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := k.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		f(k, s)
		cancel()
		wg.Wait()
	})
}

func target(server, addr string, ports ...uint16) Target {
	return Target{Pool: "p", Server: server, Addr: netip.MustParseAddr(addr), Ports: ports}
}

func wantNews(t *testing.T, s *servers, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.heard()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

var full, bare = Options{1460, 7, true, true}, Options{1400, NoWindowScale, false, false}

func TestWhatIsLearnedIsToldOnceAndRefreshed(t *testing.T) {
	play(t, func(k *Keeper, s *servers) {
		s.take("10.0.0.1:25565", full)
		k.Set([]Target{target("a", "10.0.0.1", 25565)})
		time.Sleep(time.Second)
		wantNews(t, s, fmt.Sprintf("p/a was <nil> is %v again false", full))
		time.Sleep(10 * time.Minute)
		wantNews(t, s)
		if n := s.count(); n < 30 || n > 55 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		s.take("10.0.0.1:25565", bare)
		time.Sleep(2 * every)
		wantNews(t, s, fmt.Sprintf("p/a was %v is %v again false", full, bare))
		if st, ok := k.State("p", "a"); !ok || *st.Known != bare || st.Age > 2*every || st.Lost || st.Why != nil {
			t.Errorf("%+v, %v", st, ok)
		}
	})
}

func TestOneLostProbeForgetsNothing(t *testing.T) {
	play(t, func(k *Keeper, s *servers) {
		s.take("10.0.0.1:25565", full)
		k.Set([]Target{target("a", "10.0.0.1", 25565)})
		time.Sleep(time.Second)
		_ = s.heard()
		s.fail(errors.New("no answer"))
		for s.count() == 1 {
			time.Sleep(time.Second)
		}
		time.Sleep(askTimeout)
		if st, _ := k.State("p", "a"); st.Known == nil || st.Why == nil {
			t.Errorf("after one: %+v", st)
		}
		time.Sleep(30 * time.Second)
		wantNews(t, s, fmt.Sprintf("p/a was %v is <nil> again false", full))
		time.Sleep(10 * time.Minute)
		wantNews(t, s) // said once
		s.fail(nil)
		time.Sleep(2 * longestWait)
		wantNews(t, s, fmt.Sprintf("p/a was <nil> is %v again true", full))
	})
}

func TestRefusalForgetsAtOnce(t *testing.T) {
	play(t, func(k *Keeper, s *servers) {
		s.take("10.0.0.1:25565", full)
		k.Set([]Target{target("a", "10.0.0.1", 25565)})
		time.Sleep(time.Second)
		_ = s.heard()
		s.fail(errRefused)
		for s.count() == 1 {
			time.Sleep(time.Second)
		}
		wantNews(t, s, fmt.Sprintf("p/a was %v is <nil> again false", full))
	})
}

// A daemon that comes anew has to hear that what the one before knew is not so any more.
func TestServerThatWasNeverThereIsToldOnce(t *testing.T) {
	play(t, func(k *Keeper, s *servers) {
		s.fail(errors.New("no answer"))
		k.Set([]Target{target("a", "10.0.0.1", 25565)})
		time.Sleep(5 * time.Minute)
		wantNews(t, s, "p/a was <nil> is <nil> again false")
	})
}

func TestPortThatAnswersIsTriedFirst(t *testing.T) {
	play(t, func(k *Keeper, s *servers) {
		s.take("10.0.0.1:3", full)
		k.Set([]Target{target("a", "10.0.0.1", 1, 2, 3, 4, 5)})
		time.Sleep(10 * every)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.asked) < 6 || s.asked[2] != "10.0.0.1:3" || slices.ContainsFunc(s.asked[3:], func(a string) bool { return a != "10.0.0.1:3" }) {
			t.Errorf("asked %v", s.asked)
		}
	})
}

func TestPortsAreBounded(t *testing.T) {
	play(t, func(k *Keeper, s *servers) {
		s.take("10.0.0.1:5", full)
		k.Set([]Target{target("a", "10.0.0.1", 1, 2, 3, 4, 5)})
		time.Sleep(time.Minute)
		if st, _ := k.State("p", "a"); st.Known != nil {
			t.Errorf("a fifth port was tried: %v", s.asked)
		}
	})
}

func TestWhoStaysKeepsWhatIsKnown(t *testing.T) {
	play(t, func(k *Keeper, s *servers) {
		s.take("10.0.0.1:1", full)
		s.take("10.0.0.2:1", full)
		s.take("10.0.0.3:1", bare)
		k.Set([]Target{target("a", "10.0.0.1", 1), target("b", "10.0.0.2", 1)})
		time.Sleep(time.Second)
		_ = s.heard()
		k.Set([]Target{target("a", "10.0.0.1", 1), target("b", "10.0.0.3", 1)}) // b is another now
		if st, _ := k.State("p", "a"); st.Known == nil {
			t.Error("a is forgotten")
		}
		if st, _ := k.State("p", "b"); st.Known != nil {
			t.Errorf("b is known before it was asked: %v", st.Known)
		}
		time.Sleep(time.Second)
		wantNews(t, s, fmt.Sprintf("p/b was <nil> is %v again false", bare))
		k.Set(nil)
		if _, ok := k.State("p", "a"); ok {
			t.Error("a is still there")
		}
		before := s.count()
		time.Sleep(time.Hour)
		if n := s.count(); n != before {
			t.Errorf("asked %d times more", n-before)
		}
	})
}

func TestHandshakesAtOnceAreBounded(t *testing.T) {
	play(t, func(k *Keeper, s *servers) {
		s.fail(errors.New("no answer"))
		var all []Target
		for i := range 3 * mostAtOnce {
			all = append(all, target(fmt.Sprint(i), netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}).String(), 1))
		}
		k.Set(all)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.most != mostAtOnce {
			t.Errorf("%d at once", s.most)
		}
	})
}
