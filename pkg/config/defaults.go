// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"time"

	"parry/pkg/game"
)

// Default returns the configuration of a file that says nothing: every key's default, and no
// services. Lists and pointers of different calls are never shared.
func Default() *Config {
	return &Config{
		Enforce: true,
		Pin:     "/sys/fs/bpf/parry",
		State:   "/var/lib/parry",
		Peers:   Peers{Replicas: 3},
		Samples: "always",
		API:     API{Socket: "/run/parry/parry.sock", Group: "parry"},
		Metrics: "127.0.0.1:9590",
		NAT:     NAT{Ports: PortRange{First: 1024, Last: 32767}},
		Sizes: Sizes{
			Sessions: 262144, Unproven: 32768, Blocks: 1048576, Allows: 16384,
			Prefixes: 131072, Sources: 131072, Fragments: 8192,
			Greylist: 4194304, Regulars: 65536, Samples: 1 << 20, Watched: 16384,
		},
		Timeouts: Timeouts{UDP: 60 * time.Second, TCP: 15 * time.Minute, Closing: 5 * time.Second, Opening: 10 * time.Second, Weak: 20 * time.Second, Silent: 5 * time.Second},
		Host: Host{
			PacketsPerSecond: 200_000, SourcePacketsPerSecond: 50_000,
			Always: []ProtoPort{{Proto: "tcp", Port: 22}},
		},
		Limits: Limits{
			Source: SourceLimits{
				PacketsPerSecond: 1000, NewSessions: 10, Window: 60 * time.Second, Sessions: 64,
				IPv4Prefix: 32, IPv6Prefix: 64, Shared: SharedLimits{Sessions: 8, Factor: 4},
			},
			Prefix:    PrefixLimits{IPv4: 24, IPv6: 48, Window: 60 * time.Second},
			Service:   ServiceLimits{Window: time.Second},
			MaxPacket: 65535,
		},
		Strangers: Strangers{SourcePacketsPerSecond: 100, UnansweredPackets: 20, WeakPerPrefix: 64},
		Queries:   Queries{Answer: "auto", SourcePerSecond: 20, UnprovenKbps: 64, TotalKbps: 8000},
		Attack: Attack{
			Elevated: AttackLevel{StrangersPerSecond: 200, RefusedPerSecond: 1000, TimesUsual: 4},
			Attack:   AttackLevel{StrangersPerSecond: 1000, RefusedPerSecond: 5000, TimesUsual: 10},
			Hold:     30 * time.Second,
		},
		Detect: Detect{
			Mode:  DetectBlock,
			Risk:  Risk{Window: 60 * time.Second, Connections: 10, OneGame: 5, Robotic: 3, ConnectionsWeight: 0.4, OneGameWeight: 0.3, RoboticWeight: 0.3, Above: 0.8},
			Block: BlockTerms{First: 10 * time.Minute, Times: 4, Longest: 24 * time.Hour, Forgive: 6 * time.Hour, Unproven: time.Minute},
		},
		WatchPacketsPerSecond: 500_000,
		Health: Health{
			FPS:    HealthBounds{LongestGap: 250 * time.Millisecond, Jitter: 5 * time.Millisecond, LossPercent: 0.1},
			MOBA:   HealthBounds{LongestGap: 500 * time.Millisecond, Jitter: 10 * time.Millisecond, LossPercent: 0.2},
			RTS:    HealthBounds{LongestGap: time.Second, Jitter: 15 * time.Millisecond, LossPercent: 0.3},
			MMORPG: HealthBounds{LongestGap: 2 * time.Second, Jitter: 20 * time.Millisecond, LossPercent: 0.5},
		},
		Geo:     GeoFiles{Refresh: 24 * time.Hour},
		History: History{Keep: 30 * 24 * time.Hour, MaxBytes: 256 << 20},
	}
}

// fresh returns a list element of type t with its defaults; a service starts from the file's limits,
// timeouts and thresholds, which are decoded before the services.
func (c *Config) fresh(t reflect.Type) reflect.Value {
	switch t {
	case reflect.TypeFor[Interface]():
		return reflect.ValueOf(Interface{Mode: "native"})
	case reflect.TypeFor[Server]():
		return reflect.ValueOf(Server{Weight: 1})
	case reflect.TypeFor[Service]():
		return reflect.ValueOf(Service{
			Game: game.Auto, Gate: gateAuto, Forward: ForwardNAT, Access: "open", Fragments: "drop", SynProxy: SynProxyAuto, ProxyProtocol: Off, Detect: true, Limits: c.Limits, Timeouts: c.Timeouts,
			Strangers: c.Strangers, Queries: c.Queries, Attack: c.Attack, Health: c.Health,
		})
	}
	return reflect.Zero(t)
}

// complete resolves what depends on other values, so that a reader needs no rule
// of inheritance: it fills every service's protocol, class, gate, enforce and limits.
func (c *Config) complete() {
	c.own = map[string]Switches{"": {Limits: c.Limits.Enforce}}
	limitsOn := c.Limits.Enforce == nil || *c.Limits.Enforce
	for i := range c.Services {
		s := &c.Services[i]
		if p, ok := c.profile(s.Game); ok {
			if len(s.Protocol) == 0 {
				s.Protocol = p.Protos
			}
			if s.Class == "" {
				s.Class = p.Class
			}
			if s.Gate == gateAuto {
				s.Gate = p.Gate
				if s.GateParams == nil {
					s.GateParams = p.GateParams
				}
			}
		}
		if s.Gate == GateOff || s.Gate == gateAuto {
			s.Gate = ""
		}
		if s.SynProxy == SynProxyAuto && (s.Forward == ForwardLocal || !s.HasProtocol("tcp")) {
			s.SynProxy = Off
		}
		enforce := c.Enforce
		if s.Enforce != nil {
			enforce = *s.Enforce
		}
		limits := limitsOn
		if s.Limits.Enforce != nil {
			limits = *s.Limits.Enforce
		}
		limits = limits && enforce
		gate := s.EnforceGate == nil || *s.EnforceGate
		c.own[s.Name] = Switches{Enforce: s.Enforce, Limits: s.Limits.Enforce, Prefix: s.Limits.Prefix.Enforce, Service: s.Limits.Service.Enforce}
		s.Enforce, s.Limits.Enforce, s.EnforceGate = &enforce, &limits, &gate
		s.Limits.Source.complete()
		s.Limits.completeWide(limits)
	}
	c.Limits.Source.complete()
	limitsOn = limitsOn && c.Enforce
	c.Limits.Enforce = &limitsOn
	c.Limits.completeWide(limitsOn)
}

// complete derives the bursts that weren't written. The same values come out of a second call.
func (l *SourceLimits) complete() {
	const longestPacket = 65535
	if l.Burst == 0 {
		l.Burst = 2 * l.PacketsPerSecond
	}
	if l.BytesBurst == 0 && l.BytesPerSecond > 0 {
		l.BytesBurst = max(2*l.BytesPerSecond, longestPacket)
	}
}
