// SPDX-License-Identifier: Apache-2.0

package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// orders are the byte orders a file may have.
func orders() []binary.AppendByteOrder {
	return []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian}
}

func when() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 123456789, time.UTC) }

// ethernet is a frame whose bytes count up.
func ethernet(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// classic makes a pcap file by hand.
func classic(o binary.AppendByteOrder, magic, link uint32, packets ...[]byte) []byte {
	b := o.AppendUint32(nil, magic)
	b = o.AppendUint16(o.AppendUint16(b, 2), 4)
	b = append(b, make([]byte, 8)...)
	b = o.AppendUint32(o.AppendUint32(b, 1500), link)
	for _, p := range packets {
		frac := uint32(when().Nanosecond())
		if magic == magicMicro {
			frac /= 1000
		}
		b = o.AppendUint32(o.AppendUint32(b, uint32(when().Unix())), frac)
		b = o.AppendUint32(o.AppendUint32(b, uint32(len(p))), uint32(len(p)+10))
		b = append(b, p...)
	}
	return b
}

// block makes a pcapng block.
func block(o binary.AppendByteOrder, typ uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n := uint32(len(body) + 12)
	b := o.AppendUint32(o.AppendUint32(nil, typ), n)
	return o.AppendUint32(append(b, body...), n)
}

func section(o binary.AppendByteOrder) []byte {
	b := o.AppendUint32(nil, sectionMagic)
	b = o.AppendUint16(o.AppendUint16(b, 1), 0)
	return block(o, blockSection, o.AppendUint64(b, 1<<64-1))
}

func ifaceBlock(o binary.AppendByteOrder, link uint16, snap uint32, options ...byte) []byte {
	b := o.AppendUint16(o.AppendUint16(nil, link), 0)
	return block(o, blockInterface, append(o.AppendUint32(b, snap), options...))
}

func enhanced(o binary.AppendByteOrder, id uint32, ticks uint64, data []byte, wire uint32, options ...byte) []byte {
	b := o.AppendUint32(nil, id)
	b = o.AppendUint32(o.AppendUint32(b, uint32(ticks>>32)), uint32(ticks))
	b = append(o.AppendUint32(o.AppendUint32(b, uint32(len(data))), wire), data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return block(o, blockEnhanced, append(b, options...))
}

// readAll reads every packet of a file; errors about one packet are collected.
func readAll(t *testing.T, file []byte) (got []Packet, bad []error, err error) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, nil, err
	}
	for {
		p, err := r.Next()
		switch {
		case err == io.EOF:
			return got, bad, nil
		case errors.Is(err, ErrPacket):
			bad = append(bad, err)
		case err != nil:
			if _, again := r.Next(); again != err {
				t.Errorf("after %v came %v", err, again)
			}
			return got, bad, err
		default:
			p.Data = slices.Clone(p.Data)
			got = append(got, p)
		}
	}
}

func wantPackets(t *testing.T, file []byte, want []Packet) {
	t.Helper()
	got, bad, err := readAll(t, file)
	if err != nil || len(bad) > 0 {
		t.Errorf("errors: %v %v", err, bad)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestClassicInAllItsForms(t *testing.T) {
	for _, o := range orders() {
		for magic, tick := range map[uint32]time.Duration{magicMicro: time.Microsecond, magicNano: time.Nanosecond} {
			t.Run(fmt.Sprintf("%s %#x", o, magic), func(t *testing.T) {
				a, b := ethernet(60), ethernet(3000)
				wantPackets(t, classic(o, magic, 1, a, b), []Packet{
					{N: 1, Time: when().Truncate(tick), Data: a, WireLen: 70, Link: "ethernet"},
					{N: 2, Time: when().Truncate(tick), Data: b, WireLen: 3010, Link: "ethernet"},
				})
			})
		}
	}
}

func TestNGInAllItsForms(t *testing.T) {
	data := ethernet(61)
	ns := uint64(when().UnixNano())
	for _, o := range orders() {
		option := func(code uint16, v ...byte) []byte {
			b := append(o.AppendUint16(o.AppendUint16(nil, code), uint16(len(v))), v...)
			for len(b)%4 != 0 {
				b = append(b, 0)
			}
			return b
		}
		shift := option(optTSOffset, o.AppendUint64(nil, 1000)...)
		old := o.AppendUint16(o.AppendUint16(nil, 1), 7)
		old = o.AppendUint32(o.AppendUint32(old, uint32(ns>>32)), uint32(ns))
		old = append(o.AppendUint32(o.AppendUint32(old, 61), 90), data...)
		file := slices.Concat(
			section(o),
			ifaceBlock(o, 1, 0, option(2, []byte("eth0")...)...),
			ifaceBlock(o, 1, 40, slices.Concat(option(optTSResol, 9), option(optEnd))...),
			ifaceBlock(o, 1, 0, slices.Concat(option(optTSResol, 0x80|20), shift)...),
			block(o, 0x0bad, make([]byte, 40)),
			enhanced(o, 0, ns/1000, data, 100, option(1, []byte("a comment")...)...),
			enhanced(o, 1, ns, data, 61),
			enhanced(o, 2, 3<<20|1<<19, data, 61),
			block(o, blockPacket, old),
			block(o, blockSimple, append(o.AppendUint32(nil, 500), data...)),
			section(orders()[1]), ifaceBlock(orders()[1], 1, 20),
			block(orders()[1], blockSimple, append(orders()[1].AppendUint32(nil, 500), data[:20]...)),
		)
		t.Run(o.String(), func(t *testing.T) {
			wantPackets(t, file, []Packet{
				{N: 1, Time: when().Truncate(time.Microsecond), Data: data, WireLen: 100, Link: "ethernet"},
				{N: 2, Time: when(), Data: data, WireLen: 61, Link: "ethernet"},
				{N: 3, Time: time.Unix(1003, 5e8).UTC(), Data: data, WireLen: 61, Link: "ethernet"},
				{N: 4, Time: when(), Data: data, WireLen: 90, Link: "ethernet"},
				{N: 5, Data: append(slices.Clone(data), 0, 0, 0), WireLen: 500, Link: "ethernet"},
				{N: 6, Data: data[:20], WireLen: 500, Link: "ethernet"},
			})
		})
	}
}

func TestEveryLinkTypeBecomesEthernet(t *testing.T) {
	v4, v6 := append([]byte{0x45}, ethernet(39)...), append([]byte{0x60}, ethernet(59)...)
	made := func(typ uint16, payload []byte) []byte {
		b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
		return append(binary.BigEndian.AppendUint16(b, typ), payload...)
	}
	sll := func(proto uint16, payload []byte) []byte {
		b := []byte{0, 4, 0, 1, 0, 6, 0xaa, 1, 2, 3, 4, 5, 0, 0}
		return append(binary.BigEndian.AppendUint16(b, proto), payload...)
	}
	sll2 := func(proto uint16, payload []byte) []byte {
		b := append(binary.BigEndian.AppendUint16(nil, proto), 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 0xaa, 1, 2, 3, 4, 5, 0, 0)
		return append(b, payload...)
	}
	from := func(b []byte) []byte {
		copy(b[6:], []byte{0xaa, 1, 2, 3, 4, 5})
		return b
	}
	tests := []struct {
		name     string
		link     uint32
		in, want []byte
		called   string
	}{
		{"raw v4", 101, v4, made(etherIPv4, v4), "raw"},
		{"raw v6", 101, v6, made(etherIPv6, v6), "raw"},
		{"raw BSD", 12, v4, made(etherIPv4, v4), "raw"},
		{"raw OpenBSD", 14, v6, made(etherIPv6, v6), "raw"},
		{"raw, damaged", 101, []byte{0x15}, made(etherIPv4, []byte{0x15}), "raw"},
		{"null", 0, append([]byte{2, 0, 0, 0}, v4...), made(etherIPv4, v4), "null"},
		{"null, other order", 0, append([]byte{0, 0, 0, 2}, v4...), made(etherIPv4, v4), "null"},
		{"null v6 on a Mac", 0, append([]byte{30, 0, 0, 0}, v6...), made(etherIPv6, v6), "null"},
		{"loop v6 on OpenBSD", 108, append([]byte{0, 0, 0, 24}, v6...), made(etherIPv6, v6), "loop"},
		{"cooked", 113, sll(etherIPv4, v4), from(made(etherIPv4, v4)), "sll"},
		{"cooked 2", 276, sll2(etherIPv6, v6), from(made(etherIPv6, v6)), "sll2"},
		{"cooked 802.2", 113, sll(4, v4), from(made(uint16(len(v4)), v4)), "sll"},
		{"cooked, only its header", 276, sll2(etherIPv4, nil), from(made(etherIPv4, nil)), "sll2"},
		{"frame check sequence", 1 | 0x24000000, ethernet(60), ethernet(60), "ethernet"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantPackets(t, classic(binary.LittleEndian, magicNano, tt.link, tt.in), []Packet{
				{N: 1, Time: when(), Data: tt.want, WireLen: len(tt.want) + 10, Link: tt.called},
			})
		})
	}
}

func TestOneUnusablePacketEndsNothing(t *testing.T) {
	o := binary.LittleEndian
	good := ethernet(60)
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"short Ethernet": {classic(o, magicNano, 1, []byte{1}, good), "packet 1: packet not usable: 1 captured bytes are too few for an Ethernet header"},
		"other link": {slices.Concat(section(o), ifaceBlock(o, 105, 0), ifaceBlock(o, 1, 0), enhanced(o, 0, 0, good, 60), enhanced(o, 1, 0, good, 60)),
			"packet 1: packet not usable: link type 105 (802.11) is none of Ethernet, raw IP, null/loop and Linux cooked"},
		"family": {slices.Concat(section(o), ifaceBlock(o, 0, 0), ifaceBlock(o, 1, 0), enhanced(o, 0, 0, []byte{7, 0, 0, 0}, 60), enhanced(o, 1, 0, good, 60)),
			"packet 1: packet not usable: address family 7 is neither IPv4 nor IPv6"},
	} {
		got, bad, err := readAll(t, tt.file)
		if err != nil || len(bad) != 1 || bad[0].Error() != tt.want || len(got) != 1 || got[0].N != 2 {
			t.Errorf("%s: %d packets, %v %v", name, len(got), bad, err)
		}
	}
}

func TestDamagedFilesSayWhere(t *testing.T) {
	o := binary.LittleEndian
	good := classic(o, magicMicro, 1, ethernet(60), ethernet(60))
	huge := slices.Clone(good)
	o.PutUint32(huge[24+76+8:], 1<<31)
	ng := slices.Concat(section(o), ifaceBlock(o, 1, 0), enhanced(o, 0, 0, ethernet(60), 60))
	trailer := slices.Clone(ng)
	trailer[len(trailer)-4]++
	length := slices.Clone(ng)
	length[len(section(o))+4] = 13
	version := slices.Clone(ng)
	version[12] = 9
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "the capture is empty"},
		{"short", []byte{1, 2}, "not a pcap or pcapng file: the file ends in the middle: unexpected EOF"},
		{"text", []byte("hello there"), "not a pcap or pcapng file: it begins with 68656c6c"},
		{"header cut", good[:20], "pcap header: the file ends in the middle: unexpected EOF"},
		{"link type", classic(o, magicMicro, 127), "link type 127 (802.11 with radiotap) is none of Ethernet, raw IP, null/loop and Linux cooked"},
		{"modified", classic(o, magicModified, 1), `the old "modified" pcap format: convert it with: editcap -F pcap IN OUT`},
		{"record cut", good[:24+76+4], "packet 2 at byte 100: the file ends in the middle: unexpected EOF"},
		{"packet cut", good[:len(good)-1], "packet 2 at byte 100: the file ends in the middle: unexpected EOF"},
		{"length", huge, "packet 2 at byte 100: a captured length of 2147483648 bytes, above 262144: the file is damaged or no capture"},
		{"block cut", ng[:len(ng)-1], "packet 1 at byte 48: the file ends in the middle: unexpected EOF"},
		{"trailer", trailer, "packet 1 at byte 48: a block that begins with length 92 and ends with 93"},
		{"block length", length, "packet 1 at byte 28: a block of 13 bytes: the file is damaged"},
		{"version", version, "pcapng header: pcapng version 9: only 1 is known"},
		{"no interface", slices.Concat(section(o), enhanced(o, 3, 0, nil, 0)), "packet 1 at byte 28: interface 3, where the section has 0"},
		{"resolution", slices.Concat(section(o), ifaceBlock(o, 1, 0, 9, 0, 1, 0, 20, 0, 0, 0)), "packet 1 at byte 28: an interface clock of resolution 0x14, finer than 64 bits can count"},
		{"option", slices.Concat(section(o), ifaceBlock(o, 1, 0, 9, 0, 200, 0)), "packet 1 at byte 28: an interface option of 200 bytes in a block with room for 0"},
	} {
		_, _, err := readAll(t, tt.file)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v\nwant %s", tt.name, err, tt.want)
		}
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(path, classic(binary.LittleEndian, magicMicro, 1, ethernet(60)), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Next()
	if err != nil || p.N != 1 {
		t.Errorf("%+v %v", p, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(path + "x"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte("no capture"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.HasPrefix(err.Error(), path+": not a pcap") {
		t.Errorf("got %v", err)
	}
}

func TestAReadErrorIsNoEnd(t *testing.T) {
	file := classic(binary.LittleEndian, magicMicro, 1, ethernet(60))
	r, err := NewReader(io.MultiReader(bytes.NewReader(file), iotest.ErrReader(errors.New("disk gone"))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err == nil || err.Error() != "packet 2 at byte 100: read: disk gone" {
		t.Errorf("got %v", err)
	}
}

func TestReadingAllocatesOncePerFile(t *testing.T) {
	packets := make([][]byte, 1000)
	for i := range packets {
		packets[i] = ethernet(1000)
	}
	file := classic(binary.LittleEndian, magicMicro, 1, packets...)
	n := testing.AllocsPerRun(5, func() {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = r.Next()
		}
		if err != io.EOF {
			t.Fatal(err)
		}
	})
	if n > 10 {
		t.Errorf("%v allocations for 1000 packets", n)
	}
}

func FuzzReader(f *testing.F) {
	o := binary.LittleEndian
	f.Add(classic(o, magicMicro, 113, ethernet(60)))
	f.Add(classic(binary.BigEndian, magicNano, 276, ethernet(60)))
	f.Add(slices.Concat(section(o), ifaceBlock(o, 1, 0, 9, 0, 1, 0, 9, 0, 0, 0), enhanced(o, 0, 1<<60, ethernet(60), 60), block(o, blockSimple, ethernet(40))))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		for n := 1; ; n++ {
			p, err := r.Next()
			if errors.Is(err, ErrPacket) {
				continue
			}
			if err != nil {
				break
			}
			if p.N != n || len(p.Data) < ethLen || p.WireLen < len(p.Data) || len(p.Data) > MaxPacket+headroom || p.Link == "" {
				t.Fatalf("packet %+v", p)
			}
		}
		if cap(r.buf) > MaxPacket+headroom || len(r.ifaces) > maxIfaces {
			t.Fatalf("%d bytes, %d interfaces kept", cap(r.buf), len(r.ifaces))
		}
	})
}

func BenchmarkRead(b *testing.B) {
	packets := make([][]byte, 10_000)
	for i := range packets {
		packets[i] = ethernet(200)
	}
	file := classic(binary.LittleEndian, magicMicro, 1, packets...)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(file))
		for err == nil {
			_, err = r.Next()
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}
