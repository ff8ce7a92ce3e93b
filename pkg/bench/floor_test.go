// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"parry/loader"
	"parry/test/need"
)

// testBench runs f inside a bench.
func testBench(t *testing.T, f func(b *bench) error) {
	t.Helper()
	need.Root(t)
	b, err := newBench(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = b.inside(func() error { return errors.Join(b.loadFloors(), f(b)) })
	if err = errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
}

// out is what a program makes of a frame.
func out(p *ebpf.Program, frame []byte) (uint32, []byte, error) {
	opts := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)), Repeat: 1}
	code, err := p.Run(&opts)
	return code, opts.DataOut, err
}

// A floor that is wrong is no floor.
func TestFloorsForward(t *testing.T) {
	testBench(t, func(b *bench) error {
		x4, x6 := natPair4(), natPair6()
		if err := errors.Join(b.carryPair(x4), b.carryPair(x6), b.carryPair(throughPair())); err != nil {
			return err
		}
		for _, row := range []struct {
			name string
			prog *ebpf.Program
			r    rewriting
			ttl  int
			want uint32
		}{
			{"udp4", b.floor.Nat4, x4.up(loader.ProtoUDP), ttlAt4, loader.XDPTX},
			{"udp4 back", b.floor.Nat4, x4.up(loader.ProtoUDP).back(), ttlAt4, loader.XDPTX},
			{"udp4 down", b.floor.Nat4, x4.down(loader.ProtoUDP), ttlAt4, loader.XDPTX},
			{"udp4 redirect", b.floor.Nat4Redirect, x4.up(loader.ProtoUDP), ttlAt4, loader.XDPRedirect},
			{"udp4 transparent", b.floor.Nat4, throughPair().up(loader.ProtoUDP), ttlAt4, loader.XDPTX},
			{"tcp4", b.floor.Nat4, x4.nth(hot).up(loader.ProtoTCP), ttlAt4, loader.XDPTX},
			{"udp6", b.floor.Nat6, x6.up(loader.ProtoUDP), hopLimitAt, loader.XDPTX},
			{"udp6 redirect", b.floor.Nat6Redirect, x6.up(loader.ProtoUDP), hopLimitAt, loader.XDPRedirect},
			{"tcp6", b.floor.Nat6, x6.nth(hot).up(loader.ProtoTCP), hopLimitAt, loader.XDPTX},
		} {
			code, frame, err := out(row.prog, row.r.from.frame(tcpACK))
			if err != nil {
				return err
			}
			if code != row.want || frame[row.ttl] != frameTTL-1 {
				t.Errorf("%s: code %d, TTL %d", row.name, code, frame[row.ttl])
			}
			row.r.to.check(t, frame)
		}
		return nil
	})
}

// A packet that goes round and round must not run out of TTL, nor leave its two tuples.
func TestThePacketThatComesBackLives(t *testing.T) {
	testBench(t, func(b *bench) error {
		x := natPair4()
		d, err := b.again4()
		if err := errors.Join(err, b.carryPair(x)); err != nil {
			return err
		}
		p := probe{name: "nat4", driver: d, program: b.floor.Nat4, frames: [][]byte{x.up(loader.ProtoUDP).from.frame(0)}, want: loader.XDPTX}
		_, err = p.timed(1000)
		return err
	})
}

// Go and the driver agree on who the strangers are.
func TestStrangersComeInTurn(t *testing.T) {
	testBench(t, func(b *bench) error {
		const sources = 3
		d, err := b.strangers("turn", crowdVIP(), sources, false)
		if err := errors.Join(err, d.aim(b.floor.Nat4)); err != nil { // which passes what it doesn't know
			return err
		}
		for i := range uint32(2 * sources) {
			code, frame, err := out(d.program, strangerTo(crowdVIP()))
			if err != nil || code != loader.XDPPass {
				return errors.Join(err, errors.New("the floor knows a stranger"))
			}
			want := stranger(i%sources, crowdVIP())
			want.from = netip.AddrPortFrom(want.from.Addr(), firstPort+uint16(i/sources)) // then by the next port
			if whole := want.frame(0); !bytes.Equal(frame[26:38], whole[26:38]) {
				t.Errorf("stranger %d: addresses and ports % x, not % x", i, frame[26:38], whole[26:38])
			}
		}
		return d.check()
	})
}

func TestSpreadIsOneToOne(t *testing.T) {
	seen := map[string]bool{}
	for i := range uint32(mostHosts / 10) {
		a := spread(i).String()
		if seen[a] {
			t.Fatalf("%s comes twice", a)
		}
		seen[a] = true
	}
}
