// SPDX-License-Identifier: Apache-2.0

// Package figures measures what parry promises in figures, each printed beside its target: imports and the speed of
// a block, source limits over several flows and CPUs, start, idling, a million sessions, and what a packet costs
// (pkg/bench). `make figures` runs all of it; `go test` alone runs what is quick and says of the rest how to run it.
package figures
