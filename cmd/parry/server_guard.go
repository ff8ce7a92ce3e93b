// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"parry/pkg/config"
	"parry/pkg/guard"
)

// defaultConfig is where the systemd unit has it.
const defaultConfig = "/etc/parry/parry.yaml"

func newServerGuard(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "guard NAME [NAME...]",
		Short: "Print the nftables rules by which a server takes play from the edge only",
		Long: `Print rules for the server's own firewall: its game ports take packets of the edge and of nobody else, so that an
attack that knows the server's address gets nowhere. Only ports that services lead to are touched, ssh never is.
Run it on the edge: the rules name the addresses that its routes to the server have (nat), or the link address or the
server's interface that its packets come by (transparent, whose packets carry players' own addresses).
NAME is a server's of the configuration, or POOL/NAME where several have that name. Name all that are the same machine.`,
		Example: `  parry server guard eu-1                                          explained
  parry server guard eu-1 --nft | ssh root@10.0.1.11 nft -f -      loaded
  parry server guard eu-1 --from 192.0.2.77                        another edge, or who watches the server, may come too
  parry server guard eu-1 --interface edge0                        transparent: nobody but the edge is behind edge0
  parry server guard eu-1 eu-1-v6                                 one machine, of both families`,
		Args: someArgs("a server"),
	}
	path := cmd.Flags().StringP("config", "c", defaultConfig, "`file` that describes the edge")
	rules := cmd.Flags().Bool("nft", false, "print what nft loads, and nothing else")
	via := cmd.Flags().String("interface", "", "the server's `interface` that nobody but the edge is behind")
	from := cmd.Flags().StringArray("from", nil, "a further `address` that may come (may be given again)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o := guard.Options{Way: d.Way, Interface: *via}
		for _, text := range *from {
			a, err := netip.ParseAddr(text)
			if err != nil || a.Zone() != "" || !a.IsGlobalUnicast() {
				return usagef("--from: %q is no address of one host", text)
			}
			o.More = append(o.More, a.Unmap())
		}
		if !validInterface(*via) {
			return usagef("--interface: %q is no interface's name", *via)
		}
		c, err := config.Load(*path)
		if err != nil {
			return err
		}
		g, err := guard.For(c, args, o)
		if err != nil {
			return err
		}
		if !*rules {
			fmt.Fprint(cmd.OutOrStdout(), g.Explain())
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), g.Nft())
		return err
	}
	return cmd
}

// validInterface holds a name to what the kernel and nft take; "" is none.
func validInterface(name string) bool {
	if len(name) > 15 {
		return false
	}
	for _, r := range name {
		if r <= ' ' || r > '~' || r == '/' || r == '"' || r == '\\' || r == '*' {
			return false
		}
	}
	return true
}
