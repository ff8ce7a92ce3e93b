// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"

	"parry/loader"
)

func localTuple() tuple {
	return tuple{at("198.18.0.2", natFirst), at("198.18.0.5", gamePort), loader.ProtoUDP}
}

// openLocal is an edge with a service of this host's own, and one session of it.
func (b *bench) openLocal() (*edge, error) {
	e, err := b.openEdge(sizes())
	if err != nil {
		return nil, err
	}
	t := localTuple()
	p := newPlan()
	p.Services = append(p.Services, service(t.to, loader.Local, ""))
	if err := e.use(p); err != nil {
		return nil, err
	}
	if err := e.send(t.frame(0), loader.XDPPass); err != nil {
		return nil, err
	}
	if code, err := e.Reply(t.back().frame(0), 1); err != nil || code != loader.TCNext {
		return nil, fmt.Errorf("a local reply: code %d: %w", code, err)
	}
	if err := e.send(t.frame(0), loader.XDPPass); err != nil {
		return nil, err
	}
	return e, e.checkProven(1)
}
