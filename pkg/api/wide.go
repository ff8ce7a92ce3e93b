// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/netip"
)

// Shorter prefixes than these are rather a slip of the hand than meant.
const (
	widest4 = 8
	widest6 = 16
)

// CheckWide is the error that a prefix is so wide that one must say that it is meant, and what it would do; nil for others.
func CheckWide(kind Kind, p netip.Prefix) error {
	family, widest := "IPv4", widest4
	if p.Addr().Is6() {
		family, widest = "IPv6", widest6
	}
	if p.Bits() >= widest {
		return nil
	}
	share := "all"
	if p.Bits() > 0 {
		share = fmt.Sprintf("1/%d of all", 1<<p.Bits())
	}
	does := "they would be kept out and their sessions would end"
	if kind == Allow {
		does = "no block would hold for any of them"
	}
	return fmt.Errorf("%v is %s %s addresses: %s; if that is meant, say --force (force=1 to the API)", p, share, family, does)
}
