// SPDX-License-Identifier: Apache-2.0

package naming_test

import (
	"slices"
	"strings"
	"testing"

	"parry/pkg/naming"
	"parry/test/firsts"
)

// near is a good session, and changes of it after which it is no game's any more: each leaves all but one thing that a rule asks for.
var near = []struct {
	label, what string
	of          int // which packet is changed; those before it are left out, those behind it as well
	bad         []change
}{
	{"minecraft_java", "login, glued to the handshake", 0, []change{
		{"length one more", add(0, 1)}, {"length one less", add(0, -1)}, {"another id", set(1, 1)}, {"state 0", fromHandshake(-1, 0)},
		{"state 4", fromHandshake(-1, 4)}, {"host one longer", hostLength(1)}, {"host one shorter", hostLength(-1)}, {"a control character in the host", inHost}}},
	{"raknet", "ping", 0, []change{{"one more byte", longer}, {"another magic", add(12, 1)}, {"another id", set(0, 3)}}},
	{"raknet", "connection", 0, []change{{"another magic", add(16, 1)}, {"another id", set(0, 4)}}},
	{"raknet", "picked up later", 1, []change{
		{"a record too few", set(2, 2)}, {"no record", set(2, 0)}, {"a byte more", longer}, {"a record of another kind", set(3, 2)}, {"another flag", set(0, 0xe0)}}},
	{"source", "info with a challenge", 0, []change{{"one more byte", longer}, {"another text", add(8, 1)}, {"three bytes of FF", set(3, 0xfe)}}},
	{"source", "players and rules", 0, []change{{"one more byte", longer}, {"another type", set(4, 'X')}}},
	{"source", "info with a challenge", 3, []change{{"a server of no kind", serverKind}, {"a map that is no name", set(31, 1)}}},
	{"quake3", "connection", 0, []change{{"a word that goes on", replace("getchallenge ", "getchallengeX")}, {"another word", replace("get", "gut")}, {"three bytes of FF", set(0, 0xfe)}}},
	{"quake3", "connection", 1, []change{{"a word that goes on", replace("Response ", "Responses")}}},
	{"unreal", "UE5", 0, []change{{"a cookie's end", set(38, 0xff)}, {"a cookie", set(30, 1)}, {"too long", func(b []byte) []byte { return append(b, make([]byte, 65)...) }}}},
	{"unreal", "UE4", 0, []change{{"a cookie", set(20, 1)}, {"a secret", set(0, 5)}, {"a restart", set(0, 3)}, {"no end", set(28, 0)}, {"one more byte", longer}}},
	{"riot", "Valorant", 0, []change{{"a cookie", set(20, 1)}, {"another end", add(36, 1)}, {"one more byte", longer}, {"no handshake", set(8, 0)}}},
	{"steam_sdr", "relay ping", 0, []change{{"another text", add(3, 1)}, {"another type", set(0, 2)}}},
	{"steam_sdr", "challenge request", 0, []change{
		{"no tag of a connection", set(3, 0x0e)}, {"too short", cutTo(511)}, {"a body longer than it", set(2, 9)}, {"padding that isn't", set(500, 1)}}},
	{"steam_other", "VS01", 0, []change{{"one more byte", longer}, {"another magic", set(3, '2')}, {"no type", set(6, 0)}}},
	{"enet", "connection", 0, []change{
		{"one more byte", longer}, {"an MTU too small", set(14, 1)}, {"a peer", set(1, 0xfe)}, {"no channel", replaceAt(20, "\x00\x00\x00\x00")},
		{"another command", set(4, 0x86)}, {"a number", set(7, 2)}, {"a session", set(10, 0)}, {"a window too large", set(17, 9)}}},
	{"photon", "connection", 0, []change{{"one more byte", longer}, {"two commands", set(3, 2)}, {"another length", set(19, 45)}}},
	{"photon", "picked up later", 0, []change{{"one more byte", longer}, {"a command more", set(3, 3)}, {"a command fewer", set(3, 1)}, {"no challenge", replaceAt(8, "\x00\x00\x00\x00")}, {"no kind", set(12, 0)}}},
	{"console", "Pia", 0, []change{{"in the clear", set(4, 1)}, {"another magic", set(3, 0)}}},
	{"other_game_udp", "KCP", 0, []change{{"one more byte", longer}, {"another command", set(4, 80)}, {"data that goes on", add(20, 1)}, {"no window", replaceAt(6, "\x00\x00")}, {"no conversation", replaceAt(0, "\x00\x00\x00\x00")}}},
	{"other_game_udp", "netcode.io", 0, []change{{"one more byte", longer}, {"another type", set(0, 1)}}},
	{"other_game_udp", "Luanti", 0, []change{{"another id", set(3, 4)}, {"channel 3", set(6, 3)}}},
	{"other_game_udp", "Teeworlds", 0, []change{{"another word", set(10, 'x')}, {"nine bytes of FF", set(9, 0)}}},
	{"other_game_tcp", "Terraria", 0, []change{{"one more byte", longer}, {"another text", set(4, 't')}}},
	{"other_game_tcp", "World of Warcraft", 0, []change{{"one more byte", longer}, {"another text", set(5, 'X')}}},
	{"teamspeak3", "init", 0, []change{{"another text", set(7, '2')}, {"another number", set(9, 0x66)}}},
	{"mumble", "ping that nobody answers", 0, []change{{"one more byte", longer}, {"a type", set(3, 1)}, {"no identifier", replaceAt(4, "\x00\x00\x00\x00\x00\x00\x00\x00")}}},
	{"discord_voice", "discovery", 0, []change{{"one more byte", longer}, {"another length", set(3, 0x45)}, {"an address in a request", set(9, '1')}}},
	{"discord_voice", "discovery", 1, []change{{"no address", set(9, 'x')}, {"no port", replaceAt(72, "\x00\x00")}}},
	{"discord_voice", "ping", 0, []change{{"one more byte", longer}, {"another magic", set(3, 0)}}},
}

// change is one of a payload, with its name.
type change struct {
	name string
	make func([]byte) []byte
}

func set(at int, to byte) func([]byte) []byte {
	return func(b []byte) []byte { b[at] = to; return b }
}

func add(at, n int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] += byte(n); return b }
}

func longer(b []byte) []byte { return append(b, 0) }

func cutTo(n int) func([]byte) []byte { return func(b []byte) []byte { return slices.Clone(b[:n]) } }

func replace(from, to string) func([]byte) []byte {
	return func(b []byte) []byte { return []byte(strings.Replace(string(b), from, to, 1)) }
}

func replaceAt(at int, with string) func([]byte) []byte {
	return func(b []byte) []byte { copy(b[at:], with); return b }
}

// fromHandshake sets a byte of Minecraft's handshake, counted from its end.
func fromHandshake(at int, to byte) func([]byte) []byte {
	return func(b []byte) []byte { b[1+int(b[0])+at] = to; return b }
}

// hostAt is where the length of Minecraft's host stands: behind length, id and version.
func hostAt(b []byte) int {
	if b[2]&0x80 != 0 {
		return 4
	}
	return 3
}

func hostLength(n int) func([]byte) []byte {
	return func(b []byte) []byte { b[hostAt(b)] += byte(n); return b }
}

func inHost(b []byte) []byte { b[hostAt(b)+1] = 7; return b }

// serverKind spoils the letter behind the info's strings and numbers.
func serverKind(b []byte) []byte {
	at := strings.Index(string(b), "Counter-Strike\x00") + len("Counter-Strike\x00")
	b[at+5] = 'x'
	return b
}

func TestNearMisses(t *testing.T) {
	namer := new(naming.Namer)
	name := func(s *firsts.Flow, up bool, payload []byte, length int) naming.Name {
		f := begin(s)
		namer.Feed(&f, up, payload, length)
		return f.Name()
	}
	flows := firsts.Flows(12, 8)
	for _, x := range near {
		tried := 0
		for i := range flows {
			s := &flows[i]
			if s.Label != x.label || s.What != x.what {
				continue
			}
			p := s.Packets[x.of]
			if n := name(s, p.Up, p.Payload, len(p.Payload)); n.Game.String() != x.label {
				t.Errorf("%s, %s: %+v", x.label, x.what, n)
			}
			for _, c := range x.bad {
				b := c.make(slices.Clone(p.Payload))
				if n := name(s, p.Up, b, len(b)); n.Game.Plays() && n.Game.String() == x.label && n.Confidence > 0.5 {
					t.Errorf("%s, %s, with %s is still one: %+v: %x", x.label, x.what, c.name, n, b[:min(len(b), 48)])
				}
			}
			tried++
		}
		if tried == 0 {
			t.Errorf("%s, %s: nobody makes it", x.label, x.what)
		}
	}
}

// What two packets show together needs both, and what they have in common.
func TestAnswersMustFit(t *testing.T) {
	time := "\x12\x34"
	connect := "\xcf\xff" + time + "compressed, all of it"
	ack := func(sent string) string { return "\x80\x00\x55\x66\x01\xff\x00\x00\x00\x01" + sent }
	datagram := func(number byte) string { return "\x84" + string(number) + "\x00\x00\x40\x00\x20\x01\x00\x00\xfe123" }
	for _, x := range []struct {
		name   string
		first  string
		back   bool // the second comes from the other side
		second string
		want   naming.Label
	}{
		{"ENet acknowledges what was sent", connect, true, ack(time), naming.ENet},
		{"it acknowledges what was not", connect, true, ack("\x12\x35"), naming.UnknownUDP},
		{"who sent it acknowledges it", connect, false, ack(time), naming.UnknownUDP},
		{"there is more than the acknowledgement", connect, true, ack(time) + "x", naming.UnknownUDP},
		{"two datagrams of RakNet's", datagram(7), false, datagram(8), naming.RakNet},
		{"the same twice", datagram(7), false, datagram(7), naming.UnknownUDP},
		{"the second from the other side", datagram(7), true, datagram(8), naming.UnknownUDP},
		{"the second doesn't add up", datagram(7), false, datagram(8) + "x", naming.UnknownUDP},
		{"the second is longer than it is", datagram(7), false, strings.Replace(datagram(8), "\x00\x20", "\x00\x28", 1), naming.UnknownUDP},
		{"a list of TeamSpeak's", "\x01\x80\x84\x01", true, "\x01\x80\x84\x01abcd", naming.TeamSpeak3},
		{"of another number", "\x01\x80\x84\x01", true, "\x01\x81\x84\x01abcd", naming.UnknownUDP},
		{"Demonware", "\x0d\x02\x00abcdefghijklmnopqrstuvwxyz", true, "\x0c\x02\x00abcdefghijklmnopqrstuvwxyz", naming.Console},
		{"Demonware with another key", "\x0d\x02\x00abcdefghijklmnopqrstuvwxyz", true, "\x0c\x02\x00abcdefghijklmnopqrstuvwxyY", naming.UnknownUDP},
		{"Call of Duty Mobile", "abcdefghping", true, "abcdefghping", naming.OtherGameUDP},
		{"echoed wrongly", "abcdefghping", true, "abcdefgiping", naming.UnknownUDP},
		{"Wild Rift", "\x04\x00\x00\x00" + strings.Repeat("x", 65), true, "\x10\x00\x00\x00" + strings.Repeat("y", 355), naming.Riot},
		{"of another length", "\x04\x00\x00\x00" + strings.Repeat("x", 65), true, "\x10\x00\x00\x00" + strings.Repeat("y", 354), naming.UnknownUDP},
	} {
		namer, f := new(naming.Namer), naming.Begin(naming.UDP, 1, true)
		namer.Feed(&f, true, []byte(x.first), len(x.first))
		namer.Feed(&f, !x.back, []byte(x.second), len(x.second))
		if n := f.Name(); n.Game != x.want {
			t.Errorf("%s: %+v", x.name, n)
		}
	}
}

// What adds up as two games' is none's; and where a game's magic stands, what adds up doesn't count.
func TestWhatAddsUpTwiceIsNothing(t *testing.T) {
	probe := "\x12\x34\x00\x01abcdefgh\x06\xff\x01\x04\x00\x00\x00\x18\x00\x00\x00\x01\xff\xff\xff\xff\xaa\xaa\xaa\xaa\xbb\xbb\xbb\xbb"
	photon := probe[:28] + strings.Repeat("\xcc", 8)
	for _, x := range []struct {
		payload string
		want    naming.Label
	}{{photon, naming.Photon}, {probe, naming.Riot}} {
		namer, f := new(naming.Namer), naming.Begin(naming.UDP, 1, true)
		namer.Feed(&f, true, []byte(x.payload), len(x.payload))
		if n := f.Name(); n.Game != x.want {
			t.Errorf("%x: %+v", x.payload, n)
		}
	}
	// Five records of RakNet's, the last one a range, are a segment of KCP's as well.
	both := "\xc0\x00\x05\x01\x51\x00\x00\x01abc\x01def\x01gh\x00\x00\x02\x00\x00\x00\x01\x00"
	if h := naming.Hold(naming.UDP, []byte(both), len(both), 1); len(h.Walks) != 2 {
		t.Errorf("%+v", h)
	}
	namer, f := new(naming.Namer), naming.Begin(naming.UDP, 1, true)
	namer.Feed(&f, true, []byte(both), len(both))
	if n := f.Name(); n.Game.Known() {
		t.Errorf("%+v", n)
	}
}

// Minecraft's handshake where something is wrong that no single byte shows.
func TestLooksLikeMinecraft(t *testing.T) {
	for _, x := range []struct {
		name, payload string
		start         bool
		want          naming.Label
	}{
		{"a handshake", "\x10\x00\xfa\x05\x0910.77.0.1\x63\xdd\x02", false, naming.MinecraftJava},
		{"of version 4", "\x0f\x00\x04\x0910.77.0.1\x63\xdd\x01", false, naming.MinecraftJava},
		{"of version 3", "\x0f\x00\x03\x0910.77.0.1\x63\xdd\x01", false, naming.UnknownTCP},
		{"of version -1", "\x13\x00\xff\xff\xff\xff\x0f\x0910.77.0.1\x63\xdd\x01", false, naming.MinecraftJava},
		{"a transfer", "\x10\x00\xfe\x05\x0910.77.0.1\x63\xdd\x03", false, naming.MinecraftJava},
		{"a transfer before there were any", "\x10\x00\xfa\x05\x0910.77.0.1\x63\xdd\x03", false, naming.UnknownTCP},
		{"half of one", "\x10\x00\xfa\x05\x0910.77.0", false, naming.UnknownTCP},
		{"a legacy ping", "\xfe\x01", true, naming.MinecraftJava},
		{"amid a connection", "\xfe\x01", false, naming.UnknownTCP},
		{"and more", "\xfe\x01\x00", true, naming.UnknownTCP},
		{"a legacy ping of 1.6", "\xfe\x01\xfa\x00\x0b\x00M\x00C\x00|\x00P\x00i\x00n\x00g\x00H\x00o\x00s\x00t\x00\x07", false, naming.MinecraftJava},
	} {
		namer, f := new(naming.Namer), naming.Begin(naming.TCP, 25565, x.start)
		namer.Feed(&f, true, []byte(x.payload), len(x.payload))
		if n := f.Name(); n.Game != x.want {
			t.Errorf("%s: %+v", x.name, n)
		}
	}
}
