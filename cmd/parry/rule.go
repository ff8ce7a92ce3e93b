// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"parry/pkg/rule"
)

// newRule makes `parry rule`.
func newRule(d deps) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "rule",
		Short: "Add, list, remove and try rules: what to do with packets that look like this",
		Long: `A rule says what becomes of packets that an expression in tcpdump's language means. Rules are compiled into the fast
path, swapped whole, counted, and kept over restarts. docs/rules.md is the manual.`,
	})
	cmd.AddCommand(newRuleAdd(d), newRuleList(d), newRuleDel(d), newRuleTest(d))
	return cmd
}

// expression reads what is left of a command line: quoted as one word, or not at all.
func expression(args []string) (*rule.Expr, error) {
	text := strings.Join(args, " ")
	if text == "" {
		return nil, usagef("say which packets: an expression like 'udp and dst port 27015 and length > 1200'")
	}
	e, err := rule.Parse(text)
	var wrong *rule.Error
	if errors.As(err, &wrong) {
		return nil, usageError{errors.New(wrong.Shown())}
	}
	return e, err
}
