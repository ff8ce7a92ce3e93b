// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"io"

	"parry/pkg/show"
)

// Text writes the report for a person, group by group.
func (r *Report) Text(w io.Writer, st show.Style) error {
	group := ""
	for _, f := range r.Findings {
		if f.Group != group {
			if group != "" {
				fmt.Fprintln(w)
			}
			group = f.Group
			fmt.Fprintln(w, st.Bold(group))
		}
		mark := st.Good("ok   ")
		switch f.State {
		case Costs:
			mark = st.Warn("COSTS")
		case Fails:
			mark = st.Bad("FAILS")
		}
		fmt.Fprintf(w, "  %s  %s\n", mark, f.Text)
		if f.Cost != "" {
			fmt.Fprintf(w, "         it costs: %s\n", f.Cost)
		}
		if f.Mend != "" {
			fmt.Fprintf(w, "         mend it:  %s\n", f.Mend)
		}
	}
	_, err := fmt.Fprintf(w, "\n%d ok, %d cost something, %d won't work\n", r.OK, r.Costs, r.Fails)
	return err
}
