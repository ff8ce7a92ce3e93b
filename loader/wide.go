// SPDX-License-Identifier: Apache-2.0

package loader

import "time"

// WideLimits are limits of more than one source: of a prefix of them, or of all who are not proven; 0 = none.
type WideLimits struct {
	Packets, PacketBurst uint64 // per second
	Bytes, ByteBurst     uint64
	NewSessions          uint32
	Window               time.Duration
	Enforce              bool
	Bits4, Bits6         uint8 // how long a prefix is; of all who are not proven it says nothing
}

// Shared says when a source counts as an address that players share.
type Shared struct {
	Sessions uint32 // that have lasted; 0 = never
	Factor   uint32 // by which its limits are wider then
}

func (l WideLimits) packets() bpfRate { return rateOf(l.Packets, 1e9, l.PacketBurst) }
func (l WideLimits) bytes() bpfRate   { return rateOf(l.Bytes, 1e9, l.ByteBurst) }
func (l WideLimits) sessions() bpfRate {
	return rateOf(uint64(l.NewSessions), l.Window, uint64(l.NewSessions))
}

// limited tells whether packets or bytes are, so that flows have to borrow.
func (l WideLimits) limited() bool { return l.Packets > 0 || l.Bytes > 0 }

// A prefix has many more flows than a source, each of which may hold a loan: so that 250 of them pass no more than 2 % too much in ten
// seconds, a loan is a smaller part of its bucket.
const prefixBatch = 8

// putWide writes the limits of a service that hold for more than one source.
func (s *Service) putWide(out *bpfService) {
	p, a := s.Prefix, s.Unproven
	out.PrefixPackets, out.PrefixBytes, out.PrefixSessions = p.packets(), p.bytes(), p.sessions()
	out.AllPackets, out.AllBytes, out.AllSessions = a.packets(), a.bytes(), a.sessions()
	out.EnforcePrefix, out.EnforceAll = flag(p.Enforce || !p.limited() && p.NewSessions == 0), flag(a.Enforce)
	if p.limited() || p.NewSessions > 0 {
		out.Wide4, out.Wide6 = p.Bits4, p.Bits6
	}
	out.PacketBatch = min(out.PacketBatch, batchOf(p.Packets, p.PacketBurst/prefixBatch, loanPackets))
	out.ByteBatch = min(out.ByteBatch, batchOf(p.Bytes, p.ByteBurst/prefixBatch, loanBytes))
	out.SharedSessions, out.SharedFactor = s.Limits.Shared.Sessions, max(s.Limits.Shared.Factor, 1)
	out.Geo = s.Geo
}

// watchesWide tells whether a limit of more than one source is set and only watches.
func (s *bpfService) watchesWide() bool {
	return s.EnforcePrefix == 0 && s.PrefixPackets.Cost|s.PrefixBytes.Cost|s.PrefixSessions.Cost != 0 ||
		s.EnforceAll == 0 && s.AllPackets.Cost|s.AllBytes.Cost|s.AllSessions.Cost != 0
}

// wide is what the fast path leaves out where no service needs it.
func (c *bpfCfg) wide(s *bpfService) {
	c.Prefixes |= flag(s.Wide4 != 0 || s.Wide6 != 0)
	c.Limits |= flag(s.PrefixPackets.Cost != 0 || s.PrefixBytes.Cost != 0)
	c.All |= flag(s.AllPackets.Cost != 0 || s.AllBytes.Cost != 0 || s.AllSessions.Cost != 0)
	c.Shared |= flag(s.SharedSessions != 0)
	c.Geo |= flag(s.Geo != 0)
}
