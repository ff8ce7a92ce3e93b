// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// Rule is one rule of a service, as it is compiled.
type Rule struct {
	Number  uint32 // that packets it decides about are marked with; from 1
	Slot    uint16 // its place in the maps of counters and buckets
	Expr    *Expr
	Action  Action
	Monitor bool   // what it would drop is counted, and passes on to the next rule
	Expires uint64 // CLOCK_MONOTONIC ns from which it holds no more; 0 = never
}

// Maps that a program names; its loader says which they are.
const (
	MapBox    = "rule_box"    // per-CPU array of one Box
	MapCount  = "rule_count"  // per-CPU array of counts by slot
	MapBucket = "rule_bucket" // array of GCRA words by slot
	MapCell   = "rule_cell"   // array of 1 << CellBits GCRA words
)

// Verdict is what a program returns; where it isn't in its table its caller finds another number.
type Verdict uint32

// What rules come to.
const (
	Passed  Verdict = iota // none has anything against it
	Dropped                // by a rule that drops
	Limited                // over a rule's rate
)

// Offsets in struct rule_box of bpf/abi.h.
const (
	boxNow     = 0  // u64, ns
	boxKey     = 8  // u64, the edge's secret
	boxSource  = 16 // u64, first bytes of the source address
	boxLength  = 24 // u32
	boxBytes   = 28 // u32, of the IP packet
	boxFrom    = 32 // u32, source port; noPort = none
	boxTo      = 36 // u32, destination port
	boxL3      = 40 // u16
	boxClass   = 42 // u16, see below
	boxRule    = 44 // u32, number of the rule that decided
	boxShadow  = 48 // u32, of the first monitored rule that would have
	boxWould   = 52 // u8, and what it would have said: Verdict
	boxWatch   = 53 // u8, nothing is dropped here
	boxFamily  = 54 // u8
	boxHeader  = 55 // u8, length of the IPv4 header
	boxL3Max   = 22
	noPort     = 1 << 16
	header4    = 20
	header6    = 40
	classProto = 0xff   // of class: the protocol by the IP header
	classLater = 1 << 8 // IPv4: not the first fragment
	classIPv6  = 1 << 9 // more than any of IPv4 has
)

// Offsets in struct rule_count.
const (
	countPackets = 0
	countBytes   = 8
	countDropped = 16
	countShadow  = 24
)

// Flags of a call of the function below.
const (
	flagDrop    = 1
	flagLimit   = 2
	flagSource  = 4
	flagMonitor = 8
	flagOn      = 16 // the next rule is asked, whatever comes of this one
)

const matched = "rule_matched"

// What registers hold from the prologue on, over all rules.
const (
	regL3  = asm.R6 // the IP header
	regEnd = asm.R7 // of the frame
	regBox = asm.R9
	// Of a rule alone. The verifier is to forget between rules what one found out: else it walks every combination.
	regClass = asm.R1
	regFrom  = asm.R2
	regTo    = asm.R3
)

// compiler makes a program of rules. What is loaded of a packet once stays in a register for the rest of its rule.
type compiler struct {
	code
	next  label          // the next rule: what a rule comes to that doesn't match, or asks for what isn't there
	have  map[label]regs // what registers hold wherever a label is jumped to
	now   regs           // and here
	words int16          // of the stack that numbers in the making took
}

// regs is a set of the registers above.
type regs uint8

const (
	haveClass regs = 1 << iota
	haveFrom
	haveTo
)

// Compile makes the program that judges a service's packets by its rules, in their order. It returns a Verdict. What it refuses is for
// the operator to read.
func Compile(rules []Rule) (asm.Instructions, error) {
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("%d rules are too many for a service: at most %d", len(rules), MaxRules)
	}
	c := &compiler{have: map[label]regs{}}
	c.prologue(rules)
	for i := range rules {
		from := len(c.ins)
		c.rule(&rules[i])
		if n := len(c.ins) - from; n > maxInsns {
			return nil, fmt.Errorf("%q comes to %d instructions: at most %d", rules[i].Expr, n, maxInsns)
		}
		if c.words > maxWords {
			return nil, fmt.Errorf("%q has sums within sums, %d deep: at most %d", rules[i].Expr, c.words, maxWords)
		}
	}
	c.emit(asm.Mov.Imm(asm.R0, int32(Passed)), asm.Return())
	c.matched()
	if len(c.ins) > maxAll {
		return nil, fmt.Errorf("the rules of a service come to %d instructions together: at most %d", len(c.ins), maxAll)
	}
	ins := c.resolve()
	ins[0] = ins[0].WithSymbol("rules")
	return ins, nil
}

// prologue finds the packet and what rules share of it. A packet that is shorter than its headers never comes here: it passes.
func (c *compiler) prologue(rules []Rule) {
	out, v6, first, upper, ready, found := c.label(), c.label(), c.label(), c.label(), c.label(), c.label()
	c.emit(
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, 0).WithReference(MapBox),
		asm.FnMapLookupElem.Call(),
	)
	c.wide(asm.JNE, asm.R0, 0, found)
	c.place(out)
	c.emit(asm.Mov.Imm(asm.R0, int32(Passed)), asm.Return())
	c.place(found)
	c.emit(
		asm.Mov.Reg(regBox, asm.R0),
		asm.LoadMem(regEnd, asm.R6, 4, asm.Word), // xdp_md.data_end
		asm.LoadMem(regL3, asm.R6, 0, asm.Word),  // xdp_md.data
		asm.LoadMem(asm.R1, regBox, boxL3, asm.Half),
	)
	c.wide(asm.JGT, asm.R1, boxL3Max, out)
	c.emit(asm.Add.Reg(regL3, asm.R1), asm.LoadMem(asm.R1, regBox, boxFamily, asm.Byte))
	c.test(asm.JEq, asm.R1, 6, v6)
	c.test(asm.JNE, asm.R1, 4, out)
	c.within(asm.R1, regL3, header4, out)
	c.emit(
		asm.LoadMem(asm.R1, regL3, 9, asm.Byte),
		asm.LoadMem(asm.R2, regL3, 0, asm.Byte),
		asm.And.Imm(asm.R2, 15),
		asm.LSh.Imm(asm.R2, 2),
		asm.StoreMem(regBox, boxHeader, asm.R2, asm.Byte),
		asm.LoadMem(asm.R3, regL3, 6, asm.Half),
		asm.HostTo(asm.BE, asm.R3, asm.Half),
		asm.And.Imm32(asm.R3, 0x1fff),
	)
	c.test(asm.JEq, asm.R3, 0, first)
	c.emit(asm.Or.Imm(asm.R1, classLater))
	c.place(first)
	c.emit(asm.Mov.Reg(asm.R4, regL3), asm.Add.Reg(asm.R4, asm.R2))
	c.always(upper)
	c.place(v6)
	c.within(asm.R1, regL3, header6, out)
	c.emit(
		asm.LoadMem(asm.R1, regL3, 6, asm.Byte),
		asm.Or.Imm(asm.R1, classIPv6),
		asm.Mov.Reg(asm.R4, regL3),
		asm.Add.Imm(asm.R4, header6),
	)
	c.place(upper)
	c.emit(asm.StoreMem(regBox, boxClass, asm.R1, asm.Half))
	if usePorts(rules) {
		c.ports(out, ready)
	}
	c.place(ready)
}

// ports reads both of a packet that has them. R1 is its class, R4 where they are.
func (c *compiler) ports(out, ready label) {
	there := c.label()
	c.emit(
		asm.Mov.Imm(asm.R5, noPort),
		asm.StoreMem(regBox, boxFrom, asm.R5, asm.Word),
		asm.StoreMem(regBox, boxTo, asm.R5, asm.Word),
		asm.And.Imm(asm.R1, 0xffff&^classIPv6),
	)
	c.test(asm.JEq, asm.R1, protoUDP, there)
	c.test(asm.JEq, asm.R1, protoTCP, there)
	c.test(asm.JNE, asm.R1, protoSCTP, ready)
	c.place(there)
	c.within(asm.R5, asm.R4, 4, out)
	c.emit(
		asm.LoadMem(asm.R2, asm.R4, 0, asm.Half),
		asm.LoadMem(asm.R3, asm.R4, 2, asm.Half),
		asm.HostTo(asm.BE, asm.R2, asm.Half),
		asm.HostTo(asm.BE, asm.R3, asm.Half),
		asm.StoreMem(regBox, boxFrom, asm.R2, asm.Word),
		asm.StoreMem(regBox, boxTo, asm.R3, asm.Word),
	)
}

// within goes elsewhere where the frame ends before n bytes from a register.
func (c *compiler) within(scratch, from asm.Register, n int32, elsewhere label) {
	c.emit(asm.Mov.Reg(scratch, from), asm.Add.Imm(scratch, n))
	c.wideReg(asm.JGT, scratch, regEnd, elsewhere)
}

func usePorts(rules []Rule) bool {
	for i := range rules {
		if asksPorts(rules[i].Expr.root) {
			return true
		}
	}
	return false
}

func asksPorts(n node) bool {
	switch n := n.(type) {
	case and:
		return asksPorts(n.l) || asksPorts(n.r)
	case or:
		return asksPorts(n.l) || asksPorts(n.r)
	case not:
		return asksPorts(n.x)
	case ports:
		return true
	}
	return false
}

// rule is one rule's code: who doesn't match goes on to the next.
func (c *compiler) rule(r *Rule) {
	c.next = c.label()
	match := c.label()
	c.now = 0
	c.truth(r.Expr.root, match, c.next, true)
	c.place(match)
	if r.Expires > 0 {
		c.emit(asm.LoadMem(asm.R0, regBox, boxNow, asm.DWord), asm.LoadImm(asm.R4, int64(r.Expires), asm.DWord))
		c.wideReg(asm.JGE, asm.R0, asm.R4, c.next)
	}
	c.act(r)
	c.place(c.next)
}

func (c *compiler) act(r *Rule) {
	flags, cost, burst := int32(0), uint64(0), uint64(0)
	switch r.Action.Verb {
	case Drop:
		flags = flagDrop
	case Limit:
		flags = flagLimit
		cost, burst = r.Action.Bucket()
	}
	if r.Action.PerSource {
		flags |= flagSource
	}
	if r.Monitor {
		flags |= flagMonitor
	}
	ends := r.Action.Verb == Pass || r.Action.Verb != Count && !r.Monitor
	if !ends {
		flags |= flagOn
	}
	c.emit(
		asm.LoadImm(asm.R1, int64(r.Number)<<32|int64(r.Slot), asm.DWord),
		asm.Mov.Imm(asm.R2, flags),
		asm.LoadImm(asm.R3, int64(cost), asm.DWord),
		asm.LoadImm(asm.R4, int64(burst), asm.DWord),
		asm.Mov.Reg(asm.R5, regBox),
		asm.Call.Label(matched),
	)
	switch {
	case !ends:
	case r.Action.Verb == Limit:
		c.emit(asm.LSh.Imm(asm.R0, 1), asm.Return()) // 1 = over it
	case r.Action.Verb == Drop:
		c.emit(asm.Mov.Imm(asm.R0, int32(Dropped)), asm.Return())
	default:
		c.emit(asm.Mov.Imm(asm.R0, int32(Passed)), asm.Return())
	}
}
