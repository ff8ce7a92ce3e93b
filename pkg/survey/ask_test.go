// SPDX-License-Identifier: Apache-2.0

package survey

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"parry/pkg/config"
	"parry/pkg/query"
)

func TestGamesByName(t *testing.T) {
	for subject, want := range map[string]string{
		"srcds_linux srcds_linux -game cstrike -port 27015":      "css",
		"hlds_linux hlds_linux -game cstrike":                    "css",
		"hlds_run":                                               "cs16",
		"java java -xmx4g -jar paper-1.20.jar":                   "minecraft",
		"java java -jar server.jar nogui":                        "minecraft",
		"java java -jar jenkins.war":                             "",
		"valheim_server. valheim_server.x86_64 -name x":          "valheim",
		"itzg/minecraft-server:latest mc":                        "minecraft",
		"itzg/minecraft-bedrock-server bedrock":                  "bedrock",
		"cs2 cs2 -dedicated":                                     "cs2",
		"wine64-preload wine64-preloader conansandboxserver.exe": "generic_udp",
		"python3 cs2stats.py":                                    "",
		"mydata mydatabase":                                      "",
		"openttd openttd -d":                                     "openttd",
	} {
		if got, _ := gameOf(subject); got.game != want {
			t.Errorf("%q is %q, want %q", subject, got.game, want)
		}
	}
	for _, p := range programs {
		if _, err := config.Parse("x", []byte(fmt.Sprintf("services: [{name: a, listen: 203.0.113.1:1000, game: %s, forward: local}]", p.game))); err != nil {
			t.Errorf("%s is no game that parry knows: %v", p.game, err)
		}
	}
}

func TestContainerEnginesAnswers(t *testing.T) {
	const text = `[{"Names":["/mc"],"Image":"itzg/minecraft-server","Ports":[{"IP":"0.0.0.0","PrivatePort":25565,"PublicPort":25570,"Type":"tcp"},
		{"PrivatePort":25575,"Type":"tcp"},{"IP":"::","PrivatePort":19132,"PublicPort":19132,"Type":"udp"}],"NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.5"}}}},
		{"Image":"x","Ports":[{"PrivatePort":1,"PublicPort":1,"Type":"sctp"}]}]`
	got, err := parseContainers([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := "[{tcp 0.0.0.0 25570 mc itzg/minecraft-server 172.17.0.5:25565} {udp :: 19132 mc itzg/minecraft-server 172.17.0.5:19132}]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v\nwant %s", got, want)
	}
	if _, err := parseContainers([]byte("<html>")); err == nil {
		t.Error("a page is no list")
	}
}

func TestMinecraftStatus(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		buf := make([]byte, 100)
		if _, err := c.Read(buf); err != nil {
			done <- err
			return
		}
		text := `{"description":{"text":"§aGreen","extra":[{"text":" and"}," plain"]}}`
		body := append(binary.AppendUvarint([]byte{0}, uint64(len(text))), text...)
		_, err = c.Write(append(binary.AppendUvarint(nil, uint64(len(body))), body...))
		done <- err
	}()
	name, err := minecraftStatus(t.Context(), netip.MustParseAddrPort(l.Addr().String()))
	if err != nil || name != "Green and plain" {
		t.Errorf("%q, %v", name, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "\x05\x01\x01x", "\x05\x00\xff\xff\xff\xff\x0f", "\x05\x00\x03abc", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if _, err := readStatus(bufio.NewReader(strings.NewReader(bad))); !errors.Is(err, errNoStatus) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAnswersNameGames(t *testing.T) {
	source := &query.Reply{Body: []byte("\xff\xff\xff\xffI\x11Name\x00map\x00cstrike\x00Game\x00\xf0\x00rest")}
	if a := sourceAnswer(source); a.Game != "css" {
		t.Errorf("%+v", a)
	}
	for _, short := range []string{"", "\xff\xff\xff\xffI", "\xff\xff\xff\xffI\x11a\x00b", "\xff\xff\xff\xffI\x11a\x00b\x00c\x00d\x00\x01"} {
		if a := sourceAnswer(&query.Reply{Body: []byte(short)}); a.Game != "" {
			t.Errorf("%q: %+v", short, a)
		}
	}
	quake := &query.Reply{Body: []byte("\xff\xff\xff\xffinfoResponse\n\\hostname\\x\\game\\q3ut4\\gamename\\")}
	if a := quake3Answer(quake); a.Game != "urbanterror" {
		t.Errorf("%+v", a)
	}
	if a := quake3Answer(&query.Reply{Body: []byte("\xff\xff\xff\xffinfoResponse\n\\gamename\\nobody's")}); a.Game != "" || a.Family != "quake3" {
		t.Errorf("%+v", a)
	}
}

// What a server calls itself stays in its comment.
func FuzzPrintable(f *testing.F) {
	f.Add("a\nb\r\x00\u2028\x85c")
	f.Fuzz(func(t *testing.T, text string) {
		s := Service{Name: "a", Game: "cs2", Title: "T", Protocols: []string{"udp"}, Servers: []Listener{{Port: 1, Process: text, Says: text}},
			Listen: []config.Listen{{Addr: netip.MustParseAddr("203.0.113.10"), First: 1, Last: 1}}}
		p := Plan{Interfaces: []Interface{{Name: "eth0", Mode: "native"}}, Services: []Service{s},
			Unknown: []Listener{{Protocol: "udp", Port: 2, Process: text, Container: text}}, Left: []Listener{{Protocol: "udp", Port: 3, Process: text, Why: "x"}}}
		y := p.YAML("host", "x.yaml")
		c, err := config.Parse("x.yaml", []byte(y))
		if err != nil || len(c.Services) != 1 {
			t.Errorf("%v\n%s", err, y)
		}
	})
}
