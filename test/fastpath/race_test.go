// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parry/loader"
	"parry/test/packet"
)

// onTwoCPUs runs fn twice at once, each on a CPU of its own, and waits for both.
func onTwoCPUs(t *testing.T, fn func(cpu int) error) {
	t.Helper()
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	var all unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &all))
	var cpus []int
	for i := 0; len(cpus) < 2 && i < 1024; i++ {
		if all.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	var both sync.WaitGroup
	errs := make([]error, 2)
	start := make(chan struct{})
	for i := range 2 {
		both.Add(1)
		go func() {
			defer both.Done()
			runtime.LockOSThread() // and never unlocked: the thread's affinity ends with it
			var one unix.CPUSet
			one.Set(cpus[i])
			if errs[i] = unix.SchedSetaffinity(0, &one); errs[i] != nil {
				return
			}
			<-start
			errs[i] = fn(i)
		}()
	}
	close(start)
	both.Wait()
	for _, err := range errs {
		must(t, err)
	}
}

// onCPU has the packets from now on belong to a CPU.
func (w *world) onCPU(t *testing.T, cpu uint32) {
	t.Helper()
	env, err := w.edge.Env()
	must(t, err)
	env.CPU = cpu
	w.env = env
	must(t, w.edge.SetEnv(env))
}

// newRace is a world whose packets belong to the CPUs that handle them.
func newRace(t *testing.T, plan *loader.Plan) *world {
	t.Helper()
	w := newWorld(t, plan)
	w.onCPU(t, loader.RealCPU)
	return w
}

// One flow by two CPUs: the source's limit holds, every packet is counted, and the session's own plain counters lose
// at most what overlapped.
func TestOneFlowOnTwoCPUs(t *testing.T) {
	const each, burst = 20_000, 5_000
	w := newRace(t, with(basePlan(), "open", func(s *loader.Service) { s.Limits.Packets, s.Limits.PacketBurst = 1, burst }))
	for _, player := range []netip.AddrPort{player4, player6} {
		before := w.counts(t)
		frame := hello(player, openPort).Bytes()
		var passed atomic.Int64
		onTwoCPUs(t, func(int) error {
			for range each {
				r, err := w.edge.Process(frame)
				if err != nil {
					return err
				}
				if r.Code == loader.XDPTX {
					passed.Add(1)
				}
			}
			return nil
		})
		moved := w.counts(t).since(before)
		contended := int64(moved.Faults["bucket_contended"])
		if n := passed.Load(); n < burst || n > burst+contended {
			t.Errorf("%d packets passed of a burst of %d, %d more for contention", n, burst, contended)
		}
		c := moved.Services["open"]
		if c.Up.Packets != 2*each || c.TX != uint64(passed.Load()) || c.Drop != 2*each-c.TX ||
			c.Reasons["rate_packets"].Packets+c.Reasons["race"].Packets != c.Drop {
			t.Errorf("counted %+v of %d packets, %d passed", c, 2*each, passed.Load())
		}
		if s := w.session(t, player); s.Up.Packets > c.TX || s.Up.Packets < c.TX/2 {
			t.Errorf("the session counted %d of %d", s.Up.Packets, c.TX)
		}
		w.pass(t, 2*burst*time.Second) // until the source's bucket is full again
		w.clear(t)
	}
}

// Ten flows of one source on two CPUs, over ten seconds: burst + rate × 10 s within 2 %.
func TestTenFlowsOnTwoCPUs(t *testing.T) {
	w := newRace(t, with(basePlan(), "open", func(s *loader.Service) { s.Limits.Packets, s.Limits.PacketBurst = 1000, 2000 }))
	var frames [][]byte
	for n := range 10 {
		frames = append(frames, hello(port(player4, n), openPort).Bytes())
	}
	var passed atomic.Int64
	for range 200 { // of 50 ms, a hundred packets a step
		onTwoCPUs(t, func(int) error {
			for i := range 50 {
				r, err := w.edge.Process(frames[i%10])
				if err != nil {
					return err
				}
				if r.Code == loader.XDPTX {
					passed.Add(1)
				}
			}
			return nil
		})
		w.pass(t, 50*time.Millisecond)
	}
	within(t, "packets that passed", int(passed.Load()), 12000, 2)
}

// A session whose first packets come by two CPUs at once is made once, and no port is lost.
func TestSessionIsMadeOnce(t *testing.T) {
	w := newRace(t, basePlan())
	for _, mode := range []struct {
		port uint16
		far  func(int) netip.AddrPort
	}{{natPort, client}, {natPort, client6}, {openPort, client}, {openPort, client6}, {localPort, client}} {
		const players = 80
		var frames [][]byte
		for n := range players {
			frames = append(frames, hello(mode.far(n), mode.port).Bytes())
		}
		before := w.counts(t)
		var lost atomic.Int64
		var together [players]atomic.Int32 // both CPUs meet before each packet
		onTwoCPUs(t, func(int) error {
			for i, f := range frames {
				for together[i].Add(1); together[i].Load() < 2; {
				}
				r, err := w.edge.Process(f)
				if err != nil {
					return err
				}
				if r.Code == loader.XDPDrop {
					lost.Add(1)
				}
			}
			return nil
		})
		w.wantSessions(t, players)
		w.wantPorts(t)
		moved := w.counts(t).since(before)
		for name, c := range moved.Services {
			if c.Drop != uint64(lost.Load()) || c.Reasons["race"].Packets != c.Drop || c.Up.Packets != 2*players {
				t.Errorf("%s: %+v", name, c)
			}
			if c.Drop > players { // of each player's two packets one makes the session
				t.Errorf("%s: %d packets of %d were lost to the race", name, c.Drop, 2*players)
			}
		}
		if moved.Faults["port_lost"] != 0 {
			t.Errorf("faults %v", moved.Faults)
		}
		w.clear(t)
	}
}

// The one NAT port goes from player to player while their server talks to it all the time: each of its words reaches
// whoever has the port, whole, or nobody.
func TestPortChangesHands(t *testing.T) {
	const players = 60
	plan := basePlan()
	plan.NATPorts = [2]uint16{natFirst, natFirst}
	for _, far := range []func(int) netip.AddrPort{client, client6} {
		w := newRace(t, plan)
		s := w.begin(t, hello(far(0), natPort))
		frame := reply(s, "to whom?").Bytes()
		var current atomic.Int64 // whom a word has reached
		var stop atomic.Bool
		onTwoCPUs(t, func(cpu int) error {
			if cpu == 0 {
				defer stop.Store(true)
				for n := 1; n < players; n++ {
					if err := w.nextPlayer(hello(far(n), natPort)); err != nil {
						return err
					}
					for deadline := time.Now().Add(10 * time.Second); current.Load() != int64(n) && !stop.Load(); runtime.Gosched() {
						if time.Now().After(deadline) {
							return fmt.Errorf("no word of the server's reaches player %d", n)
						}
					}
				}
				return nil
			}
			defer stop.Store(true)
			for !stop.Load() {
				r, err := w.edge.Process(frame)
				if err != nil {
					return err
				}
				if r.Code != loader.XDPTX {
					continue
				}
				n, to := int64(0), destination(r.Out)
				for n < players && far(int(n)) != to {
					n++
				}
				if n < current.Load() || n == players {
					return fmt.Errorf("a word after player %d's turn goes to %v", current.Load(), to)
				}
				if err := packet.Check(r.Out); err != nil {
					return err
				}
				current.Store(n)
			}
			return nil
		})
		w.clear(t)
	}
}

// nextPlayer ends the one session and begins another by the same port.
func (w *world) nextPlayer(first packet.Packet) error {
	var all []loader.Session
	if err := w.edge.Sessions(func(s *loader.Session) bool { all = append(all, *s); return true }); err != nil {
		return err
	}
	if _, err := w.edge.EndSessions(all); err != nil {
		return err
	}
	for _, d := range []time.Duration{1100 * time.Millisecond, 61 * time.Second} {
		env, err := w.edge.Env()
		if err != nil {
			return err
		}
		env.Now += d
		if err := w.edge.SetEnv(env); err != nil {
			return err
		}
		if _, err := w.edge.Sweep(nil); err != nil {
			return err
		}
	}
	_, err := w.edge.Process(first.Bytes())
	return err
}

// Sessions come and go by two CPUs while a third party sweeps: at the end each port is in one place, and no source is
// left behind.
func TestChurn(t *testing.T) {
	w := newRace(t, basePlan())
	for round := range 5 {
		onTwoCPUs(t, func(cpu int) error {
			for n := range 600 {
				player := client(round*100 + n%45 + cpu*45)
				if _, err := w.edge.Process(hello(player, natPort).Bytes()); err != nil {
					return err
				}
				if cpu == 0 && n%50 == 49 {
					if err := w.churn(); err != nil {
						return err
					}
				}
			}
			return nil
		})
		w.wantPorts(t)
	}
	w.clear(t)
}

// Strangers come by two CPUs while there is room for none: the ports that they take go back, each once, whoever took
// meanwhile.
func TestPortsArePutBack(t *testing.T) {
	const sessions, each = 4, 20_000
	sizes := smallSizes()
	sizes.Sessions = sessions
	w := newWorldOf(t, basePlan(), sizes)
	for n := range sessions {
		w.begin(t, hello(client(n), natPort))
	}
	before := w.counts(t)
	onTwoCPUs(t, func(cpu int) error {
		for n := range each {
			frame := hello(client(sessions+cpu*20+n%20), natPort).Bytes()
			if r, err := w.edge.Process(frame); err != nil {
				return err
			} else if r.Code != loader.XDPDrop {
				return fmt.Errorf("packet %d: %d, though there is no room", n, r.Code)
			}
		}
		return nil
	})
	w.wantPorts(t)
	moved := w.counts(t).since(before)
	reasons := moved.Services["nat"].Reasons
	if full, none := reasons["sessions_full"].Packets, reasons["no_port"].Packets; full+none != 2*each || full < each {
		t.Errorf("%d packets of %d dropped for want of room, %d of a port", full, 2*each, none)
	}
	if moved.Faults["port_lost"] != 0 {
		t.Errorf("faults %v", moved.Faults)
	}
}

// churn ends what there is and sweeps a second later.
func (w *world) churn() error {
	var all []loader.Session
	if err := w.edge.Sessions(func(s *loader.Session) bool { all = append(all, *s); return true }); err != nil {
		return err
	}
	if _, err := w.edge.EndSessions(all); err != nil {
		return err
	}
	env, err := w.edge.Env()
	if err != nil {
		return err
	}
	env.Now += 1100 * time.Millisecond
	if err := w.edge.SetEnv(env); err != nil {
		return err
	}
	_, err = w.edge.Sweep(nil)
	return err
}
