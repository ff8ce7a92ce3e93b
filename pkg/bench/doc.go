// SPDX-License-Identifier: Apache-2.0

// Package bench measures what a packet costs in the fast path, beside floors that are measured in turn with it:
// `parry bench`, and the figures that `make figures` prints.
//
// A case is one way that a packet can take (cases.go), a floor a hand-minimal program that does the same without
// policy (bpf/bench/floor.bpf.c). Both are run by BPF_PROG_TEST_RUN, alternating; what counts is the CPU time of the
// thread over the system call, and the ratio of the two within a round. A driver (bpf/bench/drive.bpf.c) makes the
// next packet of the last one; what it takes is measured around an empty program and subtracted.
//
// All of it happens in a network namespace of its own; no interface of the machine's is touched.
package bench
