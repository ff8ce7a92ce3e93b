// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"parry/pkg/engine"
	"parry/pkg/learn"
	"parry/pkg/pcap"
	"parry/test/firsts"
	"parry/test/packet"
)

var (
	begun   = time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC)
	server4 = netip.MustParseAddrPort("203.0.113.10:7777")
	server6 = netip.MustParseAddrPort("[2001:db8::10]:7777")
)

// play is a capture in the making.
type play struct {
	frames []stamped
	tags   []packet.Tag
	snap   int // bytes of a frame that are kept; 0 = all
}

type stamped struct {
	at   time.Duration // since it began
	data []byte
}

func (p *play) add(at time.Duration, one packet.Packet) {
	one.Tags = p.tags
	p.frames = append(p.frames, stamped{at, one.Bytes()})
}

// client is one port of a source: n is the source's number.
func client(server netip.AddrPort, n, port int) netip.AddrPort {
	if server.Addr().Is6() {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xc1, byte(n >> 8), byte(n), 15: 1}), uint16(port))
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(100 + n>>8), byte(n)}), uint16(port))
}

// gap is between two packets of a session.
const gap = 40 * time.Millisecond

// session is one from its beginning on; who doesn't begin is the server.
func (p *play) session(at time.Duration, from, to netip.AddrPort, tcp bool, packets []firsts.Packet) {
	if tcp {
		p.stream(at, from, to, packets)
		return
	}
	for _, one := range packets {
		if one.Up {
			p.add(at, packet.NewUDP(from, to, string(one.Payload)))
		} else {
			p.add(at, packet.NewUDP(to, from, string(one.Payload)))
		}
		at += gap
	}
}

func (p *play) stream(at time.Duration, from, to netip.AddrPort, packets []firsts.Packet) {
	up, down := uint32(1000), uint32(900_000)
	say := func(isUp bool, flags uint8, payload []byte) {
		seq, ack, a, b := &up, &down, from, to
		if !isUp {
			seq, ack, a, b = &down, &up, to, from
		}
		one := packet.NewTCP(a, b, flags, string(payload))
		one.Seq, one.Ack = *seq, *ack
		if flags&packet.ACK == 0 {
			one.Ack = 0
		}
		*seq += uint32(len(payload))
		if flags&packet.SYN != 0 {
			*seq++
		}
		p.add(at, one)
		at += gap
	}
	say(true, packet.SYN, nil)
	say(false, packet.SYN|packet.ACK, nil)
	say(true, packet.ACK, nil)
	for _, one := range packets {
		say(one.Up, packet.ACK|packet.PSH, one.Payload)
	}
}

// write leaves the capture in a file.
func (p *play) write(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "play.pcapng")
	f, err := os.Create(path)
	must(t, err)
	w, err := pcap.NewWriter(f, "test", "")
	must(t, err)
	_, err = w.AddInterface("eth0", 0, "")
	must(t, err)
	slices.SortStableFunc(p.frames, func(a, b stamped) int { return int(a.at - b.at) })
	for _, one := range p.frames {
		kept := one.data
		if p.snap > 0 {
			kept = kept[:min(p.snap, len(kept))]
		}
		must(t, w.Write(&pcap.Record{Time: begun.Add(one.at), Data: kept, WireLen: len(one.data), XDP: -1}))
	}
	must(t, f.Close())
	return path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// small are tables that are made in no time.
const small = "sizes: {sessions: 8192, unproven: 4096, blocks: 16, allows: 16, prefixes: 16, sources: 4096, greylist: 65536, regulars: 64, fragments: 64, samples: 65536}\n"

// replay is the edge's own, of a capture.
func replay(ctx context.Context, config, capture string) (learn.Replay, error) {
	text, err := os.ReadFile(config)
	if err == nil {
		err = os.WriteFile(config, append(text, small...), 0o600)
	}
	if err != nil {
		return learn.Replay{}, err
	}
	count := learn.Count()
	err = engine.Replay(ctx, engine.ReplayOptions{Config: config, Capture: capture, JSON: true}, count)
	return count.Replay, err
}

// replayText replays a capture by a configuration's text.
func replayText(t *testing.T, text, capture string) learn.Replay {
	t.Helper()
	path := filepath.Join(t.TempDir(), "parry.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	r, err := replay(t.Context(), path, capture)
	must(t, err)
	return r
}

// prove learns of captures and holds the proposal to them: nothing is dropped, enforced or not.
func prove(t *testing.T, o learn.Options) *learn.Profile {
	t.Helper()
	p, err := learn.Prove(t.Context(), o, replay)
	must(t, err)
	whole := p.Replay != nil && (p.Replay.Packets == p.Packets || p.Replay.Packets == 0 && strings.Contains(p.YAML, "PPPoE"))
	if !whole || len(p.Replay.Dropped) > 0 {
		t.Errorf("of %d packets: %+v\n%s", p.Packets, p.Replay, p.YAML)
	}
	return p
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// match is what goes on behind first packets, both ways.
func match(r *rand.Rand, n int) (all []firsts.Packet) {
	for range n {
		all = append(all, firsts.Packet{Payload: noise(r, 30+r.IntN(200))}, firsts.Packet{Up: true, Payload: noise(r, 20+r.IntN(60))})
	}
	return all
}
