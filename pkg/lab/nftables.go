// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"parry/pkg/netns"
)

// PlainEdge forwards with the kernel and nftables (nft, connection tracking): what many have in parry's place. It is the
// lab's negative control: what it fails, and parry passes, is parry's doing.
type PlainEdge struct {
	host *netns.Host
	dir  string
}

// Nftables makes a plain edge. It needs nft (Debian: nftables).
func Nftables() EdgeMaker {
	return func(s *Site) (Edge, error) {
		if _, err := exec.LookPath("nft"); err != nil {
			return nil, errors.New("the plain edge needs nft: apt-get install nftables")
		}
		return &PlainEdge{host: s.Edge, dir: s.World.Dir()}, nil
	}
}

// Name is plain.
func (e *PlainEdge) Name() string { return "plain" }

// Start loads the rules, which then work by themselves.
func (e *PlainEdge) Start(ctx context.Context) error {
	file := filepath.Join(e.dir, "rules.nft")
	if err := os.WriteFile(file, []byte(plainRules()), 0o600); err != nil {
		return fmt.Errorf("start the plain edge: %w", err)
	}
	if _, err := e.host.Exec(ctx, "nft", "-f", file); err != nil {
		return fmt.Errorf("start the plain edge: %w", err)
	}
	return nil
}

// plainRules are for nft: what the lab's configuration asks of parry, full NAT included. Players are shared out over
// several servers by their address.
func plainRules() string {
	var b strings.Builder
	b.WriteString(`table inet lab {
  set blocked { type ipv4_addr; }
  chain early { type filter hook prerouting priority raw; ip saddr @blocked counter drop; }
  chain to { type nat hook prerouting priority dstnat;
`)
	for _, s := range services() {
		ip := "ip"
		if s.listen.Addr().Is6() {
			ip = "ip6"
		}
		to := s.servers[0].Addr().String()
		if len(s.servers) > 1 {
			var shares []string
			for i, at := range s.servers {
				shares = append(shares, fmt.Sprintf("%d : %s", i, at.Addr()))
			}
			to = fmt.Sprintf("jhash %s saddr mod %d map { %s }", ip, len(s.servers), strings.Join(shares, ", "))
		}
		fmt.Fprintf(&b, "    %s daddr %s %s dport %d dnat %s to %s\n", ip, s.listen.Addr(), s.protocol, s.listen.Port(), ip, to)
	}
	fmt.Fprintf(&b, `  }
  chain from { type nat hook postrouting priority srcnat; oifname "%s" masquerade; }
}
`, plan()[serversLeg].edgeIf)
	return b.String()
}

// Status reads what connection tracking counts.
func (e *PlainEdge) Status(context.Context) (EdgeStatus, error) {
	var tracked, stat []byte
	err := e.host.Do(func() (err error) {
		if stat, err = os.ReadFile("/proc/thread-self/net/stat/nf_conntrack"); err != nil {
			return err
		}
		tracked, err = os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		return err
	})
	if err != nil {
		return EdgeStatus{}, fmt.Errorf("read connection tracking: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(tracked)), 10, 64)
	if err != nil {
		return EdgeStatus{}, fmt.Errorf("read connection tracking: %w", err)
	}
	return EdgeStatus{Drops: trackingDrops(string(stat)), Sessions: n}, nil
}

// trackingDrops adds up over the CPUs what connection tracking had no room for: a line of names, then one of hexadecimal
// values for each CPU.
func trackingDrops(stat string) map[string]uint64 {
	drops := map[string]uint64{}
	words := map[string]string{"drop": "conntrack_full", "insert_failed": "conntrack_insert", "early_drop": "conntrack_evicted"}
	var names []string
	for line := range strings.Lines(stat) {
		fields := strings.Fields(line)
		if names == nil {
			names = fields
			continue
		}
		for i, f := range fields {
			if i >= len(names) || words[names[i]] == "" {
				continue
			}
			if n, err := strconv.ParseUint(f, 16, 64); err == nil {
				drops[words[names[i]]] += n
			}
		}
	}
	return drops
}

// Block adds an address to those that are dropped first of all.
func (e *PlainEdge) Block(ctx context.Context, p netip.Prefix, _ string) error {
	_, err := e.host.Exec(ctx, "nft", "add", "element", "inet", "lab", "blocked", "{", p.Addr().String(), "}")
	return err
}

// Unblock removes it again.
func (e *PlainEdge) Unblock(ctx context.Context, p netip.Prefix) error {
	_, err := e.host.Exec(ctx, "nft", "delete", "element", "inet", "lab", "blocked", "{", p.Addr().String(), "}")
	return err
}

// Stop has nothing to do: the rules go with the world.
func (e *PlainEdge) Stop() error { return nil }

var (
	_ Edge    = (*PlainEdge)(nil)
	_ Blocker = (*PlainEdge)(nil)
)
