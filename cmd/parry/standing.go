// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"parry/pkg/detect"
)

// standingText says how the detector thinks of a source.
func standingText(row func(key, format string, args ...any), s *detect.Standing) {
	if !s.Known {
		row("detector", "knows nothing of %v", s.Source)
		return
	}
	row("risk", "%.2f (%.2f with what is not proven); of %s", s.Risk, s.RiskAll, plural(s.Connections, "connection", "connections"))
	for _, f := range s.Factors {
		mark := "no "
		if f.Holds {
			mark = "yes"
		}
		row("", "%s  %s: %g, bound %g, weighs %g", mark, f.Name, f.Value, f.Limit, f.Weight)
	}
	row("came of it", "%d to nothing, %d lasted, to about %s", s.Nothing, s.Lasted, plural(s.Destinations, "destination", "destinations"))
	who := "nobody plays there"
	if s.Player {
		who = fmt.Sprintf("%s there", plural(s.People, "person plays", "people play"))
	}
	row("who", "%s; %s", who, map[bool]string{true: "the address is proven", false: "the address is not proven"}[s.Proven])
	if s.Offences > 0 {
		row("offences", "%d", s.Offences)
	}
	if n := &s.Network; n.Active > 0 {
		row("network", "%v: %d active, %d for nothing, %d blocked, %d play", n.Prefix, n.Active, n.Nothing, n.Flagged, n.Players)
	}
}
