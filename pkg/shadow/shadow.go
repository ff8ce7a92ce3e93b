// SPDX-License-Identifier: Apache-2.0

// Package shadow says what of a configuration only watches, and what becomes of the configuration when some of that is promoted:
// switched on while the edge runs, without a word in the file.
package shadow

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"parry/pkg/config"
)

// All is the whole edge. Else a thing is a service's name, or a part of its policy: SERVICE/gate, SERVICE/limits
// (all limits), SERVICE/prefix and SERVICE/service (those of a prefix of sources, and of all who are not proven).
const All = "all"

// Parts of a service's policy that have a switch of their own.
const (
	Gate    = "gate"
	Limits  = "limits"
	Prefix  = "prefix"
	Service = "service"
)

// What callers tell errors apart by.
var (
	ErrNone     = errors.New("no such thing")
	ErrEnforced = errors.New("it is enforced already")
	ErrAlone    = errors.New("it can't be switched on alone")
)

// split parts SERVICE/PART. A service's name holds no slash.
func split(what string) (service, part string) {
	service, part, _ = strings.Cut(what, "/")
	return service, part
}

func partNames() []string { return []string{Gate, Limits, Prefix, Service} }

func on(b *bool) bool { return b == nil || *b }

// Check tells whether something can be promoted: it is there, only watches by the configuration, and what it is part of doesn't.
func Check(c *config.Config, what string) error {
	if what == All {
		if c.Enforce {
			return fmt.Errorf("%w: the edge as a whole", ErrEnforced)
		}
		return nil
	}
	name, part := split(what)
	s := c.Service(name)
	if s == nil || part != "" && !slices.Contains(partNames(), part) {
		return fmt.Errorf("%w as %q: there are all, SERVICE, and SERVICE/ with gate, limits, prefix or service behind", ErrNone, what)
	}
	if part == Gate && s.Gate == "" {
		return fmt.Errorf("%w as %s: the service has no gate", ErrNone, what)
	}
	if !watches(c, s, part) {
		return fmt.Errorf("%w: %s", ErrEnforced, what)
	}
	if !c.Enforce {
		return fmt.Errorf("%w: the whole edge only watches; promote all, and let services watch by `enforce: false` of their own", ErrAlone)
	}
	if part != "" && !on(s.Enforce) {
		return fmt.Errorf("%w: the service only watches; promote %s first", ErrAlone, name)
	}
	if (part == Prefix || part == Service) && !on(s.Limits.Enforce) {
		return fmt.Errorf("%w: all limits only watch; promote %s/%s first", ErrAlone, name, Limits)
	}
	return nil
}

// watches tells whether a service, or a part of its policy, only watches by a switch of its own.
func watches(c *config.Config, s *config.Service, part string) bool {
	switch part {
	case Gate:
		return !on(s.EnforceGate)
	case Limits:
		return !on(c.Own(s.Name).Limits)
	case Prefix:
		return !on(c.Own(s.Name).Prefix)
	case Service:
		return !on(c.Own(s.Name).Service)
	}
	return !on(s.Enforce)
}

// Watching lists what only watches by the configuration, the larger thing first.
func Watching(c *config.Config) []string {
	var all []string
	if !c.Enforce {
		all = append(all, All)
	}
	for i := range c.Services {
		s := &c.Services[i]
		for _, part := range append([]string{""}, partNames()...) {
			if !watches(c, s, part) || part == Gate && s.Gate == "" || part == "" && !c.Enforce && c.Own(s.Name).Enforce == nil {
				continue // what only inherits is the whole's
			}
			all = append(all, join(s.Name, part))
		}
	}
	return all
}

func join(service, part string) string {
	if part == "" {
		return service
	}
	return service + "/" + part
}

// Apply gives the configuration with things promoted; c stays as it is.
func Apply(c *config.Config, promoted []string) *config.Config {
	out := c.Copy()
	out.Enforce = out.Enforce || slices.Contains(promoted, All)
	for i := range out.Services {
		s, own := &out.Services[i], c.Own(out.Services[i].Name)
		enforce := on(s.Enforce) || out.Enforce && !c.Enforce && on(own.Enforce) || slices.Contains(promoted, s.Name)
		limits := enforce && (on(own.Limits) || slices.Contains(promoted, join(s.Name, Limits)))
		prefix := limits && (on(own.Prefix) || slices.Contains(promoted, join(s.Name, Prefix)))
		service := limits && (on(own.Service) || slices.Contains(promoted, join(s.Name, Service)))
		s.Limits.Prefix.Enforce, s.Limits.Service.Enforce = &prefix, &service
		gate := on(s.EnforceGate) || slices.Contains(promoted, join(s.Name, Gate))
		s.Enforce, s.Limits.Enforce, s.EnforceGate = &enforce, &limits, &gate
	}
	return out
}

// Services tells which services a promoted thing is about.
func Services(c *config.Config, what string) []string {
	if what != All {
		name, _ := split(what)
		return []string{name}
	}
	var all []string
	for i := range c.Services {
		all = append(all, c.Services[i].Name)
	}
	return all
}

// parts are the reasons that a part of policy drops for. What an operator says of single sources (lists, rules) is no part of a trial:
// it is meant to hit whom it hits.
func parts() map[string]string {
	all := map[string]string{"gate_refused": Gate, "gate_missing": Gate}
	for _, r := range []string{"rate_packets", "rate_bytes", "rate_sessions", "too_many_sessions"} {
		all[r] = Limits
	}
	for _, r := range []string{"packets", "bytes", "sessions"} {
		all["prefix_"+r], all["service_"+r] = Prefix, Service
	}
	for _, r := range []string{
		"packet_size", "fragment_refused", "stranger_rate", "strangers_full", "unproven_rate", "answer_budget", "query_rate", "reflection",
		"impossible_source", "silent", "geo", "bad_cookie", "tcp_flags", "tcp_state",
	} {
		all[r] = ""
	}
	return all
}

// Drops tells whether a drop of a service for a reason is a promoted thing's doing.
func Drops(what, service, reason string) bool {
	part, ok := parts()[reason]
	name, of := split(what)
	return ok && (what == All || name == service && (of == "" || of == part || of == Limits && (part == Prefix || part == Service)))
}

// Of is what has to be promoted so that packets of a service are dropped for a reason, as far as one thing is enough.
func Of(c *config.Config, service, reason string) string {
	s := c.Service(service)
	part := parts()[reason]
	switch {
	case !c.Enforce && (s == nil || on(c.Own(service).Enforce)):
		return All
	case s == nil:
		return ""
	case !on(s.Enforce):
		return service
	case (part == Prefix || part == Service) && watches(c, s, Limits):
		return join(service, Limits)
	case part != "" && watches(c, s, part):
		return join(service, part)
	}
	return ""
}
