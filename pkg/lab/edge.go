// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"net/netip"
)

// Edge is the edge under test. What it needs to know (its host, its services) it learns when it is made (EdgeMaker).
type Edge interface {
	// Name is what reports call it.
	Name() string
	// Start returns once players can play through it.
	Start(ctx context.Context) error
	// Status reads its counters.
	Status(ctx context.Context) (EdgeStatus, error)
	// Stop ends it; the world's end removes what it leaves.
	Stop() error
}

// Blocker is an edge that can refuse a source. Both calls return when it is enforced.
type Blocker interface {
	Block(ctx context.Context, prefix netip.Prefix, reason string) error
	Unblock(ctx context.Context, prefix netip.Prefix) error
}

// Mortal is an edge whose control can die (Kill, at once and without a goodbye) and be started again by Start.
type Mortal interface {
	Kill() error
}

// Keeper is an edge that can say whom it knows.
type Keeper interface {
	// Sessions names the sessions of the lab's players by the address they play from. A session that ended and began
	// again has another name.
	Sessions(ctx context.Context) (map[netip.AddrPort]string, error)
}

// Sized is an edge that can say how many bytes it has set aside for what it remembers of packets.
type Sized interface {
	Memory() (uint64, error)
}

// Historian is an edge that writes down what attacks it saw.
type Historian interface {
	// Attacks are those since it began.
	Attacks(ctx context.Context) ([]Seen, error)
}

// Seen is an attack as the edge saw it.
type Seen struct {
	Kinds    []string `json:"kinds"`
	Services int      `json:"services"` // that it was on
}

// EdgeStatus is an edge's counters.
type EdgeStatus struct {
	Drops    map[string]uint64 // packets by reason
	Host     uint64            // packets handed to its own system
	Sessions uint64
}

// EdgeMaker makes an edge for a world that is built.
type EdgeMaker func(s *Site) (Edge, error)

var (
	_ Detective = (*ParryEdge)(nil)

	_ Edge    = (*ParryEdge)(nil)
	_ Blocker = (*ParryEdge)(nil)
	_ Mortal  = (*ParryEdge)(nil)
	_ Keeper  = (*ParryEdge)(nil)
	_ Sized   = (*ParryEdge)(nil)

	_ Historian = (*ParryEdge)(nil)
)
