// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/binary"
	"errors"
	"fmt"

	"parry/loader"
)

// tcpISN is a client's first number.
const tcpISN = 1000

// linuxSYN are the options that a Linux client's SYN has; the timestamp is anything.
var linuxSYN = []byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7}

// segment is one of TCP without payload, and nothing behind it.
func (t tuple) segment(flags uint8, seq, acked uint32, options []byte) []byte {
	b := append(make([]byte, t.l4At()+20), options...)
	t.put(b, flags)
	h := b[t.l4At():]
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[8:], acked)
	h[12] = byte(len(h)) << 2
	h[16], h[17] = 0, 0
	pseudo := sum(t.from.Addr().AsSlice()) + sum(t.to.Addr().AsSlice()) + uint32(t.proto) + uint32(len(h))
	binary.BigEndian.PutUint16(h[16:], ^fold(sum(h)+pseudo))
	return b
}

// seqOf is a segment's number.
func (t tuple) seqOf(frame []byte) uint32 { return binary.BigEndian.Uint32(frame[t.l4At()+4:]) }

// openProxied is an edge like nat's, whose TCP clients shook hands with the edge.
func (b *bench) openProxied() (*edge, error) {
	e, err := b.openEdge(sizes())
	if err != nil {
		return nil, err
	}
	e.proxied = true
	return e, e.establish(loader.NAT, natPair4())
}

// shakes puts a plan's services behind the SYN proxy, if the edge's are.
func (e *edge) shakes(p *loader.Plan) {
	for i := range p.Services {
		if e.proxied {
			p.Services[i].SynProxy = loader.SynProxyAlways
		}
	}
}

// shake makes a session behind the SYN proxy, whose server has answered.
func (e *edge) shake(r rewriting) error {
	given, err := e.Process(r.from.segment(tcpSYN, tcpISN, 0, nil))
	if err != nil || given.Code != loader.XDPTX || len(given.Out) < r.from.l4At()+20 {
		return fmt.Errorf("ask for a cookie: XDP code %d, reason %q: %w", given.Code, given.Reason, err)
	}
	if err := e.send(r.from.segment(tcpACK, tcpISN+1, r.from.seqOf(given.Out)+1, nil), loader.XDPTX); err != nil {
		return err
	}
	return e.send(r.to.back().segment(tcpSYN|tcpACK, 77, tcpISN+1, nil), loader.XDPPass)
}

// synMakers: SYNs that are answered by a cookie, and ACKs that bring none.
func (b *bench) synMakers(m map[string]func() (*probe, error)) {
	from := tuple{stranger(0, crowdVIP()).from, crowdVIP(), loader.ProtoTCP}
	for _, row := range []struct {
		name    string
		frame   []byte
		want    uint32
		reasons []string
	}{
		{"syn_cookie", from.segment(tcpSYN, tcpISN, 0, linuxSYN), loader.XDPTX, nil},
		{"ack_flood", from.segment(tcpACK, tcpISN, 7, nil), loader.XDPDrop, []string{"bad_cookie"}},
	} {
		m[row.name] = func() (*probe, error) {
			e, err := b.openShaking(row.reasons...)
			if err != nil {
				return nil, err
			}
			if err := e.send(row.frame, row.want); err != nil {
				return nil, err
			}
			d, err := b.asker(row.name, len(row.frame))
			if err != nil {
				return nil, err
			}
			in, _ := e.Programs()
			p := &probe{driver: d, program: in, frames: [][]byte{row.frame}, want: row.want}
			p.before = func() error { return errors.Join(e.Lists().NoticeAllowed(), d.ask(row.frame)) }
			return p, p.before()
		}
	}
}

// openShaking is an edge with a service that is always behind the SYN proxy, whose server takes all that TCP has.
func (b *bench) openShaking(reasons ...string) (*edge, error) {
	e, err := b.openGated("", reasons...)
	if err != nil {
		return nil, err
	}
	p := newPlan()
	lead(p, loader.NAT, crowdVIP(), at("198.51.100.9", gamePort), at("198.51.100.6", 0).Addr())
	p.Services[0].SynProxy = loader.SynProxyAlways
	p.Pools[0].Servers[0].TCP = &loader.TCPOptions{MSS: 1460, WindowScale: 7, SACK: true, Timestamps: true}
	return e, e.use(p)
}
