// SPDX-License-Identifier: Apache-2.0

package naming

// Quake III compresses what a client connects with by an adaptive Huffman code: both sides begin with an empty tree and move it on with each
// byte. Source: ioquake/ioq3 (huffman.c); the code is that of Sayood's "Introduction to Data Compression".
const (
	huffNYT   = 256 // not yet transmitted: its byte follows, eight bits, the highest first
	huffInner = 257
	huffNodes = 2*256 + 1
	huffMost  = 1024 // bytes that a message of the game's has, once it is no longer compressed
)

type huffNode struct {
	left, right, parent int16 // -1 = none
	symbol              int16
	weight              int32
}

// huffman is a tree, and its nodes in the order of their ranks: weights rise along it.
type huffman struct {
	nodes [huffNodes]huffNode
	rank  [huffNodes]int16 // by node
	order [huffNodes]int16 // by rank
	leaf  [257]int16       // by symbol; -1 = not seen yet
	used  int16
	root  int16
}

func newHuffman() *huffman {
	h := &huffman{used: 1}
	for i := range h.leaf {
		h.leaf[i] = -1
	}
	h.nodes[0] = huffNode{left: -1, right: -1, parent: -1, symbol: huffNYT}
	h.leaf[huffNYT] = 0
	return h
}

// unhuff decompresses a message: its length, the higher byte first, and bits, the lowest of each byte first. What is cut off is missing.
func unhuff(in []byte) []byte {
	if len(in) < 2 {
		return nil
	}
	n := min(int(in[0])<<8|int(in[1]), huffMost)
	out := make([]byte, 0, n)
	h, at, bits := newHuffman(), 16, 8*len(in)
	bit := func() int {
		if at >= bits {
			at++
			return 0
		}
		b := in[at>>3] >> (at & 7) & 1
		at++
		return int(b)
	}
	for len(out) < n {
		node := h.root
		for h.nodes[node].symbol == huffInner {
			if bit() == 1 {
				node = h.nodes[node].right
			} else {
				node = h.nodes[node].left
			}
		}
		symbol := int(h.nodes[node].symbol)
		if symbol == huffNYT {
			symbol = 0
			for range 8 {
				symbol = symbol<<1 | bit()
			}
		}
		if at > bits {
			break
		}
		out = append(out, byte(symbol))
		h.seen(symbol)
	}
	return out
}

// seen moves the tree on by one byte.
func (h *huffman) seen(symbol int) {
	if h.leaf[symbol] >= 0 {
		h.heavier(h.leaf[symbol])
		return
	}
	nyt := h.leaf[huffNYT]
	leaf, inner := h.used, h.used+1
	h.used += 2
	up := h.nodes[nyt].parent
	h.nodes[inner] = huffNode{left: nyt, right: leaf, parent: up, symbol: huffInner, weight: 1}
	h.nodes[leaf] = huffNode{left: -1, right: -1, parent: inner, symbol: int16(symbol), weight: 1}
	switch {
	case up < 0:
		h.root = inner
	case h.nodes[up].left == nyt:
		h.nodes[up].left = inner
	default:
		h.nodes[up].right = inner
	}
	h.nodes[nyt].parent = inner
	h.leaf[symbol] = leaf
	// Ranks: NYT stays the lowest, the leaf comes next, then its new parent.
	copy(h.order[3:h.used], h.order[1:h.used-2])
	h.order[1], h.order[2] = leaf, inner
	for r := int16(1); r < h.used; r++ {
		h.rank[h.order[r]] = r
	}
	h.heavier(up)
}

// heavier adds one to a node and all above it.
func (h *huffman) heavier(node int16) {
	if node < 0 {
		return
	}
	lead := h.rank[node] // the highest rank of those that weigh the same
	for lead+1 < h.used && h.nodes[h.order[lead+1]].weight == h.nodes[node].weight {
		lead++
	}
	if first := h.order[lead]; first != node {
		if first != h.nodes[node].parent {
			h.swapPlaces(first, node)
		}
		h.swapRanks(first, node)
	}
	h.nodes[node].weight++
	if up := h.nodes[node].parent; up >= 0 {
		h.heavier(up)
		if r := h.rank[node]; r > 0 && h.order[r-1] == up {
			h.swapRanks(node, up)
		}
	}
}

// swapPlaces has two nodes change their places in the tree.
func (h *huffman) swapPlaces(a, b int16) {
	pa, pb := h.nodes[a].parent, h.nodes[b].parent
	aLeft, bLeft := pa >= 0 && h.nodes[pa].left == a, pb >= 0 && h.nodes[pb].left == b
	h.put(pa, aLeft, b)
	h.put(pb, bLeft, a)
	h.nodes[a].parent, h.nodes[b].parent = pb, pa
}

func (h *huffman) put(parent int16, left bool, node int16) {
	switch {
	case parent < 0:
		h.root = node
	case left:
		h.nodes[parent].left = node
	default:
		h.nodes[parent].right = node
	}
}

func (h *huffman) swapRanks(a, b int16) {
	ra, rb := h.rank[a], h.rank[b]
	h.order[ra], h.order[rb] = b, a
	h.rank[a], h.rank[b] = rb, ra
}
