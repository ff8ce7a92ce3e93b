// SPDX-License-Identifier: Apache-2.0

// Package filter makes random filter expressions and frames that have something to do with each other, and asks tcpdump's compiler
// what it makes of them: its program is run by an interpreter that is nobody's here (golang.org/x/net/bpf).
package filter
