// SPDX-License-Identifier: Apache-2.0

package offline_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"parry/pkg/anticheat"
	"parry/pkg/anticheat/mix"
	"parry/pkg/anticheat/offline"
	"parry/pkg/game"
	"parry/pkg/signature"
	"parry/test/packet"
)

var player, server = netip.MustParseAddrPort("198.51.100.7:40000"), netip.MustParseAddrPort("203.0.113.10:27960")

const connect = "\xff\xff\xff\xffconnect \"\\name\\^1Alex\\rate\\25000\""

// header begins a pcap file of Ethernet frames.
func header() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0)
	return binary.LittleEndian.AppendUint32(b, 1)
}

// record adds a frame at a time.
func record(b []byte, at time.Duration, frame []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(1764000000+at/time.Second))
	b = binary.LittleEndian.AppendUint32(b, uint32(at%time.Second/time.Microsecond))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
	return append(b, frame...)
}

// played is a capture of a session of Quake III's, which says who plays.
func played(cheat anticheat.Kind, length time.Duration) []byte {
	dev, _ := mix.Halves()
	p := mix.New(dev, 7).Play(mix.Games()[0], mix.Lines()[1], cheat, length)
	b := record(header(), 0, packet.NewUDP(player, server, "\xff\xff\xff\xffgetchallenge 1 quake3\n").Bytes())
	b = record(b, 10*time.Millisecond, packet.NewUDP(player, server, connect).Bytes())
	for i := range p.Packets {
		x := &p.Packets[i]
		from, to := player, server
		if x.Down {
			from, to = server, player
		}
		b = record(b, 100*time.Millisecond+x.At, packet.NewUDP(from, to, string(x.Payload)).Bytes())
	}
	return b
}

func written(t *testing.T, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "play.pcap")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// What outside tools read.
func TestJSON(t *testing.T) {
	var out bytes.Buffer
	name := written(t, played(anticheat.Replay, 40*time.Second))
	if err := offline.Write(t.Context(), offline.Options{Files: []string{name}, JSON: true, Policy: anticheat.Default()}, &out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		File, Proto, Src, Dst, Game, Player string
		Findings                            []struct {
			Kind       string
			Start      float64 `json:"start_ms"`
			End        float64 `json:"end_ms"`
			Severity   float64
			Confidence float64
			Observe    bool
			Evidence   []anticheat.Fact
		}
		Unjudged []struct {
			Kinds []string
			Why   string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	if got.File != name || got.Proto != "udp" || got.Src != player.String() || got.Dst != server.String() || got.Game != "quake3" || got.Player != "Alex" ||
		len(got.Findings) != 1 || len(got.Unjudged) == 0 {
		t.Fatalf("%s", out.Bytes())
	}
	if f := got.Findings[0]; f.Kind != "replay" || f.Start < 9000 || f.Start > 16000 || f.End < 34000 || f.End > 38000 || f.Severity != 0.9 ||
		f.Confidence < 0.8 || f.Observe || len(f.Evidence) == 0 {
		t.Errorf("%+v", f)
	}
}

// What people read; and of a file that is cut off, all that is there.
func TestText(t *testing.T) {
	data := played("", 20*time.Second)
	var out bytes.Buffer
	opt := offline.Options{Files: []string{written(t, data[:len(data)-5]), "no-such-file"}, Policy: anticheat.Default()}
	err := offline.Write(t.Context(), opt, &out)
	if err == nil || !strings.Contains(err.Error(), "the file ends in the middle") || !strings.Contains(err.Error(), "no-such-file") {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"udp 198.51.100.7:40000 > 203.0.113.10:27960  quake3, player Alex: nothing found", "not judged: signature: there are no rules"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %s", want, &out)
		}
	}
}

// A flow whose beginning is not there is what the options say.
func TestGameOfTheRest(t *testing.T) {
	data := played(anticheat.Replay, 40*time.Second)
	frames := [][]byte{packet.NewUDP(player, server, "\xff\xff\xff\xffgetchallenge 1 quake3\n").Bytes(), packet.NewUDP(player, server, connect).Bytes()}
	rest := append(header(), data[24+16+len(frames[0])+16+len(frames[1]):]...)
	for taken, want := range map[string]anticheat.Kind{"": anticheat.Frequency, "openarena": anticheat.Replay} { // of any game: only observed
		if err := offline.File(written(t, rest), offline.Options{Policy: anticheat.Default(), Game: taken}, func(f *offline.Flow) error {
			if found := f.Report.Findings; f.Taken != taken || len(found) != 1 || found[0].Kind != want || found[0].Observe != (taken == "") {
				t.Errorf("taken for %q: %+v", f.Taken, f.Report.Findings)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever is seen first, the client is who asks.
func TestTheClientIsWhoAsks(t *testing.T) {
	back := func(payload string) []byte { return packet.NewUDP(server, player, payload).Bytes() }
	there := func(payload string) []byte { return packet.NewUDP(player, server, payload).Bytes() }
	for name, first := range map[string][]byte{
		"a word of the server's": back("\xff\xff\xff\xffchallengeResponse 1"), "play": back("\x01\x00\x00\x00play"),
		"a word of the client's": there(connect),
	} {
		b := record(header(), 0, first)
		b = record(b, time.Second, there("\xff\xff\xff\xffconnect \"\\name\\Alex\""))
		long := strings.Repeat("x", 1401)
		b = record(b, 2*time.Second, there(long))
		b = record(b, 3*time.Second, back(long+long[:40]))
		if err := offline.Read(bytes.NewReader(b), 9, func(f *offline.Flow) error {
			if f.Player != "Alex" || len(f.Report.Findings) != 1 || f.Report.Findings[0].Session.Client != player {
				t.Errorf("%s: %+v", name, f)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// Each flow is told once, in the order in which they began, also where they are more than there is room for.
func TestRoom(t *testing.T) {
	b := header()
	for i := range 50 {
		from := netip.AddrPortFrom(player.Addr(), uint16(1000+i%25))
		b = record(b, time.Duration(i)*time.Second, packet.NewUDP(from, server, "hello").Bytes())
	}
	for room, flows := range map[int]int{4: 50, 25: 25} {
		var told []string
		if err := offline.Read(bytes.NewReader(b), room, func(f *offline.Flow) error {
			told = append(told, f.Src.String())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(told) != flows || !slices.IsSorted(told[:25]) {
			t.Errorf("room for %d: %d flows: %v", room, len(told), told)
		}
	}
}

// What TCP sends again, and bare acknowledgements, are no packets of the game's.
func TestSegments(t *testing.T) {
	b := header()
	for i := range 1000 {
		p := packet.NewTCP(player, server, 0x18, fmt.Sprintf("%04d", i)).With(func(p *packet.Packet) { p.Seq = uint32(4 * i) })
		for range 6 {
			b = record(b, time.Duration(i)*25*time.Millisecond, p.Bytes())
			b = record(b, time.Duration(i)*25*time.Millisecond, packet.NewTCP(player, server, 0x10, "").Bytes())
		}
	}
	if err := offline.Read(bytes.NewReader(b), 9, func(f *offline.Flow) error {
		if len(f.Report.Findings) > 0 {
			t.Errorf("%+v", f.Report.Findings)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Each packet that matches is told, and how many did.
func TestSignatures(t *testing.T) {
	p, err := game.ParsePattern("6861782d6d656e75") // hax-menu
	if err != nil {
		t.Fatal(err)
	}
	set, err := signature.Compile([]signature.Rule{{Name: "menu", Offset: signature.Anywhere, Content: p, Game: "quake3"}})
	if err != nil {
		t.Fatal(err)
	}
	b := record(header(), 0, packet.NewUDP(player, server, connect).Bytes())
	b = record(b, time.Second, packet.NewUDP(player, server, "\x01\x00\x00\x00 hax-menu hax-menu").Bytes())
	b = record(b, 2*time.Second, packet.NewUDP(server, player, "\x01\x00\x00\x00 hax-menu").Bytes())
	name := written(t, b)
	var out bytes.Buffer
	if err := offline.Test(t.Context(), offline.TestOptions{Files: []string{name}, Signatures: set}, &out); err != nil {
		t.Fatal(err)
	}
	want := name + ": packet 2, udp 198.51.100.7:40000 > 203.0.113.10:27960 (up), 22 bytes: menu\n1 of 3 packets with a payload match one of 1 signatures\n"
	if out.String() != want {
		t.Errorf("%q, want %q", &out, want)
	}
	out.Reset()
	if err := offline.Test(t.Context(), offline.TestOptions{Files: []string{name}, Signatures: set, JSON: true}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"n":2,"time":"2025-11-24T`) || !strings.Contains(out.String(), `"signature":"menu","severity":0.9`) {
		t.Errorf("%s", &out)
	}
	policy := anticheat.Default()
	policy.Signatures = set
	if err := offline.File(name, offline.Options{Policy: policy}, func(f *offline.Flow) error {
		if len(f.Report.Findings) != 1 || f.Report.Findings[0].Rule != "menu" {
			t.Errorf("%+v", f.Report)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
