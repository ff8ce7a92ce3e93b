// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cilium/ebpf"
)

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

// ServerTCP is what the running generation knows of servers' TCP, or the newest that is pinned, by address and port (Server.Addr, Server.Port).
func (e *Edge) ServerTCP() (map[netip.AddrPort]TCPOptions, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	switch {
	case e.gen != nil:
		return readServers(e.gen.coll.Maps[bpfMapServer])
	case e.opts.Pin != "":
		return pinnedServers(e.opts.Pin)
	}
	return nil, nil
}

func pinnedServers(pin string) (map[netip.AddrPort]TCPOptions, error) {
	all, err := generations(pin)
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(all) {
		path := filepath.Join(pin, generationPrefix+strconv.Itoa(n), bpfMapServer)
		m, err := ebpf.LoadPinnedMap(path, nil)
		if errors.Is(err, os.ErrNotExist) {
			continue // its daemon died while it pinned it
		}
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		servers, err := readServers(m)
		return servers, errors.Join(err, m.Close())
	}
	return nil, nil
}

func readServers(m *ebpf.Map) (map[netip.AddrPort]TCPOptions, error) {
	all := map[netip.AddrPort]TCPOptions{}
	for i := range m.MaxEntries() {
		raw, err := m.LookupBytes(i)
		if err != nil {
			return nil, fmt.Errorf("read map server: %w", err)
		}
		var s bpfServer
		raw = append(raw, make([]byte, binary.Size(s))...) // an older parry's struct is shorter (bpf/abi.h)
		if _, err := binary.Decode(raw, binary.NativeEndian, &s); err != nil {
			return nil, fmt.Errorf("read map server: %w", err)
		}
		if s.Known != 0 {
			o := TCPOptions{MSS: s.Mss, WindowScale: s.Wscale, SACK: s.Sack != 0, Timestamps: s.Timestamps != 0}
			all[netip.AddrPortFrom(addrOf(s.Addr, [12]byte(s.Addr[4:]) == [12]byte{}), be16(s.Port))] = o
		}
	}
	return all, nil
}
