// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestMinecraftJava(t *testing.T) { checkMinecraft(t, "1.20.4") }

// checkMinecraft has three players log in at once, by nat, by transparent and by IPv6, and walk in a server that tells
// them the time.
func checkMinecraft(t *testing.T, version string) {
	t.Helper()
	node, dir := nodeFolder(t, "java")
	s := gameSite(t, "java", "minecraft", "tcp", 25565)
	server := s.game(s.servers, "server", nil, node, filepath.Join(dir, "server.js"), version, "25565")
	server.await(serverPatience, `"event":"ready"`)
	ways := []struct{ service, host string }{{"nat", vip4.String()}, {"transparent", third4.String()}, {"nat6", vip6.String()}}
	var players []*game
	for _, w := range ways {
		players = append(players, s.game(s.players, w.service, nil, node, filepath.Join(dir, "client.js"), w.host, "25565", version,
			strconv.Itoa(playSeconds), w.service))
	}
	for _, w := range ways {
		seen := server.await(gamePatience, `"event":"join","name":"`+w.service+`","from":"(.*):(\d+)"`)
		s.sawPlayer(w.service, "tcp", "["+seen[1]+"]:"+seen[2])
		t.Logf("%s: the server sees %s", w.service, seen[1])
	}
	for _, p := range players {
		t.Logf("%s: %s", p.name, p.report(gamePatience))
	}
	s.checkDrops()
}

// openTTDConfig is what a game of OpenTTD needs to be small and to ask nobody outside.
const openTTDConfig = `[network]
server_game_type = local
lan_internet = 1
use_relay_service = never
no_http_content_downloads = true
max_init_time = 250
max_join_time = 1000
[misc]
graphicsset = "OpenGFX"
[game_creation]
map_x = 6
map_y = 6
[difficulty]
max_no_competitors = 0
`

func TestOpenTTD(t *testing.T) {
	t.Parallel()
	openttd := needProgram(t, "openttd")
	s := gameSite(t, "openttd", "openttd", "[tcp, udp]", 3979)
	write := func(name, file, text string) {
		path := filepath.Join(s.home(name), file)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600))
	}
	write("server", "openttd.cfg", openTTDConfig)
	write("client", "openttd.cfg", openTTDConfig)
	// The client connects by a script: its option for that gives up where no name is set.
	write("client", "scripts/autoexec.scr", fmt.Sprintf("setting client_name parrybot\nconnect \"%v:3979\"\n", third4))
	server := s.game(s.servers, "server", nil, openttd, "-D", "0.0.0.0:3979", "-g", "-c", filepath.Join(s.home("server"), "openttd.cfg"), "-d", "net=4")
	server.await(serverPatience, `(?i)listening on|starting game`)
	s.game(s.players, "client", nil, openttd, "-v", "null:ticks=2000000000", "-s", "null", "-m", "null", "-g", "-c",
		filepath.Join(s.home("client"), "openttd.cfg"), "-d", "net=3")
	server.await(gamePatience, `parrybot has joined`)
	seen := server.await(gamePatience, `(?i)(client connected from|accepted) \[?(192\.0\.2\.2)`)
	s.awaitPackets("transparent", "tcp", 50)
	s.checkDrops()
	t.Logf("joined, seen as %s; %v", seen[2], s.brief("transparent", "tcp"))
}

// awaitPackets waits until a session has carried so many packets each way.
func (s *site) awaitPackets(service, protocol string, n uint64) {
	s.t.Helper()
	await(s.t, gamePatience, fmt.Sprintf("%d packets each way by %s", n, service), func() bool {
		p := s.sessionOf(service, protocol)
		return p.Up != nil && p.Down != nil && p.Up.Packets >= n && p.Down.Packets >= n
	})
}

const minetestServer = `server_name = parry e2e
bind_address = 0.0.0.0
server_announce = false
default_privs = interact, shout, fast, fly
creative_mode = true
enable_damage = false
mg_name = flat
`

const minetestClient = `random_input = true
enable_sound = false
fps_max = 10
fps_max_unfocused = 10
viewing_range = 20
screen_w = 320
screen_h = 240
enable_shaders = false
smooth_lighting = false
enable_clouds = false
enable_particles = false
enable_minimap = false
server_announce = false
enable_remote_media_server = false
contentdb_url =
update_information_url =
`

// A real client under a virtual screen presses random keys; the server writes down what it digs and builds.
func TestMinetest(t *testing.T) {
	t.Parallel()
	server, client := needProgram(t, "minetestserver"), needProgram(t, "minetest")
	// It loads its textures and models as fast as it can, and acknowledges each packet: next door that is more than the
	// 1000 packets a second that a source has by default.
	s := gameSite(t, "minetest", "minetest", "udp", 30000, "limits: {source: {packets_per_second: 10000}}\n")
	conf := func(name, text string) string {
		path := filepath.Join(s.home(name), "minetest.conf")
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	host := s.game(s.servers, "server", nil, server, "--gameid", "minetest_game", "--world", filepath.Join(s.home("server"), "world"),
		"--config", conf("server", minetestServer), "--port", "30000")
	host.await(serverPatience, `listening on`)
	s.game(s.players, "client", s.display(s.players), client, "--go", "--address", third4.String(), "--port", "30000", "--name", "parrymt",
		"--password", "x", "--config", conf("client", minetestClient), "--random-input")
	seen := host.await(gamePatience, `parrymt \[(.*)\] joins game`)
	if seen[1] != player4.String() {
		t.Errorf("the server sees %s, want %v", seen[1], player4)
	}
	did := host.await(gamePatience, `parrymt (digs|places)[^\n]*`)
	s.checkDrops()
	t.Logf("joined as %s, %s; %v", seen[1], did[0], s.brief("transparent", "udp"))
}

// A real client joins a DDNet server (0.6 protocol, with its own anti-spoofing tokens) through nat.
func TestDDNet(t *testing.T) {
	t.Parallel()
	server, client := needProgram(t, "DDNet-Server"), needProgram(t, "DDNet")
	s := gameSite(t, "ddnet", "ddnet", "udp", 8303)
	host := s.game(s.servers, "server", nil, server, "sv_name parry; sv_port 8303; sv_map dm1; sv_register 0; sv_use_sql 0")
	host.await(serverPatience, `server name is`)
	s.game(s.players, "client", s.display(s.players), client, "player_name parrydd; gfx_backend OpenGL; gfx_gl_major 2; gfx_gl_minor 0; "+
		"gfx_gl_patch 0; gfx_screen_width 320; gfx_screen_height 240; gfx_fullscreen 0; cl_refresh_rate 20; cl_refresh_rate_inactive 20; "+
		"snd_enable 0; cl_show_welcome 0; connect "+at(vip4, 8303).String())
	seen := host.await(gamePatience, `player has entered the game\. ClientI[dD]=\d+ addr=<\{?([0-9.]+:\d+)`)
	s.sawPlayer("nat", "udp", seen[1])
	s.awaitPackets("nat", "udp", 50)
	s.checkDrops()
	t.Logf("entered, seen as %s; %v", seen[1], s.brief("nat", "udp"))
}
