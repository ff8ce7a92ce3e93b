// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parry/pkg/netns"
	"parry/test/need"
)

// plainEdge forwards with the kernel and nftables: what the lab is proven on, and compared with. It can block and,
// like a daemon, be "killed": its rules stay.
type plainEdge struct {
	host   *netns.Host
	dir    string
	deaths int
}

var (
	_ Edge    = (*plainEdge)(nil)
	_ Blocker = (*plainEdge)(nil)
	_ Mortal  = (*plainEdge)(nil)
)

func plain(t *testing.T) EdgeMaker {
	t.Helper()
	need.Root(t)
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft is not installed: the plain edge needs it")
	}
	return func(s *Site) (Edge, error) { return &plainEdge{host: s.Edge, dir: s.World.Dir()}, nil }
}

func (e *plainEdge) Start(ctx context.Context) error {
	if e.deaths > 0 {
		return nil
	}
	file := filepath.Join(e.dir, "rules.nft")
	if err := os.WriteFile(file, []byte(plainRules()), 0o600); err != nil {
		return err
	}
	_, err := e.host.Exec(ctx, "nft", "-f", file)
	return err
}

// plainRules are for nft: what the lab's configuration asks of parry.
func plainRules() string {
	return fmt.Sprintf(`
table inet lab {
  set blocked { type ipv4_addr; }
  chain early { type filter hook prerouting priority raw; ip saddr @blocked counter drop; }
  chain nat { type nat hook prerouting priority dstnat;
    ip daddr %s udp dport %d dnat ip to %s
    ip6 daddr %s udp dport %d dnat ip6 to %s
    ip daddr %s tcp dport %d dnat ip to %s
  }
}`, arena4.Addr(), arena4.Port(), arenaServers[0].Addr(), arena6.Addr(), arena6.Port(), arena6Servers[0].Addr(),
		outpost.Addr(), outpost.Port(), outpostServers[0].Addr())
}

func (e *plainEdge) Status(ctx context.Context) (EdgeStatus, error) {
	out, err := e.host.Exec(ctx, "nft", "list", "chain", "inet", "lab", "early")
	if err != nil {
		return EdgeStatus{}, err
	}
	var packets, bytes uint64
	if i := strings.Index(out, "counter packets"); i >= 0 {
		if _, err := fmt.Sscanf(out[i:], "counter packets %d bytes %d", &packets, &bytes); err != nil {
			return EdgeStatus{}, err
		}
	}
	return EdgeStatus{Drops: map[string]uint64{"denied": packets}, Sessions: establishedPlayers + tcpPlayers}, nil
}

func (e *plainEdge) Block(ctx context.Context, p netip.Prefix, _ string) error {
	_, err := e.host.Exec(ctx, "nft", "add", "element", "inet", "lab", "blocked", "{", p.Addr().String(), "}")
	return err
}

func (e *plainEdge) Unblock(ctx context.Context, p netip.Prefix) error {
	_, err := e.host.Exec(ctx, "nft", "delete", "element", "inet", "lab", "blocked", "{", p.Addr().String(), "}")
	return err
}

func (e *plainEdge) Kill() error { e.deaths++; return nil }
func (e *plainEdge) Stop() error { return nil }

// lossy is a plain edge that drops players' packets in the way that a failing edge would.
type lossy struct{ plainEdge }

func (e *lossy) Start(ctx context.Context) error {
	if err := e.plainEdge.Start(ctx); err != nil || e.deaths > 0 {
		return err
	}
	// The 20th datagram of each hundred to servers, from 50 on: those of joining stay.
	_, err := e.host.Exec(ctx, "nft", "add", "rule", "inet", "lab", "early", "udp", "dport", fmt.Sprint(arena4.Port()),
		"numgen", "inc", "mod", "100", "19", "drop")
	return err
}

const shortRun = MinDuration + time.Second
