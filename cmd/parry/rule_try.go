// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/pcap"
	"parry/pkg/rule"
	"parry/pkg/show"
)

// ruleTrial is what rules make of a capture.
type ruleTrial struct {
	Packets int          `json:"packets"`
	NotIP   int          `json:"not_ip"` // of them: no rule is asked about those
	Damaged int          `json:"damaged,omitempty"`
	Rules   []triedRules `json:"rules"`
}

// triedRules is one rule's part in it.
type triedRules struct {
	ID         uint32 `json:"id,omitempty"` // 0: it is none of the edge's
	Expression string `json:"expression"`
	Action     string `json:"action,omitempty"`
	Matches    int    `json:"matches"`
	Decides    int    `json:"decides"` // of those: no rule before it had decided
	First      int    `json:"first"`   // number of the first packet that matches; 0 = none does
}

func newRuleTest(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test FILE (EXPRESSION | --all)",
		Short: "Try an expression, or the edge's rules, on a capture",
		Long: `Count the packets of a pcap or pcapng file that an expression means, or each rule of the running edge (--all): there,
how many would be decided by it, the rules before it first. Nothing is sent, and an edge is only asked for its
rules. Rates are not simulated, and a rule is asked whatever service it is for. With --packets the numbers of the
packets are printed, as Wireshark counts them.`,
		Example: `  parry rule test attack.pcap 'udp and length > 1200'
  parry rule test attack.pcap --all
  parry rule test attack.pcap 'src port 53' --packets | head`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("name the capture (a pcap or pcapng file), then the expression")
			}
			return nil
		},
	}
	dial := addSocket(cmd, d)
	all := cmd.Flags().Bool("all", false, "the rules of the running edge")
	numbers := cmd.Flags().Bool("packets", false, "the number of each packet that matches, a line each")
	asJSON := addJSON(cmd, "one JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		trial, rules, err := rulesToTry(cmd.Context(), dial, *all, args[1:])
		if err != nil {
			return err
		}
		var each io.Writer
		if *numbers {
			each = cmd.OutOrStdout()
		}
		if err := tryRules(cmd.Context(), args[0], &trial, rules, each); err != nil || *numbers {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), trial)
		}
		return showTrial(cmd, d, trial)
	}
	return cmd
}

// rulesToTry are the expression of the command line, or those of the edge.
func rulesToTry(ctx context.Context, dial func() *api.Client, all bool, args []string) (t ruleTrial, rules []rule.Rule, err error) {
	if all == (len(args) > 0) {
		return t, nil, usagef("give an expression, or --all for the rules of the running edge")
	}
	if !all {
		e, err := expression(args)
		if err != nil {
			return t, nil, err
		}
		t.Rules = []triedRules{{Expression: e.String()}}
		return t, []rule.Rule{{Expr: e}}, nil
	}
	list, err := dial().Rules(ctx)
	if err != nil {
		return t, nil, err
	}
	for _, r := range list {
		e, err := rule.Parse(r.Expression)
		if err != nil {
			return t, nil, fmt.Errorf("rule %d: %w", r.ID, err)
		}
		a, err := rule.ParseAction(r.Action)
		if err != nil {
			return t, nil, fmt.Errorf("rule %d: %w", r.ID, err)
		}
		t.Rules = append(t.Rules, triedRules{ID: r.ID, Expression: r.Expression, Action: r.Action})
		rules = append(rules, rule.Rule{Number: r.ID, Expr: e, Action: a, Monitor: r.Monitor})
	}
	return t, rules, nil
}

// tryRules reads a capture through. each is written the numbers of the packets that some rule means.
func tryRules(ctx context.Context, name string, t *ruleTrial, rules []rule.Rule, each io.Writer) (err error) {
	in, err := pcap.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	for ctx.Err() == nil {
		p, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, pcap.ErrPacket):
			t.Damaged++
			continue
		case err != nil:
			return err
		}
		t.Packets++
		ip, ok := rule.PacketOf(p.Data, p.WireLen)
		if !ok {
			t.NotIP++
			continue
		}
		if t.ask(rules, &ip, p.N) && each != nil {
			if _, err := fmt.Fprintln(each, p.N); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// ask asks each rule about a packet, and tells whether one means it.
func (t *ruleTrial) ask(rules []rule.Rule, p *rule.Packet, n int) bool {
	first, meant := rule.First(rules, p), false
	for i := range rules {
		if !rules[i].Expr.Match(p) {
			continue
		}
		meant = true
		t.Rules[i].Matches++
		if t.Rules[i].First == 0 {
			t.Rules[i].First = n
		}
		if first == &rules[i] {
			t.Rules[i].Decides++
		}
	}
	return meant
}

func showTrial(cmd *cobra.Command, d deps, t ruleTrial) error {
	out := cmd.OutOrStdout()
	if len(t.Rules) == 1 && t.Rules[0].ID == 0 {
		first := ""
		if t.Rules[0].First > 0 {
			first = ", the first is number " + strconv.Itoa(t.Rules[0].First)
		}
		_, err := fmt.Fprintf(out, "%s of %s match%s\n", show.Count(t.Rules[0].Matches), plural(t.Packets, "packet", "packets"), first)
		return err
	}
	table := show.NewTable(out, style(cmd, d), ">ID", "ACTION", ">MATCHES", ">DECIDES", ">FIRST", "EXPRESSION")
	for _, r := range t.Rules {
		if err := table.Row(strconv.Itoa(int(r.ID)), r.Action, show.Count(r.Matches), show.Count(r.Decides), show.Count(r.First), r.Expression); err != nil {
			return err
		}
	}
	if err := table.Close(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s, %s without IP\n", plural(t.Packets, "packet", "packets"), show.Count(t.NotIP))
	return err
}
