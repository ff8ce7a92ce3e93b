// SPDX-License-Identifier: Apache-2.0

// Package config reads parry's configuration: one strict YAML file. Parse reports
// every fault with file, line, column and the nearest right word, and returns a
// Config in which nothing is left to default. The comments on the fields are the
// manual: docs/configuration.md and docs/parry.schema.json are made from them.
package config

import (
	"net/netip"
	"time"
)

// Config is a whole configuration file.
type Config struct {
	// Node is this edge's name in logs, metrics and listings. Default: the host's name.
	Node string `yaml:"node" check:"format=node"`
	// Interfaces are those that the XDP program is attached to. Default: the interfaces that hold the
	// addresses the services listen on.
	Interfaces []Interface `yaml:"interfaces" check:"items=64"`
	// Enforce false is monitor mode: verdicts are computed, counted and sampled, and policy drops nothing. What can't be
	// forwarded (malformed, no server, a full table) still drops. It is stronger than a service's `enforce: true`.
	Enforce bool `yaml:"enforce"`
	// Pin is the directory on a bpffs where maps and links are pinned. Edges that share a machine have one each.
	Pin string `yaml:"pin" check:"format=path"`
	// State is the directory for what is kept over restarts (docs/state.md). Edges that share a machine have one each.
	State string `yaml:"state" check:"format=path"`
	// Peers are the other edges that what is kept is shared with.
	Peers Peers `yaml:"peers"`
	// API is the unix socket that the command line and other tools talk to.
	API API `yaml:"api"`
	// Metrics is the host:port that serves /metrics to Prometheus; "" turns it off.
	Metrics string `yaml:"metrics" check:"format=hostport"`
	// NAT is where the servers see players of services with `forward: nat` come from.
	NAT NAT `yaml:"nat"`
	// Sizes are the capacities of the maps, allocated at start.
	Sizes Sizes `yaml:"sizes"`
	// Samples `drops` has one packet a second and source told of what is dropped, so that a player who was dropped can be told why
	// (`parry explain`); that costs some dropped packets 2 to 4 %. `always` adds the first packets of each session, and one each way
	// every two seconds, for whoever names games or looks for attacks; packets of play cost no more by it. `off` leaves all of it to
	// `--watch` and `parry capture`.
	Samples string `yaml:"samples" check:"enum=always|drops|off"`
	// Timeouts are how long a session without packets lives. A service can have its own.
	Timeouts Timeouts `yaml:"timeouts"`
	// Host is the budget of traffic that belongs to no service and goes to this host.
	Host Host `yaml:"host"`
	// Limits are the limits of every service; a service's own are laid over them key by key.
	Limits Limits `yaml:"limits"`
	// Strangers is what every service gives to sources that are not proven; a service's own is laid over it key by key.
	Strangers Strangers `yaml:"strangers"`
	// Queries is how much is answered to whom; a service's own is laid over it key by key.
	Queries Queries `yaml:"queries"`
	// Attack says when a service counts as elevated, and when as attacked; a service's own is laid over it key by key.
	Attack Attack `yaml:"attack"`
	// Detect is who counts as an attacker, and what becomes of such a source.
	Detect Detect `yaml:"detect"`
	// WatchPacketsPerSecond is up to how many packets a second the sessions may carry that are watched: timed to the nanosecond, and numbered where
	// their game numbers its packets (jitter, longest gap, loss, order, bursts). While all sessions together carry less, all are watched;
	// beyond it a share, another one every two minutes. A watched session's packet costs some 50 ns more. 0 watches none.
	WatchPacketsPerSecond uint64 `yaml:"watch_packets_per_second" check:"max=1000000000"`
	// Health is what a watched session may show before it is told of (events `health.bad` and `health.good`), by the latency class of its
	// game; a service's own is laid over it key by key.
	Health Health `yaml:"health"`
	// Geo names the files that say which country and network an address is in.
	Geo GeoFiles `yaml:"geo"`
	// Games are those that parry doesn't know, and services name.
	Games []Game `yaml:"games" check:"items=255"`
	// History is how much is kept of sessions that ended (`parry session history`), under `state`.
	History History `yaml:"history"`
	// Services are what players connect to. At least one, at most 1023.
	Services []Service `yaml:"services" check:"required last items=1023"`
	// Pools are groups of servers that services forward to. At most 1023, with at most 4095 servers together.
	Pools []Pool `yaml:"pools" check:"items=1023"`
	// Regions are groups of servers and the players near them.
	Regions []Region `yaml:"regions" check:"items=1023"`

	src *source             // where each value stands in its file; nil for a Config that wasn't parsed
	own map[string]Switches // by service, what the file itself says
}

// Interface is a network interface to attach to.
type Interface struct {
	// Name is the interface's name in the kernel.
	Name string `yaml:"name" check:"required format=interface"`
	// Mode is `native` (in the driver) or `generic` (in the kernel's stack: any driver, much slower).
	Mode string `yaml:"mode" check:"enum=native|generic"`
}

// API is where the daemon answers.
type API struct {
	// Socket is the path of the unix socket, at most 107 bytes.
	Socket string `yaml:"socket" check:"format=path"`
	// Group is the system's group that may use the socket besides root; "" means root alone.
	Group string `yaml:"group" check:"format=group"`
}

// NAT is the edge's side of translated sessions, as the servers see it.
type NAT struct {
	// Addresses are the edge's addresses towards the servers, at most 64. Default: per server, the source
	// address that the kernel's route to it prefers.
	Addresses []netip.Addr `yaml:"addresses" check:"items=64"`
	// Ports are given to sessions, on every NAT address. They must be kept off the host's own ports
	// (net.ipv4.ip_local_port_range). Ports that services listen on may lie inside: they are left out.
	Ports PortRange `yaml:"ports"`
}

// History bounds the records of sessions that ended. What comes first counts; segments of records are removed whole, the oldest first.
type History struct {
	// Keep is how long a record is kept; 0s keeps none.
	Keep time.Duration `yaml:"keep" check:"min=0s max=87600h"`
	// MaxBytes is how much they take on disk, about 100 bytes each.
	MaxBytes uint64 `yaml:"max_bytes" check:"min=1048576 max=1099511627776"`
}

// Sizes are capacities, in entries.
type Sizes struct {
	// Sessions is the number of sessions, both tiers together.
	Sessions uint32 `yaml:"sessions" check:"min=16 max=16777216"`
	// Unproven is the number of sessions of strangers among them: at most half of `sessions`. Rounded up to a power of two. When it
	// is reached, the oldest of them makes room; sessions that are proven never do.
	Unproven uint32 `yaml:"unproven" check:"min=8 max=8388608"`
	// Blocks is the number of denied single addresses.
	Blocks uint32 `yaml:"blocks" check:"min=16 max=16777216"`
	// Allows is the number of allowed single addresses: a smaller table is asked faster.
	Allows uint32 `yaml:"allows" check:"min=16 max=16777216"`
	// Prefixes is the number of denied and allowed prefixes.
	Prefixes uint32 `yaml:"prefixes" check:"min=16 max=4194304"`
	// Sources is the number of addresses (or prefixes, see `ipv4_prefix`) whose limits are tracked at a time.
	Sources uint32 `yaml:"sources" check:"min=16 max=16777216"`
	// Greylist is the number of strangers that are remembered for a few seconds, so that those who come again are let in
	// under attack: packets per second of the largest flood, times two. Eight bytes each; above it, more pass at first sight.
	Greylist uint32 `yaml:"greylist" check:"min=64 max=268435456"`
	// Regulars is the number of sources that are remembered as having played, for 30 days and over restarts: they come in
	// during an attack.
	Regulars uint32 `yaml:"regulars" check:"min=64 max=1048576"`
	// Fragments is the number of fragmented packets in flight at a time.
	Fragments uint32 `yaml:"fragments" check:"min=16 max=1048576"`
	// Watched is the number of sessions that can be watched at a time, rounded up to a power of two; each takes 640 bytes.
	Watched uint32 `yaml:"watched" check:"min=16 max=32768"`
	// Samples is the size in bytes of the ring by which single packets are told of (`parry capture`, `parry explain`), rounded up to a
	// power of two.
	Samples uint32 `yaml:"samples" check:"min=65536 max=1073741824"`
}

// Timeouts are when an idle session ends: the idle time is that of the later direction.
type Timeouts struct {
	// UDP ends a UDP session.
	UDP time.Duration `yaml:"udp" check:"min=1s max=24h"`
	// TCP ends an open TCP connection.
	TCP time.Duration `yaml:"tcp" check:"min=1s max=24h"`
	// Closing is how long a finished session (FIN both ways, RST, kill) stays to answer stragglers.
	Closing time.Duration `yaml:"closing" check:"min=1s max=1h"`
	// Opening ends a session that is not proven: whose server never answered, or whose client did not speak again.
	Opening time.Duration `yaml:"opening" check:"min=1s max=1h"`
	// Weak ends a UDP session that is proven by a two-way exchange alone and has not lasted 30 s.
	Weak time.Duration `yaml:"weak" check:"min=1s max=24h"`
	// Silent ends a TCP connection whose client says nothing, where the service's gate waits for its first words.
	Silent time.Duration `yaml:"silent" check:"min=1s max=1h"`
}

// Host is the budget of what the kernel of this host is given. 0 means unlimited.
type Host struct {
	// PacketsPerSecond is the budget of all host traffic together.
	PacketsPerSecond uint64 `yaml:"packets_per_second" check:"max=1000000000"`
	// SourcePacketsPerSecond is the budget of each source address.
	SourcePacketsPerSecond uint64 `yaml:"source_packets_per_second" check:"max=1000000000"`
	// Always lists the ports, as `tcp/22`, that have a share of their own, so that a flood at other
	// ports can't shut the operator out. At most 16: that many the program looks at.
	Always []ProtoPort `yaml:"always" check:"items=16"`
}

// Limits are what a service accepts.
type Limits struct {
	// Source is what each source may send, over all its flows to the service.
	Source SourceLimits `yaml:"source"`
	// Prefix is what all sources of one prefix may send to the service together.
	Prefix PrefixLimits `yaml:"prefix"`
	// Service is what all who are not proven may send to the service together.
	Service ServiceLimits `yaml:"service"`
	// MaxPacket is the longest accepted packet, in bytes from the IP header on.
	MaxPacket uint32 `yaml:"max_packet" check:"min=64 max=65535"`
	// Enforce false counts what the limits would have dropped and drops nothing. Limits are enforced where both this
	// and the service's `enforce` are true.
	Enforce *bool `yaml:"enforce"`
}

// Strangers is what a service gives to sources that are not proven: they have sent something, and nothing shows yet that
// their address is theirs. 0 means what is said at the key.
type Strangers struct {
	// SourcePacketsPerSecond is what one of them may send, counted by a sketch of fixed size. 0 means unlimited.
	SourcePacketsPerSecond uint32 `yaml:"source_packets_per_second" check:"max=1000000"`
	// SessionsPerSecond is how many of them may begin a session at first sight; beyond it, and always under attack, those
	// alone who come again by the same address and port. 0 means an eighth of `sizes.unproven`, divided by the number of services.
	SessionsPerSecond uint32 `yaml:"sessions_per_second" check:"max=1000000"`
	// AdmissionsPerSecond is how many of those who came again may; a 512th of it from each /16 (IPv6: /32). 0 means as above.
	AdmissionsPerSecond uint32 `yaml:"admissions_per_second" check:"max=1000000"`
	// UnansweredPackets is how many packets an unproven session may send before its server answers. 0 means unlimited.
	UnansweredPackets uint32 `yaml:"unanswered_packets" check:"max=1000000"`
	// WeakSessions is how many sessions may be proven by a two-way exchange alone, until each has lasted 30 s; further ones stay
	// unproven. 0 means a quarter of `sizes.sessions`.
	WeakSessions uint32 `yaml:"weak_sessions" check:"max=16777216"`
	// WeakPerPrefix is how many of those may be of one /24 (IPv6: /48). 0 means unlimited.
	WeakPerPrefix uint32 `yaml:"weak_per_prefix" check:"max=16777216"`
	// WeakGain is how many bytes the server of such a session may send for each byte of its client's; more draws on what the unproven
	// are given (`queries.unproven_kbps`). 0 means 128, and 256 where the service has a gate, which knows queries from play.
	WeakGain uint32 `yaml:"weak_gain" check:"max=1000000"`
}

// Queries is how much is answered: server lists ask everybody, and whoever forges addresses asks for others.
type Queries struct {
	// Answer `auto` has the edge answer queries of games that it knows (gates `source`, `quake3` and `raknet`) from a cache of the servers'
	// own answers: it asks each server every 1.5 to 4 seconds (Source's rules: 10), from this host's own address. One that falls silent is
	// not answered for after three times as long: its queries go to it. At most 4096 servers, each port counted. `off` forwards queries.
	Answer string `yaml:"answer" check:"enum=auto|off"`
	// SourcePerSecond is how many queries one source may send to a service. 0 means unlimited.
	SourcePerSecond uint32 `yaml:"source_per_second" check:"max=1000000"`
	// UnprovenKbps is what all sources of one /24 (IPv6: /48) together are given beyond what they sent, over the whole edge, while they
	// are not proven; in kilobits per second. 0 means unlimited. The file's; a service can't have its own.
	UnprovenKbps uint32 `yaml:"unproven_kbps" check:"max=10000000"`
	// TotalKbps is the same for all sources together.
	TotalKbps uint32 `yaml:"total_kbps" check:"max=100000000"`
}

// SourceLimits are what one source may send: an address, or a prefix of the given length. 0 means unlimited.
type SourceLimits struct {
	// PacketsPerSecond is the lasting rate of packets.
	PacketsPerSecond uint64 `yaml:"packets_per_second" check:"max=1000000000"`
	// Burst is the number of packets that may come at once. 0 means twice `packets_per_second`; at least a hundredth of it,
	// since buckets move in ticks of 4 ms; at most an hour's worth.
	Burst uint64 `yaml:"burst" check:"max=1000000000"`
	// BytesPerSecond is the lasting rate of bytes, from the IP header on.
	BytesPerSecond uint64 `yaml:"bytes_per_second" check:"max=1000000000000"`
	// BytesBurst is the number of bytes that may come at once. 0 means twice `bytes_per_second`, and at least 65535; a smaller one than a
	// packet of 1500 bytes would let none of them pass.
	BytesBurst uint64 `yaml:"bytes_burst" check:"max=1000000000000"`
	// NewSessions is the number of sessions that may begin within `window`.
	NewSessions uint32 `yaml:"new_sessions" check:"max=1000000"`
	// Window is the time that `new_sessions` is counted over.
	Window time.Duration `yaml:"window" check:"min=1s max=1h"`
	// Sessions is the number of sessions at a time.
	Sessions uint32 `yaml:"sessions" check:"max=1000000"`
	// IPv4Prefix is the length of the prefix that counts as one IPv4 source.
	IPv4Prefix uint8 `yaml:"ipv4_prefix" check:"min=8 max=32"`
	// IPv6Prefix is the length of the prefix that counts as one IPv6 source.
	IPv6Prefix uint8 `yaml:"ipv6_prefix" check:"min=16 max=64"`
	// Shared says when a source is an address that many players share.
	Shared SharedLimits `yaml:"shared"`
}

// Attack says when a service's state goes up and down. It goes up at once, and down by one step after it was below the
// thresholds of `elevated` for `hold`.
type Attack struct {
	// Elevated is when more happens than usual: shown and told, and gates may become stricter.
	Elevated AttackLevel `yaml:"elevated"`
	// Attack is when strangers have to prove more: the greylist and the edge's own cookies work, and the attack is written down.
	Attack AttackLevel `yaml:"attack"`
	// Hold is how long it must be quiet before the state goes down.
	Hold time.Duration `yaml:"hold" check:"min=1s max=1h"`
}

// AttackLevel is where a state begins: at a floor, or at a multiple of what is usual if that is more. What is usual is learned in calm
// times, and believed up to the floors of `attack`.
type AttackLevel struct {
	// StrangersPerSecond is the floor for packets of no session; 0 means that they are not looked at.
	StrangersPerSecond uint64 `yaml:"strangers_per_second" check:"max=1000000000"`
	// RefusedPerSecond is the floor for packets that are dropped for what attacks do (gates, greylist, limits, reflection,
	// fragments; not the deny list); 0 means that they are not looked at.
	RefusedPerSecond uint64 `yaml:"refused_per_second" check:"max=1000000000"`
	// TimesUsual is the multiple.
	TimesUsual uint32 `yaml:"times_usual" check:"min=1 max=1000"`
}

// Health is bounds by latency class.
type Health struct {
	// FPS is of shooters.
	FPS HealthBounds `yaml:"fps"`
	// MOBA is of arenas.
	MOBA HealthBounds `yaml:"moba"`
	// RTS is of strategy in real time.
	RTS HealthBounds `yaml:"rts"`
	// MMORPG is of all others.
	MMORPG HealthBounds `yaml:"mmorpg"`
}

// HealthBounds are what the packets of one direction may show. 0 means that it is not looked at.
type HealthBounds struct {
	// LongestGap is the longest silence amid packets that come ten times a second and more.
	LongestGap time.Duration `yaml:"longest_gap" check:"max=10s"`
	// Jitter is by how much the time between two packets differs from that before, smoothed (RFC 3550), beyond the game's own rhythm.
	Jitter time.Duration `yaml:"jitter" check:"max=10s"`
	// LossPercent is how many of the packets, by their numbers, did not come; over a thousand of them.
	LossPercent float64 `yaml:"loss_percent"`
}

// Pool is a group of servers that are equal to a player.
type Pool struct {
	// Name is what services call it.
	Name string `yaml:"name" check:"required format=name"`
	// Servers are its members, all IPv4 or all IPv6.
	Servers []Server `yaml:"servers" check:"required items=4095"`
}

// Region is a part of the world: where its servers stand, and which players are near.
type Region struct {
	// Name is what servers call it.
	Name string `yaml:"name" check:"required format=name"`
	// Location is its latitude and longitude in degrees.
	Location [2]float64 `yaml:"location"`
	// Countries are two-letter ISO 3166 codes of countries whose players belong here.
	Countries []string `yaml:"countries" check:"items=300 format=country"`
	// Prefixes are networks whose players belong here. At most 131072 in the file.
	Prefixes []netip.Prefix `yaml:"prefixes" check:"items=131072"`
}

// Pool returns the pool of that name, nil if there is none.
func (c *Config) Pool(name string) *Pool {
	for i := range c.Pools {
		if c.Pools[i].Name == name {
			return &c.Pools[i]
		}
	}
	return nil
}

// Region returns the region of that name, nil if there is none.
func (c *Config) Region(name string) *Region {
	for i := range c.Regions {
		if c.Regions[i].Name == name {
			return &c.Regions[i]
		}
	}
	return nil
}

// Service returns the service of that name, nil if there is none.
func (c *Config) Service(name string) *Service {
	for i := range c.Services {
		if c.Services[i].Name == name {
			return &c.Services[i]
		}
	}
	return nil
}
