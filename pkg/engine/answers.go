// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"net/netip"

	"parry/loader"
	"parry/pkg/answer"
	"parry/pkg/config"
	"parry/pkg/query"
)

// mostCaches is how many servers' answers are kept at most, each port counted: 11 KiB of the kernel's memory each.
const mostCaches = 4096

// answers has servers asked what they tell anybody, and sends what of it takes several packets.
type answers struct {
	keeper    *answer.Keeper
	responder *answer.Responder
	raw       *answer.Raw
}

// openAnswers opens the sockets that answers are sent by, in the namespace of the caller's thread.
func (e *Engine) openAnswers() error {
	raw, err := answer.NewRaw(loader.AnswerPriority)
	if err != nil {
		return err
	}
	store := func(c loader.AnswerCell, kind int, payload []byte, several bool, until uint64) error {
		return e.edge.SetAnswer(c, kind, payload, several, until)
	}
	k := answer.New(answer.Options{Ask: query.Ask, Store: answerStore(store), Now: loader.Monotonic, Log: e.log})
	e.answers = answers{keeper: k, responder: answer.NewResponder(k, raw), raw: raw}
	return nil
}

func (a *answers) close() error {
	if a.raw == nil {
		return nil
	}
	return a.raw.Close()
}

// answerStore is a generation's or the edge's SetAnswer.
type answerStore func(c loader.AnswerCell, kind int, payload []byte, several bool, until uint64) error

// SetAnswer tells the fast path an answer.
func (s answerStore) SetAnswer(c answer.Cell, kind int, payload []byte, several bool, until uint64) error {
	return s(loader.AnswerCell(c), kind, payload, several, until)
}

// swap installs a generation that knows from its first packet on what the one before knew of servers. e.mu is held.
func (e *Engine) swap(c *config.Config, plan *loader.Plan, ifaces []loader.Interface) error {
	e.fault("carry over what servers take of TCP", e.serverTCP(c, plan))
	gen, err := e.edge.Prepare(plan)
	if err != nil {
		return err
	}
	asked := targetsOf(c)
	e.fault("carry over what servers answer", e.answers.keeper.Fill(answerStore(gen.SetAnswer), asked))
	if err := e.edge.Install(gen, ifaces); err != nil {
		return err
	}
	e.answers.keeper.Set(asked)
	e.handshakes.keeper.Set(shakenWith(c))
	return nil
}

// serveAnswers asks servers, and answers what the fast path leaves to the daemon.
func (e *Engine) serveAnswers(ctx context.Context, stop func(), group *tasks) {
	group.start(stop, func() error { return e.answers.keeper.Run(ctx) })
	group.start(stop, func() error {
		return e.edge.Asks(ctx, func(a loader.Ask) {
			err := e.answers.responder.Answer(answer.Asked{Client: a.Client, Front: a.Front, Cell: answer.Cell(a.Cell), Kind: a.Kind})
			if err != nil {
				e.log.Debug("an answer could not be sent", "err", err)
			}
		})
	})
}

// cached tells which services' answers are kept, by their index. Servers are asked what the first service of their pool asks; one
// of another game beside it gets none, nor does one whose servers would be too many.
func cached(c *config.Config) map[int]bool {
	type cells struct {
		game  string
		ports int // of each server
	}
	all := map[int]bool{}
	pools, total := map[string]cells{}, 0
	for i := range c.Services {
		s := &c.Services[i]
		if !answerable(s) {
			continue
		}
		pool, servers := "/"+s.Name, 1 // no pool is called so
		if s.Forward != config.ForwardLocal {
			pool, servers = s.Pool, len(c.Pool(s.Pool).Servers)
		}
		have, known := pools[pool]
		ports := max(have.ports, s.Ports().Len())
		more := servers * (ports - have.ports)
		if known && have.game != s.Gate || total+more > mostCaches {
			continue
		}
		pools[pool], all[i] = cells{s.Gate, ports}, true
		total += more
	}
	return all
}

// answerable tells whether a service's gate answers queries.
func answerable(s *config.Service) bool {
	return s.Queries.Answer == "auto" && answer.Family(s.Gate) && s.HasProtocol("udp")
}

// targetsOf lists the servers that are asked, each once.
func targetsOf(c *config.Config) []answer.Target {
	var all []answer.Target
	known := map[answer.Cell]bool{}
	kept := cached(c)
	for i := range c.Services {
		if !kept[i] {
			continue
		}
		for _, t := range targetsOfService(c, &c.Services[i]) {
			if !known[t.Cell] {
				known[t.Cell] = true
				all = append(all, t)
			}
		}
	}
	return all
}

// targetsOfService lists a service's servers, each once for each port that they have for it.
func targetsOfService(c *config.Config, s *config.Service) []answer.Target {
	var all []answer.Target
	known := map[uint16]bool{}
	for _, l := range s.Listen {
		for port := int(l.First); port <= int(l.Last); port++ {
			offset := uint16(port) - s.Ports().First
			if known[offset] {
				continue // on several addresses
			}
			known[offset] = true
			if s.Forward == config.ForwardLocal {
				all = append(all, answer.Target{
					Cell: answer.Cell{Server: s.Name, Offset: offset}, Addr: netip.AddrPortFrom(l.Addr, uint16(port)), Family: s.Gate,
				})
				continue
			}
			for _, srv := range c.Pool(s.Pool).Servers {
				all = append(all, answer.Target{
					Cell: answer.Cell{Pool: s.Pool, Server: srv.Name, Offset: offset}, Family: s.Gate,
					Addr: netip.AddrPortFrom(srv.Address, s.ServerPort(srv, uint16(port))),
				})
			}
		}
	}
	return all
}

// uncached are the services whose answers could be kept, and are not, with the reason.
func uncached(c *config.Config) map[string]string {
	all := map[string]string{}
	kept := cached(c)
	for i := range c.Services {
		s := &c.Services[i]
		if !kept[i] && answerable(s) {
			all[s.Name] = fmt.Sprintf("its servers are too many (%d are kept) or are asked for another game's answers", mostCaches)
		}
	}
	return all
}
