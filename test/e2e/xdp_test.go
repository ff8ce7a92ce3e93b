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
