// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/link"
)

// SessionState is where a session is in its life, as people see it.
type SessionState string

// The states (spec 4.5).
const (
	Unproven SessionState = "unproven"
	Proven   SessionState = "proven"
	Closing  SessionState = "closing"
)

// SessionProof is how sure the edge is of its client's address.
type SessionProof string

// The proofs. A weak one counts in quotas until it is lasting.
const (
	ProofNone    SessionProof = "none"
	ProofWeak    SessionProof = "weak"    // it spoke, was answered, and spoke again
	ProofLasting SessionProof = "lasting" // that, and it has played for a while
	ProofStrong  SessionProof = "strong"  // it showed that it got what was sent to it
)

// SessionEnd is why a session is over; "" of one that is not.
type SessionEnd string

// The ends. Of those that newer strangers pushed out the fast path deletes most by itself; StrangerCount has their number.
const (
	EndIdle    SessionEnd = "idle"    // nothing came for as long as its service waits
	EndClosed  SessionEnd = "closed"  // TCP: both ends said so at once
	EndClient  SessionEnd = "client"  // TCP: its client said so first, or reset it
	EndServer  SessionEnd = "server"  // TCP: its server did
	EndKilled  SessionEnd = "killed"  // by hand
	EndEvicted SessionEnd = "evicted" // never proven, and newer strangers pushed it out
	EndSilent  SessionEnd = "silent"  // TCP: its client connected and said nothing
)

// Direction is what one direction of a session carried.
type Direction struct{ Packets, Bytes uint64 }

// Session is one session, both halves of it.
type Session struct {
	ID            string // of its tuple: stable while it lives
	Service       uint16
	Proto         uint8
	Client        netip.AddrPort
	Front         netip.AddrPort // the service's address, which the client sees
	Face          netip.AddrPort // what the server sees: the NAT address and port, or the client's own
	Server        netip.AddrPort
	State         SessionState
	Proof         SessionProof // of a session that is over: what it was
	ServerStarted bool
	Lasting       bool // it has played for a while
	Query         bool // a query and its answer, no more
	Proxied       bool // TCP: the edge shook hands with its client, so its numbers are translated
	Age, Idle     time.Duration
	Up, Down      Direction
	End           SessionEnd // of a session that is over
	ClientLast    bool       // the last packet that passed was its client's

	// What was timed, where it is watched and who gives the session has it: WatchedSessions and sweeps do.
	UpTiming, DownTiming *Timing

	key any // bpfFlowKey4 or bpfFlowKey6
}

// openIterator begins a walk over a state map by one of the running generation's programs; nil where none runs. The walk
// holds the program by itself: a generation may be replaced meanwhile.
func (e *Edge) openIterator(prog, name string) (io.ReadCloser, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.gen == nil {
		return nil, nil
	}
	it, err := link.AttachIter(link.IterOptions{Program: e.gen.coll.Programs[prog], Map: e.state[name]})
	if err != nil {
		return nil, fmt.Errorf("attach an iterator: %w", err)
	}
	defer it.Close()
	f, err := it.Open()
	if err != nil {
		return nil, fmt.Errorf("open an iterator: %w", err)
	}
	return f, nil
}

// iterate runs an iterator program over a state map and hands each record that it writes to fn.
func iterate[T any](e *Edge, prog, name string, fn func(*T) error) error {
	f, err := e.openIterator(prog, name)
	if f == nil || err != nil {
		return err
	}
	defer f.Close()
	var rec T
	raw := bytesOf(&rec)
	r := bufio.NewReaderSize(f, 1<<16)
	for {
		if _, err := io.ReadFull(r, raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read an iterator: %w", err)
		}
		if err := fn(&rec); err != nil {
			return err
		}
	}
}

// now is the tick that the fast path would read.
func (e *Edge) now() (uint32, error) {
	t, err := e.time()
	return uint32(t >> tickShift), err
}

// Sessions hands every session to fn until it returns false.
func (e *Edge) Sessions(fn func(*Session) bool) error {
	tick, err := e.now()
	if err != nil {
		return err
	}
	err = iterate(e, bpfProgList4, bpfMapFlow4, func(r *bpfReapItem4) error {
		if s := r.session(tick); !fn(&s) {
			return errStop
		}
		return nil
	})
	if err == nil {
		err = iterate(e, bpfProgList6, bpfMapFlow6, func(r *bpfReapItem6) error {
			if s := r.session(tick); !fn(&s) {
				return errStop
			}
			return nil
		})
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// CountSessions counts sessions by service number and state.
func (e *Edge) CountSessions() ([]map[SessionState]uint64, error) {
	all := make([]map[SessionState]uint64, len(e.ServiceNames()))
	for i := range all {
		all[i] = map[SessionState]uint64{}
	}
	count := func(up *bpfFlow) {
		if int(up.Service) < len(all) {
			all[up.Service][stateOf(up.State)]++
		}
	}
	err := iterate(e, bpfProgList4, bpfMapFlow4, func(r *bpfReapItem4) error { count(&r.Up.F); return nil })
	if err == nil {
		err = iterate(e, bpfProgList6, bpfMapFlow6, func(r *bpfReapItem6) error { count(&r.Up.F); return nil })
	}
	return all, err
}

func (r *bpfReapItem4) session(tick uint32) Session {
	s := Session{
		Client: netip.AddrPortFrom(addr4(r.Key.Src), be16(r.Key.Sport)),
		Front:  netip.AddrPortFrom(addr4(r.Key.Dst), be16(r.Key.Dport)),
		Face:   netip.AddrPortFrom(addr4(r.Up.Src), be16(r.Up.Sport)),
		Server: netip.AddrPortFrom(addr4(r.Up.Dst), be16(r.Up.Dport)),
		Proto:  r.Key.Proto, key: r.Key,
	}
	s.halves(&r.Up.F, &r.Down.F, tick)
	return s
}

func (r *bpfReapItem6) session(tick uint32) Session {
	s := Session{
		Client: netip.AddrPortFrom(netip.AddrFrom16(r.Key.Src), be16(r.Key.Sport)),
		Front:  netip.AddrPortFrom(netip.AddrFrom16(r.Key.Dst), be16(r.Key.Dport)),
		Face:   netip.AddrPortFrom(netip.AddrFrom16(r.Up.Src), be16(r.Up.Sport)),
		Server: netip.AddrPortFrom(netip.AddrFrom16(r.Up.Dst), be16(r.Up.Dport)),
		Proto:  r.Key.Proto, key: r.Key,
	}
	s.halves(&r.Up.F, &r.Down.F, tick)
	return s
}

// idOf is FNV-1a of the key's bytes.
func idOf(key any) string {
	h := fnv.New64a()
	switch k := key.(type) {
	case bpfFlowKey4:
		h.Write(bytesOf(&k))
	case bpfFlowKey6:
		h.Write(bytesOf(&k))
	}
	var sum [8]byte
	return hex.EncodeToString(h.Sum(sum[:0]))
}

// bytesOf are the bytes of a generated type, which has the kernel's layout.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

func (s *Session) halves(up, down *bpfFlow, tick uint32) {
	s.ID = idOf(s.key)
	s.Service = up.Service
	s.Up = Direction{up.Packets, up.Bytes}
	s.Down = Direction{down.Packets, down.Bytes}
	s.ServerStarted = up.State&uint32(bpfFlowFlagFLOW_SERVER_STARTED) != 0
	s.Proxied = up.State&uint32(bpfFlowFlagFLOW_PROXIED) != 0
	s.Lasting = up.State&uint32(bpfFlowFlagFLOW_LASTING) != 0
	s.Age = tickDuration(tick - down.Peer)
	s.Query = (up.State|down.State)&uint32(bpfFlowFlagFLOW_QUERY) != 0
	s.ClientLast = down.State == 0 || int32(up.Seen-down.Seen) > 0
	idle := tick - up.Seen
	if down.State != 0 {
		idle = min(idle, tick-down.Seen)
	}
	if int32(idle) < 0 { // a packet came after the clock was read
		idle = 0
	}
	s.Idle = tickDuration(idle)
	s.State, s.Proof = stateOf(up.State), proofOf(up.State)
	if s.State == Closing {
		s.End = endOf(up.State, down.State)
	}
}

// endOf is told by the flags that both halves were left with.
func endOf(up, down uint32) SessionEnd {
	has := func(state uint32, f bpfFlowFlag) bool { return state&uint32(f) != 0 }
	switch {
	case has(up, bpfFlowFlagFLOW_KILLED):
		return EndKilled
	case has(up, bpfFlowFlagFLOW_EVICTED):
		return EndEvicted
	case has(up, bpfFlowFlagFLOW_RST):
		return EndClient
	case has(down, bpfFlowFlagFLOW_RST):
		return EndServer
	case has(up, bpfFlowFlagFLOW_FIN_CLIENT) && has(down, bpfFlowFlagFLOW_FIN_SERVER):
		switch {
		case has(down, bpfFlowFlagFLOW_FIN_CLIENT) && !has(up, bpfFlowFlagFLOW_FIN_SERVER):
			return EndClient
		case has(up, bpfFlowFlagFLOW_FIN_SERVER) && !has(down, bpfFlowFlagFLOW_FIN_CLIENT):
			return EndServer
		}
		return EndClosed
	case has(up, bpfFlowFlagFLOW_GATED) && !has(up, bpfFlowFlagFLOW_STRONG):
		return EndSilent
	}
	return EndIdle
}

func proofOf(state uint32) SessionProof {
	has := func(f bpfFlowFlag) bool { return state&uint32(f) != 0 }
	switch {
	case has(bpfFlowFlagFLOW_STRONG):
		return ProofStrong
	case has(bpfFlowFlagFLOW_LASTING):
		return ProofLasting
	case has(bpfFlowFlagFLOW_WEAK):
		return ProofWeak
	}
	return ProofNone
}

func stateOf(state uint32) SessionState {
	switch bpfSessionPhase(state & flowPhases) {
	case bpfSessionPhasePHASE_OPENING:
		return Unproven
	case bpfSessionPhasePHASE_OPEN:
		return Proven
	}
	return Closing
}

// Who finds the session behind an address and port of the edge's: whom a server sees, or a service's client.
func (e *Edge) Who(face netip.AddrPort, proto uint8) (Session, bool, error) {
	var found Session
	ok := false
	err := e.Sessions(func(s *Session) bool {
		if s.Face == face && s.Proto == proto {
			found, ok = *s, true
		}
		return !ok
	})
	return found, ok, err
}
