// SPDX-License-Identifier: Apache-2.0

package naming

import (
	"encoding/hex"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a real OpenArena 0.8.8 sent.
const openarena = "ffffffff636f6e6e6563742001254474308e050cc726c314ec8ef967d01a4ec14a9810301f0cbfb0b106c7c241b10f9c18171a2c9361ec53b49e1f97271f763f46776c4f" +
	"b6689cd96f0b15fd29d40ecd1821a0e19849049379ab20df1b72faf9a38db7eed262843217fa5939fe12aceaea8edcefbc7047e6e95f13aaf1d5dcaa42f6efaa3b24e71fab7a7451692c" +
	"e14e25637468f9ec7c61dddba9281eb565d5f2e19720393c399cb842a1c1f18e2e5fee5f01c9277bfbe629d3e1e6e13f884275f49ad2fc437fa7de3e9174250e442faf530b8212881a11" +
	"c2d46b5d5783d023222ccd6876c990c1f154da7733d90903"

func TestQuakeUserInfo(t *testing.T) {
	info := string(unhuff(unhex(t, openarena)[12:]))
	if !strings.HasPrefix(info, `"\`) || !strings.HasSuffix(info, `"`) || !strings.Contains(info, `\protocol\`) || len(info) != 0x125 {
		t.Fatalf("decompressed: %q", info)
	}
	t.Log(info)
}

// handshake of a client that wants next, with its frame's length in front.
func handshake(next byte) string {
	return "\x10\x00\xfd\x05\x09localhost\x63\xdd" + string(rune(next))
}

func TestLogin(t *testing.T) {
	uuid := strings.Repeat("u", 16)
	for _, x := range []struct {
		name    string
		proto   Proto
		packets []string
		want    string
	}{
		{"Minecraft, in two segments", TCP, []string{handshake(2), "\x17\x00\x05Steve" + uuid}, "Steve"},
		{"Minecraft, in one", TCP, []string{handshake(2) + "\x17\x00\x05Steve" + uuid}, "Steve"},
		{"Minecraft 1.8", TCP, []string{handshake(2), "\x07\x00\x05Steve"}, "Steve"},
		{"Minecraft, another script", TCP, []string{handshake(2), "\x08\x00\x06\xd0\x98\xd0\xb2\xd0\xb0"}, "Ива"},
		{"Minecraft, only asks", TCP, []string{handshake(1), "\x07\x00\x05Steve"}, ""},
		{"Minecraft, no name", TCP, []string{handshake(2), "\x02\x00\x00"}, ""},
		{"Minecraft, longer than its frame", TCP, []string{handshake(2), "\x05\x00\x05Steve"}, ""},
		{"Minecraft, 17 characters", TCP, []string{handshake(2), "\x13\x00\x11abcdefghijklmnopq"}, ""},
		{"Minecraft, cut", TCP, []string{handshake(2), "\x07\x00\x05Ste"}, ""},
		{"Minecraft, something else comes next", TCP, []string{handshake(2), "\x07\x01\x05Steve", "\x07\x00\x05Steve"}, ""},
		{"Minecraft, hostile", TCP, []string{handshake(2), "\x0f\x00\x0da\x1b[2J\xe2\x80\xaeevil\x7f"}, "a\ufffd[2J\ufffdevil\ufffd"},
		{"QuakeWorld and GoldSrc", UDP, []string{"\xff\xff\xff\xffconnect 48 123 \"\\prot\\3\" \"\\rate\\20000\\name\\Gordon F.\\model\\x\"\n"}, "Gordon F."},
		{"Quake III, colours", UDP, []string{"\xff\xff\xff\xffconnect \"\\name\\^1R^xed^^ n^0\\rate\\1\""}, "Red^^ n"},
		{"Quake III, no name", UDP, []string{"\xff\xff\xff\xffconnect \"\\rate\\1\""}, ""},
		{"Quake III, asks", UDP, []string{"\xff\xff\xff\xffgetstatus \\name\\x"}, ""},
		{"OpenArena's own", UDP, []string{string(unhex(t, openarena))}, "tester1"},
	} {
		var l Login
		got := ""
		for _, p := range x.packets {
			if name := l.Feed(x.proto, []byte(p)); name != "" {
				got = name
			}
		}
		if got != x.want {
			t.Errorf("%s: %q, want %q", x.name, got, x.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"Steve": "Steve", " x ": "x", "\x1b]0;owned\a": "\ufffd]0;owned\ufffd", "a\u202eb\u2066c\u200b": "a\ufffdb\ufffdc\ufffd", "a\nb\r": "a\ufffdb\ufffd",
		"\xff\xfe": "\ufffd\ufffd", "e\u0301\u0301\u0301\u0301x": "e\u0301\u0301x", "\u0301a": "a", "\u3164": "\ufffd", "": "", "😀": "😀",
		strings.Repeat("ab", 40): strings.Repeat("ab", MaxPlayer/2), "\ue000": "\ufffd", "\u00a0": "\ufffd",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzLogin(f *testing.F) {
	f.Add(true, []byte(handshake(2)), []byte("\x17\x00\x05Steve"))
	f.Add(false, unhex(f, openarena), []byte{})
	f.Add(false, []byte("\xff\xff\xff\xffconnect \"\\name\\\x1b[2J\xe2\x80\xae\""), []byte{})
	f.Add(false, []byte("\xff\xff\xff\xffconnect \xff\xff"), []byte{0})
	f.Fuzz(func(t *testing.T, tcp bool, one, two []byte) {
		proto := UDP
		if tcp {
			proto = TCP
		}
		var l Login
		for _, p := range [][]byte{one, two} {
			name := l.Feed(proto, p)
			if !utf8.ValidString(name) || utf8.RuneCountInString(name) > MaxPlayer || strings.TrimSpace(name) != name {
				t.Errorf("%q", name)
			}
			for _, r := range name {
				if !unicode.IsGraphic(r) || r == '\u2028' || unicode.Is(unicode.Bidi_Control, r) {
					t.Errorf("%q holds %U", name, r)
				}
			}
		}
	})
}
