// SPDX-License-Identifier: Apache-2.0

package classify_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/pkg/classify"
	"parry/pkg/pcap"
	"parry/test/packet"
)

const (
	a2s    = "\xff\xff\xff\xffTSource Engine Query\x00"
	status = "\xff\xff\xff\xffgetstatus\n"
	steve  = "\x10\x00\xfa\x05\x0910.77.0.1\x63\xdd\x02" // Minecraft's handshake
)

var (
	player, server   = netip.MustParseAddrPort("198.51.100.7:40000"), netip.MustParseAddrPort("203.0.113.10:27015")
	other            = netip.MustParseAddrPort("203.0.113.99:9")
	player6, server6 = netip.MustParseAddrPort("[2001:db8::7]:40000"), netip.MustParseAddrPort("[2001:db8::10]:27015")
)

// capture is a pcap file of a link type; own is the header that each packet has in front of its IP packet.
func capture(link uint32, snap int, own func(l3 []byte) []byte, frames ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0)
	b = binary.LittleEndian.AppendUint32(b, link)
	for _, f := range frames {
		if own != nil {
			f = own(f[14:])
		}
		cut := f[:min(snap, len(f))]
		b = append(b, make([]byte, 8)...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(cut)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, cut...)
	}
	return b
}

// told are the flows of a capture, a line each.
func told(t *testing.T, room int, file []byte) (lines []string, err error) {
	t.Helper()
	err = classify.Read(bytes.NewReader(file), room, func(f *classify.Flow) error {
		lines = append(lines, fmt.Sprintf("%s %s > %s %d %d %v", f.Proto, f.Src, f.Dst, f.Packets, f.Bytes, f.Name.Game))
		return nil
	})
	return lines, err
}

func front(b ...byte) func([]byte) []byte {
	return func(l3 []byte) []byte { return append(slices.Clone(b), l3...) }
}

// Whatever a packet is wrapped in, its flow is the same.
func TestEveryLinkType(t *testing.T) {
	v4, v6 := packet.NewUDP(player, server, a2s), packet.NewUDP(player6, server6, a2s)
	tagged := func(p *packet.Packet) {
		p.Tags = []packet.Tag{{Proto: packet.TypeQinQ, TCI: 7}, {Proto: packet.TypeVLAN, TCI: 9}}
	}
	extended := func(p *packet.Packet) {
		p.Exts = []packet.Ext{{Type: packet.HopByHop, Body: make([]byte, 6)}, {Type: packet.Destination, Body: make([]byte, 14)}}
	}
	sll := append([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, 8, 0)
	sll2 := append([]byte{8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1}, 0, 0)
	pppoe := append(make([]byte, 12), 0x88, 0x64, 0x11, 0, 0, 1, 0, 55, 0, 0x21)
	for _, x := range []struct {
		name string
		link uint32
		own  func([]byte) []byte
		p    packet.Packet
		v6   bool
	}{
		{"Ethernet", 1, nil, v4, false},
		{"Ethernet, IPv6", 1, nil, v6, true},
		{"two VLAN tags", 1, nil, v4.With(tagged), false},
		{"two VLAN tags, IPv6 with extension headers", 1, nil, v6.With(tagged).With(extended), true},
		{"IPv4 with options", 1, nil, v4.With(func(p *packet.Packet) { p.Options = []byte{1, 1, 1, 1} }), false},
		{"padded", 1, nil, v4.With(func(p *packet.Packet) { p.Trailer = make([]byte, 9) }), false},
		{"IPv6, padded", 1, nil, v6.With(func(p *packet.Packet) { p.Trailer = make([]byte, 9) }), true},
		{"PPPoE", 1, front(pppoe...), v4, false},
		{"raw", 101, front(), v4, false},
		{"raw, IPv6", 101, front(), v6, true},
		{"null", 0, front(2, 0, 0, 0), v4, false},
		{"null, IPv6", 0, front(30, 0, 0, 0), v6, true},
		{"loop", 108, front(0, 0, 0, 2), v4, false},
		{"cooked", 113, front(sll...), v4, false},
		{"cooked, version 2", 276, front(sll2...), v4, false},
	} {
		want := "udp 198.51.100.7:40000 > 203.0.113.10:27015 1 "
		if x.v6 {
			want = "udp [2001:db8::7]:40000 > [2001:db8::10]:27015 1 "
		}
		lines, err := told(t, 10, capture(x.link, 1500, x.own, x.p.Bytes()))
		if err != nil || len(lines) != 1 || !strings.HasPrefix(lines[0], want) || !strings.HasSuffix(lines[0], " source") {
			t.Errorf("%s: %q, %v", x.name, lines, err)
		}
	}
}

// A flow is both ways, in the direction of its first packet, and one line whatever is between its packets.
func TestFlows(t *testing.T) {
	back := func(p *packet.Packet) { p.From, p.To = p.To, p.From }
	data := packet.NewTCP(player, server, packet.ACK, steve)
	login := packet.NewTCP(player, server, packet.ACK, "")
	frames := [][]byte{
		packet.NewUDP(server, player, a2s).Bytes(), // the higher address first
		packet.NewTCP(player, server, packet.SYN, "").With(func(p *packet.Packet) { p.Seq-- }).Bytes(),
		packet.NewUDP(server, player, "\xff\xff\xff\xffA1234").With(back).Bytes(),
		login.With(back).With(func(p *packet.Packet) { p.Trailer = []byte("\xff\xff\xff\xff\xff\xff") }).Bytes(), data.Bytes(), data.Bytes(),
		packet.NewICMP(player.Addr(), server.Addr(), 8, 0, 1, []byte("abcd")).Bytes(),
		packet.Frame(packet.EdgeSide, packet.ClientSide, packet.TypeARP, make([]byte, 28)),
		packet.NewUDP(player, netip.MustParseAddrPort("203.0.113.10:27960"), status).Bytes(),
		login.With(func(p *packet.Packet) { p.Proto = 47 }).Bytes(),
	}
	frames = append(frames, packet.NewUDP(player, other, strings.Repeat("x", 3000)).Fragments(7, 1480)...)
	lines, err := told(t, 100, capture(1, 1<<16, nil, frames...))
	want := []string{
		"udp 203.0.113.10:27015 > 198.51.100.7:40000 2 118 source",
		"tcp 198.51.100.7:40000 > 203.0.113.10:27015 4 256 minecraft_java",
		"icmp 198.51.100.7 > 203.0.113.10 1 46 l3_other",
		"udp 198.51.100.7:40000 > 203.0.113.10:27960 1 56 quake3",
		"47 198.51.100.7 > 203.0.113.10 1 ",
		"udp 198.51.100.7:40000 > 203.0.113.99:9 1 ",
		"udp 198.51.100.7:0 > 203.0.113.99:0 2 ",
	}
	if err != nil || len(lines) != len(want) {
		t.Fatalf("%q, %v", lines, err)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("got %q, want %q", lines[i], want[i])
		}
	}
}

// What was cut by the capture counts as long as it was: of 25 bytes that name Source, 20 were captured, and a query of that length is none.
func TestSnapLength(t *testing.T) {
	query := packet.NewUDP(player, server, status).Bytes()
	long := packet.NewUDP(player, server, "\xff\xff\xff\xffconnect \x01\x02"+strings.Repeat("\xee", 900)).Bytes()
	for snap := 0; snap <= 80; snap++ {
		lines, err := told(t, 10, capture(1, snap, nil, query))
		switch {
		case snap < 14:
			if !errors.Is(err, pcap.ErrPacket) || len(lines) != 0 {
				t.Errorf("cut at %d: %q, %v", snap, lines, err)
			}
		case err != nil:
			t.Errorf("cut at %d: %v", snap, err)
		case snap >= len(query) && (len(lines) != 1 || !strings.HasSuffix(lines[0], "quake3")):
			t.Errorf("cut at %d: %q", snap, lines)
		}
		lines, err = told(t, 10, capture(1, snap+55, nil, long))
		if err != nil || len(lines) != 1 || !strings.Contains(lines[0], fmt.Sprintf(" 1 %d quake3", len(long))) {
			t.Errorf("a long one cut at %d: %q, %v", snap+55, lines, err)
		}
	}
}

// A file that ends anywhere gives the flows until there, and an error that says where; the same of one that is damaged.
func TestCutAnywhere(t *testing.T) {
	whole := capture(1, 1500, nil, packet.NewUDP(player, server, a2s).Bytes(), packet.NewUDP(player6, server6, status).Bytes())
	first := 24 + 16 + 14 + 28 + len(a2s)
	for cut := 25; cut < len(whole); cut++ {
		lines, err := told(t, 10, whole[:cut])
		if want := cut - first; (want >= 0) != (len(lines) == 1) {
			t.Errorf("cut at %d: %q", cut, lines)
		}
		if cut != first && (!errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "the flows until there are told")) || cut == first && err != nil {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	damaged := slices.Clone(whole)
	binary.LittleEndian.PutUint32(damaged[first+8:], 1<<30)
	if lines, err := told(t, 10, damaged); len(lines) != 1 || err == nil || !strings.Contains(err.Error(), fmt.Sprintf("packet 2 at byte %d", first)) {
		t.Errorf("damaged: %q, %v", lines, err)
	}
}

// However many flows a file has, so many are kept: each is told once, in the order in which they began.
func TestMemoryIsBounded(t *testing.T) {
	var frames [][]byte
	for i := range 1000 {
		from := netip.AddrPortFrom(player.Addr(), uint16(1000+i))
		frames = append(frames, packet.NewUDP(from, server, a2s).Bytes(), packet.NewUDP(server, from, "\xff\xff\xff\xffA1234").Bytes())
	}
	lines, err := told(t, 16, capture(1, 1500, nil, frames...))
	if err != nil || len(lines) != 1000 {
		t.Fatalf("%d flows, %v", len(lines), err)
	}
	for i, l := range lines {
		if want := fmt.Sprintf("udp 198.51.100.7:%d > 203.0.113.10:27015 2 118 source", 1000+i); l != want {
			t.Fatalf("flow %d: %q, want %q", i, l, want)
		}
	}
}

// Ethernet's padding is no payload: here it would be Minecraft's legacy ping.
func TestPaddingIsNotRead(t *testing.T) {
	syn := packet.NewTCP(player, server, packet.SYN, "").With(func(p *packet.Packet) { p.Seq-- })
	ack := packet.NewTCP(player, server, packet.ACK, "")
	lines, err := told(t, 2, capture(1, 1500, nil, syn.Bytes(), ack.With(func(p *packet.Packet) { p.Trailer = []byte("\xfe\x01") }).Bytes()))
	if err != nil || len(lines) != 1 || strings.HasSuffix(lines[0], "minecraft_java") {
		t.Errorf("%q, %v", lines, err)
	}
	ack.Payload = []byte("\xfe\x01")
	if lines, _ = told(t, 2, capture(1, 1500, nil, syn.Bytes(), ack.Bytes())); len(lines) != 1 || !strings.HasSuffix(lines[0], "minecraft_java") {
		t.Errorf("as payload: %q", lines)
	}
}

// A flow that was forgotten is told as another when it goes on.
func TestForgottenFlowsBeginAnew(t *testing.T) {
	var frames [][]byte
	for _, port := range []uint16{1, 2, 3, 1} {
		frames = append(frames, packet.NewUDP(netip.AddrPortFrom(player.Addr(), port), server, a2s).Bytes())
	}
	lines, err := told(t, 2, capture(1, 1500, nil, frames...))
	want := []string{"1", "2", "3", "1"}
	for i := range want {
		want[i] = "udp 198.51.100.7:" + want[i] + " > 203.0.113.10:27015 1 67 source"
	}
	if diff := cmp.Diff(want, lines); diff != "" || err != nil {
		t.Errorf("%v, %s", err, diff)
	}
}

func TestJSON(t *testing.T) {
	dir := t.TempDir()
	good, cut := filepath.Join(dir, "good.pcap"), filepath.Join(dir, "cut.pcapng")
	if err := os.WriteFile(good, capture(1, 1500, nil, packet.NewUDP(player, server, a2s).Bytes()), 0o600); err != nil {
		t.Fatal(err)
	}
	var ng bytes.Buffer
	w, err := pcap.NewWriter(&ng, "test", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddInterface("eth0", 1500, ""); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&pcap.Record{Time: time.Unix(1, 0), Data: packet.NewTCP(player, server, packet.ACK, "nothing known").Bytes(), XDP: -1}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cut, append(ng.Bytes(), 6, 0, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = classify.Write(t.Context(), classify.Options{Files: []string{cut, filepath.Join(dir, "none"), good}, JSON: true}, &out)
	if err == nil || !strings.Contains(err.Error(), "cut.pcapng") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
	want := []map[string]any{
		{"file": cut, "proto": "tcp", "src": "198.51.100.7:40000", "dst": "203.0.113.10:27015", "packets": 1.0, "bytes": 67.0,
			"game": "unknown_tcp", "class": "", "confidence": 0.0, "reason": "no rule holds of its first packets"},
		{"file": good, "proto": "udp", "src": "198.51.100.7:40000", "dst": "203.0.113.10:27015", "packets": 1.0, "bytes": 67.0,
			"game": "source", "class": "fps", "confidence": 0.99, "reason": "a query of Source servers (A2S)"},
	}
	var got []map[string]any
	for line := range strings.Lines(out.String()) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		got = append(got, o)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzCapture(f *testing.F) {
	f.Add(capture(1, 1500, nil, packet.NewUDP(player, server, a2s).Bytes(), packet.NewUDP(player6, server6, status).Bytes()))
	f.Add(capture(113, 60, front(make([]byte, 16)...), packet.NewTCP(player, server, packet.SYN, steve).Bytes()))
	f.Fuzz(func(t *testing.T, file []byte) {
		packets := 0
		_ = classify.Read(bytes.NewReader(file), 3, func(f *classify.Flow) error {
			if packets += f.Packets; f.Packets < 1 || f.Src == "" || f.Dst == "" || f.Name.Reason == "" {
				t.Errorf("%+v", f)
			}
			return nil
		})
		if packets > len(file)/14 {
			t.Errorf("%d packets in %d bytes", packets, len(file))
		}
	})
}
