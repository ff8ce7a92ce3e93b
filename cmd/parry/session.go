// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"parry/pkg/api"
	"parry/pkg/show"
)

func newSession(d deps) *cobra.Command {
	cmd := group(&cobra.Command{Use: "session", Short: "List, show and end sessions, and those that ended"})
	cmd.AddCommand(newSessionList(d), newSessionShow(d), newSessionKill(d), newSessionHistory(d))
	return cmd
}

func newSessionList(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List sessions",
		Long: `List the sessions that the edge forwards. UP is from the player, DOWN from the server; - stands for what isn't seen
or measured.`,
		Example: `  parry session list --service arena
  parry session list --client 198.51.100.0/24
  parry session list --limit 0 --json | jq 'length'`,
		Args: noArgs,
	}
	dial := addSocket(cmd, d)
	filter := addSessionFilter(cmd, dial)
	asJSON := addJSON(cmd, "one JSON array")
	limit := cmd.Flags().Int("limit", 1000, "list at most so many; 0 lists all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f := filter()
		if f.Limit = *limit; f.Limit < 0 {
			return usagef("--limit %d is below 0", f.Limit)
		}
		n := 0
		var err error
		if *asJSON {
			err = writeJSONLines(cmd.OutOrStdout(), counted(dial().RawSessions(cmd.Context(), f), &n))
		} else {
			err = sessionTable(cmd, d, counted(dial().PickSessions(cmd.Context(), f), &n))
		}
		if err == nil && f.Limit > 0 && n == f.Limit {
			fmt.Fprintf(cmd.ErrOrStderr(), "the first %s: --limit 0 lists all\n", plural(f.Limit, "session", "sessions"))
		}
		return err
	}
	return cmd
}

// counted counts in n what a sequence yields.
func counted[T any](seq iter.Seq2[T, error], n *int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for s, err := range seq {
			if err == nil {
				*n++
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

func sessionTable(cmd *cobra.Command, d deps, list iter.Seq2[api.Session, error]) error {
	st := style(cmd, d)
	t := show.NewTable(cmd.OutOrStdout(), st, "ID", "SERVICE", "PROTO", "CLIENT", "SERVER", "STATE", "PROOF", ">AGE", ">IDLE",
		">UP", ">", ">JITTER", ">LOSS", ">DOWN", ">", ">JITTER", ">LOSS", "PLAYER")
	for s, err := range list {
		if err != nil {
			return err
		}
		row := []string{s.ID, s.Service, s.Protocol, s.Client.String(), s.Server.String(), st.State(s.State), s.Proof, show.MS(s.AgeMS), show.MS(s.IdleMS)}
		row = append(row, directionCells(s.Up)...)
		row = append(row, directionCells(s.Down)...)
		if err := t.Row(append(row, nameCell(s.Player))...); err != nil {
			return err
		}
	}
	return t.Close()
}

func directionCells(dir *api.Direction) []string {
	if dir == nil {
		return []string{"", "", "", ""}
	}
	return []string{show.SI(float64(dir.Packets), "pkt"), show.Bytes(dir.Bytes), known(dir.JitterMS, milliseconds), known(dir.Loss, show.Percent)}
}

func newSessionKill(d deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kill (ID... | --client PREFIX | --service NAME | --server NAME | --player NAME | --all)",
		Short: "End sessions",
		Long: `End sessions at the edge. Neither side is told; a player who sends on begins a new session, unless something keeps
them out (see block).`,
		Example: `  parry session kill 4-1
  parry session kill --client 198.51.100.7 --service arena
  parry session kill --server eu-1`,
		Args: cobra.ArbitraryArgs,
	}
	dial := addSocket(cmd, d)
	filter := addSessionFilter(cmd, dial)
	all := cmd.Flags().Bool("all", false, "end every session of the edge")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		f := filter()
		filtered := f != (api.Filter{})
		if !filtered && !*all && len(ids) == 0 {
			return usagef("say which: ID, --client, --service, --server, --player or --all")
		}
		if *all && (filtered || len(ids) > 0) || filtered && len(ids) > 0 {
			return usagef("IDs, a filter and --all exclude each other")
		}
		return kill(cmd, dial(), f, ids)
	}
	return cmd
}

// kill ends what the filter picks, or each of the ids.
func kill(cmd *cobra.Command, c *api.Client, f api.Filter, ids []string) error {
	filters := []api.Filter{f}
	if len(ids) > 0 {
		filters = nil
	}
	for _, id := range ids {
		filters = append(filters, api.Filter{ID: id})
	}
	total := 0
	var missing []error
	for _, f := range filters {
		n, err := c.EndSessions(cmd.Context(), f)
		if err != nil {
			return err
		}
		if total += n; n == 0 && f.ID != "" {
			missing = append(missing, fmt.Errorf("there is no session %s", f.ID))
		}
	}
	if total == 0 && len(missing) == 0 {
		return errors.New("no session matches")
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s ended\n", plural(total, "session", "sessions")); err != nil {
		return err
	}
	return errors.Join(missing...)
}

// addSessionFilter adds what picks sessions.
func addSessionFilter(cmd *cobra.Command, dial func() *api.Client) func() api.Filter {
	service := addService(cmd, dial, "sessions of this service")
	client := &prefixValue{}
	cmd.Flags().Var(client, "client", "sessions of this address or prefix")
	server := cmd.Flags().String("server", "", "sessions at this server: its name, address or address:port")
	player := cmd.Flags().String("player", "", "sessions of who calls himself so, in whatever case")
	return func() api.Filter {
		return api.Filter{Service: *service, Client: client.prefix, Server: *server, Player: *player}
	}
}
