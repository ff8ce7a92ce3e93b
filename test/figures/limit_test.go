// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parry/loader"
	"parry/test/need"
)

// What the limited source may do, and how fast time passes for the program: 4 ms is the coarsest grain of jiffies
// that distributions ship (HZ=250).
const (
	limitRate  = 1000
	limitBurst = 2000
	limitBatch = limitBurst / 256 // what a flow borrows at once (bpf/stage/limit.h)
	limitTime  = 10 * time.Second
	limitTick  = 4 * time.Millisecond
	tickRefill = limitRate * int(limitTick) / int(time.Second)
)

// limited is an edge whose time stands still until it is told otherwise, with one service that limits its sources.
type limited struct {
	*loader.Edge
	env   loader.Env
	flows [][]byte // a packet of each
}

func newLimited(t *testing.T, flows int, limits loader.Limits) *limited {
	t.Helper()
	need.Root(t)
	e, err := loader.Open(loader.Options{Log: slog.New(slog.DiscardHandler), Injected: true, Sizes: loader.Sizes{
		Sessions: 1024, Blocks: 64, Allows: 64, Prefixes: 64, Sources: 64, Fragments: 64, Services: 4, NAT4: 1, NAT6: 1,
	}})
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	g, err := e.Prepare(limitedPlan(limits))
	must(t, err, e.Use(g))
	// The only way out is by the interface that the frames seem to come in by.
	must(t, e.SetLink(loader.LinkInfo{Ifindex: 7, Phys: 1, MTU: 1500, MAC: [6]byte{2, 0, 0, 0, 0, 2}}))
	l := &limited{Edge: e, env: loader.Env{Now: time.Hour, Hop: loader.HopKey{Ifindex: 7, Gateway: serverAddr}, CPU: loader.RealCPU}}
	_, err = e.SetHop(loader.Hop{HopKey: l.env.Hop, Phys: 1, MTU: 1500, Dst: [6]byte{2, 0, 0, 0, 0, 3}, Src: [6]byte{2, 0, 0, 0, 0, 2}, Valid: true})
	must(t, err, e.SetEnv(l.env))
	for i := range flows {
		l.flows = append(l.flows, udp(netip.AddrPortFrom(playerAddr, uint16(40000+i)), netip.AddrPortFrom(edgeAddr, servicePort)))
	}
	return l
}

func limitedPlan(limits loader.Limits) *loader.Plan {
	return &loader.Plan{
		Enforce: true, NATPorts: [2]uint16{1024, 2047},
		Pools: []loader.Pool{{Name: "p", Table4: make([]uint32, loader.MaglevSize), Servers: []loader.Server{
			{Name: "s", Addr: serverAddr, Port: servicePort, NAT: []netip.Addr{edgeAddr}},
		}}},
		Services: []loader.Service{{
			Name: "arena", Forward: loader.NAT, Pool: "p", Enforce: true, EnforceLimits: true, MaxPacket: 65535, Limits: limits,
			Fronts:   []loader.Front{{Addr: edgeAddr, Proto: loader.ProtoUDP, First: servicePort, Last: servicePort}},
			Timeouts: loader.Timeouts{UDP: time.Hour, TCP: time.Hour, Closing: time.Hour, Opening: time.Hour},
		}},
	}
}

// threads runs f on n threads, each on a CPU of its own, and waits for them.
func threads(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var allowed unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &allowed))
	var cpus []int
	for i := 0; i < len(allowed)*64 && len(cpus) < n; i++ {
		if allowed.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	if len(cpus) < n {
		t.Skipf("needs %d CPUs", n)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with its goroutine, and its affinity with it
			var set unix.CPUSet
			set.Set(cpus[i])
			err := unix.SchedSetaffinity(0, &set)
			errs[i] = errors.Join(err, f(i)) // f runs in any case: the others may wait for it
		})
	}
	wg.Wait()
	must(t, errs...)
}

// barrier holds each of n threads until all have come. It spins: a sleeping thread would come late, and the packets
// of the threads are to meet.
type barrier struct {
	n     int32
	here  atomic.Int32
	round atomic.Int32
}

func (b *barrier) wait() {
	round := b.round.Load()
	if b.here.Add(1) == b.n {
		b.here.Store(0)
		b.round.Add(1)
		return
	}
	for b.round.Load() == round {
		runtime.Gosched()
	}
}

// offer sends packets of the flows, half of them from each of two CPUs at once, in each of a number of ticks. It
// returns how many passed.
func (l *limited) offer(t *testing.T, flows [][]byte, ticks, packets int) int {
	t.Helper()
	var admitted [2]int
	meet := barrier{n: int32(len(admitted))}
	threads(t, len(admitted), func(cpu int) (err error) {
		for tick := range ticks {
			meet.wait()
			if cpu == 0 && tick > 0 {
				l.env.Now += limitTick
				err = errors.Join(err, l.SetEnv(l.env))
			}
			meet.wait()
			n, failed := l.send(flows, packets/len(admitted))
			admitted[cpu] += n
			err = errors.Join(err, failed)
		}
		return err
	})
	return admitted[0] + admitted[1]
}

// open sends the first packet of each flow from one CPU: two that make one session at once are a race that one loses.
func (l *limited) open(t *testing.T) int {
	t.Helper()
	n, err := l.send(l.flows, len(l.flows))
	must(t, err)
	return n
}

func (l *limited) send(flows [][]byte, packets int) (admitted int, err error) {
	for i := range packets {
		r, err := l.Process(flows[i%len(flows)])
		switch {
		case err != nil:
			return admitted, err
		case r.Code == loader.XDPTX:
			admitted++
		case r.Code != loader.XDPDrop:
			return admitted, fmt.Errorf("XDP code %d", r.Code)
		}
	}
	return admitted, nil
}

func packetLimit() loader.Limits {
	return loader.Limits{Packets: limitRate, PacketBurst: limitBurst, Prefix4: 32, Prefix6: 64}
}

func near(t *testing.T, what string, got, want int, tolerance float64) {
	t.Helper()
	off := float64(got-want) / float64(want)
	figure(t, what, fmt.Sprintf("%d of %d", got, want), fmt.Sprintf("within %g %% (%+.2f %%)", tolerance*100, off*100))
	if math.Abs(off) > tolerance {
		t.Errorf("%s: %d admitted, not %d within %g %%", what, got, want, tolerance*100)
	}
}

// Ten flows of one source share one limit, whichever CPUs they arrive on.
func TestSourceLimitIsExactOverFlowsAndCPUs(t *testing.T) {
	for _, row := range []struct {
		name  string
		flows int
		load  int // packets offered in a tick of 4 ms; the limit lets 4 pass
	}{
		{"10 flows on 2 CPUs, offering 5 times the rate", 10, 20},
		{"10 flows on 2 CPUs, offering 20 times the rate", 10, 80},
		{"1 flow on 2 CPUs, offering 5 times the rate", 1, 20},
		{"1 flow on 2 CPUs, offering 20 times the rate", 1, 80},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.load > 20 {
				all(t)
			}
			l := newLimited(t, row.flows, packetLimit())
			ticks := int(limitTime/limitTick) + 1
			admitted := l.open(t) + l.offer(t, l.flows, ticks, row.load)
			near(t, "admitted over 10 s: "+row.name, admitted, limitBurst+limitRate*int(limitTime/time.Second), 0.02)
			l.checkCounters(t, len(l.flows)+ticks*row.load, admitted)
		})
	}
}

// checkCounters: what the edge counted is what it did, to the packet.
func (l *limited) checkCounters(t *testing.T, offered, admitted int) {
	t.Helper()
	c, err := l.Counters()
	must(t, err)
	if n := c[1]; int(n.Up.Packets) != offered || int(n.TX) != admitted || int(n.Reasons["rate_packets"].Packets) != offered-admitted {
		t.Errorf("counted %d packets, %d forwarded, %v, not %d, %d, rate_packets:%d", n.Up.Packets, n.Redirect, n.Reasons, offered, admitted, offered-admitted)
	}
	f, err := l.Faults()
	must(t, err)
	t.Logf("faults %v", f)
}

// The limit on bytes is as exact as the one on packets beside it.
func TestByteLimitIsExactBesideThePacketLimit(t *testing.T) {
	all(t)
	const l3 = frameLen - 14
	limits := packetLimit()
	limits.PacketBurst = 25600 // a batch of 100
	limits.Bytes, limits.ByteBurst = 100*l3, 65535
	l := newLimited(t, 10, limits)
	ticks := int(limitTime/limitTick) + 1
	admitted := l.open(t) + l.offer(t, l.flows, ticks, 40)
	near(t, "admitted over 10 s: 100 packets/s by a byte limit, offering 10000", admitted, 65535/l3+100*int(limitTime/time.Second), 0.02)
}

// A burst is exact, but for what a tick refills and what flows had borrowed before: no flow holds more than a batch.
func TestBurstIsExactWithinATickAndTheBorrowedBatches(t *testing.T) {
	for _, row := range []struct {
		name    string
		flows   int
		silence time.Duration // between borrowing and the burst
		most    int           // over the burst
	}{
		{"10 flows on 2 CPUs", 10, 0, 0},
		{"1 flow on 2 CPUs", 1, 0, 0},
		{"10 flows that hold loans when the bucket is full again", 10, 80 * time.Millisecond, tickRefill + 10*limitBatch},
		{"10 flows whose loans have lapsed", 10, 10 * time.Second, tickRefill + 10*limitBatch},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLimited(t, row.flows, packetLimit())
			got := l.open(t)
			if row.silence > 0 {
				l.env.Now += row.silence
				must(t, l.SetEnv(l.env))
				got = 0
			}
			got += l.offer(t, l.flows, 1, 4*limitBurst)
			target := fmt.Sprint(limitBurst)
			if row.most > 0 {
				target += fmt.Sprint(" to ", limitBurst+row.most)
			}
			figure(t, "a burst in one instant: "+row.name, fmt.Sprint(got), target)
			if got < limitBurst || got > limitBurst+row.most {
				t.Errorf("%d passed, not %s", got, target)
			}
		})
	}
}
