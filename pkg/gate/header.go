// SPDX-License-Identifier: Apache-2.0

// Package gate is an operator's side of gates: it compiles one from C and keeps the compiled ones over restarts. What a
// gate is, docs/gates.md tells; what may be in one and how it gets into the kernel is loader's to say.
package gate

import _ "embed"

// header is bpf/gate/parry_gate.h: a copy, for Go embeds nothing from folders above, and takes no folder with C in it for
// a package. A test holds the two equal.
//
//go:embed parry_gate.h
var header []byte
