// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"parry/loader"
)

const (
	// Where in memory a session happens to lie moves its cost by a third, so several are measured.
	costPairs  = 5
	costRounds = 8 * costPairs
	costPort   = 2000 // the first port that NAT gives out
	costLimit  = 100_000_000
	costRepeat = 300_000

	beginRounds   = 5
	beginSessions = 100_000
	knownSources  = 4096 // of stranger4
)

// oneCase is something whose cost is measured: a program, or a wrapper that runs it.
type oneCase struct {
	name    string
	wrapper *ebpf.Program // nil: the program is run by itself
	target  *ebpf.Map     // of the wrapper
	program *ebpf.Program
	frames  [][]byte  // a sample of each in turn
	want    uint32    // XDP code
	repeat  uint32    // 0 = costRepeat
	samples []float64 // ns
}

// run takes one sample: the thread's CPU time over the system call, a repetition.
func (c *oneCase) run() error {
	run := c.program
	if c.wrapper != nil {
		run = c.wrapper
		if err := c.target.Put(uint32(0), c.program); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	repeat := cmp.Or(c.repeat, costRepeat)
	before := threadTime()
	code, err := run.Run(&ebpf.RunOptions{Data: c.frames[len(c.samples)%len(c.frames)], Repeat: repeat})
	took := threadTime() - before
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	if code != c.want {
		return fmt.Errorf("%s: XDP code %d, not %d", c.name, code, c.want)
	}
	c.samples = append(c.samples, float64(took)/float64(repeat))
	return nil
}

func threadTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // cannot fail
	return time.Duration(ts.Nano())
}

// ns is the median of the samples, less what the wrapper takes; low and high are the extremes.
func (c *oneCase) ns(wrapper float64) (median, low, high float64) {
	if c.wrapper == nil {
		wrapper = 0
	}
	s := slices.Sorted(slices.Values(c.samples))
	return s[len(s)/2] - wrapper, s[0] - wrapper, s[len(s)-1] - wrapper
}

// rounds runs the cases in turn, in the bench's namespace: routes are asked there.
func (b *bench) rounds(t *testing.T, n int, cases ...*oneCase) {
	t.Helper()
	failed := b.host.Do(func() error {
		for range n {
			for _, c := range cases {
				if err := c.run(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if failed != nil {
		counts, err := b.edge.Counters()
		must(t, err)
		t.Fatalf("%v; the edge counted %+v", failed, counts)
	}
	for _, f := range []*floorObjects{&b.floor, &b.six} {
		var n floorTally
		must(t, f.FloorCounts.Lookup(uint32(0), &n))
		if n.Wrong != 0 {
			t.Fatalf("%d packets met an empty wrapper", n.Wrong)
		}
	}
}

// What a packet costs, beside floors that were measured in turn with it: a first look, with slack for a busy machine.
func TestCostOfAPacket(t *testing.T) {
	all(t)
	b := newBench(t, "cost")
	b.loadFloors(t, false)
	b.establish(t, pair4, pair6)
	b.fillFloors(t, pair4, pair6)
	must(t, b.edge.Lists().Add(loader.Deny, []loader.Entry{{EntryKey: loader.EntryKey{Prefix: netip.PrefixFrom(blocked, 32)}}}))
	b.checkFloors(t)
	parry := b.program(t)
	defer parry.Close()
	udp4, tcp4, udp6 := pair4.frames(0), pair4.frames(costPairs), pair6.frames(0)
	const tx, drop = loader.XDPTX, loader.XDPDrop
	empty := &oneCase{name: "empty", program: b.floor.FloorEmpty, frames: udp4, want: drop}
	wrapped := b.floor.again("empty, wrapped", b.floor.FloorEmpty, udp4, drop)
	floor4, floorTCP := b.floor.again("floor_nat_udp4", b.floor.FloorNat4, udp4, tx), b.floor.again("floor_nat_tcp4", b.floor.FloorNat4, tcp4, tx)
	floor6 := b.six.again("floor_nat_udp6", b.six.FloorNat6, udp6, tx)
	established4, establishedTCP := b.floor.again("established_udp4", parry, udp4, tx), b.floor.again("established_tcp4", parry, tcp4, tx)
	established6 := b.six.again("established_udp6", parry, udp6, tx)
	host := &oneCase{name: "blocked_host", program: parry, frames: [][]byte{udp(netip.AddrPortFrom(blocked, 1), pair4.vip)}, want: drop}
	b.rounds(t, costRounds, empty, wrapped, floor4, established4, floorTCP, establishedTCP, floor6, established6, host)

	wrapper, _, _ := wrapped.ns(0)
	nothing, _, _ := empty.ns(0)
	wrapper -= nothing
	figure(t, "the wrapper, subtracted below", fmt.Sprintf("%.1f ns", wrapper), "")
	show(t, empty, empty, empty, wrapper)
	show(t, established4, floor4, empty, wrapper)
	show(t, establishedTCP, floorTCP, empty, wrapper)
	show(t, established6, floor6, empty, wrapper)
	show(t, host, empty, empty, wrapper)
}

// What a session costs that begins: lists, limits, a server, a port, two halves, two routes from the kernel.
func TestCostOfANewSession(t *testing.T) {
	all(t)
	for _, row := range []struct {
		name      string
		newSource bool
	}{{"new_session, known source", false}, {"new_session, unknown source", true}} {
		t.Run(row.name, func(t *testing.T) { costOfBeginning(t, row.name, row.newSource) })
	}
}

func costOfBeginning(t *testing.T, name string, newSource bool) {
	b := newBench(t, "begin")
	b.loadFloors(t, newSource)
	frames := [][]byte{strangerFrame(pair4.vip)}
	stranger := func(name string, p *ebpf.Program, want uint32) *oneCase {
		return &oneCase{name: name, wrapper: b.floor.Stranger4, target: b.floor.FloorTarget, program: p, frames: frames, want: want, repeat: beginSessions}
	}
	empty := &oneCase{name: "empty", program: b.floor.FloorEmpty, frames: frames, want: loader.XDPDrop}
	wrapped := stranger("empty, wrapped", b.floor.FloorEmpty, loader.XDPDrop)
	warm := stranger("each known source once", nil, loader.XDPTX)
	warm.repeat = knownSources
	first := stranger(name, nil, loader.XDPTX)
	second := stranger(name+", 100,000 ports taken", nil, loader.XDPTX)
	p := costPlan(pair4)
	p.NATPorts = [2]uint16{1024, 65535}
	nat := &p.Pools[0].Servers[0].NAT
	*nat = append(*nat, netip.MustParseAddr("198.51.100.3"), netip.MustParseAddr("198.51.100.4"), netip.MustParseAddr("198.51.100.5"))
	for range beginRounds {
		must(t, b.close())
		b.open(t)
		b.use(t, p)
		first.program = b.program(t)
		warm.program, second.program = first.program, first.program
		b.rounds(t, 1, empty, wrapped, warm, first, second)
		must(t, first.program.Close())
	}
	wrapper, _, _ := wrapped.ns(0)
	nothing, _, _ := empty.ns(0)
	show(t, first, empty, empty, wrapper-nothing)
	show(t, second, empty, empty, wrapper-nothing)
}

// show prints a case beside its floor. Medians are what it cost, minima what it costs when nobody disturbs.
func show(t *testing.T, c, floor, empty *oneCase, wrapper float64) {
	t.Helper()
	ns, low, high := c.ns(wrapper)
	f, flow, _ := floor.ns(wrapper)
	e, elow, _ := empty.ns(wrapper)
	figure(t, c.name, fmt.Sprintf("%.1f ns", ns), "")
	fmt.Fprintf(t.Output(), "    median %5.2f x %s (%.1f ns), %4.1f x empty;  least %.1f ns, %5.2f x, %4.1f x;  most %.1f ns\n",
		ns/f, floor.name, f, ns/e, low, low/flow, low/elow, high)
}
