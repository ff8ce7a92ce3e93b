// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"
)

// to notes what registers hold on a jump; arrive is where it leads.
func (c *compiler) to(l label) {
	if have, ok := c.have[l]; ok {
		c.have[l] = have & c.now
	} else {
		c.have[l] = c.now
	}
}

func (c *compiler) arrive(l label) {
	if have, ok := c.have[l]; ok {
		c.now &= have
	}
	c.place(l)
}

// branch jumps to yes or no; whichever is placed next is fallen into: yes, if fallYes says so.
func (c *compiler) branch(op asm.JumpOp, r asm.Register, n uint32, yes, no label, fallYes bool) {
	if fallYes {
		c.to(no)
		c.test(inverse(op), r, n, no)
		return
	}
	c.to(yes)
	c.test(op, r, n, yes)
}

func inverse(op asm.JumpOp) asm.JumpOp {
	switch op {
	case asm.JEq:
		return asm.JNE
	case asm.JNE:
		return asm.JEq
	case asm.JGT:
		return asm.JLE
	case asm.JLE:
		return asm.JGT
	case asm.JGE:
		return asm.JLT
	default: // there is no other here
		return asm.JGE
	}
}

// jumpIf jumps where a register compares so, and falls on else.
func (c *compiler) jumpIf(op asm.JumpOp, r asm.Register, n uint32, to label) {
	c.to(to)
	c.test(op, r, n, to)
}

// truth is the code of a test: it goes to yes or no, of which one is placed right behind it.
func (c *compiler) truth(n node, yes, no label, fallYes bool) {
	switch n := n.(type) {
	case and:
		mid := c.label()
		c.truth(n.l, mid, no, true)
		c.arrive(mid)
		c.truth(n.r, yes, no, fallYes)
	case or:
		mid := c.label()
		c.truth(n.l, yes, mid, false)
		c.arrive(mid)
		c.truth(n.r, yes, no, fallYes)
	case not:
		c.truth(n.x, no, yes, !fallYes)
	case family:
		c.needs(haveClass)
		op := asm.JLT
		if n.v6 {
			op = asm.JGE
		}
		c.branch(op, regClass, classIPv6, yes, no, fallYes)
	case proto:
		c.proto(n, yes, no, fallYes)
	case host4:
		c.host4(n, yes, no, fallYes)
	case host6:
		c.host6(n, yes, no, fallYes)
	case ports:
		c.portTest(n, yes, no, fallYes)
	case relation:
		c.relation(n, yes, no, fallYes)
	}
}

// needs has registers hold what they are to hold.
func (c *compiler) needs(want regs) {
	if want&^c.now&haveClass != 0 {
		c.emit(asm.LoadMem(regClass, regBox, boxClass, asm.Half))
	}
	if want&^c.now&haveFrom != 0 {
		c.emit(asm.LoadMem(regFrom, regBox, boxFrom, asm.Word))
	}
	if want&^c.now&haveTo != 0 {
		c.emit(asm.LoadMem(regTo, regBox, boxTo, asm.Word))
	}
	c.now |= want
}

func (c *compiler) proto(n proto, yes, no label, fallYes bool) {
	c.needs(haveClass)
	if n.of == 4 {
		c.emit(asm.Mov.Reg(asm.R0, regClass), asm.And.Imm(asm.R0, classProto|classIPv6))
		c.branch(asm.JEq, asm.R0, uint32(n.n), yes, no, fallYes)
		return
	}
	if n.of == 6 {
		c.jumpIf(asm.JEq, regClass, classIPv6|uint32(n.n), yes)
	} else {
		c.emit(asm.Mov.Reg(asm.R0, regClass), asm.And.Imm(asm.R0, classProto))
		c.jumpIf(asm.JEq, asm.R0, uint32(n.n), yes)
	}
	c.jumpIf(asm.JNE, regClass, classIPv6|protoFragment, no) // else it is told behind the fragment header
	c.within(asm.R4, regL3, header6+1, c.next)
	c.emit(asm.LoadMem(asm.R0, regL3, header6, asm.Byte))
	c.branch(asm.JEq, asm.R0, uint32(n.n), yes, no, fallYes)
}

// eitherWay is the code of a test of a direction, made of one end's.
func (c *compiler) eitherWay(d direction, yes, no label, fallYes bool, end func(destination bool, yes, no label, fallYes bool)) {
	mid := c.label()
	switch d {
	case dirSource, dirDestination:
		end(d == dirDestination, yes, no, fallYes)
	case dirBoth:
		end(false, mid, no, true)
		c.arrive(mid)
		end(true, yes, no, fallYes)
	default:
		end(false, yes, mid, false)
		c.arrive(mid)
		end(true, yes, no, fallYes)
	}
}

// native is an address as a load of four bytes finds it.
func native(n uint32) uint32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return binary.NativeEndian.Uint32(b[:])
}

// word compares four bytes of the IP header.
func (c *compiler) word(at int16, mask, want uint32, yes, no label, fallYes bool) {
	c.emit(asm.LoadMem(asm.R0, regL3, at, asm.Word))
	if mask != ^uint32(0) {
		c.emit(asm.And.Imm32(asm.R0, int32(native(mask))))
	}
	c.branch(asm.JEq, asm.R0, native(want), yes, no, fallYes)
}

func (c *compiler) host4(n host4, yes, no label, fallYes bool) {
	c.needs(haveClass)
	c.jumpIf(asm.JGE, regClass, classIPv6, no)
	c.eitherWay(n.dir, yes, no, fallYes, func(destination bool, yes, no label, fallYes bool) {
		at := int16(12)
		if destination {
			at = 16
		}
		c.word(at, n.mask, n.addr, yes, no, fallYes)
	})
}

func (c *compiler) host6(n host6, yes, no label, fallYes bool) {
	c.needs(haveClass)
	c.jumpIf(asm.JLT, regClass, classIPv6, no)
	c.within(asm.R4, regL3, header6, c.next) // for the verifier: it is there
	c.eitherWay(n.dir, yes, no, fallYes, func(destination bool, yes, no label, fallYes bool) {
		at := int16(8)
		if destination {
			at = 24
		}
		for i := range 3 {
			if n.mask[i] != 0 {
				mid := c.label()
				c.word(at+int16(4*i), n.mask[i], n.addr[i], mid, no, true)
				c.arrive(mid)
			}
		}
		c.word(at+12, n.mask[3], n.addr[3], yes, no, fallYes)
	})
}

// portTest: who has no ports has ones that nobody asks for.
func (c *compiler) portTest(n ports, yes, no label, fallYes bool) {
	if n.of != 0 {
		c.needs(haveClass)
		c.emit(asm.Mov.Reg(asm.R0, regClass), asm.And.Imm(asm.R0, classProto))
		c.jumpIf(asm.JNE, asm.R0, uint32(n.of), no)
	}
	c.eitherWay(n.dir, yes, no, fallYes, func(destination bool, yes, no label, fallYes bool) {
		r := regFrom
		c.needsEnd(destination)
		if destination {
			r = regTo
		}
		if n.from == n.to {
			c.branch(asm.JEq, r, uint32(n.from), yes, no, fallYes)
			return
		}
		c.jumpIf(asm.JLT, r, uint32(n.from), no)
		c.branch(asm.JLE, r, uint32(n.to), yes, no, fallYes)
	})
}

func (c *compiler) needsEnd(destination bool) {
	if destination {
		c.needs(haveTo)
	} else {
		c.needs(haveFrom)
	}
}
