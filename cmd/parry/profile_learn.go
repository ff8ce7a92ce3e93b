// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"parry/pkg/learn"
)

func newProfileLearn(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "learn CAPTURE...",
		Short: "Propose a configuration from captures of good play",
		Long: `Read captures of good play (pcap or pcapng), and propose a configuration that parry check accepts: what a
stranger's first packet looks like, how long packets are, how much one source sends. Each figure says what it comes
from. A game that parry knows is recognised by its packets: its own gate is better than what can be learned.

Learned is only what is sure. A byte counts as constant where it is the same in the first packets of 8 sessions and
3 sources at least, and is no length, port, address or time; with fewer, no first packet is told from another, and
limits stay parry's own. Sources that were never answered (floods, scans) teach nothing. First packets are learned
of half of the sources, too, and shown those of the others: how many of them pass is told.

As root the proposal is replayed: the same captures go through the edge's own program, enforced, and what it drops
is told. Where to capture: on the server, both directions, from before the players come:
tcpdump -i eth0 -s 256 -w play.pcap udp port 7777`,
		Example: `  sudo parry profile learn play.pcap > learned.yaml
  sudo parry profile learn evening.pcap morning.pcap --name blobs -o parry.yaml
  parry profile learn lan.pcap --server udp/192.0.2.10:7777
  parry profile learn lan.pcap --client-side 198.51.100.0/24 --json | jq .first_packet`,
		Args: someArgs("a capture (a pcap or pcapng file)"),
	}
	opt := learn.Options{}
	cmd.Flags().StringVar(&opt.Name, "name", "", "what to call the `game` (default game-PORT; a game that parry knows has its name)")
	cmd.Flags().StringVar(&opt.Service, "service", "", "what to call the service (default as the game)")
	server := cmd.Flags().String("server", "", "where the service listens, as udp/`ADDRESS:PORT` (default: who is spoken to and answers most)")
	clients := cmd.Flags().StringSlice("client-side", nil, "addresses or prefixes that players are in: the service is none of them")
	out := cmd.Flags().StringP("output", "o", "-", "`file` to write; - is standard output")
	force := cmd.Flags().Bool("force", false, "write over a file that is there")
	skip := cmd.Flags().Bool("no-replay", false, "don't replay what is proposed")
	asJSON := addJSON(cmd, "one JSON object; the configuration is its key config")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opt.Files = args
		if *asJSON && *out != "-" {
			return usagef("--json goes to standard output: leave out -o")
		}
		if err := isFree(*out, *force); err != nil {
			return err
		}
		if err := learnWhere(&opt, *server, *clients); err != nil {
			return err
		}
		p, err := learned(cmd.Context(), d, opt, *skip)
		if err != nil {
			return err
		}
		switch {
		case *asJSON:
			return writeJSON(cmd.OutOrStdout(), p)
		case *out == "-":
			_, err := fmt.Fprint(cmd.OutOrStdout(), p.YAML)
			return err
		}
		if err := writeNew(*out, p.YAML, *force); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s%s is written. Read it, then:\n  parry check -c %s\n", p.Summary(), *out, *out)
		return nil
	}
	return cmd
}

func learned(ctx context.Context, d deps, opt learn.Options, skip bool) (*learn.Profile, error) {
	if skip {
		return learn.Learn(opt)
	}
	return learn.Prove(ctx, opt, replayer(d))
}

// learnWhere reads the flags that tell servers from clients.
func learnWhere(opt *learn.Options, server string, clients []string) error {
	if server != "" {
		proto, addr, ok := strings.Cut(server, "/")
		at, err := netip.ParseAddrPort(addr)
		if !ok || proto != "udp" && proto != "tcp" || err != nil || at.Port() == 0 {
			return usagef("--server: %q: want udp/ADDRESS:PORT or tcp/ADDRESS:PORT", server)
		}
		opt.Server = &learn.Endpoint{Protocol: proto, Address: netip.AddrPortFrom(at.Addr().Unmap(), at.Port())}
	}
	for _, c := range clients {
		p, err := netip.ParsePrefix(c)
		if err != nil {
			a, aerr := netip.ParseAddr(c)
			if aerr != nil {
				return usagef("--client-side: %q is no address and no prefix", c)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		opt.Clients = append(opt.Clients, p.Masked())
	}
	return nil
}

// replayer is learn's way to the edge's program.
func replayer(d deps) learn.Replayer {
	return func(ctx context.Context, config, capture string) (learn.Replay, error) {
		count := learn.Count()
		err := d.Replay(ctx, ReplayOptions{Config: config, Capture: capture, JSON: true}, count)
		return count.Replay, err
	}
}
