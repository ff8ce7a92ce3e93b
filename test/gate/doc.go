// SPDX-License-Identifier: Apache-2.0

// Package gate drives parry's own gates by BPF_PROG_RUN, each alone: a payload and what the core says of its packet go in;
// verdict, proof and payload come out.
package gate
