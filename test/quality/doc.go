// SPDX-License-Identifier: Apache-2.0

// Package quality measures how often parry is right about traffic that it was told nothing of: which game a flow is, and who cheats in it.
// `make quality` prints tables, beside nDPI's ndpiReader on the same flows; `go test` alone fails where a target is missed, and is quiet.
package quality
