// SPDX-License-Identifier: Apache-2.0

package rule

import "github.com/cilium/ebpf/asm"

// matched is the function that all rules call whose packet it is: it takes from the rule's bucket, counts, and notes who decided.
//
//	u64 rule_matched(u64 slot | number << 32, u64 flags, u64 cost, u64 burst, struct rule_box *box): 1 = over its rate
func (c *compiler) matched() {
	const slot, number, cell, over = -8, -4, -12, -24 // on the stack
	const box, flags = asm.R6, asm.R7
	begin, tell, count, shadow, done, on := len(c.ins), c.label(), c.label(), c.label(), c.label(), c.label()
	c.emit(
		asm.Mov.Reg(box, asm.R5), asm.Mov.Reg(flags, asm.R2), asm.Mov.Reg(asm.R8, asm.R3), asm.Mov.Reg(asm.R9, asm.R4),
		asm.StoreMem(asm.RFP, slot, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, over, asm.R1, asm.DWord),
	)
	c.unless(flags, flagLimit, tell)
	c.take(slot, cell, over, tell)

	c.place(tell) // what a monitored rule would have done: the first one's word counts
	c.unless(flags, flagMonitor, count)
	c.refused(flags, over, count)
	c.emit(asm.LoadMem(asm.R1, box, boxWould, asm.Byte))
	c.test(asm.JNE, asm.R1, 0, count)
	c.emit(asm.Mov.Imm(asm.R1, int32(Limited)), asm.Mov.Reg(asm.R2, flags), asm.And.Imm(asm.R2, flagDrop), asm.Sub.Reg(asm.R1, asm.R2),
		asm.StoreMem(box, boxWould, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, asm.RFP, number, asm.Word), asm.StoreMem(box, boxShadow, asm.R1, asm.Word))

	c.place(count)
	c.lookup(MapCount, slot)
	c.wide(asm.JEq, asm.R0, 0, done)
	c.emit(asm.LoadMem(asm.R2, box, boxBytes, asm.Word), asm.Mov.Imm(asm.R1, 1))
	c.add(countPackets, asm.R1)
	c.add(countBytes, asm.R2)
	c.refused(flags, over, done)
	c.emit(asm.Mov.Imm(asm.R1, 1), asm.Mov.Reg(asm.R2, flags), asm.And.Imm(asm.R2, flagMonitor))
	c.wide(asm.JNE, asm.R2, 0, shadow)
	c.emit(asm.LoadMem(asm.R2, box, boxWatch, asm.Byte))
	c.wide(asm.JNE, asm.R2, 0, shadow)
	c.add(countDropped, asm.R1)
	c.always(done)
	c.place(shadow)
	c.add(countShadow, asm.R1)

	c.place(done)
	c.emit(asm.Mov.Reg(asm.R2, flags), asm.And.Imm(asm.R2, flagOn))
	c.wide(asm.JNE, asm.R2, 0, on)
	c.emit(asm.LoadMem(asm.R1, asm.RFP, number, asm.Word), asm.StoreMem(box, boxRule, asm.R1, asm.Word))
	c.place(on)
	c.emit(asm.LoadMem(asm.R0, asm.RFP, over, asm.DWord), asm.Return())
	c.ins[begin] = c.ins[begin].WithSymbol(matched)
}

// unless goes elsewhere where a flag is not set.
func (c *compiler) unless(flags asm.Register, flag int32, elsewhere label) {
	c.emit(asm.Mov.Reg(asm.R1, flags), asm.And.Imm(asm.R1, flag))
	c.wide(asm.JEq, asm.R1, 0, elsewhere)
}

// refused goes elsewhere where the rule has nothing against the packet.
func (c *compiler) refused(flags asm.Register, over int16, elsewhere label) {
	c.emit(asm.Mov.Reg(asm.R3, flags), asm.And.Imm(asm.R3, flagDrop), asm.LoadMem(asm.R4, asm.RFP, over, asm.DWord), asm.Or.Reg(asm.R3, asm.R4))
	c.wide(asm.JEq, asm.R3, 0, elsewhere)
}

// lookup finds an array's element by the index on the stack.
func (c *compiler) lookup(name string, index int16) {
	c.emit(asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(index)), asm.LoadMapPtr(asm.R1, 0).WithReference(name), asm.FnMapLookupElem.Call())
}

// add adds to a counter of the element in R0. It is this CPU's alone.
func (c *compiler) add(at int16, n asm.Register) {
	c.emit(asm.LoadMem(asm.R5, asm.R0, at, asm.DWord), asm.Add.Reg(asm.R5, n), asm.StoreMem(asm.R0, at, asm.R5, asm.DWord))
}

const takeTries = 4

// take takes a packet from the rule's bucket, as rate_take of bpf/lib/rate.h does: R8 is a packet's cost, R9 how far it may be used
// ahead. Lost compare-and-swaps pass.
func (c *compiler) take(slot, cell, over int16, then label) {
	const box, flags = asm.R6, asm.R7
	total, have, beyond := c.label(), c.label(), c.label()
	c.unless(flags, flagSource, total)
	c.emit(
		asm.LoadMem(asm.R1, asm.RFP, slot, asm.Word),
		asm.LoadImm(asm.R2, mix(mixSlot), asm.DWord), asm.Mul.Reg(asm.R1, asm.R2),
		asm.LoadMem(asm.R2, box, boxSource, asm.DWord), asm.Xor.Reg(asm.R1, asm.R2),
		asm.LoadMem(asm.R2, box, boxKey, asm.DWord), asm.Xor.Reg(asm.R1, asm.R2),
		asm.LoadImm(asm.R2, mix(mixFirst), asm.DWord), asm.Mul.Reg(asm.R1, asm.R2),
		asm.Mov.Reg(asm.R2, asm.R1), asm.RSh.Imm(asm.R2, 32), asm.Xor.Reg(asm.R1, asm.R2),
		asm.LoadImm(asm.R2, mix(mixSecond), asm.DWord), asm.Mul.Reg(asm.R1, asm.R2),
		asm.RSh.Imm(asm.R1, 64-CellBits),
		asm.StoreMem(asm.RFP, cell, asm.R1, asm.Word),
	)
	c.lookup(MapCell, cell)
	c.always(have)
	c.place(total)
	c.lookup(MapBucket, slot)
	c.place(have)
	c.wide(asm.JEq, asm.R0, 0, then)
	c.emit(asm.Mov.Reg(asm.R5, asm.R0), asm.LoadMem(asm.R4, box, boxNow, asm.DWord), asm.LSh.Imm(asm.R4, 8))
	for range takeTries {
		ahead := c.label()
		c.emit(asm.LoadMem(asm.R0, asm.R5, 0, asm.DWord), asm.Mov.Reg(asm.R3, asm.R0), asm.Mov.Reg(asm.R1, asm.R0),
			asm.Mov.Reg(asm.R2, asm.R1), asm.Sub.Reg(asm.R2, asm.R4))
		c.wide(asm.JSGE, asm.R2, 0, ahead)
		c.emit(asm.Mov.Reg(asm.R1, asm.R4))
		c.place(ahead)
		c.emit(asm.Add.Reg(asm.R1, asm.R8), asm.Mov.Reg(asm.R2, asm.R1), asm.Sub.Reg(asm.R2, asm.R4))
		c.wideReg(asm.JSGT, asm.R2, asm.R9, beyond)
		swap := asm.CmpXchg.Mem(asm.R5, asm.R1, asm.DWord, 0)
		swap.Constant = int64(asm.CmpXchg >> 8) // cilium/ebpf 0.22 forgets to encode which atomic it is: an addition
		c.emit(swap)
		c.wideReg(asm.JEq, asm.R0, asm.R3, then)
	}
	c.always(then)
	c.place(beyond)
	c.emit(asm.Mov.Imm(asm.R1, 1), asm.StoreMem(asm.RFP, over, asm.R1, asm.DWord))
}

// mix is a constant of the hash as an instruction holds it.
func mix(n uint64) int64 { return int64(n) }
