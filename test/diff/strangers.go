// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"parry/loader"
	"parry/test/model"
)

// What gates and the tier of strangers need beside packets: the daemon's words, and what is compared of them.

// ports are those that services of the edge listen on, or may come to.
func (w *world) ports() []uint16 {
	if w.edge.sizes.Unproven == 0 {
		return servicePorts
	}
	all, _ := w.served()
	return all
}

func (e edge) greyLines() uint32 {
	lines := uint32(1)
	for ; lines < max(e.sizes.Greylist, 8)/8; lines *= 2 {
	}
	return lines
}

// told is the daemon's word on a service.
func (w *world) told(s step) error {
	if s.service >= len(w.model.Names) {
		return nil
	}
	switch s.op {
	case "state":
		w.model.SetState(s.service, model.State(s.n))
		return w.real.SetState(uint16(s.service), loader.State(s.n))
	case "grace":
		w.model.SetGrace(s.service, w.model.Now+uint64(s.ttl))
		return w.real.SetGrace(uint16(s.service), s.ttl)
	}
	a := &model.Answer{Data: s.frame, Several: s.several, Until: w.model.Now + uint64(s.ttl)}
	w.cached = append(w.cached, s)
	w.model.SetAnswer(s.cell.Pool, s.cell.Server, s.cell.Offset, s.n, a)
	return w.real.SetAnswer(s.cell, s.n, s.frame, s.several, a.Until)
}

func (s step) content() string {
	if s.several {
		return "several"
	}
	return hex.EncodeToString(s.frame)
}

func (s *step) readWord(args []string) (err error) {
	if s.op != "answer" {
		if s.service, err = strconv.Atoi(args[0]); err != nil {
			return err
		}
		if s.op == "state" {
			s.n, err = strconv.Atoi(args[1])
		} else {
			s.ttl, err = time.ParseDuration(args[1])
		}
		return err
	}
	if args[0] != "-" {
		s.cell.Pool = args[0]
	}
	s.cell.Server = args[1]
	offset, err := strconv.ParseUint(args[2], 10, 16)
	if err != nil {
		return err
	}
	s.cell.Offset = uint16(offset)
	if s.n, err = strconv.Atoi(args[3]); err != nil {
		return err
	}
	if s.ttl, err = time.ParseDuration(args[4]); err != nil {
		return err
	}
	if s.several = args[5] == "several"; !s.several {
		s.frame, err = hex.DecodeString(args[5])
	}
	return err
}

// forgetAnswers has what was cached be stale.
func (w *world) forgetAnswers() error {
	for _, s := range w.cached {
		if err := w.real.SetAnswer(s.cell, s.n, nil, false, 0); err != nil {
			return err
		}
	}
	w.cached = nil
	return nil
}

// asks are the queries that the edge left to its daemon, as they come.
type asks struct {
	came chan loader.Ask
	stop context.CancelFunc
	done sync.WaitGroup
	err  error
}

func (w *world) listen() {
	ctx, cancel := context.WithCancel(context.Background())
	a := &w.asks
	a.came, a.stop = make(chan loader.Ask, 4096), cancel
	a.done.Go(func() { a.err = w.real.Asks(ctx, func(ask loader.Ask) { a.came <- ask }) })
}

func (w *world) deaf() {
	if w.asks.stop != nil {
		w.asks.stop()
		w.asks.done.Wait()
	}
}

// forgetAsks has nothing of a sequence that failed be taken for the next one's.
func (w *world) forgetAsks() {
	for w.apart {
		select {
		case <-w.asks.came:
		case <-time.After(5 * time.Millisecond):
			return
		}
	}
}

const askComes = 2 * time.Second

// settleAsks compares the queries that the daemon is to answer since it was last asked.
func (w *world) settleAsks() error {
	for _, want := range w.model.TakeAsks() {
		select {
		case got := <-w.asks.came:
			text := model.AskKey{Service: want.Service, Kind: got.Kind, From: got.Client.String(), To: got.Front.String()}
			if text != want {
				return differ("the daemon is asked %v, not %v", text, want)
			}
		case <-time.After(askComes):
			return differ("the daemon is not asked %v", want)
		}
	}
	select {
	case got := <-w.asks.came:
		return differ("the daemon is asked %v, which nobody asked", got)
	default:
		return nil
	}
}

// settleStrangers compares what strangers tried, and what is remembered of them.
func (w *world) settleStrangers() error {
	all, err := w.real.StrangerCounts()
	if err != nil {
		return err
	}
	for i, now := range all {
		var was loader.StrangerCount
		if i < len(w.tried) {
			was = w.tried[i]
		}
		got := model.Tried{
			Strangers: now.Strangers - was.Strangers, Believed: now.Believed - was.Believed, Greylisted: now.Greylisted - was.Greylisted,
			Returned: now.Returned - was.Returned, Admitted: now.Admitted - was.Admitted, Strong: now.Strong - was.Strong, Weak: now.Weak - was.Weak,
			Answered: now.Answered - was.Answered, Asked: now.Asked - was.Asked, Evicted: now.Evicted - was.Evicted, Lost: now.Lost - was.Lost,
		}
		for i := range got.Reflected {
			got.Reflected[i] = now.Reflected[i] - was.Reflected[i]
		}
		if want := w.model.Tried(i); got != want {
			return differ("strangers of service %d (%s)\ngot  %+v\nwant %+v", i, w.model.Names[i], got, want)
		}
		if want := w.model.WeakSessions(i); int(now.WeakSessions) != want {
			return differ("service %d (%s) has %d weakly proven sessions, not %d", i, w.model.Names[i], now.WeakSessions, want)
		}
	}
	if err := errors.Join(w.settleRing(4, "unproven4"), w.settleRing(6, "unproven6")); err != nil {
		return err
	}
	n, err := w.real.CountEntries("regular")
	if err == nil && n != w.model.Regulars() {
		return differ("%d regulars, not %d", n, w.model.Regulars())
	}
	return err
}

// settleRing compares who stands in the slots of strangers.
func (w *world) settleRing(family int, name string) error {
	slots, _ := w.model.Ring(family)
	for i, s := range slots {
		value, err := w.real.Peek(name, binary.NativeEndian.AppendUint32(nil, uint32(i)))
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		want := make([]byte, len(value))
		if s != nil {
			want = binary.NativeEndian.AppendUint32(keyBytes(s.Key()), uint32(s.Began())|1)
			want = append(want, 0, 0, 0, 0)
		}
		if !bytes.Equal(value, want) {
			return differ("slot %d of %s\ngot  %x\nwant %x", i, name, value, want)
		}
	}
	return nil
}

// marks of a session's state, as bpf/abi.h has them.
var marks = []struct {
	bit  uint32
	name string
}{{18, "evicted"}, {19, "weak"}, {20, "strong"}, {21, "query"}, {22, "lasting"}, {23, "unheard"}, {24, "again"}, {6, "netchan"}, {5, "ruled"}, {3, "shaken"}, {4, "header"}}

const stateAt = 44 // of struct flow

// settleMarks compares what is known of a session beside what everybody is told.
func (w *world) settleMarks(s *model.Session) error {
	name := "flow4"
	if s.Client.Addr().Is6() {
		name = "flow6"
	}
	value, err := w.real.Peek(name, keyBytes(s.Key()))
	if err != nil {
		return fmt.Errorf("read a session: %w", err)
	}
	var got []string
	state := binary.NativeEndian.Uint32(value[stateAt:])
	for _, m := range marks {
		if state>>m.bit&1 != 0 {
			got = append(got, m.name)
		}
	}
	if text := strings.Join(got, " "); text != s.Marks() {
		return differ("the session of %v with %v is %q, not %q", s.Client, s.Front, text, s.Marks())
	}
	return nil
}

// keyBytes is struct flow_key4 or flow_key6.
func keyBytes(k model.Key) []byte {
	b := append(k.Client.Addr().AsSlice(), k.Front.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, k.Client.Port())
	b = binary.BigEndian.AppendUint16(b, k.Front.Port())
	return append(b, k.Proto, 0, 0, 0)
}
