// SPDX-License-Identifier: Apache-2.0

// Command compare sends the same packets from a client to a server by several ways in turn: plain kernel routing,
// NAT by nftables and by iptables, nginx and a Go program as proxies, and parry. Each way has a world of its own of
// three network namespaces in a row; the machine's own interfaces are not touched, and no NIC is in the loop.
//
// Two things are measured. What a packet costs: a flood of live frames (BPF_PROG_TEST_RUN) into the client's veth,
// whose receiving end runs on the sender's thread, so that the CPU time of that thread is the cost of the whole way; a
// program at the server's end counts and drops. And how long a packet takes: ping-pong between two sockets.
//
//	go run ./test/compare [-json | -markdown] [-rounds N]      as root; make compare sets up what it needs
package main

//go:generate go tool bpf2go -target bpfel -output-stem ends_bpf -type frame ends ../../bpf/tests/ends.bpf.c
