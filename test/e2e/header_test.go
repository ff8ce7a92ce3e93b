// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// nginxConfig has a server that answers whom the PROXY header names, one that has a file, and one that speaks first.
const nginxConfig = `daemon off;
user root;
worker_processes 1;
error_log stderr;
pid %[1]s/nginx.pid;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  server {
    listen 10.0.1.11:8080 proxy_protocol;
    listen [fd00:1::11]:8080 proxy_protocol;
    root %[1]s;
    location = /who { return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port\n"; }
  }
}
stream {
  server {
    listen 10.0.1.11:8025 proxy_protocol;
    listen [fd00:1::11]:8025 proxy_protocol;
    return "220 hello $proxy_protocol_addr $proxy_protocol_port\n";
  }
}
`

// nginx reads the PROXY header (version 2) that the edge puts before each connection, with the SYN proxy and without it, and takes nothing
// else; who connects may be the first to speak or the last.
func TestNginxReadsThePROXYHeader(t *testing.T) {
	t.Parallel()
	nginx := needProgram(t, "nginx")
	for _, proxy := range []string{"always", "off"} {
		t.Run("syn_proxy "+proxy, func(t *testing.T) { checkNginx(t, nginx, proxy) })
	}
}

func checkNginx(t *testing.T, nginx, proxy string) {
	s := newSite(t, "nginx", siteOptions{})
	dir := s.home("nginx")
	file := bytesOf(9, 4<<20)
	conf := filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, nginxConfig, dir), 0o600), os.WriteFile(filepath.Join(dir, "file"), file, 0o600))
	ways := []struct {
		name, forward       string
		player, vip, server netip.Addr
	}{
		{"nat", "nat", player4, vip4, server4}, {"nat6", "nat", player6, vip6, server6},
		{"transparent", "transparent", player4, third4, server4}, {"transparent6", "transparent", player6, third6, server6},
	}
	var services []service
	for _, w := range ways {
		for _, port := range []uint16{8080, 8025} {
			services = append(services, service{name: fmt.Sprintf("%s-%d", w.name, port), listen: fmt.Sprintf("%q", at(w.vip, port)), protocol: "tcp",
				forward: w.forward, servers: []string{at(w.server, port).String()}, more: "proxy_protocol: v2, syn_proxy: " + proxy})
		}
	}
	s.edge.run(unlimited + yaml(services...))
	s.game(s.servers, "server", nil, nginx, "-c", conf, "-p", dir)
	s.listens(at(server4, 8080), at(server6, 8080), at(server4, 8025), at(server6, 8025))
	if proxy == "always" {
		for _, v := range services {
			s.edge.awaitTCP(v.name, true)
		}
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			s := s.of(t)
			s.checkHTTP(w.player, at(w.vip, 8080), file)
			s.checkGreeting(w.player, at(w.vip, 8025))
		})
	}
	s.loses(s.players, 8)
	s.loses(s.servers, 8)
	for _, w := range ways {
		fronts := []netip.AddrPort{at(w.vip, 8080), at(w.vip, 8025)}
		if proxy == "always" {
			// The edge keeps no clock for a SYN to a server that is lost: a client who waits for the server's first word doesn't
			// know of it and repeats nothing.
			fronts = fronts[:1]
		}
		t.Run(w.name+", lossy", func(t *testing.T) { s.of(t).checkLossy(w.player, fronts) })
	}
}

// checkLossy connects many times where a packet in eight is lost behind the edge, each way: SYNs, answers, the header itself. It must come
// once, whole, before anything else.
func (s *site) checkLossy(player netip.Addr, fronts []netip.AddrPort) {
	s.t.Helper()
	const times, patience = 24, 45 * time.Second
	var wg sync.WaitGroup
	for n := range times {
		wg.Go(func() {
			to := fronts[n%len(fronts)]
			p, err := s.dialTCP(s.players, player, to, patience)
			if err == nil {
				err = p.conn.SetDeadline(time.Now().Add(patience))
			}
			if err != nil {
				s.t.Error(err)
				return
			}
			want := fmt.Sprintf("220 hello %v %d\n", p.addr().Addr(), p.addr().Port())
			if to == fronts[0] {
				want = fmt.Sprintf("%v %d %v %d\n", p.addr().Addr(), p.addr().Port(), to.Addr(), to.Port())
				_, err = io.WriteString(p.conn, "GET /who HTTP/1.0\r\n\r\n")
			}
			all, gone := io.ReadAll(p.conn)
			if !strings.HasSuffix(string(all), want) || err != nil || gone != nil {
				s.t.Errorf("%v: the server says %q, want %q (%v, %v)", to, all, want, err, gone)
			}
		})
	}
	wg.Wait()
}

// listens waits until the servers' host takes connections at addresses.
func (s *site) listens(addrs ...netip.AddrPort) {
	s.t.Helper()
	await(s.t, serverPatience, "the server to listen", func() bool {
		list := s.run(s.servers, "ss", "-Htln")
		for _, a := range addrs {
			if !strings.Contains(list, a.String()) {
				return false
			}
		}
		return true
	})
}

// checkHTTP asks several times in one connection.
func (s *site) checkHTTP(player netip.Addr, to netip.AddrPort, file []byte) {
	s.t.Helper()
	p := s.tcpPlayer(s.players, player, to)
	get := func(path string) []byte {
		s.t.Helper()
		must(s.t, p.deadline(int64(len(file))))
		_, err := fmt.Fprintf(p.conn, "GET %s HTTP/1.1\r\nHost: e2e\r\n\r\n", path)
		must(s.t, err)
		r, err := http.ReadResponse(p.in, nil)
		must(s.t, err)
		body, err := io.ReadAll(r.Body)
		must(s.t, err, r.Body.Close())
		if r.StatusCode != http.StatusOK {
			s.t.Fatalf("%s: %s: %s", path, r.Status, body)
		}
		return body
	}
	want := fmt.Sprintf("%v %d %v %d\n", p.addr().Addr(), p.addr().Port(), to.Addr(), to.Port())
	for range 2 {
		if got := string(get("/who")); got != want {
			s.t.Errorf("the server was told %q, want %q", got, want)
		}
	}
	if got := get("/file"); sha256.Sum256(got) != sha256.Sum256(file) {
		s.t.Errorf("%d bytes arrived as %d others", len(file), len(got))
	}
}

// checkGreeting says nothing: the server speaks first, once it knows to whom.
func (s *site) checkGreeting(player netip.Addr, to netip.AddrPort) {
	s.t.Helper()
	p := s.tcpPlayer(s.players, player, to)
	must(s.t, p.conn.SetReadDeadline(time.Now().Add(patience)))
	got, err := bufio.NewReader(p.conn).ReadString('\n')
	must(s.t, err)
	if want := fmt.Sprintf("220 hello %v %d\n", p.addr().Addr(), p.addr().Port()); got != want {
		s.t.Errorf("the server says %q, want %q", got, want)
	}
}

// A connection without the header is refused by a server that expects one: so the header is what the checks above see.
func TestNginxRefusesWhoComesWithoutHeader(t *testing.T) {
	nginx := needProgram(t, "nginx")
	s := newSite(t, "nginxno", siteOptions{})
	dir := s.home("nginx")
	conf := filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, nginxConfig, dir), 0o600))
	s.edge.run(unlimited + yaml(service{name: "nat", listen: fmt.Sprintf("%q", at(vip4, 8080)), protocol: "tcp", forward: "nat",
		servers: []string{at(server4, 8080).String()}, more: "syn_proxy: always"}))
	s.game(s.servers, "server", nil, nginx, "-c", conf, "-p", dir)
	s.listens(at(server4, 8080))
	p := s.tcpPlayer(s.players, player4, at(vip4, 8080))
	must(t, p.conn.SetDeadline(time.Now().Add(patience)))
	_, _ = io.WriteString(p.conn, "GET /who HTTP/1.1\r\nHost: e2e\r\n\r\n") // it may be refused by now
	if b, err := io.ReadAll(p.conn); len(b) > 0 || isTimeout(err) {
		t.Errorf("answered %q, %v", b, err)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
