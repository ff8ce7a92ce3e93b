// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parry/pkg/config"
	"parry/pkg/doctor"
	"parry/pkg/netns"
	"parry/pkg/query"
)

// standInEnv makes this test's own program a game server: `udp:27015:source tcp6:25565:minecraft udp:27105`.
const standInEnv = "PARRY_STANDIN"

// standIn listens, answers in the protocol behind the port, if any, and never returns. The file of its own name and .ready says that it listens.
func standIn(spec string) {
	families := map[string]string{"udp": "udp4", "udp6": "udp", "tcp": "tcp4", "tcp6": "tcp"} // Go's "udp" and "tcp" are IPv6's, which take IPv4 too
	for word := range strings.FieldsSeq(spec) {
		parts := append(strings.Split(word, ":"), "")
		if strings.HasPrefix(parts[0], "udp") {
			conn, err := net.ListenPacket(families[parts[0]], ":"+parts[1])
			if err != nil {
				panic(err)
			}
			go answerQueries(conn, parts[2])
			continue
		}
		l, err := net.Listen(families[parts[0]], ":"+parts[1])
		if err != nil {
			panic(err)
		}
		go answerStatus(l, parts[2])
	}
	if err := os.WriteFile(os.Args[0]+os.Getenv("PARRY_STANDIN_ID")+".ready", nil, 0o600); err != nil {
		panic(err)
	}
	select {}
}

func answerQueries(conn net.PacketConn, protocol string) {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var answer []byte
		switch p := buf[:n]; {
		case protocol == "source" && bytes.HasPrefix(p, []byte("\xff\xff\xff\xffT")):
			answer = []byte("\xff\xff\xff\xffI\x11The arena\x00de_dust2\x00csgo\x00Game\x00\xda\x02\x05\x20\x00dl\x00\x001.0\x00\x00")
		case protocol == "raknet" && n == 33 && p[0] == 1:
			const text = "MCPE;The level;594;1.20;0;10;1234;level;Survival;1;19132;19133;"
			answer = append(append(append([]byte{0x1c}, p[1:9]...), "12345678"...), p[9:25]...)
			answer = append(binary.BigEndian.AppendUint16(answer, uint16(len(text))), text...)
		default:
			continue
		}
		_, _ = conn.WriteTo(answer, from) // whoever asked may be gone
	}
}

func answerStatus(l net.Listener, protocol string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if protocol == "minecraft" {
			const text = `{"description":"The craft"}`
			_, _ = c.Read(make([]byte, 256))
			body := append(binary.AppendUvarint([]byte{0}, uint64(len(text))), text...)
			_, _ = c.Write(append(binary.AppendUvarint(nil, uint64(len(body))), body...))
		}
		_ = c.Close()
	}
}

// newBox makes a host with game servers on it, and one of a player.
func newBox(t *testing.T) (w *world, box, players *netns.Host) {
	t.Helper()
	w = newWorld(t, "box")
	box, players = w.host("box"), w.host("players")
	atPlayers, _ := w.link(ends(players, "up0", "203.0.113.1/24", "2001:db8:1::1/64"), ends(box, "eth0", "203.0.113.10/24", "2001:db8:1::10/64"), netns.LinkOptions{})
	w.receiver(atPlayers)
	w.defaults(box, "203.0.113.1")
	self, err := os.Executable()
	must(t, err)
	serve := func(id int, spec, name string, args ...string) {
		t.Helper()
		path := filepath.Join(w.net.Dir(), name)
		if err := os.Symlink(self, path); !errors.Is(err, os.ErrExist) {
			must(t, err)
		}
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), standInEnv+"="+spec, fmt.Sprint("PARRY_STANDIN_ID=", id))
		_, err := box.Start(cmd)
		must(t, err)
		await(t, patience, name+" to listen", func() bool {
			_, err := os.Stat(path + fmt.Sprint(id) + ".ready")
			return err == nil
		})
	}
	for i := range 6 {
		serve(i, fmt.Sprintf("udp:%d:source tcp:%d udp:%d", 27015+i, 27015+i, 26901+i), "srcds_linux", "-game", "csgo", "+port", fmt.Sprint(27015+i))
	}
	serve(0, "tcp6:25565:minecraft tcp6:25575", "java", "-jar", "/srv/paper.jar")
	serve(0, "udp:19132:raknet udp6:19133:raknet", "bedrock_server")
	serve(0, "tcp:22 tcp6:2222", "sshd")
	serve(0, "tcp:3306", "mysqld")
	serve(0, "udp:9999", "mygame")
	return w, box, players
}

// A person with servers on a box: init finds and names them, check accepts the file, doctor looks at it, try plays it.
func TestInitFindsTheServersOfABox(t *testing.T) {
	w, box, players := newBox(t)
	e := newEdge(w, box)
	o := e.cli("", "init", "-o", e.file)
	if o.code != 0 {
		t.Fatalf("exit code %d, %s", o.code, o.err)
	}
	t.Logf("\n%s", o.out)
	c, err := config.Load(e.file)
	must(t, err)
	got := map[string]string{}
	for _, s := range c.Services {
		got[s.Name] = fmt.Sprint(s.Game, s.Protocol, " ", s.Listen, s.Forward)
	}
	for name, want := range map[string]string{
		"csgo":      "csgo[udp] [203.0.113.10:27015-27020]local",
		"minecraft": "minecraft[tcp] [203.0.113.10:25565 [2001:db8:1::10]:25565]local",
		"bedrock-1": "bedrock[udp] [203.0.113.10:19132]local",
		"bedrock-2": "bedrock[udp] [203.0.113.10:19133 [2001:db8:1::10]:19133]local",
	} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	if len(c.Services) != 4 || c.Enforce || fmt.Sprint(c.Host.Always) != "[tcp/22 tcp/2222]" || fmt.Sprint(c.Interfaces) != "[{eth0 native}]" {
		t.Errorf("%d services, enforce %v, always %v, interfaces %v", len(c.Services), c.Enforce, c.Host.Always, c.Interfaces)
	}
	text, err := os.ReadFile(e.file)
	must(t, err)
	for _, want := range []string{"The arena", "The craft", "The level", "udp-9999", "tcp 3306  mysqld: a database", "tcp 25575  java: Minecraft's RCON"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in the file:\n%s", want, text)
		}
	}
	if o := e.cli("", "init", "-o", e.file); o.code != 1 || !strings.Contains(o.err, "is there already: --force writes over it") {
		t.Errorf("over a file: exit code %d, %s", o.code, o.err)
	}
	e.ok("init", "-o", e.file, "--force", "--no-ask")
	e.ok("check", "-c", e.file, "--host")

	// Its own folders, so that it meets no other edge of this machine.
	must(t, os.WriteFile(e.file, []byte(fmt.Sprintf("pin: %s\nstate: %s\nmetrics: \"\"\napi: {socket: %s, group: \"\"}\n%s", e.pin, e.state, e.socket, text)), 0o600))
	var report doctor.Report
	o = e.cli("", "doctor", "-c", e.file, "--json")
	must(t, json.Unmarshal([]byte(o.out), &report))
	if o.code != 0 || report.Fails != 0 || report.OK < 10 {
		t.Errorf("doctor: exit code %d, %+v\n%s", o.code, report, o.err)
	}
	cmd := exec.Command(e.bin, "try", "-c", e.file, "--for", "30s")
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	p, err := box.Start(cmd)
	must(t, err)
	e.await(startPatience, "the edge to be tried", func() bool {
		select {
		case <-p.Done():
			t.Fatalf("parry try ended: %v\n%s", p.Err(), out)
		default:
		}
		return strings.Contains(out.String(), "attached to eth0")
	})
	for _, q := range []struct {
		at string
		q  query.Question
	}{{"203.0.113.10:27018", query.SourceInfo}, {"203.0.113.10:19132", query.RakNetPing}} {
		must(t, players.Do(func() error {
			_, err := query.Ask(t.Context(), netip.MustParseAddrPort(q.at), q.q)
			return err
		}))
	}
	var packets uint64
	for _, s := range e.status().Services {
		packets += s.Packets
	}
	if packets == 0 {
		t.Error("players' packets were not seen")
	}
	must(t, p.Signal(os.Interrupt))
	select {
	case <-p.Done():
		must(t, p.Err())
	case <-time.After(stopPatience):
		t.Fatalf("try does not end\n%s", out)
	}
}

// Where there is nothing, and where there may be nothing written, it says so.
func TestInitWithoutServers(t *testing.T) {
	w := newWorld(t, "nobox")
	box, players := w.host("box"), w.host("players")
	e := newEdge(w, box)
	if o := e.cli("", "init", "-o", e.file); o.code != 1 || !strings.Contains(o.err, "no interface of this machine has an address that players could reach") {
		t.Errorf("without a network: exit code %d, %s", o.code, o.err)
	}
	w.link(ends(players, "up0", "203.0.113.1/24"), ends(box, "eth0", "203.0.113.10/24"), netns.LinkOptions{})
	w.defaults(box, "203.0.113.1")
	if o := e.cli("", "init", "-o", e.file); o.code != 1 || !strings.Contains(o.err, "no game server was found here: start your servers first") {
		t.Errorf("without servers: exit code %d, %s", o.code, o.err)
	}
	if _, err := os.Stat(e.file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was written: %v", err)
	}
}
