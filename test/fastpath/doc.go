// SPDX-License-Identifier: Apache-2.0

// Package fastpath drives the real XDP program by BPF_PROG_RUN: packet in; verdict, packet out, new state and exactly
// the counters that moved. Time, chance and routes are injected, so a row takes no longer than its packets.
package fastpath

//go:generate go tool bpf2go -target bpfel -output-stem slot slot ../../bpf/tests/slot.bpf.c
