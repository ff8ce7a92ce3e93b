// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"syscall"
	"testing"
)

// disk takes what is written, unless it is full.
type disk struct {
	bytes.Buffer
	full bool
}

func (d *disk) Write(p []byte) (int, error) {
	if d.full {
		return 0, syscall.ENOSPC
	}
	return d.Buffer.Write(p)
}

func TestLogSaysWhatItLost(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var d disk
		log, lost := newLogger(RunOptions{LogJSON: asJSON}, &d)
		log.Info("first")
		d.full = true
		for range 3 {
			log.Info("nobody reads this")
		}
		d.full = false
		log.Info("last")
		log.With("a", 1).Info("after")
		lines := strings.Split(strings.TrimSpace(d.String()), "\n")
		if len(lines) != 4 || !strings.Contains(lines[1], "could not be written") || !strings.Contains(lines[2], "last") || lost() != 3 {
			t.Errorf("%d lines are lost, the log is\n%s", lost(), d.String())
		}
		want := "lines=3"
		if asJSON {
			want = `"lines":3`
			for _, l := range lines {
				if !json.Valid([]byte(l)) {
					t.Errorf("no JSON: %s", l)
				}
			}
		}
		if !strings.Contains(d.String(), want) {
			t.Errorf("no %q in\n%s", want, d.String())
		}
	}
}
