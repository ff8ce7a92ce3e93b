// SPDX-License-Identifier: Apache-2.0

// Package rule is the language of an operator's rules: a subset of tcpdump's, which it agrees with packet by packet. Parse makes an
// expression of a text, Expr.Match says in plain Go what it makes of a packet, and Compile makes one program for the
// kernel of a list of rules. It loads nothing: that is loader's.
package rule

// Bounds of an expression and of a service's rules.
const (
	MaxText   = 1024  // bytes of an expression
	maxDepth  = 24    // of parentheses, negations and nested byte tests
	MaxRules  = 256   // that a service's packets are shown to
	maxInsns  = 4096  // of one rule, as compiled
	maxAll    = 32768 // of all that a service has
	maxWords  = 32    // of sums within sums, as compiled: they lie on the stack
	maxOffset = 16383 // of a byte test, from the beginning of the IP header: no frame's first buffer is longer
)
