// SPDX-License-Identifier: Apache-2.0

// Package learn holds `parry profile learn` to its promise: what it learns of a capture passes a replay of that capture through the
// edge's own program, and what hasn't the shape of a first packet does not. The play is made up (test/firsts), or captured.
package learn
