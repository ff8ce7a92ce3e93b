// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"parry/pkg/netns"
	"parry/test/packet"
)

const (
	liveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
	batch      = 64     // frames that the kernel hands on at once: a NAPI poll's worth
	frameLen   = 64
	settle     = 10 * time.Millisecond
)

// loadEnds loads what sends a flood and what swallows it.
func (s *site) loadEnds() error {
	spec, err := loadEnds()
	if err != nil {
		return err
	}
	var at [2]byte
	binary.BigEndian.PutUint16(at[:], port)
	err = errors.Join(spec.Variables[endsVarSendIfindex].Set(uint32(s.out.Index)), spec.Variables[endsVarSinkPort].Set(binary.NativeEndian.Uint16(at[:])))
	if err == nil {
		err = spec.LoadAndAssign(&s.ends, nil)
	}
	if err != nil {
		return fmt.Errorf("load the flood's ends: %w", err)
	}
	for i := range uint16(flows) {
		p := packet.NewUDP(netip.AddrPortFrom(clientAddr(), firstFlow+i), s.target, string(make([]byte, pingSize)))
		copy(p.Dst[:], s.front.MAC)
		copy(p.Src[:], s.out.MAC)
		frame := p.Bytes()
		if len(frame) != frameLen {
			return fmt.Errorf("a frame of %d bytes", len(frame))
		}
		var f endsFrame
		for w := range f.Word {
			f.Word[w] = binary.NativeEndian.Uint64(frame[8*w:])
		}
		if err := s.ends.SendFrames.Put(uint32(i), f); err != nil {
			return fmt.Errorf("write the flood's frames: %w", err)
		}
	}
	idle, err := s.client.Idle("idle0")
	if err != nil {
		return err
	}
	// A program that is attached somewhere is in the dispatcher: else each run waits for a grace period twice.
	s.hold, err = attach(s.ends.Send, idle, link.XDPGenericMode)
	return err
}

func attach(p *ebpf.Program, at *netns.Interface, how link.XDPAttachFlags) (l link.Link, err error) {
	err = at.Host.Do(func() error {
		l, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: at.Index, Flags: how})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", at.Name, err)
	}
	return l, nil
}

// flood is what a flood did.
type flood struct {
	sent, arrived uint64
	cpu           time.Duration // of the sending thread
	wall          time.Duration
}

// flood sends packets, which an end of a link counts and drops.
func (s *site) flood(at *netns.Interface, packets uint32) (flood, error) {
	before, err := s.counts()
	if err != nil {
		return flood{}, err
	}
	l, err := attach(s.ends.Sink, at, link.XDPDriverMode)
	if err != nil {
		return flood{}, err
	}
	var f flood
	err = s.client.Do(func() error { // on a thread of its own, which is thrown away
		if err := stayOnLastCPU(); err != nil {
			return err
		}
		cpu, began := threadTime(), time.Now()
		_, err := s.ends.Send.Run(&ebpf.RunOptions{Data: make([]byte, frameLen), Repeat: packets, Flags: liveFrames, BatchSize: batch})
		f.cpu, f.wall = threadTime()-cpu, time.Since(began)
		return err
	})
	after, failed := s.settled(before)
	f.sent, f.arrived = after.sent-before.sent, after.arrived-before.arrived
	return f, errors.Join(err, failed, l.Close())
}

// settled counts when nothing more arrives: on a busy machine ksoftirqd is behind.
func (s *site) settled(before flood) (flood, error) {
	last, err := s.counts()
	for err == nil && last.arrived-before.arrived < last.sent-before.sent {
		time.Sleep(settle)
		var now flood
		if now, err = s.counts(); now.arrived == last.arrived {
			break
		}
		last = now
	}
	return last, err
}

func (s *site) counts() (f flood, err error) {
	perCPU := make([]uint64, ebpf.MustPossibleCPU())
	if err := errors.Join(s.ends.Sent.Get(&f.sent), s.ends.Sunk.Lookup(uint32(0), &perCPU)); err != nil {
		return f, fmt.Errorf("count the flood: %w", err)
	}
	for _, n := range perCPU {
		f.arrived += n
	}
	return f, nil
}

// threadTime is the CPU time that the calling thread has used.
func threadTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // cannot fail
	return time.Duration(ts.Nano())
}
