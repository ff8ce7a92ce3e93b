// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"parry/pkg/netns"
)

// xdpPass is the kernel's XDP_PASS.
const xdpPass = 2

// receiver gives an interface a program that passes everything. A veth only wakes its peer for frames that came by
// XDP_TX when the peer carries a program: without one they lie there until something else arrives. A real NIC sends
// them at once.
func (w *world) receiver(i *netns.Interface) {
	w.t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
	})
	must(w.t, err)
	var l link.Link
	must(w.t, i.Host.Do(func() (err error) {
		l, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: i.Index, Flags: link.XDPDriverMode})
		return err
	}))
	w.t.Cleanup(func() { // before the world goes: cleanups run from the last to the first
		_ = l.Close() // the interface may be gone, and the link with it
		_ = prog.Close()
	})
}

// paddedFrame is what padded makes of a shorter frame, in bytes: what any answer of one packet has room in.
const paddedFrame = 1514

// padded has short frames leave an interface with zeros behind their IP packet. XDP can lengthen a packet by as much as its
// buffer has room for: that is a page on NICs, and next to nothing on a veth.
func (w *world) padded(i *netns.Interface) {
	w.t.Helper()
	const length = 0 // of a packet, in struct __sk_buff
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXEgress, License: "GPL", Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, length, asm.Word),
			asm.JGE.Imm(asm.R2, paddedFrame, "on"),
			asm.Mov.Imm(asm.R2, paddedFrame), asm.Mov.Imm(asm.R3, 0), asm.FnSkbChangeTail.Call(),
			asm.Mov.Imm(asm.R0, -1).WithSymbol("on"), asm.Return(), // TCX_NEXT
		},
	})
	must(w.t, err)
	var l link.Link
	must(w.t, i.Host.Do(func() (err error) {
		l, err = link.AttachTCX(link.TCXOptions{Interface: i.Index, Program: prog, Attach: ebpf.AttachTCXEgress})
		return err
	}))
	w.t.Cleanup(func() {
		_ = l.Close() // as above
		_ = prog.Close()
	})
}
