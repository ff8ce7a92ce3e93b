// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"parry/pkg/api"
)

const patience = 20 * time.Second

// errAbsent says that a way's tool is not installed.
var errAbsent = errors.New("not installed: scripts/setup-debian compare")

// way is one way to get packets through the edge.
type way struct {
	key, name string
	proxy     bool       // a program in user space receives and sends
	rig       bool       // no way at all: packets are dropped where they come in to the edge
	target    netip.Addr // what clients send to
	set       func(ctx context.Context, s *site) error
}

// Keys of ways that others are compared with.
const (
	keyRig   = "rig"
	keyRoute = "route"
	keyNFT   = "nftables"
	keyParry = "parry"
)

// ways are all of them. parry is its program file, dir a folder for what has to be built.
func ways(parry, dir string) []way {
	return []way{
		{key: keyRig, name: "none: dropped at the edge", target: frontAddr(), rig: true, set: func(context.Context, *site) error { return nil }},
		{key: keyRoute, name: "kernel routing, no NAT", target: serverAddr(), set: route},
		{key: keyNFT, name: "nftables DNAT+SNAT", target: frontAddr(), set: nftables},
		{key: "iptables", name: "iptables DNAT+SNAT", target: frontAddr(), set: iptables},
		{key: "nginx", name: "nginx stream proxy", target: frontAddr(), proxy: true, set: nginx},
		{key: "go", name: "plain Go proxy", target: frontAddr(), proxy: true, set: func(ctx context.Context, s *site) error { return goProxy(ctx, s, dir) }},
		{key: keyParry, name: "parry, nat", target: frontAddr(), set: func(ctx context.Context, s *site) error { return runParry(ctx, s, parry) }},
	}
}

// tool finds a program of another package.
func tool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is %w", name, errAbsent)
	}
	return path, nil
}

func route(_ context.Context, s *site) error { return s.edge.Sysctl("net.ipv4.ip_forward", "1") }

func nftables(ctx context.Context, s *site) error {
	nft, err := tool("nft")
	if err != nil {
		return err
	}
	rules := fmt.Sprintf(`table ip nat {
	chain pre { type nat hook prerouting priority dstnat; ip daddr %v udp dport %d dnat to %v:%d; }
	chain post { type nat hook postrouting priority srcnat; oifname "back0" snat to %v; }
}`, frontAddr(), port, serverAddr(), port, backAddr())
	file := filepath.Join(s.world.Dir(), "nat.nft")
	if err := os.WriteFile(file, []byte(rules), 0o644); err != nil {
		return err
	}
	_, err = s.edge.Exec(ctx, nft, "-f", file)
	return errors.Join(err, route(ctx, s))
}

// iptables are the legacy ones where the kernel has them: with Debian's default they are nftables by another name.
func iptables(ctx context.Context, s *site) error {
	var err error
	for _, name := range []string{"iptables-legacy", "iptables"} {
		var path string
		if path, err = tool(name); err != nil {
			continue
		}
		if err = errors.Join(
			iptablesRule(ctx, s, path, "PREROUTING", "-d", frontAddr().String(), "-p", "udp", "--dport", fmt.Sprint(port), "-j", "DNAT",
				"--to-destination", fmt.Sprintf("%v:%d", serverAddr(), port)),
			iptablesRule(ctx, s, path, "POSTROUTING", "-o", "back0", "-j", "SNAT", "--to-source", backAddr().String()),
		); err == nil {
			s.note = name
			return route(ctx, s)
		}
	}
	return err
}

func iptablesRule(ctx context.Context, s *site, path, chain string, rule ...string) error {
	_, err := s.edge.Exec(ctx, append([]string{path, "-t", "nat", "-A", chain}, rule...)...)
	return err
}

const nginxModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

func nginx(_ context.Context, s *site) error {
	path, err := tool("nginx")
	if err != nil {
		return err
	}
	if _, err := os.Stat(nginxModule); err != nil {
		return fmt.Errorf("nginx's stream module is %w", errAbsent)
	}
	text := fmt.Sprintf(`load_module %s;
daemon off;
user root;
worker_processes auto;
pid %s/nginx.pid;
error_log %[2]s/nginx.log;
events { worker_connections 4096; }
stream {
	access_log off;
	server { listen %v:%d udp reuseport; proxy_pass %v:%[4]d; proxy_timeout 10m; }
}
`, nginxModule, s.world.Dir(), frontAddr(), port, serverAddr())
	file := filepath.Join(s.world.Dir(), "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	return s.start(path, "-c", file, "-e", filepath.Join(s.world.Dir(), "nginx.log"))
}

func goProxy(ctx context.Context, s *site, dir string) error {
	bin := filepath.Join(dir, "proxy")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "parry/test/compare/proxy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the Go proxy: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return s.start(bin, fmt.Sprintf("%v:%d", frontAddr(), port), fmt.Sprintf("%v:%d", serverAddr(), port))
}

// start runs the forwarder in the edge.
func (s *site) start(argv ...string) error {
	log, err := os.OpenFile(filepath.Join(s.world.Dir(), "forwarder.log"), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	s.forwarder, err = s.edge.Start(cmd)
	return err
}

// runParry starts the daemon with limits that the flood doesn't reach and no detector (all flows are one machine's), all else as it comes.
func runParry(ctx context.Context, s *site, binary string) error {
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("%s: make build makes it: %w", binary, err)
	}
	pin, err := s.world.MountBPF("bpf")
	if err != nil {
		return err
	}
	dir := s.world.Dir()
	text := fmt.Sprintf(`interfaces: [{name: front0}, {name: back0}]
pin: %s/parry
state: %s/state
api: {socket: %[2]s/parry.sock}
metrics: ""
detect: {mode: "off"}
services:
  - name: arena
    listen: "%v:%d"
    protocol: udp
    forward: nat
    pool: p
    limits: {source: {packets_per_second: 20000000, burst: 20000000, new_sessions: 10000, sessions: 10000}}
pools:
  - {name: p, servers: [{name: s1, address: "%v:%[4]d"}]}
`, pin, dir, frontAddr(), port, serverAddr())
	file := filepath.Join(dir, "parry.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	if err := s.start(binary, "run", "-c", file); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for client := api.Dial(filepath.Join(dir, "parry.sock")); ; {
		_, err := client.Status(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.forwarder.Done():
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
			continue
		}
		words, _ := os.ReadFile(filepath.Join(dir, "forwarder.log"))
		return fmt.Errorf("parry does not run: %w\n%s", errors.Join(err, s.forwarder.Err()), words)
	}
}
