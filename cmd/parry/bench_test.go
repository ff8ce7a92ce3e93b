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
		{"--case nothing_like_it", "--case: no such case"},
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
