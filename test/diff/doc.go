// SPDX-License-Identifier: Apache-2.0

// Package diff compares the fast path with its model (test/model): both are put through the same sequences of packets and
// events, with time, chance and routes injected, and must do the same. A sequence that they differ in is cut down to what
// is needed for it and kept under testdata, where a test replays it ever after.
//
//	plan.go      the edges that are compared, and what they are reconfigured to
//	world.go     one edge and its model, side by side
//	step.go      what can happen to them, as text
//	compare.go   what must agree, and when
//	lists.go     entries of lists, as the daemon and bpftool write them
//	plan_gates.go, strangers.go  services with gates, and what is compared of strangers
//	generate.go  what happens next: chosen at random, knowing who is in which session
//	packets.go, plays.go, hostile.go, plays_strangers.go, firsts.go  the packets of it
//	shrink.go    cutting down
//	fuzz.go      doing that for a while
package diff
