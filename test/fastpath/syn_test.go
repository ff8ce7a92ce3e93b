// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"parry/loader"
	"parry/test/packet"
)

// An answer agrees to what both client and server take, and to no more; with a window of 0, as long as the SYN at most.
func TestCookieAnswers(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shakenPlan(), shakenSizes())
	for _, c := range []struct {
		name        string
		options     []byte
		payload     string
		mss, scale  int
		sack, times bool
	}{
		{"none", nil, "", 0, -1, false, false},
		{"MSS alone", []byte{2, 4, 5, 0xb4}, "", 1460, -1, false, false},
		{"Linux", linuxOptions(clientTime), "", 1460, 7, true, true},
		{"Windows", windowsOptions(), "", 1460, 7, true, false},
		{"Apple", appleOptions(clientTime), "", 1460, 7, true, true},
		{"with data", linuxOptions(clientTime), "early data", 1460, 7, true, true},
		{"timestamps at an odd place", append([]byte{1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0}, 0), "", 0, -1, false, true},
		{"timestamps and scale", append(times(clientTime, 0), 1, 3, 3, 2), "", 0, 7, false, true},
		{"scale over 14", []byte{3, 3, 15, 0}, "", 0, 7, false, false},
		{"SACK alone", []byte{4, 2, 1, 1}, "", 0, -1, true, false},
		{"the first of two counts", []byte{2, 4, 2, 0, 2, 4, 5, 0xb4}, "", 1460, -1, false, false},
		{"40 bytes of padding", make([]byte, 40), "", 0, -1, false, false},
		{"40 bytes of kind 1", []byte("\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x04\x02\x01\x01"), "", 0, -1, true, false},
		{"zero length", []byte{2, 0, 4, 2}, "", 0, -1, false, false},
		{"length of one", []byte{2, 1, 4, 2}, "", 0, -1, false, false},
		{"beyond its end", []byte{4, 2, 2, 4}, "", 0, -1, true, false},
		{"a kind without its length", []byte{1, 1, 1, 2}, "", 0, -1, false, false},
		{"behind the end of the list", []byte{0, 4, 2, 0}, "", 0, -1, false, false},
		{"of another length", []byte{2, 3, 5, 4, 2, 1, 1, 1}, "", 0, -1, true, false},
		{"unknown ones", []byte{254, 4, 1, 2, 34, 2, 4, 2}, "", 0, -1, true, false},
	} {
		for _, client := range []netip.AddrPort{player4, player6} {
			t.Run(fmt.Sprint(c.name, " ", client.Addr()), func(t *testing.T) {
				defer w.clear(t)
				in := tcpFrom(client, shakenPort, packet.SYN, clientISN, 0, c.options, c.payload).Bytes()
				r := w.send(t, in, outcome{verdict: "tx", service: "shaken"}, nil)
				a := look(t, r.Out)
				if a.bad != nil || a.flags != packet.SYN|packet.ACK || a.ack != clientISN+1&0xffffffff || a.window != 0 || len(a.payload) != 0 {
					t.Errorf("answer %+v", a)
				}
				if a.mss != c.mss || a.scale != c.scale || a.sack != c.sack || a.times != c.times {
					t.Errorf("MSS %d, scale %d, SACK %v, timestamps %v; want %+v", a.mss, a.scale, a.sack, a.times, c)
				}
				if a.times && a.tsecr == 0 {
					t.Error("the client's timestamp does not come back")
				}
				if got, most := packet.Length(r.Out), packet.Length(in); got > most {
					t.Errorf("%d bytes for %d", got, most)
				}
				if a.from != vip(client, shakenPort) || a.to != client {
					t.Errorf("from %v to %v", a.from, a.to)
				}
				w.wantSessions(t, 0)
			})
		}
	}
}

// Of a server of which nothing is known little is promised; of others no more than they take.
func TestCookieOffersWhatTheServerTakes(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shakenPlan(), shakenSizes())
	for _, c := range []struct {
		name        string
		takes       *loader.TCPOptions
		port        uint16
		mss, scale  int
		sack, times bool
	}{
		{"all", &everything, shakenPort, 1460, 7, true, true},
		{"all, with a header", &everything, bothPort, 1460 - 28, 7, true, true},
		{"not known", nil, shakenPort, 1220, -1, false, false},
		{"not known, with a header", nil, bothPort, 1220 - 28, -1, false, false},
		{"little", &loader.TCPOptions{MSS: 1000, WindowScale: 0, SACK: false, Timestamps: true}, shakenPort, 1000, 0, false, true},
		{"nothing", &loader.TCPOptions{MSS: 536, WindowScale: loader.NoWindowScale}, shakenPort, 536, -1, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, w.edge.SetServerTCP("nat", "nat4", c.takes))
			r := w.quietly(t, tcpFrom(player4, c.port, packet.SYN, 1, 0, linuxOptions(9), "").Bytes())
			if a := look(t, r.Out); a.mss != c.mss || a.scale != c.scale || a.sack != c.sack || a.times != c.times {
				t.Errorf("%+v", a)
			}
		})
	}
	if err := w.edge.SetServerTCP("nat", "nobody", nil); err == nil {
		t.Error("a server that isn't there was taught")
	}
}

// kinds are the ways of a connection behind the SYN proxy, by family and forwarding.
func shakenKinds() map[string]struct {
	client netip.AddrPort
	port   uint16
	header int
} {
	type kind = struct {
		client netip.AddrPort
		port   uint16
		header int
	}
	return map[string]kind{
		"nat4": {player4, shakenPort, 0}, "nat6": {player6, shakenPort, 0}, "open4": {player4, shakenOpen, 0}, "open6": {player6, shakenOpen, 0},
		"both4": {player4, bothPort, 28}, "both6": {player6, bothPort, 52}, "both-open4": {player4, bothOpen, 28}, "both-open6": {player6, bothOpen, 52},
	}
}

// The client's ACK becomes the SYN to its server, the server's answer an ACK and a window; then both ways are translated.
func TestShaken(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shakenPlan(), shakenSizes())
	for name, k := range shakenKinds() {
		for stack, options := range map[string][]byte{"Linux": linuxOptions(clientTime), "Windows": windowsOptions(), "bare": nil} {
			t.Run(name+" "+stack, func(t *testing.T) {
				defer w.clear(t)
				c := w.shake(t, k.client, k.port, options)
				checkSYN(t, &c, k.header)
				checkTwo(t, &c, k.header)
				if c.session.State != loader.Proven || !c.session.Proxied {
					t.Errorf("the session is %s, proxied %v", c.session.State, c.session.Proxied)
				}
				w.checkTranslated(t, &c, k.header)
			})
		}
	}
}

func checkSYN(t *testing.T, c *shaken, header int) {
	t.Helper()
	s := c.syn
	if s.bad != nil || s.flags != packet.SYN || s.seq != c.isn-uint32(header) || s.ack != 0 || len(s.payload) != 0 || s.window == 0 {
		t.Errorf("the SYN to the server: %+v", s)
	}
	if s.from != c.session.Face || s.to != c.session.Server {
		t.Errorf("from %v to %v", s.from, s.to)
	}
	mss := 536
	if c.client.Addr().Is6() {
		mss = 1220
	}
	if c.answer.mss > 0 {
		mss = 1460
		if c.client.Addr().Is6() {
			mss = 1440
		}
	}
	scale := map[bool]int{true: 7, false: -1}[c.answer.scale >= 0]
	if scale > 0 && !c.times {
		scale = 8 // Windows'
	}
	if s.mss != mss-header || s.sack != c.answer.sack || s.times != c.times || s.scale != scale || c.times && s.tsval != clientTime+1 {
		t.Errorf("the SYN to the server says %+v", s)
	}
}

// checkTwo looks at what the server's answer becomes.
func checkTwo(t *testing.T, c *shaken, header int) {
	t.Helper()
	s, u := look(t, c.shaken.Server), look(t, c.shaken.Client)
	if s.bad != nil || s.flags&^packet.PSH != packet.ACK || s.seq != c.isn+1-uint32(header) || s.ack != c.server+1 || len(s.payload) != header {
		t.Errorf("the ACK to the server: %+v", s)
	}
	if s.from != c.session.Face || s.to != c.session.Server {
		t.Errorf("the ACK is from %v to %v", s.from, s.to)
	}
	if header > 0 {
		checkHeader(t, s.payload, c.client, vip(c.client, c.port))
	}
	if u.bad != nil || u.flags != packet.ACK || u.seq != c.cookie+1 || u.ack != c.isn+1 || len(u.payload) != 0 || u.from != vip(c.client, c.port) || u.to != c.client {
		t.Errorf("the window to the client: %+v", u)
	}
	want := uint16(0xfaf0)
	if c.answer.scale >= 0 {
		want >>= 7
	}
	if u.window != want {
		t.Errorf("a window of %d, want %d", u.window, want)
	}
	if c.times && (s.tsval != clientTime+1 || s.tsecr != serverTime || u.tsecr != clientTime+1 || int32(u.tsval-c.given) < 0) {
		t.Errorf("timestamps %x %x to the server, %x %x to the client", s.tsval, s.tsecr, u.tsval, u.tsecr)
	}
}

func checkHeader(t *testing.T, b []byte, client, front netip.AddrPort) {
	t.Helper()
	want := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x11, 0, 12)
	if client.Addr().Is6() {
		want = append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x21, 0, 36)
	}
	want = append(append(want, client.Addr().AsSlice()...), front.Addr().AsSlice()...)
	want = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(want, client.Port()), front.Port())
	if string(b) != string(want) {
		t.Errorf("header %x, want %x", b, want)
	}
}

// checkTranslated sends segments of many shapes both ways.
func (w *world) checkTranslated(t *testing.T, c *shaken, header int) {
	t.Helper()
	service := w.edge.ServiceNames()[c.session.Service]
	if header > 0 { // the server has it all
		w.quietly(t, c.down(packet.ACK, 0, nil, "").Bytes())
	}
	delta := c.cookie - c.server
	var given uint32
	if c.times {
		given = look(t, c.shaken.Client).tsval - serverTime
	}
	blocks := func(n int, base uint32) []byte {
		o := []byte{1, 1, 5, byte(2 + 8*n)}
		for i := range uint32(n) {
			o = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(o, base+100*i), base+100*i+50)
		}
		return o
	}
	shapes := map[string]func(base, mine, its uint32) []byte{
		"plain":      func(_, mine, its uint32) []byte { return nil },
		"timestamps": func(_, mine, its uint32) []byte { return times(mine, its) },
		"odd": func(_, mine, its uint32) []byte {
			return append(append([]byte{1}, times(mine, its)[2:]...), 0)
		},
		"with SACK":     func(base, mine, its uint32) []byte { return append(times(mine, its), blocks(3, base)...) },
		"SACK, 4":       func(base, mine, its uint32) []byte { return blocks(4, base) },
		"SACK, odd":     func(base, mine, its uint32) []byte { return append(append([]byte{1}, blocks(2, base)[2:]...), 1) },
		"40 of padding": func(_, mine, its uint32) []byte { return make([]byte, 40) },
	}
	for name, shape := range shapes {
		in := c.up(packet.ACK|packet.PSH, 7, "play "+name)
		in.TCPOptions = shape(c.cookie+1000, 77, given+serverTime)
		want := in
		want.Ack, want.TCPOptions = in.Ack-delta, shape(c.cookie+1000-delta, 77, serverTime)
		w.send(t, in.Bytes(), outcome{verdict: "tx", service: service}, forwarded(want, c.session).Bytes())
		back := c.down(packet.ACK|packet.PSH, 9, shape(c.isn+5000, serverTime+5, 77), "play "+name)
		want = back
		want.Seq, want.TCPOptions = back.Seq+delta, shape(c.isn+5000, serverTime+5+given, 77)
		w.send(t, back.Bytes(), outcome{verdict: "tx", service: service, down: true}, returned(want, c.session).Bytes())
	}
	for _, flags := range []uint8{packet.ACK | packet.FIN, packet.ACK | packet.RST, packet.RST} {
		in := c.up(flags, 40, "")
		want := in
		if flags&packet.ACK != 0 {
			want.Ack -= delta
			if c.times {
				want.TCPOptions = times(clientTime+1, c.given-given)
			}
		}
		w.send(t, in.Bytes(), outcome{verdict: "tx", service: service}, forwarded(want, c.session).Bytes())
	}
}

// What comes back must be what was given, to whom it was given, within its time.
func TestCookies(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shakenPlan(), shakenSizes())
	syn := func() shaken {
		r := w.quietly(t, tcpFrom(player4, shakenPort, packet.SYN, clientISN, 0, linuxOptions(clientTime), "").Bytes())
		a := look(t, r.Out)
		return shaken{client: player4, port: shakenPort, isn: clientISN, cookie: a.seq, given: a.tsval, times: true}
	}
	bad := outcome{verdict: "drop", reason: "bad_cookie", service: "shaken"}
	for _, c := range []struct {
		name   string
		change func(*packet.Packet)
		after  time.Duration
		want   outcome
	}{
		{"as given", nil, 0, outcome{verdict: "tx", service: "shaken"}},
		{"a probe of the window, a byte before", func(p *packet.Packet) { p.Seq-- }, 0, outcome{verdict: "tx", service: "shaken"}},
		{"in the next step", nil, 17 * time.Second, outcome{verdict: "tx", service: "shaken"}},
		{"too late", nil, cookieLife, bad},
		{"one more", func(p *packet.Packet) { p.Ack++ }, 0, bad},
		{"another window scale", func(p *packet.Packet) { p.Ack = ((p.Ack - 1) ^ 0x10) + 1 }, 0, bad},
		{"another MSS", func(p *packet.Packet) { p.Ack = ((p.Ack - 1) ^ 0x02) + 1 }, 0, bad},
		{"of the other step", func(p *packet.Packet) { p.Ack = ((p.Ack - 1) ^ 0x01) + 1 }, 0, bad},
		{"another number of the client's", func(p *packet.Packet) { p.Seq += 2 }, 0, bad},
		{"another port", func(p *packet.Packet) { p.From = at(p.From.Addr(), p.From.Port()+1) }, 0, bad},
		{"another client", func(p *packet.Packet) { p.From = other4 }, 0, bad},
		{"another service", func(p *packet.Packet) { p.To = at(vip4, bothPort) }, 0, outcome{verdict: "drop", reason: "bad_cookie", service: "both"}},
		{"none", func(p *packet.Packet) { p.Ack = 0 }, 0, bad},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer w.clear(t)
			s := syn()
			p := s.up(packet.ACK, 0, "")
			if c.change != nil {
				c.change(&p)
			}
			w.pass(t, c.after)
			w.send(t, p.Bytes(), c.want, nil)
		})
	}
}

// What stays with the SYN proxy ends as its session does: its cell is free again, however often.
func TestShakenCells(t *testing.T) {
	t.Parallel()
	sizes := shakenSizes()
	sizes.Sessions = 64
	w := newWorldOf(t, shakenPlan(), sizes)
	for i := range 200 {
		c := w.shake(t, player4, shakenOpen, linuxOptions(clientTime))
		w.quietly(t, c.up(packet.RST, 0, "").Bytes())
		if i%2 == 0 { // by the same tuple, amid its end
			w.shake(t, player4, shakenOpen, windowsOptions())
		}
		w.clear(t)
	}
}
