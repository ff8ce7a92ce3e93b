// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"net/netip"
)

// Edge is the edge under test. What it needs to know (its host, its services) it learns when it is made (EdgeMaker).
type Edge interface {
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

// EdgeStatus is an edge's counters.
type EdgeStatus struct {
	Drops    map[string]uint64 // packets by reason
	Host     uint64            // packets handed to its own system
	Sessions uint64
}

// EdgeMaker makes an edge for a world that is built.
type EdgeMaker func(s *Site) (Edge, error)

var (
	_ Edge    = (*ParryEdge)(nil)
	_ Blocker = (*ParryEdge)(nil)
	_ Mortal  = (*ParryEdge)(nil)
)
