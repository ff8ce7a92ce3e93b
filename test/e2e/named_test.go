// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"path/filepath"
	"strconv"
	"testing"
)

// Where the file leaves open what is played, a real client's first packets name it, by each way through the edge.
func TestSessionsAreNamed(t *testing.T) {
	node, dir := nodeFolder(t, "java")
	s := gameSite(t, "named", "auto", "tcp", 25565)
	server := s.game(s.servers, "server", nil, node, filepath.Join(dir, "server.js"), "1.20.4", "25565")
	server.await(serverPatience, `"event":"ready"`)
	for _, w := range []struct{ service, host string }{{"nat", vip4.String()}, {"transparent", third4.String()}, {"nat6", vip6.String()}} {
		s.game(s.players, w.service, nil, node, filepath.Join(dir, "client.js"), w.host, "25565", "1.20.4", strconv.Itoa(playSeconds), w.service)
		server.await(gamePatience, `"event":"join","name":"`+w.service+`"`)
		await(t, patience, "the session to be named", func() bool { return s.sessionOf(w.service, "tcp").Named != nil })
		v := s.sessionOf(w.service, "tcp")
		if v.Game != "minecraft_java" || v.Named.Game != v.Game || v.Named.Confidence < 0.9 {
			t.Errorf("%s: taken for %s, %+v", w.service, v.Game, *v.Named)
		}
		await(t, patience, "the player to be known", func() bool { return s.sessionOf(w.service, "tcp").Player != nil })
		if who := *s.sessionOf(w.service, "tcp").Player; who != w.service {
			t.Errorf("%s: the player is called %q", w.service, who)
		}
		t.Logf("%s: %s, %.2f: %s", w.service, v.Game, v.Named.Confidence, v.Named.Reason)
	}
	s.checkDrops()
}
