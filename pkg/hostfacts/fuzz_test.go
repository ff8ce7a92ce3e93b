// SPDX-License-Identifier: Apache-2.0

package hostfacts

import "testing"

// Whatever a kernel, or somebody's mount over /proc, writes: an error or a fact, and ranges that are some.
func FuzzParse(f *testing.F) {
	for _, text := range goodHost() {
		f.Add(text)
	}
	for _, text := range []string{"6.", "1-", "-", "9-8", "65536", "1 2 3 4 -", `a a a a \77 - bpf`, `a a a a \400\ - -`, "CapEff:", "CapEff:\t-1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if k, err := parseKernel(in); err == nil && (k.Major < 0 || k.Minor < 0) {
			t.Errorf("kernel %+v", k)
		}
		reserved, err := parseReserved(in)
		if local, lerr := parseLocalPorts(in); lerr == nil {
			reserved = append(reserved, local)
		}
		if err == nil {
			for _, r := range reserved {
				if r.First > r.Last {
					t.Errorf("range %+v", r)
				}
			}
		}
		mounts, err := parseMounts(in)
		for _, m := range mounts {
			if err == nil && (m.point == "" || m.typ == "") {
				t.Errorf("mount %+v", m)
			}
		}
		_, _ = parseCaps(in)
		_, _ = parseUsers(in)
		_, _ = parseJIT(in)
	})
}
