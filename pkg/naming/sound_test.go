// SPDX-License-Identifier: Apache-2.0

package naming_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"parry/pkg/naming"
	"parry/pkg/pcap"
	"parry/test/firsts"
	"parry/test/need"
)

func sound(t *testing.T, proto naming.Proto, payload []byte, length int) {
	t.Helper()
	if games := naming.Hold(proto, payload[:min(len(payload), naming.Budget)], length, 64738).Games(); len(games) > 1 {
		t.Errorf("%d bytes are %v: %x", length, games, payload[:min(len(payload), 64)])
	}
}

// No packet that is made up is two games', and none that a bit or byte was changed in, or that was cut.
func TestNoMadeUpPacketIsTwoGames(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for _, s := range firsts.Flows(6, 12) {
		for _, p := range s.Packets {
			b := append([]byte(nil), p.Payload...)
			for range 12 {
				for _, proto := range []naming.Proto{naming.UDP, naming.TCP} {
					sound(t, proto, b, len(b))
					sound(t, proto, b[:r.IntN(len(b)+1)], len(b))
				}
				if len(b) > 0 {
					b[r.IntN(min(len(b), 40))] = []byte{0, 1, 0xff, 0x80, byte(r.Uint32())}[r.IntN(5)]
				}
			}
		}
	}
}

// None of two games glued together either, one over the other.
func TestNoMixedPacketIsTwoGames(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	flows := firsts.Flows(9, 6)
	for range 20_000 {
		a, b := &flows[r.IntN(len(flows))], &flows[r.IntN(len(flows))]
		mixed := append([]byte(nil), a.Packets[r.IntN(len(a.Packets))].Payload...)
		other := b.Packets[r.IntN(len(b.Packets))].Payload
		if len(mixed) == 0 {
			continue
		}
		copy(mixed[r.IntN(min(len(mixed), 48)):], other[r.IntN(min(len(other), 48)+1):])
		h := naming.Hold(naming.UDP, mixed, len(mixed), 64738)
		if len(h.Magic) > 1 {
			t.Errorf("%s over %s is %v: %x", b.What, a.What, h.Magic, mixed[:min(len(mixed), 80)])
		}
	}
}

// Nor any packet that was captured.
func TestNoCapturedPacketIsTwoGames(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(need.Captures(t), "*.pcap*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	packets := 0
	for _, file := range files {
		packets += soundCapture(t, file)
	}
	t.Logf("%d packets in %d files", packets, len(files))
}

func soundCapture(t *testing.T, file string) (n int) {
	t.Helper()
	r, err := pcap.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		p, err := r.Next()
		if errors.Is(err, pcap.ErrPacket) {
			continue
		}
		if err == io.EOF {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		decoded := gopacket.NewPacket(p.Data, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		if udp, ok := decoded.Layer(layers.LayerTypeUDP).(*layers.UDP); ok {
			sound(t, naming.UDP, udp.Payload, len(udp.Payload))
			n++
		} else if tcp, ok := decoded.Layer(layers.LayerTypeTCP).(*layers.TCP); ok {
			sound(t, naming.TCP, tcp.Payload, len(tcp.Payload))
			n++
		}
	}
}

// Whatever the bytes: no magic is two games', nothing is read beyond what is there, and a name has a reason.
func FuzzPacket(f *testing.F) {
	for _, s := range firsts.Flows(10, 1) {
		for _, p := range s.Packets {
			f.Add(s.TCP, p.Payload, len(p.Payload))
		}
	}
	f.Fuzz(func(t *testing.T, tcp bool, payload []byte, length int) {
		proto := naming.UDP
		if tcp {
			proto = naming.TCP
		}
		payload = payload[:min(len(payload), naming.Budget)]
		if h := naming.Hold(proto, payload, length, 64738); len(h.Magic) > 1 {
			t.Errorf("%v", h.Magic)
		}
	})
}

// A session of any packets: each is at most 255 bytes of the input, behind a byte of its length; the highest bit of a byte before it says
// from whom it comes.
func FuzzFlow(f *testing.F) {
	for _, s := range firsts.Flows(11, 1) {
		var in []byte
		for _, p := range s.Packets {
			side := byte(0)
			if p.Up {
				side = 0x80
			}
			b := p.Payload[:min(len(p.Payload), 255)]
			in = append(append(in, side, byte(len(b))), b...)
		}
		f.Add(s.TCP, s.Port, in)
	}
	f.Fuzz(func(t *testing.T, tcp bool, port uint16, in []byte) {
		proto := naming.UDP
		if tcp {
			proto = naming.TCP
		}
		flow, namer := naming.Begin(proto, port, true), new(naming.Namer)
		for len(in) >= 2 {
			size := min(int(in[1]), len(in)-2)
			if up := in[0]&0x80 != 0; tcp {
				namer.Segment(&flow, &naming.Segment{Up: up, Seq: uint32(in[0]) << 4, Flags: in[0] & 0x1f, Payload: in[2 : 2+size], Length: size + int(in[0]&7)})
			} else {
				namer.Feed(&flow, up, in[2:2+size], size+int(in[0]&0x7f))
			}
			in = in[2+size:]
		}
		n := flow.Name()
		if n.Reason == "" || n.Confidence < 0 || n.Confidence > 1 || n.Game.Plays() != (n.Class != "") || n.Game.Known() != (n.Confidence > 0) {
			t.Errorf("%+v", n)
		}
	})
}
