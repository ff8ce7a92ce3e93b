// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"testing"
	"time"

	"parry/pkg/netns"
	"parry/pkg/show"
	"parry/test/need"
)

func options(pattern string) Options {
	return Options{Cases: regexp.MustCompile(pattern), Rounds: 2, Time: time.Millisecond, Log: slog.New(slog.DiscardHandler)}
}

// What outside tools rely on (spec 4.5).
func TestReportHasItsShape(t *testing.T) {
	need.Root(t)
	r, err := Run(t.Context(), options(`^established_udp4(_redirect|_down|_bumped|_transparent)?$|tcp4$|udp6$|blocked_host$|blocked_prefix|local|known_source|flood$|a2s_cached|_pong_`))
	if err != nil {
		t.Fatal(err)
	}
	var text, raw bytes.Buffer
	if err := errors.Join(r.WriteText(&text, show.Style{}), r.WriteJSON(&raw)); err != nil {
		t.Fatal(err)
	}
	t.Log(text.String())
	var got struct {
		Kernel, CPU string
		Cases       []struct {
			Name    string
			NS      float64
			Floor   string
			FloorNS float64 `json:"floor_ns"`
			Ratio   float64
		}
		Floors []struct{ Name string }
	}
	if err := json.Unmarshal(raw.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Kernel == "" || got.CPU == "" {
		t.Errorf("kernel %q, cpu %q", got.Kernel, got.CPU)
	}
	for _, c := range got.Cases {
		if c.NS <= 0 || c.FloorNS <= 0 || c.Ratio <= 0 {
			t.Errorf("%+v", c)
		}
		if !slices.ContainsFunc(got.Floors, func(f struct{ Name string }) bool { return f.Name == c.Floor }) {
			t.Errorf("%s: its floor %s is not among the floors", c.Name, c.Floor)
		}
	}
}

func TestInterruptedRunLeavesNothing(t *testing.T) {
	need.Root(t)
	ctx, cancel := context.WithCancel(t.Context())
	o := options("^established_udp4$")
	o.Rounds = 1 << 30
	o.Progress = func(what string) {
		if what == "round 2 of 1073741824" {
			cancel()
		}
	}
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestUnknownCaseIsSaid(t *testing.T) {
	if _, err := Run(t.Context(), options("no such thing")); !errors.Is(err, ErrNoCase) {
		t.Errorf("%v", err)
	}
}

// What outside tools look for by name, and what each case is compared with.
func TestCasesNameWhatThereIs(t *testing.T) {
	known := (&bench{out: &netns.Interface{}, drivers: map[string]*driver{}}).makers()
	names := map[string]bool{}
	for _, c := range Cases() {
		if names[c.Name] || c.What == "" || known[c.Name] == nil || known[c.Floor] == nil {
			t.Errorf("case %q of %q on %q", c.Name, c.What, c.Floor)
		}
		for _, g := range c.Targets {
			if known[g.Of] == nil || g.Limit <= 0 {
				t.Errorf("case %s: target %+v", c.Name, g)
			}
		}
		names[c.Name] = true
	}
	for _, w := range []string{
		"established_udp4", "established_tcp4", "established_udp6", "blocked_host", "blocked_prefix", "local_pass", "new_session_known_source",
		"source_flood", "source_flood_10m", "shape_flood", "greylist_flood", "a2s_challenge", "a2s_cached", "cookie_check",
		"syn_cookie", "established_proxied",
	} {
		if !names[w] {
			t.Errorf("there is no case %s", w)
		}
	}
}

func TestRatiosAreOfARoundAndTheDriversShareGoes(t *testing.T) {
	d := &driver{name: "d"}
	r := &run{probes: map[string]*probe{
		floorEmpty: {samples: []float64{8, 16, 8}},
		around(d):  {driver: d, samples: []float64{10, 18, 10}},
		"floor":    {driver: d, samples: []float64{22, 42, 22}},
		"case":     {driver: d, samples: []float64{32, 62, 42}},
	}}
	if got, want := r.net("case"), []float64{30, 60, 40}; !slices.Equal(got, want) {
		t.Errorf("net %v, not %v", got, want)
	}
	if got, want := Ratios(r.net("case"), r.net("floor")), []float64{1.5, 1.5, 2}; !slices.Equal(got, want) {
		t.Errorf("ratios %v, not %v", got, want)
	}
	if got := Median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("the median of four is %v", got)
	}
}
