// SPDX-License-Identifier: Apache-2.0

package model

// cacheKey names a cache: a server's, for a port of its services; or a local service's own.
type cacheKey struct {
	server  *Server
	service int // local
	offset  uint16
}

// cacheOf is the cache that a packet's answer would come from.
func (e *Edge) cacheOf(p *view, svc *service) (answers [4]*Answer, ok bool) {
	if !svc.Cached {
		return answers, false
	}
	k := cacheKey{offset: p.offset}
	if svc.Mode == Local {
		k.service = p.service
	} else if k.server = svc.pick(p.src); k.server == nil {
		return answers, false
	}
	if c := e.caches[k]; c != nil {
		answers = *c
	}
	return answers, true
}

// SetAnswer caches a server's answer of a kind: of one of a pool, or (no pool) of a local service.
func (e *Edge) SetAnswer(pool, server string, offset uint16, kind int, a *Answer) {
	k := cacheKey{offset: offset}
	if pool == "" {
		k.service = e.numberOf(server)
	} else {
		for i := range e.config.Pools {
			if e.config.Pools[i].Name == pool {
				k.server = e.config.Pools[i].server(server)
			}
		}
	}
	if k.server == nil && k.service == 0 {
		return
	}
	if e.caches[k] == nil {
		e.caches[k] = &[4]*Answer{}
	}
	e.caches[k][kind] = a
}

func (p *Pool) server(addr string) *Server {
	for i := range p.Servers {
		if p.Servers[i].Addr.String() == addr {
			return &p.Servers[i]
		}
	}
	return nil
}

// TakeAsks are the queries that were left to the daemon since it last took them.
func (e *Edge) TakeAsks() []AskKey {
	all := e.asks
	e.asks = nil
	return all
}
