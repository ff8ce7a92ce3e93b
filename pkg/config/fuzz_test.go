// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Any bytes: no panic, an end in bounded time, and either a complete configuration or
// errors that point into the file.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", filepath.Join(docs, "examples", "*.yaml")} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte(minimal))
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		c, err := Parse("fuzz.yaml", data)
		if took, limit := time.Since(start), time.Second+time.Duration(len(data))*20*time.Microsecond; took > limit {
			t.Errorf("%d bytes took %v", len(data), took)
		}
		if err != nil {
			checkErrors(t, data, c, err)
			return
		}
		checkComplete(t, c)
	})
}

func checkErrors(t *testing.T, data []byte, c *Config, err error) {
	t.Helper()
	var all Errors
	if c != nil || !errors.As(err, &all) || len(all) == 0 || len(all) > maxErrors+1 {
		t.Fatalf("config %v, error %v", c, err)
	}
	lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
	for _, e := range all {
		if e.Line > lines || e.Line < 0 || e.Column < 0 || e.Message == "" {
			t.Errorf("%+v: the file has %d lines", e, lines)
		}
		if strings.ContainsAny(e.Error(), "\n\x00") || !utf8.ValidString(e.Error()) {
			t.Errorf("%q is not one line of text", e.Error())
		}
	}
}

func checkComplete(t *testing.T, c *Config) {
	t.Helper()
	if len(c.Services) == 0 || c.Limits.Enforce == nil || c.Pin == "" {
		t.Errorf("incomplete: %+v", c)
	}
	for i := range c.Services {
		s := &c.Services[i]
		if s.Name == "" || len(s.Listen) == 0 || len(s.Protocol) == 0 || s.Class == "" || s.Enforce == nil || s.Limits.Enforce == nil {
			t.Errorf("incomplete: %+v", s)
		}
		if s.Forward == ForwardLocal {
			continue
		}
		for _, server := range c.Pool(s.Pool).Servers {
			first, last := s.ServerPort(server, s.Ports().First), s.ServerPort(server, s.Ports().Last)
			if first != server.First || last < first || server.Last != server.First && last != server.Last {
				t.Errorf("%s to %s: ports %d to %d", s.Ports(), server.Endpoint(), first, last)
			}
		}
	}
	if errs := CheckHost(c, HostFacts{}); len(errs) > maxErrors*100 {
		t.Errorf("%d host errors", len(errs))
	}
}

// What costs a naive reader of YAML its time or its stack. Files of 256 KiB, at which the
// quadratic takes ten times the limit, and of the largest size where few marks fill it.
func TestHostileFilesEndSoon(t *testing.T) {
	run := func(name, text string) {
		t.Run(name, func(t *testing.T) {
			start := cpuTime(t)
			if _, err := Parse("x", []byte(text)); err == nil {
				t.Error("accepted")
			}
			// CPU time, for the machine may be loaded; the race detector alone makes a second into ten.
			if took := cpuTime(t) - start; took > 30*time.Second {
				t.Errorf("%d bytes took %v of CPU", len(text), took)
			}
		})
	}
	for name, text := range hostile(256 << 10) {
		run(name, text)
	}
	large := hostile(MaxFileSize)
	for _, name := range []string{"prefixes", "plain scalar", "spaces", "colons", "brackets"} {
		run("large "+name, large[name])
	}
}

// cpuTime is what this process has used so far.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func hostile(size int) map[string]string {
	fill := func(head, part string) string { return head + strings.Repeat(part, (size-len(head))/len(part)) }
	return map[string]string{
		"brackets":        fill("", "["),
		"braces":          fill("", "{a: "),
		"dashes":          fill("", "- "),
		"keys":            fill("", "a: b\n"),
		"keys in a list":  fill("a: [", "\nb: c"),
		"flow keys":       fill("a: {", "b: c, "),
		"quotes":          fill("", `""`),
		"bangs":           fill("", "! "),
		"documents":       fill("", "---\n"),
		"list":            fill("regions:\n", "- a\n"),
		"flow list":       fill("regions: [", "a, "),
		"plain scalar":    fill("node: ", "x"),
		"quoted scalar":   fill(`node: "`, "x"),
		"colons":          fill("a: [", ":a "),
		"touching colons": fill("a: {b: [", "x:y "),
		"comments":        fill("", "# x\n"),
		"spaces":          fill("", " "),
		"long lines":      fill("node: x ", "# x"),
		"prefixes":        fill("regions:\n- prefixes:\n", "  - 2001:db8::/32\n"),
		"servers":         fill("pools:\n- servers:\n", "  - {name: a}\n"),
		"deepening":       fill("", "a:\n "),
		"anchors":         fill("a: &a [x]\nb: [", "*a, "),
		"long keys":       fill("", strings.Repeat("k", 4000)+": \n"),
		"errors":          fill("", "[2001:db8::1]:1 ]\n"),
	}
}
