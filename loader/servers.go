// SPDX-License-Identifier: Apache-2.0

package loader

import "fmt"

// put writes what is known of a server's TCP.
func (o *TCPOptions) put(s *bpfServer) {
	s.Mss, s.Wscale, s.Sack, s.Timestamps, s.Known = 0, NoWindowScale, 0, 0, 0
	if o == nil {
		return
	}
	s.Mss, s.Wscale, s.Sack, s.Timestamps, s.Known = o.MSS, min(o.WindowScale, NoWindowScale), flag(o.SACK), flag(o.Timestamps), 1
}

// SetServerTCP tells the fast path what a server of the running generation takes of TCP; nil = nobody knows. The SYN proxy
// offers no more than that. A new generation has what its plan says (Server.TCP).
func (e *Edge) SetServerTCP(pool, server string, o *TCPOptions) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.gen == nil {
		return fmt.Errorf("server %s of pool %s: no generation is installed", server, pool)
	}
	i, ok := e.gen.servers[[2]string{pool, server}]
	if !ok {
		return fmt.Errorf("server %s of pool %s: there is none", server, pool)
	}
	var s bpfServer
	m := e.gen.coll.Maps[bpfMapServer]
	if err := m.Lookup(i, &s); err != nil {
		return fmt.Errorf("read map server: %w", err)
	}
	s.Way = 0 // asked for anew: packets may have written it meanwhile
	o.put(&s)
	if err := m.Put(i, s); err != nil {
		return fmt.Errorf("write map server: %w", err)
	}
	return nil
}

// serverNumbers are the places of a plan's servers in the map server.
func serverNumbers(p *Plan) map[[2]string]uint32 {
	all := map[[2]string]uint32{}
	for _, pool := range p.Pools {
		for _, s := range pool.Servers {
			all[[2]string{pool.Name, s.Name}] = uint32(len(all))
		}
	}
	return all
}
