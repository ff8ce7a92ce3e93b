// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"maps"
	"slices"
	"time"

	"parry/loader"
	"parry/loader/gates"
	"parry/test/model"
	"parry/test/packet"
)

// gatePort is where the first of the services with gates listens; the others follow.
const gatePort = 28100

// gated are the services with gates, in the order of their ports: each family's, some in several ways.
func gated() []loader.Service {
	var all []loader.Service
	add := func(name, gate string, f loader.Forward, pool string, change func(*loader.Service)) {
		s := service(name, f, pool, uint16(gatePort+len(all)))
		s.Gate, s.Answers = gate, true
		s.Strangers = loader.Strangers{Packets: 400, Sessions: 200, Admissions: 600, Queries: 40, Unanswered: 12, Weak: 6, WeakPrefix: 4, WeakGain: 4}
		s.Timeouts.Weak, s.Timeouts.Silent = 20*time.Second, 5*time.Second
		if change != nil {
			change(&s)
		}
		all = append(all, s)
	}
	params := func(p ...uint64) func(*loader.Service) {
		return func(s *loader.Service) { copy(s.GateParams[:], p) }
	}
	add("source", "source", loader.NAT, "nat", nil)
	add("source-open", "source", loader.Transparent, "open", params(1))
	add("source-local", "source", loader.Local, "", func(s *loader.Service) { s.Strangers.Packets = 2 })
	add("source-watched", "source", loader.NAT, "nat", func(s *loader.Service) { s.Enforce = false })
	add("quake3", "quake3", loader.Transparent, "open", func(s *loader.Service) { s.Strangers.Queries = 2 })
	add("quake3-local", "quake3", loader.Local, "", func(s *loader.Service) {
		s.Strangers.Packets, s.Limits.NewSessions, s.Limits.Window = 6, 3, 10*time.Second
	})
	add("raknet", "raknet", loader.NAT, "nat", func(s *loader.Service) { s.Strangers.Sessions = 2 })
	add("raknet-own", "raknet", loader.Local, "", params(1, 1<<7))
	add("stun", "stun", loader.NAT, "nat", func(s *loader.Service) {
		s.Strangers.Queries, s.Strangers.Packets, s.Strangers.WeakGain = 0, 0, 0
	})
	add("minecraft", "minecraft_java", loader.NAT, "nat", nil)
	add("minecraft-local", "minecraft_java", loader.Local, "", func(s *loader.Service) { s.Strangers.Unanswered = 3 })
	add("minecraft-open", "minecraft_java", loader.Transparent, "open", func(s *loader.Service) {
		s.Limits = loader.Limits{Packets: 100, PacketBurst: 12, Bytes: 5000, ByteBurst: 3000, NewSessions: 6, Window: 10 * time.Second, Prefix4: 24, Prefix6: 48}
	})
	add("minecraft-watched", "minecraft_java", loader.Transparent, "open", func(s *loader.Service) { s.Enforce = false })
	add("enet", "enet", loader.Transparent, "open", params(2))
	add("wireguard", "wireguard", loader.NAT, "nat", func(s *loader.Service) { s.Answers = false })
	add("quic", "quic", loader.Transparent, "open", nil)
	add("unreal", "unreal", loader.NAT, "nat", params(4, 7, 5))
	add("teamspeak3", "teamspeak3", loader.NAT, "nat", nil)
	add("mumble", "mumble", loader.Transparent, "open", nil)
	add("photon", "photon", loader.NAT, "nat", nil)
	add("steam_sdr", "steam_sdr", loader.NAT, "nat", nil)
	add("plain-udp", "", loader.NAT, "nat", func(s *loader.Service) { s.Strangers.Sessions, s.Strangers.Admissions, s.Strangers.Packets = 3, 20, 30 })
	add("plain-local", "", loader.Local, "", func(s *loader.Service) { s.Strangers.Weak, s.Strangers.WeakPrefix = 1, 1 })
	add("plain-watched", "", loader.Transparent, "open", func(s *loader.Service) { s.Enforce, s.Strangers.Sessions, s.Strangers.Packets = false, 2, 10 })
	add("plain-limited", "", loader.Transparent, "open", func(s *loader.Service) {
		s.Limits = loader.Limits{Packets: 100, PacketBurst: 20, NewSessions: 3, Window: 10 * time.Second, Sessions: 3, Prefix4: 32, Prefix6: 64}
	})
	add("quake3-nat", "quake3", loader.NAT, "nat", nil)
	add("shaped", "shape", loader.NAT, "nat", params(0xffffffff, 14|65535<<16|0x0f<<48|1<<56, // the form: bpf/gate/shape.bpf.c
		0x4f457403, 12|40<<16|0x0f<<48|3<<56, 0x0200, 12|40<<16|9<<32|0x02<<48|1<<56))
	return all
}

// parryGates are the gates as the loader has them.
func parryGates() []loader.Gate {
	var all []loader.Gate
	objects := gates.Objects()
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		g, err := loader.ReadGate(objects[name])
		if err != nil {
			panic(err)
		}
		all = append(all, g)
	}
	return all
}

// guarded is a plan with services that have gates.
func guarded(change func(*loader.Plan)) *loader.Plan {
	p := everything()
	p.Services = append(slices.DeleteFunc(p.Services, func(s loader.Service) bool {
		return !slices.Contains([]string{"nat", "open", "local", "tight"}, s.Name)
	}), gated()...)
	for _, family := range []string{"source", "quake3", "raknet"} { // whose servers' answers are cached are servers of one game
		for _, pool := range pools()[:2] {
			pool.Name += "-" + family
			p.Pools = append(p.Pools, pool)
		}
	}
	for i := range p.Services {
		if s := &p.Services[i]; s.Gate == "source" || s.Gate == "quake3" || s.Gate == "raknet" {
			if s.Pool != "" {
				s.Pool += "-" + s.Gate
			}
		}
	}
	p.Gates, p.Answers = parryGates(), loader.AnswerBudget{Prefix: 2000, Total: 5000}
	change(p)
	return p
}

// strangerEdges are the kinds of edges whose services have gates, and bounds for strangers.
func strangerEdges() map[string]edge {
	of := func(s loader.Sizes, unproven uint32) loader.Sizes {
		s.Unproven, s.Greylist = unproven, 1<<20
		return s
	}
	plain := guarded(func(*loader.Plan) {})
	enforced := guarded(func(p *loader.Plan) { // nothing is only watched: ordinary strangers have a way of their own (bpf/stage/brief.h)
		for i := range p.Services {
			p.Services[i].Enforce = true
		}
	})
	return map[string]edge{
		"gates": {of(sizes(4096, 4096), 64), []*loader.Plan{plain}, []*loader.Plan{
			plain,
			enforced,
			guarded(func(p *loader.Plan) { p.Enforce = false }),
			guarded(func(p *loader.Plan) { p.Answers = loader.AnswerBudget{} }),
		}},
		"strangers": {of(sizes(4096, 64), 8), []*loader.Plan{enforced}, []*loader.Plan{enforced, plain}},
		"wide":      wideEdge(of(sizes(4096, 4096), 64)),
		"rules":     {of(sizes(4096, 4096), 64), []*loader.Plan{enforced}, []*loader.Plan{ruled(enforced, 0), ruled(plain, 1)}},
		"brief":     {of(sizes(4096, 4096), 64), []*loader.Plan{enforced}, []*loader.Plan{enforced, plain}},
	}
}

func strangersOf(s loader.Strangers) model.Strangers {
	rate := func(n uint64) model.Rate { return model.PerSecond(n, n) }
	return model.Strangers{
		Packets: uint32((uint64(s.Packets)<<29 + 1e9 - 1) / 1e9), Sessions: rate(s.Sessions), Admissions: rate(s.Admissions),
		AdmissionsPrefix: rate((s.Admissions + 511) / 512), Queries: rate(s.Queries), Unanswered: int(s.Unanswered), Weak: int(s.Weak),
		WeakPrefix: int(s.WeakPrefix), WeakGain: int(s.WeakGain),
	}
}

// budgetOf is a budget of answers, divided by so much: a quarter of a second's at once, or one full packet.
func budgetOf(n, by uint64) model.Rate { return model.PerSecond((n+by-1)/by, max(n/by/4, 1472)) }

// served are the ports of an edge's services, and the gate of each: "" = none.
func (w *world) served() (ports []uint16, gate map[uint16]string) {
	gate = map[uint16]string{}
	for _, p := range w.edge.plans[w.plan].Services {
		for _, f := range p.Fronts {
			if f.Proto == packet.UDP && !slices.Contains(ports, f.First) {
				ports, gate[f.First] = append(ports, f.First), p.Gate
			}
		}
	}
	return ports, gate
}
