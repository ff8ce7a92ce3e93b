// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"parry/pkg/netns"
)

// Mumble's control messages that a small client needs, and its kinds of UDP packets.
const (
	mumbleVersion      = 0
	mumbleAuthenticate = 2
	mumblePing         = 3
	mumbleReject       = 4
	mumbleSync         = 5
	mumbleCryptSetup   = 15

	mumbleClient  = 1<<16 | 3<<8 | 4 // 1.3.4
	voiceOpus     = 4 << 5
	voicePing     = 1 << 5
	voiceEvery    = 20 * time.Millisecond
	voicePatience = 2 * time.Second // the longest silence between two frames, on a machine that has other work
)

// mumbleBot is a client: TLS for control, OCB2 over UDP for voice, both to one address and port.
type mumbleBot struct {
	t    *testing.T
	name string
	tls  *tls.Conn
	udp  *net.UDPConn
	out  *voiceCrypt
	wg   sync.WaitGroup
	stop chan struct{}

	mu   sync.Mutex // guards all below
	in   *voiceCrypt
	seen mumbleTally
	last time.Time
}

type mumbleTally struct {
	pings, pongs, said, heard, bad int
	gap                            time.Duration
}

func (v mumbleTally) String() string {
	return fmt.Sprintf("%d of %d pings back, %d frames said, %d heard, longest gap %v", v.pongs, v.pings, v.said, v.heard,
		v.gap.Round(time.Millisecond))
}

// field writes one field of a protobuf message: a number or bytes.
func field(b []byte, n int, v any) []byte {
	switch v := v.(type) {
	case int:
		return binary.AppendUvarint(append(b, byte(n<<3)), uint64(v))
	case string:
		return append(binary.AppendUvarint(append(b, byte(n<<3|2)), uint64(len(v))), v...)
	}
	panic("a field is a number or a string")
}

// fields reads those of a protobuf message that hold bytes.
func fields(b []byte) map[int][]byte {
	all := map[int][]byte{}
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return all
		}
		v, m := binary.Uvarint(b[n:])
		if m <= 0 {
			return all
		}
		b = b[n+m:]
		if tag&7 == 2 {
			if uint64(len(b)) < v {
				return all
			}
			all[int(tag>>3)], b = b[:v], b[v:]
		}
	}
	return all
}

func (m *mumbleBot) send(kind uint16, body []byte) error {
	head := binary.BigEndian.AppendUint16(nil, kind)
	head = binary.BigEndian.AppendUint32(head, uint32(len(body)))
	_, err := m.tls.Write(append(head, body...))
	return err
}

func (m *mumbleBot) receive() (kind uint16, body []byte, err error) {
	var head [6]byte
	if _, err := io.ReadFull(m.tls, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[2:])
	if n > 1<<20 {
		return 0, nil, fmt.Errorf("a message of %d bytes", n)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(m.tls, body)
	return binary.BigEndian.Uint16(head[:]), body, err
}

// mumbleBot logs a client in.
func (w *world) mumbleBot(h *netns.Host, name string, to netip.AddrPort) *mumbleBot {
	w.t.Helper()
	m := &mumbleBot{t: w.t, name: name, stop: make(chan struct{})}
	var conn net.Conn
	must(w.t, h.Do(func() (err error) {
		if conn, err = net.DialTimeout("tcp", to.String(), patience); err != nil {
			return err
		}
		m.udp, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		return err
	}))
	m.tls = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // the server made its certificate by itself
	w.t.Cleanup(m.end)
	must(w.t, conn.SetDeadline(time.Now().Add(transferPatience)), m.tls.HandshakeContext(w.t.Context()),
		m.send(mumbleVersion, field(field(nil, 1, mumbleClient), 2, "parry e2e")),
		m.send(mumbleAuthenticate, field(field(nil, 1, name), 5, 1)))
	for synced := false; !synced; {
		kind, body, err := m.receive()
		must(w.t, err)
		switch kind {
		case mumbleReject:
			w.t.Fatalf("%s is rejected: %q", name, body)
		case mumbleCryptSetup:
			f := fields(body)
			o, err := newOCB(f[1])
			must(w.t, err)
			m.out, m.in = &voiceCrypt{o, ocbWord(f[2])}, &voiceCrypt{o, ocbWord(f[3])}
		case mumbleSync:
			synced = true
		}
	}
	must(w.t, conn.SetDeadline(time.Time{}))
	m.wg.Go(m.listenTLS)
	m.wg.Go(m.listen)
	return m
}

// listenTLS reads what the server tells, so that it can go on telling.
func (m *mumbleBot) listenTLS() {
	for {
		if _, _, err := m.receive(); err != nil {
			return
		}
	}
}

func (m *mumbleBot) listen() {
	buf := make([]byte, 2048)
	for {
		n, err := m.udp.Read(buf)
		if err != nil {
			return
		}
		m.note(buf[:n])
	}
}

func (m *mumbleBot) note(packet []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	plain, err := m.in.open(packet)
	switch {
	case err != nil || len(plain) == 0:
		m.seen.bad++
	case plain[0]&0xe0 == voicePing:
		m.seen.pongs++
	default:
		m.seen.heard++
		now := time.Now()
		if !m.last.IsZero() {
			m.seen.gap = max(m.seen.gap, now.Sub(m.last))
		}
		m.last = now
	}
}

// talk says a frame every 20 ms and pings twice a second, for so many frames.
func (m *mumbleBot) talk(frames int) {
	tick := time.NewTicker(voiceEvery)
	defer tick.Stop()
	for n := range frames {
		select {
		case <-m.stop:
			return
		case <-tick.C:
		}
		m.mu.Lock()
		if n%25 == 0 {
			m.seen.pings++
			_, _ = m.udp.Write(m.out.seal([]byte{voicePing, byte(n & 0x7f)})) // its pong will be missed
		}
		m.seen.said++
		seq := n & 0x3fff
		frame := append([]byte{voiceOpus, 0x80 | byte(seq>>8), byte(seq), 60}, bytesOf(uint64(n), 60)...)
		_, _ = m.udp.Write(m.out.seal(frame))
		m.mu.Unlock()
	}
}

func (m *mumbleBot) tally() mumbleTally {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen
}

func (m *mumbleBot) end() {
	select {
	case <-m.stop:
		return
	default:
		close(m.stop)
	}
	m.tls.NetConn().Close()
	m.udp.Close()
	m.wg.Wait()
}

// Two clients talk by one server, one through nat, the other through transparent: control by TCP and voice by UDP go to
// the same port, and must come to the same server from the same address.
func TestMumble(t *testing.T) {
	t.Parallel()
	murmurd := needProgram(t, "murmurd")
	const port = 64738
	s := gameSite(t, "mumble", "mumble", "[tcp, udp]", port)
	conf := filepath.Join(s.home("server"), "murmur.ini")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, "database=%s\nport=%d\nhost=0.0.0.0\nlogfile=\nuname=root\nusers=10\nautobanAttempts=0\nbonjour=false\n",
		filepath.Join(s.home("server"), "murmur.sqlite"), port), 0o600))
	server := s.game(s.servers, "server", nil, murmurd, "-fg", "-v", "-ini", conf)
	server.await(serverPatience, `Server listening on`)
	alice := s.mumbleBot(s.players, "alice", at(vip4, port))
	bob := s.mumbleBot(s.players, "bob", at(third4, port))
	for service, want := range map[string]netip.Addr{"nat": nat4, "transparent": player4} {
		server.await(serverPatience, `New connection: `+regexp.QuoteMeta(want.String())+`:\d+`)
		t.Logf("by %s the server sees %v", service, want)
	}
	const frames = 200
	var talking sync.WaitGroup
	for _, m := range []*mumbleBot{alice, bob} {
		talking.Go(func() { m.talk(frames) })
	}
	talking.Wait()
	for _, m := range []*mumbleBot{alice, bob} {
		await(t, patience, m.name+" to hear the last frame", func() bool { return m.tally().heard >= frames*9/10 })
		sum := m.tally()
		// The server relays voice by TCP until it has got a client's first UDP packet.
		if sum.pongs < sum.pings-1 || sum.heard < frames-10 || sum.gap > voicePatience || sum.bad > 0 {
			t.Errorf("%s: %v, %d not ours", m.name, sum, sum.bad)
		}
		t.Logf("%s: %v", m.name, sum)
	}
	t.Logf("nat: %s; transparent: %s", s.brief("nat", "udp"), s.brief("transparent", "udp"))
	s.checkDrops()
}
