// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"log/slog"
	"testing"

	"parry/pkg/bench"
	"parry/pkg/show"
)

// What a packet costs: `parry bench`, all cases. What is over its target shows, and fails nothing: that is
// for a quiet machine, and `parry bench --check`.
func TestCostOfAPacket(t *testing.T) {
	all(t)
	r, err := bench.Run(t.Context(), bench.Options{Rounds: bench.DefaultRounds, Time: bench.DefaultTime, Log: slog.New(slog.DiscardHandler)})
	must(t, err, r.WriteText(t.Output(), show.Style{}))
}
