// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parry/loader"
	"parry/pkg/config"
)

// file is a configuration of three services: a (with a gate), b and c.
func file(t *testing.T, head string, more ...string) *config.Config {
	t.Helper()
	var b strings.Builder
	b.WriteString(head + "\nservices:\n")
	for i, name := range []string{"a", "b", "c"} {
		extra := ""
		if i < len(more) {
			extra = more[i]
		}
		game := "auto"
		if name == "a" {
			game = "quake3"
		}
		fmt.Fprintf(&b, "  - {name: %s, listen: \"203.0.113.10:%d\", protocol: udp, game: %s, forward: local%s}\n", name, 1000+i, game, extra)
	}
	c, err := config.Parse("test", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// enforced is what a configuration enforces: services, their limits and gates, where all that they are part of is enforced.
func enforced(c *config.Config) string {
	var all []string
	for i := range c.Services {
		s := &c.Services[i]
		if !c.Enforce || !*s.Enforce {
			continue
		}
		text := s.Name
		if *s.Limits.Enforce {
			text += "+limits"
		}
		if *s.EnforceGate {
			text += "+gate"
		}
		if *s.Limits.Enforce && !*s.Limits.Prefix.Enforce {
			text += "-prefix"
		}
		if *s.Limits.Enforce && !*s.Limits.Service.Enforce {
			text += "-service"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func TestWatchingAndApply(t *testing.T) {
	for _, x := range []struct {
		name     string
		file     *config.Config
		watching string
		promoted []string
		want     string
	}{
		{"all is enforced", file(t, ""), "", nil, "a+limits+gate b+limits+gate c+limits+gate"},
		{"nothing is", file(t, "enforce: false"), "all", nil, ""},
		{"nothing is, and all is promoted", file(t, "enforce: false"), "all", []string{All}, "a+limits+gate b+limits+gate c+limits+gate"},
		{"what says so itself goes on watching", file(t, "enforce: false", ", enforce: false", ", limits: {enforce: false}", ", enforce_gate: false"),
			"all a b/limits", []string{All}, "b+gate c+limits"},
		{"one service, its limits with it", file(t, "", ", enforce: false"), "a", []string{"a"}, "a+limits+gate b+limits+gate c+limits+gate"},
		{"one service, whose limits watch", file(t, "", ", enforce: false, limits: {enforce: false}"), "a a/limits", []string{"a"}, "a+gate b+limits+gate c+limits+gate"},
		{"its limits, too", file(t, "", ", enforce: false, limits: {enforce: false}"), "a a/limits", []string{"a", "a/limits"}, "a+limits+gate b+limits+gate c+limits+gate"},
		{"limits of a service that watches", file(t, "", ", enforce: false, limits: {enforce: false}"), "a a/limits", []string{"a/limits"}, "b+limits+gate c+limits+gate"},
		{"a gate", file(t, "", ", enforce_gate: false"), "a/gate", []string{"a/gate"}, "a+limits+gate b+limits+gate c+limits+gate"},
		{"limits of all", file(t, "limits: {enforce: false}"), "a/limits b/limits c/limits", []string{"b/limits"}, "a+gate b+limits+gate c+gate"},
		{"limits of a prefix", file(t, "", ", limits: {prefix: {packets_per_second: 9, enforce: false}, service: {enforce: false}}"), "a/prefix a/service",
			[]string{"a/prefix"}, "a+limits+gate-service b+limits+gate c+limits+gate"},
		{"a service with limits of a prefix that watch", file(t, "", ", enforce: false, limits: {prefix: {enforce: false}}"), "a a/prefix",
			[]string{"a"}, "a+limits+gate-prefix b+limits+gate c+limits+gate"},
	} {
		t.Run(x.name, func(t *testing.T) {
			before := enforced(x.file)
			if got := strings.Join(Watching(x.file), " "); got != x.watching {
				t.Errorf("watching: %q, want %q", got, x.watching)
			}
			if diff := cmp.Diff(x.want, enforced(Apply(x.file, x.promoted))); diff != "" {
				t.Error(diff)
			}
			if after := enforced(x.file); after != before {
				t.Errorf("the file itself changed: %q, was %q", after, before)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	mixed := file(t, "", ", enforce_gate: false", ", enforce: false, limits: {enforce: false}")
	silent := file(t, "enforce: false", ", enforce: false")
	for _, x := range []struct {
		c    *config.Config
		what string
		want error
	}{
		{mixed, "all", ErrEnforced}, {mixed, "a", ErrEnforced}, {mixed, "a/gate", nil}, {mixed, "a/limits", ErrEnforced}, {mixed, "b", nil},
		{mixed, "b/limits", ErrAlone}, {mixed, "b/gate", ErrNone}, {mixed, "c", ErrEnforced}, {mixed, "d", ErrNone}, {mixed, "a/prefix", ErrEnforced}, {mixed, "a/what", ErrNone},
		{mixed, "", ErrNone}, {silent, "all", nil}, {silent, "a", ErrAlone}, {silent, "b", ErrAlone},
	} {
		if err := Check(x.c, x.what); !errors.Is(err, x.want) {
			t.Errorf("Check(%q) = %v, want %v", x.what, err, x.want)
		}
	}
}

func TestWhoseDoing(t *testing.T) {
	c := file(t, "", ", enforce_gate: false", ", enforce: false, limits: {enforce: false}")
	for _, x := range []struct{ service, reason, of string }{
		{"a", "gate_refused", "a/gate"}, {"a", "rate_packets", ""}, {"b", "rate_packets", "b"}, {"b", "packet_size", "b"}, {"c", "geo", ""}, {"", "host_rate", ""},
	} {
		if got := Of(c, x.service, x.reason); got != x.of {
			t.Errorf("Of(%q, %q) = %q, want %q", x.service, x.reason, got, x.of)
		}
	}
	if got := Of(file(t, "enforce: false"), "", "host_rate"); got != All {
		t.Errorf("this host's own by %q", got)
	}
	for _, x := range []struct {
		what, service, reason string
		want                  bool
	}{
		{"all", "a", "geo", true}, {"all", "a", "denied", false}, {"a", "a", "gate_refused", true}, {"a", "b", "gate_refused", false},
		{"a/gate", "a", "gate_refused", true}, {"a/gate", "a", "rate_bytes", false}, {"a/limits", "a", "rate_bytes", true}, {"a", "a", "rule", false},
		{"a", "a", "greylisted", false}, {"a", "a", "no_route", false},
	} {
		if got := Drops(x.what, x.service, x.reason); got != x.want {
			t.Errorf("Drops(%q, %q, %q) = %v", x.what, x.service, x.reason, got)
		}
	}
}

// A reason of a part is one that the fast path knows.
func TestPartsAreReasons(t *testing.T) {
	names, err := loader.ReadNames()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, n := range names.Reasons {
		known[n] = true
	}
	for r := range parts() {
		if !known[r] {
			t.Errorf("%s is no reason", r)
		}
	}
}
