// SPDX-License-Identifier: Apache-2.0

// Package e2e runs the real program on real packets: a daemon in a network namespace between players and servers,
// both of them sockets of the tests' process or real games. Everything here needs root; see CONTRIBUTING.md for the
// variables PARRY_E2E, PARRY_BIN, PARRY_DEATHS and PARRY_SOAK.
package e2e

//go:generate go tool bpf2go -target bpfel -output-stem tally -type tally tally ../../bpf/tests/tally.bpf.c
