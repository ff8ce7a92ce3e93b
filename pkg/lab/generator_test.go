// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parry/pkg/netns"
	"parry/test/need"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// pair is a sender and a receiver on one link.
func pair(t *testing.T, name string) (out, in *netns.Interface) {
	t.Helper()
	return pairOf(t, name, netns.LinkOptions{MTU: 9000})
}

func pairOf(t *testing.T, name string, o netns.LinkOptions) (out, in *netns.Interface) {
	t.Helper()
	need.Root(t)
	w, err := netns.NewWorld(t.Context(), name, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	a, err := w.Host("a")
	must(t, err)
	b, err := w.Host("b")
	must(t, err)
	out, in, err = w.Link(netns.End{Host: a, Name: "out0"}, netns.End{Host: b, Name: "in0"}, o)
	must(t, err)
	return out, in
}

// listen opens a packet socket with room for many frames.
func listen(t *testing.T, in *netns.Interface) int {
	t.Helper()
	fd := -1
	must(t, in.Host.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(swap(unix.ETH_P_ALL)))
		if err != nil {
			return err
		}
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 128<<20),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swap(unix.ETH_P_ALL), Ifindex: in.Index}))
	}))
	t.Cleanup(func() { must(t, unix.Close(fd)) })
	return fd
}

// frames reads the n that came, and may yet come, from the sender's station, and all that is there beyond them: a busy kernel
// hands on by another thread what was sent, some time later.
func frames(t *testing.T, fd int, from net.HardwareAddr, n int) [][]byte {
	t.Helper()
	var all [][]byte
	buf := make([]byte, 65536)
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}))
	for {
		flags := unix.MSG_TRUNC
		if len(all) >= n {
			flags |= unix.MSG_DONTWAIT
		}
		size, _, err := unix.Recvfrom(fd, buf, flags)
		if errors.Is(err, unix.EAGAIN) {
			return all
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		must(t, err)
		// The sender's own stack (multicast listener reports) uses the same station, but never these ttl and dscp.
		if f := buf[:size]; net.HardwareAddr(f[6:12]).String() == from.String() && hops(f) == ttl {
			all = append(all, append([]byte(nil), f...))
		}
	}
}

func hops(f []byte) byte {
	if f[12] == 0x08 {
		return f[ethLen+8]
	}
	return f[ethLen+7]
}

var rfcDocs = netip.MustParsePrefix("198.51.0.0/16")

func prefix(s string) netip.Prefix   { return netip.MustParsePrefix(s) }
func target(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// whole adds 16-bit words in network order and folds: all ones over a region with a right checksum.
func whole(parts ...[]byte) uint16 {
	var n uint32
	for _, b := range parts {
		for i := range b {
			n += uint32(b[i]) << (8 * (1 - i%2))
		}
	}
	for n > 0xffff {
		n = n&0xffff + n>>16
	}
	return uint16(n)
}

// badSum says what checksum of a frame is wrong, "" if none is.
func badSum(f []byte) string {
	ip := f[ethLen:]
	var l4, addresses []byte
	var proto byte
	if f[12] == 0x08 {
		if whole(ip[:ipv4Len]) != 0xffff {
			return "ipv4 header"
		}
		if binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 {
			return "" // a fragment's L4 checksum covers more than it
		}
		l4, addresses, proto = ip[ipv4Len:binary.BigEndian.Uint16(ip[2:])], ip[12:20], ip[9]
	} else {
		l4, addresses, proto = ip[ipv6Len:], ip[8:40], ip[6]
		if int(binary.BigEndian.Uint16(ip[4:])) != len(l4) {
			return "ipv6 length"
		}
		if proto == protoFrag {
			return ""
		}
	}
	pseudo := []byte{0, proto, byte(len(l4) >> 8), byte(len(l4))}
	if proto == protoICMP {
		addresses, pseudo = nil, nil
	}
	if whole(addresses, pseudo, l4) != 0xffff {
		return fmt.Sprintf("l4 of protocol %d", proto)
	}
	return ""
}

func TestGeneratorSendsExactlyWhatWasAskedEachRightAndDistinct(t *testing.T) {
	payload := []byte("0123an odd number of bytes, all checked")
	any4, any6 := []Source{{Prefix: prefix("16.0.0.0/4"), FirstPort: 1024, LastPort: 65535}}, []Source{{Prefix: prefix("2001:db8:a::/48"), FirstPort: 1024, LastPort: 65535}}
	vip4, vip6 := target("203.0.113.10:27960"), target("[2001:db8:10::10]:27960")
	for _, tt := range []struct {
		name   string
		stream Stream
		n      uint64
		proto  byte
	}{
		{"udp4", Stream{Sources: any4, Target: vip4, Protocol: UDP, Payload: payload, Random: true}, 20000, protoUDP},
		{"udp6", Stream{Sources: any6, Target: vip6, Protocol: UDP, Payload: payload}, 20000, protoUDP},
		{"empty udp", Stream{Sources: any4, Target: vip4, Protocol: UDP}, 999, protoUDP},
		{"big udp", Stream{Sources: any4, Target: vip4, Protocol: UDP, Payload: make([]byte, 1472)}, 500, protoUDP},
		{"syn4", Stream{Sources: any4, Target: vip4, Protocol: TCPSYN}, 5000, protoTCP},
		{"syn4 with options", Stream{Sources: any4, Target: vip4, Protocol: TCPSYN, Options: synOptions}, 5000, protoTCP},
		{"synack4", Stream{Sources: any4, Target: vip4, Protocol: TCPSYNACK}, 5000, protoTCP},
		{"ack4", Stream{Sources: any4, Target: vip4, Protocol: TCPACK, Payload: payload}, 5000, protoTCP},
		{"rst6", Stream{Sources: any6, Target: vip6, Protocol: TCPRST}, 5000, protoTCP},
		{"syn6", Stream{Sources: any6, Target: vip6, Protocol: TCPSYN}, 5000, protoTCP},
		{"ping4", Stream{Sources: any4, Target: vip4, Protocol: Ping, Payload: payload}, 5000, protoICMP},
		{"ping6", Stream{Sources: any6, Target: vip6, Protocol: Ping, Payload: payload}, 5000, protoICMPv6},
		{"first fragment4", Stream{Sources: any4, Target: vip4, Protocol: UDP, Payload: payload[:32],
			Fragment: &Fragment{More: true}}, 1000, protoUDP},
		{"last fragment4", Stream{Sources: any4, Target: vip4, Protocol: UDP, Payload: payload,
			Fragment: &Fragment{Offset: 1480}}, 1000, protoUDP},
		{"last fragment6", Stream{Sources: any6, Target: vip6, Protocol: UDP, Payload: payload,
			Fragment: &Fragment{Offset: 1448}}, 1000, protoFrag},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, in := pair(t, "gen")
			fd := listen(t, in)
			g, err := NewGenerator(out, in.MAC, []Stream{tt.stream})
			must(t, err)
			t.Cleanup(func() { must(t, g.Close()) })
			f, err := g.Run(t.Context(), Load{Packets: tt.n})
			must(t, err)
			got := frames(t, fd, out.MAC, int(tt.n))
			if f.Packets != tt.n || uint64(len(got)) != tt.n {
				t.Fatalf("asked for %d, says %d, received %d", tt.n, f.Packets, len(got))
			}
			checkFrames(t, got, tt.stream, tt.proto)
		})
	}
}

func checkFrames(t *testing.T, got [][]byte, s Stream, proto byte) {
	t.Helper()
	seen := map[string]bool{}
	for _, f := range got {
		if bad := badSum(f); bad != "" {
			t.Fatalf("wrong checksum: %s: %x", bad, f)
		}
		src, dst, head := f[ethLen+12:ethLen+16], f[ethLen+16:ethLen+20], ethLen+ipv4Len
		protoAt := ethLen + 9
		if f[12] != 0x08 {
			src, dst, head, protoAt = f[ethLen+8:ethLen+24], f[ethLen+24:ethLen+40], ethLen+ipv6Len, ethLen+6
		}
		from, _ := netip.AddrFromSlice(src)
		if !s.Sources[0].Prefix.Contains(from) {
			t.Fatalf("source %s is outside %s", from, s.Sources[0].Prefix)
		}
		if to, _ := netip.AddrFromSlice(dst); to != s.Target.Addr() || f[protoAt] != proto {
			t.Fatalf("towards %s by protocol %d", to, f[protoAt])
		}
		seen[string(src)+string(f[head:head+8])] = true
		if s.flags() != 0 && (f[head+13] != s.flags() || int(f[head+12]>>4*4) != tcpLen+len(s.Options) || !bytes.Equal(f[head+tcpLen:][:len(s.Options)], s.Options)) {
			t.Fatalf("TCP header %x", f[head:])
		}
		if tail := f[len(f)-len(s.Payload):]; !bytes.Equal(tail[min(4, len(tail)):], s.Payload[min(4, len(tail)):]) {
			t.Fatalf("payload is %q", tail)
		}
	}
	// 44 random bits: among 20,000 packets one pair in 10^5 runs is equal.
	if len(seen) < len(got)-1 {
		t.Errorf("%d packets, only %d different", len(got), len(seen))
	}
}

func TestGeneratorMixesStreamsOfAnyLength(t *testing.T) {
	// Pages are used over and over, for long and short frames alike: nothing of one may show in the next.
	out, in := pair(t, "fresh")
	fd := listen(t, in)
	src := []Source{{Prefix: prefix("16.0.0.0/4"), FirstPort: 1024, LastPort: 65535}}
	vip := target("203.0.113.10:27960")
	g, err := NewGenerator(out, in.MAC, []Stream{
		{Sources: src, Target: vip, Protocol: UDP, Payload: []byte("short")},
		{Sources: src, Target: vip, Protocol: UDP, Payload: make([]byte, 700), Random: true},
		{Sources: src, Target: vip, Protocol: TCPSYN},
	})
	must(t, err)
	t.Cleanup(func() { must(t, g.Close()) })
	for range 5 {
		_, err = g.Run(t.Context(), Load{Packets: 1000})
		must(t, err)
	}
	sizes := map[int]int{}
	for _, f := range frames(t, fd, out.MAC, 5000) {
		if bad := badSum(f); bad != "" {
			t.Fatalf("wrong checksum: %s: %x", bad, f)
		}
		sizes[len(f)]++
	}
	total := 0
	for _, size := range []int{ethLen + ipv4Len + udpLen + 5, ethLen + ipv4Len + udpLen + 700, ethLen + ipv4Len + tcpLen} {
		total += sizes[size]
		if n := sizes[size]; n < 1400 || n > 1950 { // a third of 5000, 8 standard deviations
			t.Errorf("%d frames of %d bytes, want a third of 5000: %v", n, size, sizes)
		}
	}
	if total != 5000 {
		t.Errorf("%d frames of the three sizes: %v", total, sizes)
	}
}

func TestFixedSourcesAreUsedEvenly(t *testing.T) {
	out, in := pair(t, "fixed")
	fd := listen(t, in)
	var sources []Source
	for i := range 20 {
		sources = append(sources, Source{Prefix: netip.PrefixFrom(rfcDocs.Addr().Next(), 32), FirstPort: uint16(4000 + i), LastPort: uint16(4000 + i)})
	}
	g, err := NewGenerator(out, in.MAC, []Stream{{Sources: sources, Target: target("203.0.113.10:9"), Protocol: UDP}})
	must(t, err)
	t.Cleanup(func() { must(t, g.Close()) })
	_, err = g.Run(t.Context(), Load{Packets: 10000})
	must(t, err)
	ports := map[uint16]int{}
	for _, f := range frames(t, fd, out.MAC, 10000) {
		ports[binary.BigEndian.Uint16(f[ethLen+ipv4Len:])]++
	}
	if len(ports) != 20 {
		t.Errorf("%d ports, want 20", len(ports))
	}
	for port, n := range ports {
		if n < 300 || n > 700 { // 500 expected, 9 standard deviations
			t.Errorf("port %d was used %d times", port, n)
		}
	}
}

func TestSourcesThatCycleComeAgainAndNotBefore(t *testing.T) {
	const n = 5000
	out, in := pair(t, "cycle")
	fd := listen(t, in)
	src := Source{Prefix: prefix("20.0.0.0/8"), FirstPort: 1024, LastPort: 65535, Cycle: n}
	g, err := NewGenerator(out, in.MAC, []Stream{{Sources: []Source{src}, Target: target("203.0.113.10:9"), Protocol: UDP,
		Payload: make([]byte, 70), Random: true, RandomAt: 2, RandomBytes: 64}})
	must(t, err)
	t.Cleanup(func() { must(t, g.Close()) })
	_, err = g.Run(t.Context(), Load{Packets: 3 * n})
	must(t, err)
	got := frames(t, fd, out.MAC, 3*n)
	if len(got) != 3*n {
		t.Fatalf("%d frames", len(got))
	}
	tuple := func(f []byte) string { return string(f[ethLen+12:ethLen+16]) + string(f[ethLen+ipv4Len:][:2]) }
	addrs, payloads, nets := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, f := range got {
		if bad := badSum(f); bad != "" {
			t.Fatalf("wrong checksum: %s: %x", bad, f)
		}
		if i >= n && tuple(f) != tuple(got[i-n]) {
			t.Fatalf("frame %d is not from where frame %d was", i, i-n)
		}
		addrs[string(f[ethLen+12:ethLen+16])] = true
		nets[string(f[ethLen+12:ethLen+14])] = true
		body := f[ethLen+ipv4Len+udpLen:]
		payloads[string(body[2:66])] = true
		if body[0]|body[1]|body[66]|body[69] != 0 {
			t.Fatalf("random bytes outside their place: %x", body)
		}
	}
	if len(addrs) != n || len(nets) < 250 || len(payloads) != 3*n {
		t.Errorf("%d addresses in %d of 256 /16s, %d payloads", len(addrs), len(nets), len(payloads))
	}
}

func TestRunKeepsItsBounds(t *testing.T) {
	out, in := pair(t, "bounds")
	g, err := NewGenerator(out, in.MAC, []Stream{{
		Sources: []Source{{Prefix: prefix("16.0.0.0/4"), FirstPort: 1, LastPort: 65535}}, Target: target("203.0.113.10:9"), Protocol: UDP,
	}})
	must(t, err)
	t.Cleanup(func() { must(t, g.Close()) })
	t.Run("rate", func(t *testing.T) {
		f, err := g.Run(t.Context(), Load{Rate: 10000, Duration: 500 * time.Millisecond})
		must(t, err)
		if f.Packets > 5200 {
			t.Errorf("%d packets in half a second at 10000/s", f.Packets)
		}
		if f.Packets < 3000 { // a starved machine sends less
			t.Errorf("only %d packets", f.Packets)
		}
	})
	t.Run("duration", func(t *testing.T) {
		f, err := g.Run(t.Context(), Load{Duration: 200 * time.Millisecond})
		must(t, err)
		t.Logf("%.2f Mpps on cpu %d, %.0f ns of cpu a packet", f.Rate()/1e6, f.CPU,
			float64(f.CPUTime.Nanoseconds())/float64(f.Packets))
		if f.Packets < 1000 || f.Elapsed > 5*time.Second {
			t.Errorf("%+v", f)
		}
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := g.Run(ctx, Load{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("again", func(t *testing.T) {
		f, err := g.Run(t.Context(), Load{Packets: 77})
		must(t, err)
		if f.Packets != 77 {
			t.Errorf("%d packets after other runs, want 77", f.Packets)
		}
	})
}

func TestStreamsThatCannotWorkAreRefused(t *testing.T) {
	v4 := []Source{{Prefix: prefix("192.0.2.0/24"), FirstPort: 1, LastPort: 2}}
	for name, s := range map[string]Stream{
		"no source":    {Target: target("203.0.113.10:9"), Protocol: UDP},
		"other family": {Sources: v4, Target: target("[2001:db8::1]:9"), Protocol: UDP},
		"ports":        {Sources: []Source{{Prefix: prefix("192.0.2.0/24"), FirstPort: 2, LastPort: 1}}, Target: target("203.0.113.10:9"), Protocol: UDP},
		"cycle of v6":  {Sources: []Source{{Prefix: prefix("2001:db8::/64"), LastPort: 1, Cycle: 5}}, Target: target("[2001:db8::1]:9"), Protocol: UDP},
		"long cycle":   {Sources: []Source{{Prefix: prefix("192.0.2.0/24"), LastPort: 1, Cycle: 257}}, Target: target("203.0.113.10:9"), Protocol: UDP},
		"two cycles":   {Sources: []Source{v4[0], {Prefix: prefix("192.0.2.0/24"), LastPort: 1, Cycle: 5}}, Target: target("203.0.113.10:9"), Protocol: UDP},
		"odd random":   {Sources: v4, Target: target("203.0.113.10:9"), Protocol: UDP, Payload: make([]byte, 40), Random: true, RandomAt: 3},
		"much random":  {Sources: v4, Target: target("203.0.113.10:9"), Protocol: UDP, Payload: make([]byte, 400), Random: true, RandomBytes: 132},
		"no room":      {Sources: v4, Target: target("203.0.113.10:9"), Protocol: UDP, Random: true},
		"odd options":  {Sources: v4, Target: target("203.0.113.10:9"), Protocol: TCPSYN, Options: make([]byte, 3)},
		"much options": {Sources: v4, Target: target("203.0.113.10:9"), Protocol: TCPSYN, Options: make([]byte, 44)},
		"UDP options":  {Sources: v4, Target: target("203.0.113.10:9"), Protocol: UDP, Options: make([]byte, 4)},
		"random TCP":   {Sources: v4, Target: target("203.0.113.10:9"), Protocol: TCPACK, Payload: make([]byte, 40), Random: true},
		"offset":       {Sources: v4, Target: target("203.0.113.10:9"), Protocol: UDP, Fragment: &Fragment{Offset: 3}},
		"too long":     {Sources: v4, Target: target("203.0.113.10:9"), Protocol: UDP, Payload: make([]byte, 4000)},
	} {
		if _, err := s.build(make(net.HardwareAddr, 6), make(net.HardwareAddr, 6)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
