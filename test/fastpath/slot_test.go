// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"parry/loader"
	"parry/test/need"
	"parry/test/packet"
)

// TestLoad: the kernel takes the program that the tests use, run on the oldest kernel by make kernels-load.
func TestLoad(t *testing.T) {
	t.Parallel()
	need.Root(t)
	spec, err := loadSlot()
	must(t, err)
	var objs slotPrograms
	must(t, spec.LoadAndAssign(&objs, nil))
	must(t, objs.Close())
}

// pinnedWorld is one whose maps another program can open.
func pinnedWorld(t *testing.T, plan *loader.Plan) (*world, string) {
	t.Helper()
	pin := pinFolder(t)
	return openWorld(t, plan, smallSizes(), pin), pin
}

// pinFolder is one that goes with its test.
func pinFolder(t *testing.T) string {
	t.Helper()
	if err := os.MkdirAll("/sys/fs/bpf", 0o755); err != nil {
		t.Skipf("needs a bpffs: %v", err)
	}
	removeStale(t)
	pin, err := os.MkdirTemp("/sys/fs/bpf", fmt.Sprintf("%s%d-", pinPrefix, os.Getpid()))
	if err != nil {
		t.Skipf("needs a bpffs: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(pin); err != nil {
			t.Error(err)
		}
	})
	return pin
}

const pinPrefix = "parry-fastpath-"

// removeStale removes what test runs that were killed left pinned: it holds their maps' memory.
func removeStale(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob("/sys/fs/bpf/" + pinPrefix + "*")
	must(t, err)
	for _, dir := range left {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), pinPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && !errors.Is(unix.Kill(n, 0), unix.ESRCH) {
			continue // its run goes on
		}
		must(t, os.RemoveAll(dir))
	}
}

// remaker is the program that has the session's slot change hands: by plain stores, where the machine orders them, or by
// exchanges.
func remaker(t *testing.T, pin string, o slotOwner, plain bool) *ebpf.Program {
	t.Helper()
	spec, err := loadSlot()
	must(t, err)
	use := map[string]*ebpf.Map{}
	for _, name := range []string{"nat4", "nat6"} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(pin, "maps", name), nil)
		must(t, err)
		defer m.Close()
		use[name] = m
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	must(t, spec.Variables["whose"].Set(o))
	if plain {
		must(t, spec.Variables["cfg"].Set(slotCfg{Ordered: 1}))
	}
	var objs slotPrograms
	must(t, spec.LoadAndAssign(&objs, &ebpf.CollectionOptions{MapReplacements: use}))
	t.Cleanup(func() {
		if err := objs.Close(); err != nil {
			t.Error(err)
		}
	})
	return objs.Remake
}

// ownerOf is the session as the program needs it; it is the first NAT address's, and leaves by the given hop.
func ownerOf(s loader.Session, hop uint32) slotOwner {
	be := func(p uint16) uint16 { return p<<8 | p>>8 }
	o := slotOwner{ClientPort: be(s.Client.Port()), VipPort: be(s.Front.Port()), ServerPort: be(s.Server.Port()), FacePort: be(s.Face.Port()),
		Slot: uint32(s.Face.Port()), Family: 6, Hop: uint16(hop), Service: s.Service, Rounds: 50_000}
	if s.Client.Addr().Is4() {
		o.Family = 4
	}
	copy(o.Client[:], s.Client.Addr().AsSlice())
	copy(o.Vip[:], s.Front.Addr().AsSlice())
	copy(o.Server[:], s.Server.Addr().AsSlice())
	copy(o.Face[:], s.Face.Addr().AsSlice())
	return o
}

// A return slot changes hands all the time, while the server talks to whoever has it, and a router of what they said: no
// packet leaves half for one player and half for the next.
func TestSlotChangesHands(t *testing.T) {
	t.Parallel()
	for _, player := range []netip.AddrPort{player4, player6} {
		w, pin := pinnedWorld(t, basePlan())
		hop, err := w.edge.SetHop(wire)
		must(t, err)
		s := w.begin(t, hello(player, natPort))
		router := router4
		if player.Addr().Is6() {
			router = router6
		}
		for kind, plain := range map[string]bool{"plain stores": true, "exchanges": false} {
			if plain && runtime.GOARCH != "amd64" {
				continue
			}
			prog := remaker(t, pin, ownerOf(s, hop), plain)
			for name, frame := range map[string][]byte{
				"an answer": reply(s, "to whom?").Bytes(),
				"an error":  about(forwarded(hello(player, natPort), s), router, icmpErrors()[0], 0).Bytes(),
			} {
				t.Run(player.String()+" "+name+" "+kind, func(t *testing.T) { w.sendWhileRemade(t, prog, player, frame) })
			}
		}
	}
}

func (w *world) sendWhileRemade(t *testing.T, prog *ebpf.Program, player netip.AddrPort, frame []byte) {
	next := netip.AddrPortFrom(player.Addr().Next(), player.Port()+1)
	var stop, met atomic.Bool
	reached, raced := map[netip.AddrPort]int{}, 0
	onTwoCPUs(t, func(cpu int) error {
		if cpu == 0 {
			defer stop.Store(true)
			for n := 0; n < 20 || !met.Load() && n < 1000; n++ { // the other CPU may be busy with something else
				if _, err := prog.Run(&ebpf.RunOptions{Data: make([]byte, 64)}); err != nil {
					return err
				}
			}
			return nil
		}
		for !stop.Load() {
			w.env.Now += time.Millisecond // one error's worth of their budget
			if err := w.edge.SetEnv(w.env); err != nil {
				return err
			}
			r, err := w.edge.Process(frame)
			if err != nil {
				return err
			}
			if r.Code != loader.XDPTX {
				raced++
				met.Store(reached[player] > 0 && reached[next] > 0)
				continue
			}
			if err := packet.Check(r.Out); err != nil {
				return fmt.Errorf("to %v: %w", destination(r.Out), err)
			}
			reached[destination(r.Out)]++
		}
		return nil
	})
	t.Logf("%d to one, %d to the other, %d dropped", reached[player], reached[next], raced)
	if reached[player] == 0 || reached[next] == 0 || raced == 0 {
		t.Error("the slot was never met changing hands: the test shows nothing")
	}
	delete(reached, player)
	delete(reached, next)
	for to, n := range reached {
		t.Errorf("%d packets went to %v, who is nobody", n, to)
	}
}

// destination is whom a frame is for: of an error, who sent what it quotes, if that is whom it goes to.
func destination(frame []byte) netip.AddrPort {
	v, err := packet.Look(frame)
	if err != nil {
		return netip.AddrPort{}
	}
	_, to := addresses(frame[v.L3:], v.Version)
	if v.Proto != packet.ICMP && v.Proto != packet.ICMPv6 {
		return netip.AddrPortFrom(to, binary.BigEndian.Uint16(frame[v.L4+2:]))
	}
	quoted := frame[v.L4+8:]
	if from, _ := addresses(quoted, v.Version); from != to {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(to, binary.BigEndian.Uint16(quoted[v.L4-v.L3:]))
}

func addresses(ip []byte, version int) (src, dst netip.Addr) {
	at, n := 12, 4
	if version == 6 {
		at, n = 8, 16
	}
	src, _ = netip.AddrFromSlice(ip[at : at+n])
	dst, _ = netip.AddrFromSlice(ip[at+n : at+2*n])
	return src, dst
}
