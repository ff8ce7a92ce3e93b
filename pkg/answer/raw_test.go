// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"parry/pkg/netns"
	"parry/test/need"
)

// onesSum adds up a packet's 16-bit words another way than raw.go does: byte by byte.
func onesSum(parts ...[]byte) uint32 {
	var n uint32
	for _, b := range parts {
		for i, v := range b {
			n += uint32(v) << (8 * (1 - i%2))
		}
	}
	for n>>16 != 0 {
		n = n&0xffff + n>>16
	}
	return n
}

func TestChecksumsAreRight(t *testing.T) {
	for _, payload := range [][]byte{nil, {1}, []byte("four"), bytes.Repeat([]byte{0xff}, 1399), {0xfe, 0xc8}} {
		from4, to4 := netip.MustParseAddrPort("203.0.113.10:27015"), netip.MustParseAddrPort("192.0.2.2:4000")
		from6, to6 := netip.MustParseAddrPort("[2001:db8::10]:27015"), netip.MustParseAddrPort("[2001:db8:1::2]:4000")
		for _, v := range []struct {
			packet         []byte
			header, source int
		}{{packet4(nil, from4, to4, payload), header4, 12}, {packet6(nil, from6, to6, payload), header6, 8}} {
			udp := v.packet[v.header:]
			pseudo := binary.BigEndian.AppendUint16([]byte{0, protoUDP}, uint16(len(udp)))
			if got := onesSum(v.packet[v.source:v.header], pseudo, udp); got != 0xffff {
				t.Errorf("%d bytes of payload: the sum is %#x", len(payload), got)
			}
			if udp[6] == 0 && udp[7] == 0 {
				t.Errorf("%d bytes of payload: no checksum", len(payload))
			}
		}
	}
}

// A host gets packets from an address that the sender hasn't got, as from any service of the edge.
func TestAnswersComeFromTheService(t *testing.T) {
	need.Root(t)
	w, err := netns.NewWorld(t.Context(), "answer", slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	edge, err := w.Host("edge")
	must(t, err)
	client, err := w.Host("client")
	must(t, err)
	end := func(h *netns.Host, a, b string) netns.End {
		return netns.End{Host: h, Name: "up0", Addresses: []netip.Prefix{netip.MustParsePrefix(a), netip.MustParsePrefix(b)}}
	}
	_, _, err = w.Link(end(edge, "192.0.2.1/24", "2001:db8:1::1/64"), end(client, "192.0.2.2/24", "2001:db8:1::2/64"), netns.LinkOptions{})
	must(t, err)
	var raw *Raw
	must(t, edge.Do(func() (err error) { raw, err = NewRaw(7); return err }))
	t.Cleanup(func() { must(t, raw.Close()) })
	for _, v := range []struct{ from, to string }{
		{"203.0.113.10:27015", "192.0.2.2:0"},
		{"[2001:db8:edfe::10]:27015", "[2001:db8:1::2]:0"},
	} {
		var conn *net.UDPConn
		must(t, client.Do(func() (err error) {
			conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(v.to)))
			return err
		}))
		defer conn.Close()
		payload, got := bytes.Repeat([]byte("answer"), 233), make([]byte, 2000)
		to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		// A new link takes a moment until it carries: what is sent before is lost.
		for deadline := time.Now().Add(10 * time.Second); ; {
			must(t, raw.Send(netip.MustParseAddrPort(v.from), to, payload))
			must(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
			n, from, err := conn.ReadFromUDPAddrPort(got)
			if err != nil && time.Now().Before(deadline) {
				continue
			}
			must(t, err)
			if from != netip.MustParseAddrPort(v.from) || !bytes.Equal(got[:n], payload) {
				t.Errorf("%d bytes from %v", n, from)
			}
			break
		}
	}
	must(t, raw.Close())
	if err := raw.Send(netip.MustParseAddrPort("203.0.113.10:1"), netip.MustParseAddrPort("192.0.2.2:1"), nil); err == nil {
		t.Error("a closed one sends")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
