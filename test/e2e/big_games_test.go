// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Versions of the protocol that are far apart.
func TestMinecraftJavaVersions(t *testing.T) {
	bigGame(t)
	for _, version := range []string{"1.8.8", "1.16.5", "1.21.4"} {
		t.Run(version, func(t *testing.T) { checkMinecraft(t, version) })
	}
}

// Two bots load a world's chunks, walk in it and hear themselves talk.
func TestMinecraftWorld(t *testing.T) {
	bigGame(t)
	node, dir := nodeFolder(t, "worlds")
	s := gameSite(t, "world", "minecraft", "tcp", 25565)
	const version = "1.21.4"
	server := s.game(s.servers, "server", nil, node, filepath.Join(dir, "world.js"), version, "25565")
	server.await(serverPatience, `world is ready`)
	var bots []*game
	for service, host := range map[string]string{"nat": vip4.String(), "transparent": third4.String()} {
		bots = append(bots, s.game(s.players, service, nil, node, filepath.Join(dir, "bot.js"), host, "25565", version,
			strconv.Itoa(playSeconds), service))
	}
	for _, b := range bots {
		result := b.report(gamePatience)
		t.Logf("%s: %s; %s", b.name, result, s.brief(b.name, "tcp"))
	}
	s.checkDrops()
}

// Minecraft Bedrock over RakNet: the one with the library in C++, the one in JavaScript.
func TestBedrock(t *testing.T) {
	bigGame(t)
	node, dir := nodeFolder(t, "worlds")
	for _, backend := range []string{"raknet-native", "jsp-raknet"} {
		t.Run(backend, func(t *testing.T) {
			s := gameSite(t, "bedrock", "bedrock", "udp", 19132)
			const version = "1.20.80"
			server := s.game(s.servers, "server", nil, node, filepath.Join(dir, "bedrock-server.js"), version, "19132", backend)
			server.await(serverPatience, `"event":"ready"`)
			for service, host := range map[string]string{"nat": vip4.String(), "transparent": third4.String()} {
				player := s.game(s.players, service, nil, node, filepath.Join(dir, "bedrock-client.js"), host, "19132", version,
					strconv.Itoa(playSeconds), service, backend)
				result := player.report(gamePatience)
				want := nat4
				if service == "transparent" {
					want = player4
				}
				seen := server.await(serverPatience, `"from":"(`+regexp.QuoteMeta(want.String())+`:\d+)"`)
				s.sawPlayer(service, "udp", seen[1])
				t.Logf("%s: seen as %s, %s; %s", service, seen[1], result, s.brief(service, "udp"))
			}
			s.checkDrops()
		})
	}
}

// An OpenArena server (Quake III's protocol) with bots: queries by quakestat and a real client under a virtual screen. Debian's speaks the
// old protocol, whose packets prove nothing; ioquake3's own has checksums.
func TestOpenArena(t *testing.T) {
	bigGame(t)
	t.Run("as Debian has it", func(t *testing.T) { playOpenArena(t, "openarena", []string{"weak", "lasting"}) })
	t.Run("with ioquake3's checksums", func(t *testing.T) { playOpenArena(t, "openarena71", []string{"strong"}, "com_legacyprotocol 0") })
}

// playOpenArena wants a player's session to be proven in one of some ways.
func playOpenArena(t *testing.T, name string, proofs []string, both ...string) {
	server, client, query := needProgram(t, "openarena-server"), needProgram(t, "openarena"), needProgram(t, "quakestat")
	const port = 27960
	s := gameSite(t, name, "openarena", "udp", port)
	args := func(program string, settings ...string) []string {
		argv := []string{program}
		for _, v := range append(settings, both...) {
			argv = append(argv, "+set")
			argv = append(argv, strings.Fields(v)...)
		}
		return argv
	}
	host := s.game(s.servers, "server", nil, append(args(server, "dedicated 1", "net_port 27960", "net_enabled 1", "sv_hostname parry-e2e",
		"sv_maxclients 8", "sv_pure 0", "bot_enable 1", "bot_minplayers 2", "g_gametype 0", "fraglimit 0", "timelimit 0", "sv_master1 none"),
		"+map", "oa_dm1")...)
	host.await(serverPatience, `AAS initialized`)
	status := func(host string, rest ...string) string {
		return s.run(s.players, append([]string{query, "-q3s", host, "-timeout", "5"}, rest...)...)
	}
	for _, v := range []string{at(vip4, port).String(), at(third4, port).String()} {
		if got := status(v, "-P", "-R"); !strings.Contains(got, "sv_hostname=parry-e2e") || !strings.Contains(got, "oa_dm1") {
			t.Fatalf("quakestat of %s: %s", v, got)
		}
	}
	s.game(s.players, "client", s.display(s.players), append(args(client, "name parrybot", "r_fullscreen 0", "r_mode -1", "r_customwidth 160",
		"r_customheight 120", "com_maxfps 20", "com_maxfpsUnfocused 20", "com_maxfpsMinimized 20", "r_picmip 8", "r_vertexLight 1",
		"s_initsound 0", "com_introplayed 1", "cl_renderer opengl1", "r_ext_multisample 0", "cg_draw2D 0", "cg_drawGun 0", "in_mouse 0",
		"in_joystick 0", "cl_allowDownload 0"), "+connect", at(third4, port).String())...)
	host.await(gamePatience, `parrybot(\^7)? entered the game`)
	s.awaitPackets("transparent", "udp", 100)
	took := await(t, gamePatience, "quakestat to list the player", func() bool { // the edge's answer is some seconds old
		return strings.Contains(status(at(vip4, port).String(), "-P"), "parrybot")
	})
	if got := s.sessionOf("transparent", "udp").Client.Addr(); got != player4 {
		t.Errorf("the edge takes %v for the player", got)
	}
	if got := s.sessionOf("transparent", "udp").Proof; !slices.Contains(proofs, got) {
		t.Errorf("the player's proof is %s, not %s", got, strings.Join(proofs, " or "))
	}
	s.checkDrops()
	t.Logf("entered the game, listed by a query in %v; %s", took.Round(time.Millisecond), s.brief("transparent", "udp"))
}
