// SPDX-License-Identifier: Apache-2.0

// Package parry holds what the program brings along of bpf/. It lies at the root because Go embeds nothing from folders
// above, and takes no folder with C in it for a package.
package parry

import _ "embed"

//go:embed bpf/gate/parry_gate.h
var gateHeader string

// GateHeader is bpf/gate/parry_gate.h: what an operator's gates are compiled against is what parry's own are.
func GateHeader() string { return gateHeader }
