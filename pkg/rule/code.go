// SPDX-License-Identifier: Apache-2.0

package rule

import "github.com/cilium/ebpf/asm"

// code is a program in the making. Its jumps are resolved at the end.
type code struct {
	ins    asm.Instructions
	jumps  []jump
	labels []int // by label: the instruction that it is before
}

type label int

type jump struct {
	at int
	to label
}

func (c *code) emit(ins ...asm.Instruction) { c.ins = append(c.ins, ins...) }

func (c *code) label() label {
	c.labels = append(c.labels, -1)
	return label(len(c.labels) - 1)
}

func (c *code) place(l label) { c.labels[l] = len(c.ins) }

func (c *code) jump(ins asm.Instruction, to label) {
	c.jumps = append(c.jumps, jump{len(c.ins), to})
	c.ins = append(c.ins, ins)
}

func (c *code) always(to label) {
	c.jump(asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)}, to)
}

// test jumps where the register compares so with a constant of 32 bits without a sign.
func (c *code) test(op asm.JumpOp, r asm.Register, n uint32, to label) {
	c.jump(asm.Instruction{OpCode: asm.OpCode(asm.Jump32Class).SetJumpOp(op).SetSource(asm.ImmSource), Dst: r, Constant: int64(int32(n))}, to)
}

// wide does so with all 64 bits of the register.
func (c *code) wide(op asm.JumpOp, r asm.Register, n int32, to label) {
	c.jump(asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(op).SetSource(asm.ImmSource), Dst: r, Constant: int64(n)}, to)
}

// testReg compares two registers' low halves; pointers are compared whole.
func (c *code) testReg(op asm.JumpOp, l, r asm.Register, to label) {
	c.jump(asm.Instruction{OpCode: asm.OpCode(asm.Jump32Class).SetJumpOp(op).SetSource(asm.RegSource), Dst: l, Src: r}, to)
}

func (c *code) wideReg(op asm.JumpOp, l, r asm.Register, to label) {
	c.jump(asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(op).SetSource(asm.RegSource), Dst: l, Src: r}, to)
}

// resolve writes the jumps' distances: they count an instruction of a constant of 64 bits twice.
func (c *code) resolve() asm.Instructions {
	raw := make([]int, len(c.ins)+1)
	for i := range c.ins {
		raw[i+1] = raw[i] + int(c.ins[i].Width())
	}
	for _, j := range c.jumps {
		c.ins[j.at].Offset = int16(raw[c.labels[j.to]] - raw[j.at] - 1)
	}
	return c.ins
}
