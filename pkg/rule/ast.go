// SPDX-License-Identifier: Apache-2.0

package rule

// Expr is an expression that was understood.
type Expr struct {
	text string
	root node
}

// String is the text that it was made of.
func (e *Expr) String() string { return e.text }

// node is true or false of a packet: one of the types below.
type node interface{ isNode() }

type (
	and struct{ l, r node }
	or  struct{ l, r node }
	not struct{ x node }

	// family: `ip`, `ip6`.
	family struct{ v6 bool }
	// proto: `udp` and the like. of 0 is either family's.
	proto struct {
		of uint8 // 4, 6
		n  uint8
	}
	host4 struct {
		dir        direction
		addr, mask uint32
	}
	host6 struct {
		dir        direction
		addr, mask [4]uint32
	}
	ports struct {
		of       uint8 // a protocol; 0 = UDP, TCP and SCTP
		dir      direction
		from, to uint16
	}
	relation struct {
		op   string // = != < <= > >=
		l, r arith
	}
)

func (and) isNode()      {}
func (or) isNode()       {}
func (not) isNode()      {}
func (family) isNode()   {}
func (proto) isNode()    {}
func (host4) isNode()    {}
func (host6) isNode()    {}
func (ports) isNode()    {}
func (relation) isNode() {}

// arith is a number of 32 bits without a sign: one of the types below.
type arith interface{ isArith() }

type (
	constant uint32
	length   struct{}
	// load takes bytes of a packet that is one of a protocol's; of any other the relation is false.
	load struct {
		layer layer
		index arith
		size  uint8 // 1, 2, 4
	}
	operation struct {
		op   string // + - * / % & | ^ << >>
		l, r arith
	}
	negative struct{ x arith }
)

func (constant) isArith()  {}
func (length) isArith()    {}
func (load) isArith()      {}
func (operation) isArith() {}
func (negative) isArith()  {}

type direction uint8

const (
	dirEither direction = iota
	dirSource
	dirDestination
	dirBoth
)

// layer is whose bytes are counted, from where.
type layer uint8

const (
	layerIP layer = iota
	layerIP6
	layerTCP // over IPv4, not behind a fragment's beginning; as are the next two
	layerUDP
	layerICMP
	layerICMP6 // right behind the IPv6 header
)

const (
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoFragment = 44
	protoICMP6    = 58
	protoSCTP     = 132
)

// number of the protocol that a layer is of; 0 = of none.
func (l layer) number() uint8 {
	switch l {
	case layerTCP:
		return protoTCP
	case layerUDP:
		return protoUDP
	case layerICMP:
		return protoICMP
	case layerICMP6:
		return protoICMP6
	}
	return 0
}

func (l layer) transport() bool { return l == layerTCP || l == layerUDP || l == layerICMP }
