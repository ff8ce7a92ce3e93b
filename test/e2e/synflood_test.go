// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/lab"
)

const (
	synRate     = 100_000 // SYNs a second, where the flood is beside a game rather than the test itself
	longPlay    = 150 * time.Second
	mineVersion = "1.8.8" // the lab's clients speak
)

// synFlood sends SYNs from everywhere to a service until it is stopped, and says how many. rate 0 = as many as one CPU makes.
func (s *site) synFlood(to netip.AddrPort, rate uint64) (stop func() uint64) {
	s.t.Helper()
	attackers := s.host("attackers")
	out, err := attackers.Interface("up0")
	must(s.t, err)
	in, err := s.gate.Interface("attackers")
	must(s.t, err)
	g, err := lab.NewGenerator(out, in.MAC, []lab.Stream{
		{Sources: []lab.Source{{Prefix: prefix("16.0.0.0/4"), FirstPort: 1024, LastPort: 65535}}, Target: to, Protocol: lab.TCPSYN,
			Options: []byte{2, 4, 5, 180, 4, 2, 8, 10, 7, 11, 13, 17, 0, 0, 0, 0, 1, 3, 3, 7}},
	})
	must(s.t, err)
	ctx, cancel := context.WithCancel(s.t.Context())
	var wg sync.WaitGroup
	var f lab.Flood
	var failed error
	wg.Go(func() { f, failed = g.Run(ctx, lab.Load{Rate: rate, Duration: 10 * time.Minute}) })
	stop = sync.OnceValue(func() uint64 {
		cancel()
		wg.Wait()
		must(s.t, failed, g.Close())
		return f.Packets
	})
	s.t.Cleanup(func() { stop() })
	return stop
}

// mineSite is a game's site with the SYN proxy always on, whose servers have no SYN cookies of their own.
func mineSite(t *testing.T, name string) *site {
	t.Helper()
	s := newSite(t, name, siteOptions{})
	s.withAttackers()
	s.noResolver(s.players)
	s.noResolver(s.servers)
	must(t, s.servers.Sysctl("net.ipv4.tcp_syncookies", "0"))
	server := []string{at(server4, 25565).String()}
	always := "syn_proxy: always"
	s.edge.run(strings.ReplaceAll(yaml(
		service{name: "nat", listen: fmt.Sprintf("%q", at(vip4, 25565)), protocol: "tcp", forward: "nat", servers: server, more: always},
		service{name: "transparent", listen: fmt.Sprintf("%q", at(third4, 25565)), protocol: "tcp", forward: "transparent", servers: server, more: always},
		service{name: "nat6", listen: fmt.Sprintf("%q", at(vip6, 25565)), protocol: "tcp", forward: "nat", servers: []string{at(server6, 25565).String()}, more: always},
	), "game: auto", "game: minecraft"))
	return s
}

// proxied wants a player's session to be the SYN proxy's, and nobody else to have one that a server knows of.
func (s *site) proxied(service string) {
	s.t.Helper()
	all := s.edge.sessions(api.Filter{Service: service})
	mine := 0
	for _, v := range all {
		if a := v.Client.Addr(); (a == player4 || a == player6) && v.SYNProxy {
			mine++
		}
	}
	if mine == 0 || len(all) > mine {
		s.t.Errorf("%s has %d sessions, %d of them players' by the SYN proxy", service, len(all), mine)
	}
}

// Real clients of Minecraft's protocol join a real server through the SYN proxy and play, by nat, transparent and IPv6, while SYNs from
// everywhere come to the same service.
func TestMinecraftThroughSYNProxy(t *testing.T) {
	const version = "1.20.4"
	node, dir := nodeFolder(t, "java")
	s := mineSite(t, "minesyn")
	server := s.game(s.servers, "server", nil, node, filepath.Join(dir, "server.js"), version, "25565")
	server.await(serverPatience, `"event":"ready"`)
	s.edge.awaitTCP("nat", true)
	stop := s.synFlood(at(vip4, 25565), synRate)
	var players []*game
	ways := []struct{ service, host string }{{"nat", vip4.String()}, {"transparent", third4.String()}, {"nat6", vip6.String()}}
	for _, w := range ways {
		players = append(players, s.game(s.players, w.service, nil, node, filepath.Join(dir, "client.js"), w.host, "25565", version,
			strconv.Itoa(playSeconds), w.service))
	}
	for _, w := range ways {
		seen := server.await(gamePatience, `"event":"join","name":"`+w.service+`","from":"(.*):(\d+)"`)
		s.sawPlayer(w.service, "tcp", "["+seen[1]+"]:"+seen[2])
		s.proxied(w.service)
	}
	for _, p := range players {
		t.Logf("%s: %s", p.name, p.report(gamePatience))
	}
	t.Logf("%d SYNs meanwhile; dropped: %v", stop(), nonZero(s.edge.status().Drops))
}

// The lab's clients are players to a real server, so what the lab says of joining holds for these.
func TestLabsMinecraftClientJoinsARealServer(t *testing.T) {
	node, dir := nodeFolder(t, "java")
	s := mineSite(t, "minelab")
	server := s.game(s.servers, "server", nil, node, filepath.Join(dir, "server.js"), mineVersion, "25565")
	server.await(serverPatience, `"event":"ready"`)
	for n, to := range []netip.AddrPort{at(vip4, 25565), at(third4, 25565), at(vip6, 25565)} {
		name := fmt.Sprintf("lab%d", n)
		began := time.Now()
		must(t, s.players.Do(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), gamePatience)
			defer cancel()
			c, err := lab.JoinMinecraft(ctx, &net.Dialer{}, to, name)
			if err != nil {
				return err
			}
			return c.Close()
		}))
		t.Logf("%v: status, login and the first packet of play in %v", to, time.Since(began).Round(time.Millisecond))
		server.await(gamePatience, `"event":"join","name":"`+name+`"`)
	}
}

// Bots load a world's chunks, walk and talk for minutes through the SYN proxy, under a SYN flood as fast as one CPU makes it.
func TestMinecraftWorldThroughSYNProxy(t *testing.T) {
	bigGame(t)
	node, dir := nodeFolder(t, "worlds")
	s := mineSite(t, "worldsyn")
	const version = "1.21.4"
	server := s.game(s.servers, "server", nil, node, filepath.Join(dir, "world.js"), version, "25565")
	server.await(serverPatience, `world is ready`)
	s.edge.awaitTCP("nat", true)
	stop := s.synFlood(at(vip4, 25565), 0)
	var bots []*game
	for service, host := range map[string]string{"nat": vip4.String(), "transparent": third4.String()} {
		bots = append(bots, s.game(s.players, service, nil, node, filepath.Join(dir, "bot.js"), host, "25565", version,
			strconv.Itoa(int(longPlay.Seconds())), service))
	}
	for _, b := range bots {
		result := b.report(longPlay + gamePatience)
		t.Logf("%s: %s; %s", b.name, result, s.brief(b.name, "tcp"))
		s.proxied(b.name)
	}
	t.Logf("%d SYNs meanwhile", stop())
}
