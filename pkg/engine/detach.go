// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"log/slog"

	"parry/loader"
	"parry/pkg/nexthop"
)

// Detach takes the edge that is pinned under pin off its interfaces and removes what it left: programs, sessions,
// lists, counters, neighbours.
func Detach(pin string, log *slog.Logger) error {
	names, err := loader.Detach(pin)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		log.Debug("detached", "interfaces", names)
	}
	if _, err := nexthop.Purge(); err != nil {
		return fmt.Errorf("remove the neighbours that were kept: %w", err)
	}
	return nil
}
