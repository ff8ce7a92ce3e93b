// SPDX-License-Identifier: Apache-2.0

// Package loader is the only one that touches BPF: it loads, pins, attaches and replaces the fast path, and gives
// typed access to its maps. It knows no configuration file and no policy; engine hands it plain values.
package loader

// The objects and bindings are checked in, built by the clang that the Makefile pins (make generate), so that
// building parry needs Go alone. bpfel only: parry supports little-endian machines.
//go:generate go tool bpf2go -target bpfel -type drop_reason -type verdict -type forward_mode -type session_phase -type flow_flag -type hop_state -type entry_source -type fault -type bucket -type reap_op -type syn_proxy -type rate -type flow -type vlan_tag -type always -type gate_ask -type sample_level -type sample_want -type sample_kind -type sample -type sample_tuple -type sample_slot -type book_kind -type sequence bpf ../bpf/parry.bpf.c
