// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/show"
)

func newPlayer(d deps) *cobra.Command {
	cmd := group(&cobra.Command{Use: "player", Short: "List players, and show what is known of one"})
	cmd.AddCommand(newPlayerList(d), newPlayerShow(d))
	return cmd
}

// nameCell is a player's name in a table: a stranger chose it, so nothing in it may move the cursor or turn the direction of text.
func nameCell(name *string) string {
	if name == nil {
		return ""
	}
	quoted := strconv.QuoteToGraphic(*name)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func newPlayerList(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List who plays, and who did lately",
		Long: `List who plays, those who came last first, and behind them who played lately, each at a service and from an address.
NAME is what the client called itself, where the protocol says so in the clear (Minecraft Java, Quake III and relatives,
GoldSrc); - stands for the others, who are told apart by their addresses. Nobody has proved that a name is his.`,
		Example: `  parry player list --service arena
  parry player list --lately 2h
  parry player list --lately 0s --json | jq 'map(select(.sessions > 1))'`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	f := api.PlayerFilter{}
	service := addService(cmd, dial, "players at this service")
	client := &prefixValue{}
	cmd.Flags().Var(client, "client", "players from this address or prefix")
	cmd.Flags().StringVar(&f.Name, "name", "", "players of this name, in whatever case")
	cmd.Flags().DurationVar(&f.Lately, "lately", 15*time.Minute, "also who played within so long, at most 24h; 0s lists who plays alone")
	cmd.Flags().IntVar(&f.Limit, "limit", 1000, "list at most so many of each, 1 to 10000")
	asJSON := addJSON(cmd, "one JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f.Service, f.Client = *service, client.prefix
		if f.Lately < 0 || f.Lately > api.LatelyMax {
			return usagef("--lately %v is not between 0s and %v", f.Lately, api.LatelyMax)
		}
		if f.Limit < 1 || f.Limit > 10_000 {
			return usagef("--limit %d is not between 1 and 10000", f.Limit)
		}
		list, err := dial().Players(cmd.Context(), f)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), list)
		}
		return playerTable(cmd, d, list)
	}
	return cmd
}

func playerTable(cmd *cobra.Command, d deps, list []api.Player) error {
	st := style(cmd, d)
	t := show.NewTable(cmd.OutOrStdout(), st, "NAME", "CLIENT", "SERVICE", "GAME", ">SESSIONS", "SINCE", ">SEEN", ">UP", ">", ">DOWN", ">", "ENDED BY")
	for i := range list {
		p := &list[i]
		ended := ""
		if p.EndedBy != nil {
			ended = *p.EndedBy
		}
		row := []string{
			nameCell(p.Name), p.Client.String(), p.Service, p.Game, show.Count(p.Sessions), p.Since.Local().Format(time.DateTime),
			show.Duration(max(0, d.Now().Sub(p.LastSeen))) + " ago",
		}
		if err := t.Row(append(append(append(row, trafficCells(&p.Up)...), trafficCells(&p.Down)...), ended)...); err != nil {
			return err
		}
	}
	return t.Close()
}

func newPlayerShow(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show NAME|ADDR",
		Short: "Show what is known of a player",
		Long: `Show what is known of a player, by name or by address: addresses and names, sessions that go on, those that ended, and
entries of the block and allow list that hold for the addresses. (An IPv6 address stands for its /64.)`,
		Example: `  parry player show Steve
  parry player show 198.51.100.7 --json | jq '.history[] | {end, ended_by}'`,
		Args: oneArg("a player's name, or an address"),
	}
	dial := addSocket(cmd, d)
	asJSON := addJSON(cmd, "one JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := dial().Player(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return writePage(cmd, d, *asJSON, &p, playerText)
	}
	return cmd
}

// playerText lays a player's page out for a person.
func playerText(b *strings.Builder, st show.Style, p *api.PlayerPage) {
	row := func(key, format string, args ...any) { fmt.Fprintf(b, "%-11s%s\n", key, fmt.Sprintf(format, args...)) }
	var names, addresses []string
	for _, n := range p.Names {
		names = append(names, nameCell(&n))
	}
	for _, a := range p.Addresses {
		addresses = append(addresses, a.String())
	}
	row("names", "%s", orDash(strings.Join(names, ", ")))
	row("addresses", "%s", orDash(strings.Join(addresses, ", ")))
	for _, l := range p.Entries {
		row("", "%s list: %s%s", l.List, blocklist.FormatPrefix(l.Entry.Prefix), entryText(&l.Entry, p.Time))
	}
	row("sessions", "%s", plural(len(p.Sessions), "session", "sessions"))
	for i := range p.Sessions {
		sessionLine(row, st, &p.Sessions[i])
	}
	row("history", "%s", plural(len(p.History), "session", "sessions"))
	for i := range p.History {
		recordLine(row, &p.History[i])
	}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
