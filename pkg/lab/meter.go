// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"parry/pkg/netns"
)

// Meter counts what arrives at an interface: at the far end of an edge's link, that is what left the edge.
type Meter struct {
	objs meterObjects
	hook link.Link
}

// Arrivals are a meter's counts by kind of frame.
type Arrivals struct {
	Players   uint64 // UDP of the lab's players and servers
	Strangers uint64 // other UDP, pings and fragments
	TCP       uint64
	SYN       uint64 // of TCP, what begins a connection; not counted above
	Other     uint64 // what hosts say to each other
}

// Answers is what came to strangers by UDP and TCP. Excess is by how many bytes answers were longer than the shortest request that
// a flood sends to the service: an edge that lets much of that out is a reflector.
type Answers struct {
	Frames        uint64 `json:"frames"`
	Bytes         uint64 `json:"bytes"` // with IP headers
	Excess        uint64 `json:"excess_bytes"`
	ExcessVictims uint64 `json:"excess_bytes_victims"` // of them, to the /24 in whose name floods ask
}

func (a Answers) since(b Answers) Answers {
	return Answers{subtract(a.Frames, b.Frames), subtract(a.Bytes, b.Bytes), subtract(a.Excess, b.Excess),
		subtract(a.ExcessVictims, b.ExcessVictims)}
}

// NewMeter attaches a meter to an interface.
func NewMeter(at *netns.Interface) (*Meter, error) {
	m := &Meter{}
	spec, err := loadMeter()
	if err != nil {
		return nil, fmt.Errorf("load meter: %w", err)
	}
	if err := spec.Variables[meterVarMeterVictims].Set(binary.NativeEndian.Uint32(victims.Addr().AsSlice())); err != nil {
		return nil, fmt.Errorf("load meter: %w", err)
	}
	if err := spec.LoadAndAssign(&m.objs, nil); err != nil {
		return nil, fmt.Errorf("load meter: %w", err)
	}
	err = at.Host.Do(func() (err error) {
		m.hook, err = link.AttachXDP(link.XDPOptions{Program: m.objs.Meter, Interface: at.Index, Flags: link.XDPDriverMode})
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach meter to %s: %w", at.Name, err), m.Close())
	}
	return m, nil
}

// Cells reads the frames of players by cell of the score sheet.
func (m *Meter) Cells() ([]uint64, error) {
	cells := make([]uint64, m.objs.MeterCells.MaxEntries())
	for i := range cells {
		n, err := total(m.objs.MeterCells, uint32(i))
		if err != nil {
			return nil, err
		}
		cells[i] = n
	}
	return cells, nil
}

// Arrivals reads the frames by kind.
func (m *Meter) Arrivals() (a Arrivals, err error) {
	err = totals(m.objs.MeterKinds, map[meterMeterKind]*uint64{
		meterMeterKindMETER_KIND_PLAYER:   &a.Players,
		meterMeterKindMETER_KIND_STRANGER: &a.Strangers,
		meterMeterKindMETER_KIND_TCP:      &a.TCP,
		meterMeterKindMETER_KIND_SYN:      &a.SYN,
		meterMeterKindMETER_KIND_OTHER:    &a.Other,
	})
	return a, err
}

// Answers reads what came to strangers.
func (m *Meter) Answers() (a Answers, err error) {
	err = totals(m.objs.MeterAnswers, map[meterMeterAnswer]*uint64{
		meterMeterAnswerMETER_ANSWER_FRAMES:         &a.Frames,
		meterMeterAnswerMETER_ANSWER_BYTES:          &a.Bytes,
		meterMeterAnswerMETER_ANSWER_EXCESS:         &a.Excess,
		meterMeterAnswerMETER_ANSWER_EXCESS_VICTIMS: &a.ExcessVictims,
	})
	return a, err
}

// Expect says how long a flood's requests are, in bytes with their IP header, by the port that answers them.
func (m *Meter) Expect(requests map[uint16]int) error {
	at := uint32(0)
	for port, bytes := range requests {
		r := meterMeterRequest{Port: swap(port), Bytes: uint16(bytes)}
		if err := m.objs.MeterRequests.Put(at, &r); err != nil {
			return fmt.Errorf("tell the meter what floods ask: %w", err)
		}
		at++
	}
	return nil
}

// total adds up one counter over the CPUs.
func total(counters *ebpf.Map, key uint32) (uint64, error) {
	var perCPU []uint64
	if err := counters.Lookup(key, &perCPU); err != nil {
		return 0, fmt.Errorf("read meter: %w", err)
	}
	var n uint64
	for _, v := range perCPU {
		n += v
	}
	return n, nil
}

// totals reads counters that are keyed by an enum.
func totals[K ~uint32](counters *ebpf.Map, into map[K]*uint64) error {
	var errs []error
	for key, to := range into {
		n, err := total(counters, uint32(key))
		*to = n
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Close detaches the meter.
func (m *Meter) Close() error {
	var errs []error
	if m.hook != nil {
		errs = append(errs, m.hook.Close())
	}
	return errors.Join(append(errs, m.objs.meterPrograms.Close(), m.objs.meterMaps.Close())...)
}
