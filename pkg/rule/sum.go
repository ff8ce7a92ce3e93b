// SPDX-License-Identifier: Apache-2.0

package rule

import "github.com/cilium/ebpf/asm"

// relation is the code of a comparison. What it takes bytes of must be there: else it is false; and where the packet ends before
// them nothing more is asked.
func (c *compiler) relation(n relation, yes, no label, fallYes bool) {
	var of [layerICMP6 + 1]bool
	layersOf(n.l, &of)
	layersOf(n.r, &of)
	for l, asked := range of {
		if asked {
			c.carries(layer(l), no)
		}
	}
	op := map[string]asm.JumpOp{"=": asm.JEq, "!=": asm.JNE, "<": asm.JLT, "<=": asm.JLE, ">": asm.JGT, ">=": asm.JGE}[n.op]
	if k, ok := n.r.(constant); ok {
		c.number(n.l, 0)
		c.branch(op, asm.R0, uint32(k), yes, no, fallYes)
		return
	}
	c.both(n.l, n.r, 0)
	if fallYes {
		c.to(no)
		c.testReg(inverse(op), asm.R0, asm.R4, no)
		return
	}
	c.to(yes)
	c.testReg(op, asm.R0, asm.R4, yes)
}

func layersOf(a arith, of *[layerICMP6 + 1]bool) {
	switch a := a.(type) {
	case negative:
		layersOf(a.x, of)
	case operation:
		layersOf(a.l, of)
		layersOf(a.r, of)
	case load:
		of[a.layer] = true
		layersOf(a.index, of)
	}
}

// carries falls on where a packet is one of the layer's.
func (c *compiler) carries(l layer, no label) {
	c.needs(haveClass)
	switch l {
	case layerIP:
		c.jumpIf(asm.JGE, regClass, classIPv6, no)
	case layerIP6:
		c.jumpIf(asm.JLT, regClass, classIPv6, no)
	case layerICMP6:
		c.jumpIf(asm.JNE, regClass, classIPv6|protoICMP6, no)
	default:
		c.jumpIf(asm.JNE, regClass, uint32(l.number()), no)
	}
}

// number leaves a number in R0. R4 and R5 are lost, and so are the stack's words from the given one on.
func (c *compiler) number(a arith, word int16) {
	switch a := a.(type) {
	case constant:
		c.emit(asm.Mov.Imm32(asm.R0, int32(a)))
	case length:
		c.emit(asm.LoadMem(asm.R0, regBox, boxLength, asm.Word))
	case negative:
		c.number(a.x, word)
		c.emit(asm.Neg.Imm32(asm.R0, 0))
	case load:
		c.bytes(a, word)
	case operation:
		c.operation(a, word)
	}
}

// both leaves two numbers in R0 and R4.
func (c *compiler) both(l, r arith, word int16) {
	if k, ok := r.(constant); ok {
		c.number(l, word)
		c.emit(asm.Mov.Imm32(asm.R4, int32(k)))
		return
	}
	c.words = max(c.words, word+1)
	at := -16 - 8*word // behind the box's index
	c.number(l, word)
	c.emit(asm.StoreMem(asm.RFP, at, asm.R0, asm.DWord))
	c.number(r, word+1)
	c.emit(asm.Mov.Reg(asm.R4, asm.R0), asm.LoadMem(asm.R0, asm.RFP, at, asm.DWord))
}

func (c *compiler) operation(a operation, word int16) {
	op := map[string]asm.ALUOp{"+": asm.Add, "-": asm.Sub, "*": asm.Mul, "/": asm.Div, "%": asm.Mod, "&": asm.And, "|": asm.Or, "^": asm.Xor,
		"<<": asm.LSh, ">>": asm.RSh}[a.op]
	if k, ok := a.r.(constant); ok { // no divisor of 0, no shift over 31: the parser saw to it
		c.number(a.l, word)
		c.emit(op.Imm32(asm.R0, int32(k)))
		return
	}
	c.both(a.l, a.r, word)
	switch a.op {
	case "/", "%":
		c.test(asm.JEq, asm.R4, 0, c.next)
	case "<<", ">>":
		within := c.label()
		c.test(asm.JLE, asm.R4, 31, within)
		c.emit(asm.Mov.Imm32(asm.R0, 0), asm.Mov.Imm32(asm.R4, 0))
		c.place(within)
	}
	c.emit(op.Reg32(asm.R0, asm.R4))
}

// bytes leaves what lies in the packet in R0. Where it ends before, the rule doesn't match.
func (c *compiler) bytes(a load, word int16) {
	size := map[uint8]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word}[a.size]
	behind := int16(0) // of where R4 will point
	if a.layer == layerICMP6 {
		behind = header6
	}
	k, fixed := a.index.(constant)
	switch {
	case fixed && a.layer.transport():
		behind += int16(k)
		c.emit(asm.LoadMem(asm.R4, regBox, boxHeader, asm.Byte), asm.Add.Reg(asm.R4, regL3))
	case fixed:
		behind += int16(k)
		c.emit(asm.Mov.Reg(asm.R4, regL3))
	default:
		c.number(a.index, word)
		if a.layer.transport() {
			c.emit(asm.LoadMem(asm.R4, regBox, boxHeader, asm.Byte), asm.Add.Reg32(asm.R0, asm.R4)) // in 32 bits, as cBPF does
		}
		c.wide(asm.JGT, asm.R0, int32(maxOffset)-int32(behind)-int32(a.size), c.next)
		c.emit(asm.Mov.Reg(asm.R4, regL3), asm.Add.Reg(asm.R4, asm.R0))
	}
	c.within(asm.R5, asm.R4, int32(behind)+int32(a.size), c.next)
	c.emit(asm.LoadMem(asm.R0, asm.R4, behind, size))
	if a.size > 1 {
		c.emit(asm.HostTo(asm.BE, asm.R0, size))
	}
}
