// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"parry/pkg/netns"
	"parry/test/need"
)

// TestLoad is also what the virtual machines of other kernels run.
func TestLoad(t *testing.T) {
	need.Root(t)
	var o tallyObjects
	err := loadTallyObjects(&o, nil)
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		t.Fatalf("%+v", verifier)
	}
	must(t, err, o.Close())
}

// place is where packets are counted.
type place int

const (
	arriving place = iota // at a far end of the edge's link, by XDP: they have left the edge
	leaving               // at a far end: they come in at the edge next
	entering              // the edge's own stack, after the fast path let them pass
	replying              // the edge's own stack, before the fast path sees them leave
)

// books count play on both sides of the edge, packet by packet: what comes in and what goes out, by port of the
// service, family, protocol and direction (bpf/tests/tally.bpf.c). The edge lost what came in and didn't go out.
type books struct {
	t       *testing.T
	ports   []uint16
	in, out []*ebpf.Map
	far     []*netns.Interface // what these had no room for was lost before the edge
}

// cellsOfPort is how many cells the books have for a port.
const cellsOfPort = 8

// cell is what was counted: packets, and a sum over what the edge leaves of them as it is.
type cell struct{ packets, sum uint64 }

// ledger is one reading of the books.
type ledger struct {
	in, out []cell
	beside  uint64 // dropped by the queues of links
}

// keepBooks counts on the site's links; ports are those of the services, at either end of the edge.
func (s *site) keepBooks(ports ...uint16) *books {
	s.t.Helper()
	b := &books{t: s.t, ports: ports}
	b.countAt(s.atPlayers, s.toPlayers)
	b.countAt(s.atServers, s.toServers)
	return b
}

// countAt counts on a link whose ends are far and the edge's own. A link that is made anew is counted on anew; what was
// counted before stays.
func (b *books) countAt(far, edges *netns.Interface) {
	b.t.Helper()
	must(b.t, edges.SetGRO(false)) // each packet by itself
	b.far = append(b.far, far)
	for _, at := range []struct {
		where place
		on    *netns.Interface
		list  *[]*ebpf.Map
	}{{arriving, far, &b.out}, {leaving, far, &b.in}, {entering, edges, &b.out}, {replying, edges, &b.in}} {
		*at.list = append(*at.list, b.count(at.where, at.on))
	}
}

func (b *books) count(where place, on *netns.Interface) *ebpf.Map {
	b.t.Helper()
	spec, err := loadTally()
	must(b.t, err)
	var ports [8]uint16
	copy(ports[:], b.ports)
	must(b.t, spec.Variables[tallyVarTallyPorts].Set(ports))
	var o tallyObjects
	must(b.t, spec.LoadAndAssign(&o, nil))
	var l link.Link
	err = on.Host.Do(func() (err error) {
		switch where {
		case arriving:
			l, err = link.AttachXDP(link.XDPOptions{Program: o.TallyArrive, Interface: on.Index, Flags: link.XDPDriverMode})
		case entering:
			l, err = link.AttachTCX(link.TCXOptions{Program: o.TallyPass, Interface: on.Index, Attach: ebpf.AttachTCXIngress})
		case leaving, replying: // before the edge's own program
			l, err = link.AttachTCX(link.TCXOptions{Program: o.TallyPass, Interface: on.Index, Attach: ebpf.AttachTCXEgress, Anchor: link.Head()})
		}
		return err
	})
	if errors.Is(err, ebpf.ErrNotSupported) && where != arriving {
		b.t.Skip("to count before the edge's own program needs TCX: Linux 6.6 or newer")
	}
	must(b.t, err)
	b.t.Cleanup(func() { // before the world goes: cleanups run from the last to the first
		_ = l.Close() // the interface may be gone, and the link with it
		_ = o.Close()
	})
	return o.TallyCells
}

func (b *books) read() ledger {
	b.t.Helper()
	l := ledger{in: b.sum(b.in), out: b.sum(b.out)}
	for _, i := range b.far {
		if st, err := i.Stats(); err == nil { // else it is gone
			l.beside += st.TxDropped
		}
	}
	return l
}

func (b *books) sum(maps []*ebpf.Map) []cell {
	b.t.Helper()
	all := make([]cell, len(b.ports)*cellsOfPort)
	var perCPU []tallyTally
	for _, m := range maps {
		for i := range all {
			must(b.t, m.Lookup(uint32(i), &perCPU))
			for _, c := range perCPU {
				all[i].packets += c.Packets
				all[i].sum += c.Sum
			}
		}
	}
	return all
}

func (b *books) cellName(i int) string {
	n := fmt.Sprint(b.ports[i/cellsOfPort])
	for bit, words := range [][2]string{{" up", " down"}, {" udp", " tcp"}, {" ipv4", " ipv6"}} {
		n += words[i>>bit&1]
	}
	return n
}

// since is what was counted after an earlier reading.
func (l ledger) since(before ledger) ledger {
	minus := func(a, b []cell) []cell {
		out := make([]cell, len(a))
		for i := range a {
			out[i] = cell{a[i].packets - b[i].packets, a[i].sum - b[i].sum}
		}
		return out
	}
	return ledger{in: minus(l.in, before.in), out: minus(l.out, before.out), beside: l.beside - before.beside}
}

// of are the cells of one port.
func (b *books) of(l ledger, port uint16) ledger {
	b.t.Helper()
	i := slices.Index(b.ports, port) * cellsOfPort
	return ledger{in: l.in[i : i+cellsOfPort], out: l.out[i : i+cellsOfPort], beside: l.beside}
}

// cameIn is how many packets came in, in all.
func (l ledger) cameIn() (n uint64) {
	for _, c := range l.in {
		n += c.packets
	}
	return n
}

// lost is how many packets came in and didn't go out; more than came in is never made up for by others.
func (l ledger) lost() (n uint64) {
	for i := range l.in {
		n += max(l.in[i].packets, l.out[i].packets) - min(l.in[i].packets, l.out[i].packets)
	}
	return n - min(n, l.beside)
}

func (l ledger) balanced() bool {
	for i := range l.in {
		if l.in[i] != l.out[i] {
			return false
		}
	}
	return true
}

// balance wants all that came in to have gone out, to the packet, once what is under way has arrived.
func (b *books) balance(before ledger, what string) ledger {
	b.t.Helper()
	var l ledger
	if _, ok := eventually(patience, func() bool { l = b.read().since(before); return l.balanced() }); ok {
		return l
	}
	var lines strings.Builder
	for i := range l.in {
		if in, out := l.in[i], l.out[i]; in != out {
			fmt.Fprintf(&lines, "\n  %-28s %d in, %d out", b.cellName(i), in.packets, out.packets)
			if in.packets == out.packets {
				lines.WriteString(", and they are not the same")
			}
		}
	}
	if l.beside > 0 && l.lost() == 0 {
		b.t.Logf("%s: the queues of the links dropped %d packets, which never came in:%s", what, l.beside, lines.String())
		return l
	}
	b.t.Errorf("%s: the edge lost %d packets:%s", what, l.lost(), lines.String())
	return l
}
