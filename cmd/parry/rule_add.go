// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/rule"
	"parry/pkg/show"
)

func newRuleAdd(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add EXPRESSION --action ACTION",
		Short: "Add a rule behind the others",
		Long: `Add a rule. Packets of strangers, and of sessions that are not proven yet, are judged by the rules in the order in
which they were added, until one decides:

  drop               the packet is dropped
  limit:RATE         so many packets a second pass (k and M are known), the rest is dropped
  limit:RATE/source  so many of each source (IPv6: each /64)
  pass               no further rule is asked; gates and limits are
  count              counted, and the next rule is asked

--established has a rule judge the packets of sessions in play, too, which then cost some more. --monitor only counts
what it would do. Quote the expression: shells have a use for parentheses and brackets of their own. A rule that
would drop every packet that players send to a service takes --force.`,
		Example: `  parry rule add 'udp and dst port 27015 and length > 1200' --action drop
  parry rule add 'src net 198.51.100.0/24' --action limit:50/source --service arena --ttl 1h
  parry rule add 'udp[8:4] = 0xffffffff and udp[12] = 0x54' --action count
  parry rule add 'tcp[tcpflags] & (tcp-syn|tcp-fin) == (tcp-syn|tcp-fin)' --action drop --monitor`,
	}
	dial := addSocket(cmd, d)
	n := api.NewRule{}
	ttl := &ttlValue{}
	f := cmd.Flags()
	f.StringVar(&n.Action, "action", "", "drop, limit:RATE, limit:RATE/source, count or pass")
	service := addService(cmd, dial, "packets of this service alone")
	f.Var(ttl, "ttl", "how long it holds, e.g. 90s, 1h, 7d")
	f.BoolVar(&n.Monitor, "monitor", false, "count what it would drop, and drop nothing")
	f.BoolVar(&n.Established, "established", false, "judge packets of sessions in play, too")
	f.BoolVar(&n.Force, "force", false, "though it drops everything that players send")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e, err := expression(args)
		if err != nil {
			return err
		}
		if n.Action == "" {
			return usagef("say what to do with them: --action drop, limit:RATE, count or pass")
		}
		if _, err := rule.ParseAction(n.Action); err != nil {
			return usagef("--action: %w", err)
		}
		n.Expression, n.Service = e.String(), *service
		if ttl.ttl > 0 {
			n.Expires = new(d.Now().Add(ttl.ttl))
		}
		made, err := dial().AddRule(cmd.Context(), n)
		if errors.Is(err, api.ErrInvalid) {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		until := ""
		if ttl.ttl > 0 {
			until = " for " + show.Duration(ttl.ttl)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "rule %d is in force%s\n", made.ID, until)
		return err
	}
	return cmd
}
