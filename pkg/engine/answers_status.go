// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"parry/pkg/answer"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/metrics"
)

// answerStates are how answers fare, by the cell of their server.
type answerStates map[answer.Cell][]answer.State

func (e *Engine) answerStates() answerStates {
	all := answerStates{}
	for _, s := range e.answers.keeper.States() {
		all[s.Cell] = append(all[s.Cell], s)
	}
	return all
}

// of lists those of a service's servers.
func (a answerStates) of(c *config.Config, s *config.Service) []answer.State {
	var all []answer.State
	if len(a) == 0 || !answerable(s) {
		return nil
	}
	for _, t := range targetsOfService(c, s) {
		for _, state := range a[t.Cell] {
			if state.Family == t.Family {
				all = append(all, state)
			}
		}
	}
	return all
}

func answersOf(states []answer.State) []api.Answer {
	all := []api.Answer{}
	for _, s := range states {
		out := api.Answer{Kind: s.Kind.String(), Server: s.Server, Address: s.Addr, Fresh: s.Fresh, Errors: s.Errors}
		if s.Known {
			age := s.Age.Milliseconds()
			out.AgeMS = &age
		}
		if s.Why != nil {
			out.Detail = s.Why.Error()
		}
		all = append(all, out)
	}
	return all
}

// answerMetrics sums up by kind: of no server and no address.
func answerMetrics(states []answer.State) map[string]metrics.Answers {
	all := map[string]metrics.Answers{}
	for _, s := range states {
		sum := all[s.Kind.String()]
		sum.Errors += s.Errors
		if s.Fresh {
			sum.Fresh++
		} else {
			sum.Stale++
		}
		sum.Oldest = max(sum.Oldest, s.Age)
		all[s.Kind.String()] = sum
	}
	return all
}
