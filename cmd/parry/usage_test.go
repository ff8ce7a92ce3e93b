// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

func TestBadValuesAreToldWhatIsWanted(t *testing.T) {
	for _, row := range []struct{ args, want string }{
		{"bench --rounds x", `--rounds: "x" is not a whole number`},
		{"bench --rounds 99999999999999999999", `--rounds: "99999999999999999999" is too large`},
		{"bench --time 5", `--time: "5" is not a duration like 500ms, 90s or 1h30m`},
		{"lab --rate -5", `--rate: "-5" is not a whole number from 0 on`},
		{"lab --duration abc", `--duration: "abc" is not a duration like 500ms, 90s or 1h30m`},
		{"block add 192.0.2.1 --ttl soon", `--ttl: ttl "soon" is not a duration like 90s, 1h30m, 7d or never`},
	} {
		var said bytes.Buffer
		code := execute(t.Context(), wire(), strings.Fields(row.args), streams{out: &said, err: &said})
		if code != exitUsage || !strings.Contains(said.String(), row.want+"\n") {
			t.Errorf("%s: exit code %d, %q", row.args, code, &said)
		}
	}
}

func TestWhatTheKernelRefusesComesWithAdvice(t *testing.T) {
	refused := fmt.Errorf("open the pin folder: %w", syscall.EACCES)
	for _, row := range []struct {
		err  error
		uid  int
		want string
	}{{refused, 1000, ": run it with sudo"}, {refused, 0, ""}, {errors.New("something else"), 1000, ""}} {
		if got := advice(row.err, row.uid); got != row.want {
			t.Errorf("of %q user %d is told %q, not %q", row.err, row.uid, got, row.want)
		}
	}
}
