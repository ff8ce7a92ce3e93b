// SPDX-License-Identifier: Apache-2.0

// Package lab builds a whole edge on one machine out of network namespaces (players, attackers, the edge, servers),
// plays and attacks, and measures what the players felt: nobody needs a NIC to try parry.
//
// The edge under test is an interface (Edge): parry's daemon over its unix socket, or something to compare it with.
// The flood is made by the package's own generator (Generator), which tests use too.
package lab

//go:generate go tool bpf2go -target bpfel -output-stem flood_bpf flood ../../bpf/lab/gen.bpf.c
//go:generate go tool bpf2go -target bpfel -output-stem meter_bpf meter ../../bpf/lab/meter.bpf.c
