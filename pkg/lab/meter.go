// SPDX-License-Identifier: Apache-2.0

package lab

import (
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
	Other     uint64 // what hosts say to each other
}

// NewMeter attaches a meter to an interface.
func NewMeter(at *netns.Interface) (*Meter, error) {
	m := &Meter{}
	if err := loadMeterObjects(&m.objs, nil); err != nil {
		return nil, fmt.Errorf("load meter: %w", err)
	}
	err := at.Host.Do(func() (err error) {
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
func (m *Meter) Arrivals() (Arrivals, error) {
	var a Arrivals
	var errs []error
	for kind, to := range map[meterMeterKind]*uint64{
		meterMeterKindMETER_KIND_PLAYER:   &a.Players,
		meterMeterKindMETER_KIND_STRANGER: &a.Strangers,
		meterMeterKindMETER_KIND_TCP:      &a.TCP,
		meterMeterKindMETER_KIND_OTHER:    &a.Other,
	} {
		n, err := total(m.objs.MeterKinds, uint32(kind))
		*to = n
		errs = append(errs, err)
	}
	return a, errors.Join(errs...)
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

// Close detaches the meter.
func (m *Meter) Close() error {
	var errs []error
	if m.hook != nil {
		errs = append(errs, m.hook.Close())
	}
	return errors.Join(append(errs, m.objs.Meter.Close(), m.objs.MeterCells.Close(), m.objs.MeterKinds.Close())...)
}
