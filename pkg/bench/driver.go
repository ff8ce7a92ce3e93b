// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"parry/loader"
)

// driver makes of the last repetition's packet the next one, and runs the program that is measured.
type driver struct {
	name    string
	objects driveObjects
	program *ebpf.Program
}

// Offsets in a frame without VLAN tags.
const (
	ttlAt4     = 22
	hopLimitAt = 21
	udpRestAt4 = 38 // length and checksum

	questionMax = 128 // bytes of a frame that is asked again: QUESTION_MAX of bpf/bench/drive.bpf.c
)

// again is the driver for programs that make of a packet one that they know, too.
func (b *bench) again(name string, ttlAt uint32) (*driver, error) {
	return b.drive(name, func(spec *ebpf.CollectionSpec) error {
		return spec.Variables[driveVarDriveTtlAt].Set(ttlAt)
	}, func(o *driveObjects) *ebpf.Program { return o.Again })
}

// strangers is the driver whose packets come from so many sources, in turn or at random.
func (b *bench) strangers(name string, to netip.AddrPort, sources uint32, random bool) (*driver, error) {
	return b.drive(name, strangersOf(to, sources, random), func(o *driveObjects) *ebpf.Program { return o.Stranger })
}

// forgers is the driver whose packets come from any of so many sources, and any of their ports.
func (b *bench) forgers(name string, to netip.AddrPort, sources uint32) (*driver, error) {
	set := strangersOf(to, sources, true)
	return b.drive(name, func(spec *ebpf.CollectionSpec) error {
		return errors.Join(set(spec), spec.Variables[driveVarDrivePorts].Set(uint32(1<<16-firstPort)))
	}, func(o *driveObjects) *ebpf.Program { return o.Stranger })
}

// asker is the driver that asks questions of this length, answered or not.
func (b *bench) asker(name string, length int) (*driver, error) {
	return b.drive(name, func(spec *ebpf.CollectionSpec) error {
		return spec.Variables[driveVarDriveLength].Set(uint32(length))
	}, func(o *driveObjects) *ebpf.Program { return o.Asker })
}

// ask has it ask this.
func (d *driver) ask(frame []byte) error {
	var question [questionMax]byte
	copy(question[:], frame)
	return d.objects.DriveQuestion.Set(question)
}

func strangersOf(to netip.AddrPort, sources uint32, random bool) func(*ebpf.CollectionSpec) error {
	return func(spec *ebpf.CollectionSpec) error {
		frame := strangerTo(to)
		var chance uint32
		if random {
			chance = 1
		}
		return errors.Join(
			spec.Variables[driveVarDriveRandom].Set(chance),
			spec.Variables[driveVarDriveSources].Set(sources),
			spec.Variables[driveVarDriveTo].Set(binary.NativeEndian.Uint32(to.Addr().AsSlice())),
			spec.Variables[driveVarDriveToPort].Set(bigEndian16(to.Port())),
			spec.Variables[driveVarDriveUdpRest].Set(binary.NativeEndian.Uint32(frame[udpRestAt4:])),
		)
	}
}

func bigEndian16(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// stranger is the i-th stranger's first tuple.
func stranger(i uint32, to netip.AddrPort) tuple {
	return tuple{netip.AddrPortFrom(spread(i), firstPort), to, loader.ProtoUDP}
}

func strangerTo(to netip.AddrPort) []byte { return stranger(0, to).frame(0) }

func (b *bench) drive(name string, set func(*ebpf.CollectionSpec) error, which func(*driveObjects) *ebpf.Program) (*driver, error) {
	spec, err := loadDrive()
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", name, err)
	}
	d := &driver{name: name}
	if err := errors.Join(set(spec), spec.LoadAndAssign(&d.objects, nil)); err != nil {
		return nil, fmt.Errorf("driver %s: %w", name, err)
	}
	b.closers = append(b.closers, d.objects.Close)
	d.program = which(&d.objects)
	return d, b.hold(d.program)
}

// hold attaches a program to an interface that never sees a packet. The kernel enters each XDP program that it
// repeats into its dispatcher and waits for a grace period (10 to 40 ms) before and after; a program that is attached
// somewhere is there already.
func (b *bench) hold(p *ebpf.Program) error {
	idle, err := b.host.Idle(fmt.Sprintf("idle%d", p.FD()))
	if err != nil {
		return err
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: idle.Index, Flags: link.XDPGenericMode})
	if err != nil {
		return fmt.Errorf("attach to an idle interface: %w", err)
	}
	b.closers = append(b.closers, l.Close)
	return nil
}

// aim has the driver run a program from now on.
func (d *driver) aim(p *ebpf.Program) error { return d.objects.DriveTarget.Put(uint32(0), p) }

// check fails if any packet met no program.
func (d *driver) check() error {
	var wrong uint64
	if err := d.objects.DriveWrong.Get(&wrong); err != nil {
		return err
	}
	if wrong != 0 {
		return fmt.Errorf("%d packets met an empty driver", wrong)
	}
	return nil
}

// restart has strangers come again from the first on.
func (d *driver) restart() error { return d.objects.DriveNext.Set(uint64(0)) }
