// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"parry/pkg/config"
	"parry/pkg/game"
	"parry/pkg/show"
)

// profile is one game in `profile list --json`. Null is unknown, or nothing to say.
type profile struct {
	Name       string   `json:"name"`
	Aliases    []string `json:"aliases"`
	Title      string   `json:"title"`
	Family     string   `json:"family"`
	Class      string   `json:"class"`
	Protocol   []string `json:"protocol"`
	Port       *uint16  `json:"port"`
	QueryPort  *uint16  `json:"query_port"`
	Gate       string   `json:"gate"`         // "" = none
	Proof      string   `json:"proof"`        // strong, weak or netchan
	First      *bounds  `json:"first_packet"` // bytes of payload
	MaxPayload *uint16  `json:"max_payload"`  // bytes, UDP
	Rate       *uint16  `json:"max_rate"`     // packets a second of a client
}

type bounds struct {
	Min uint16  `json:"min"`
	Max *uint16 `json:"max"`
}

// newProfile makes `parry profile`.
func newProfile(d deps) *cobra.Command {
	cmd := group(&cobra.Command{Use: "profile", Short: "List the games that parry knows, learn further ones"})
	cmd.AddCommand(newProfileList(d), newProfileLearn(d))
	return cmd
}

func newProfileList(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List games: protocol families and titles",
		Long: `List what "game" in a configuration may say, and what that stands for: latency class, protocol and port, the gate that
strangers' first packets are shown to and the sizes that it lets in, how strongly an address is proven (netchan: weakly
at first, strongly by a right checksum of Quake III's packets of play, if the server's protocol has one), and how long a
player's packets get. Sizes are bytes of payload; - stands for none or unknown. With -c, games that the file defines are
listed, too.`,
		Example: `  parry profile list
  parry profile list -c parry.yaml
  parry profile list --json | jq '.[] | select(.proof == "strong").name'`,
		Args: noArgs,
	}
	asJSON := addJSON(cmd, "one JSON array")
	path := addConfig(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		games := game.Profiles()
		if *path != "" {
			c, err := config.Load(*path)
			if err != nil {
				return err
			}
			games = append(games, c.Profiles()...)
		}
		var all []profile
		for _, p := range games {
			all = append(all, profileOf(p))
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), all)
		}
		number := func(n uint16) string { return strconv.Itoa(int(n)) }
		t := show.NewTable(cmd.OutOrStdout(), style(cmd, d), "GAME", "FAMILY", "CLASS", "PROTOCOL", ">PORT", "GATE", "PROOF", ">FIRST PACKET", ">LONGEST", "TITLE")
		for _, p := range all {
			err := t.Row(p.Name, p.Family, p.Class, strings.Join(p.Protocol, ", "), known(p.Port, number), p.Gate, p.Proof,
				known(p.First, bounds.String), known(p.MaxPayload, number), p.Title)
			if err != nil {
				return err
			}
		}
		return t.Close()
	}
	return cmd
}

// String is how a table shows bounds.
func (b bounds) String() string {
	switch {
	case b.Max == nil:
		return fmt.Sprintf("%d-", b.Min)
	case b.Min == *b.Max:
		return strconv.Itoa(int(b.Min))
	}
	return fmt.Sprintf("%d-%d", b.Min, *b.Max)
}

func profileOf(p game.Profile) profile {
	out := profile{
		Name: p.Name, Aliases: append([]string{}, p.Aliases...), Title: p.Title, Family: p.Family, Class: p.Class, Protocol: append([]string{}, p.Protos...),
		Port: orNull(p.Port), QueryPort: orNull(p.QueryPort), Gate: p.Gate, Proof: p.Proof, MaxPayload: orNull(p.MaxPayload), Rate: orNull(p.Rate),
	}
	if p.Gate != "" {
		out.First = &bounds{p.First.Min, orNull(p.First.Max)}
	}
	return out
}

// orNull is nothing for a number that is 0.
func orNull(n uint16) *uint16 {
	if n == 0 {
		return nil
	}
	return &n
}
