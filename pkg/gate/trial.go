// SPDX-License-Identifier: Apache-2.0

package gate

// Trial is what a machine makes of a gate.
type Trial struct {
	Name, Proof, About string
	Instructions       int    // as compiled
	Tried              bool   // the kernel took it; else this user may not ask
	Verified           uint32 // instructions that the kernel's verifier went through; 0 = it doesn't say
	MachineCode        uint32 // bytes
}
