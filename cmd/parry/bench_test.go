// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestBenchRefusesWhatItCannotMeasure(t *testing.T) {
	for _, row := range []struct{ args, want string }{
		{"--case (", "--case: "},
		{"--case nothing_like_it", `--case: no case matches "nothing_like_it": there are established_udp4, `},
		{"--case blokced_host", `no case matches "blokced_host": did you mean blocked_host? There are established_udp4, `},
		{"--rounds 0", "--rounds"},
		{"--time 1ns", "--time"},
		{"--csae x", "did you mean --case?"},
	} {
		var errOut bytes.Buffer
		code := execute(t.Context(), wire(), append([]string{"bench"}, strings.Fields(row.args)...), streams{out: &errOut, err: &errOut})
		if code != exitUsage || !strings.Contains(errOut.String(), row.want) {
			t.Errorf("%s: exit code %d, %q", row.args, code, &errOut)
		}
	}
}
