// SPDX-License-Identifier: Apache-2.0

// Package top watches an edge: what it does per second, from one status to the next.
package top

import (
	"time"

	"parry/pkg/api"
)

// Frame is what happened between two statuses; one line of `parry top --json`.
type Frame struct {
	Time       time.Time          `json:"time"`        // of the later status
	IntervalMS float64            `json:"interval_ms"` // 0: there is nothing to compare with yet, rates are null or empty
	Sessions   uint64             `json:"sessions"`
	Services   []Service          `json:"services"`
	Drops      map[string]float64 `json:"drops"`      // packets/s by reason, all services and none
	WouldDrop  map[string]float64 `json:"would_drop"` // packets/s by reason, where enforce is off
	Host       *Rate              `json:"host"`       // handed to this host's own stack
}

// Service is what one service did.
type Service struct {
	Name      string             `json:"name"`
	State     string             `json:"state"`
	Reason    string             `json:"state_reason"`         // why, in words
	Strangers *float64           `json:"strangers_per_second"` // packets of no session; null where not counted
	Sessions  uint64             `json:"sessions"`
	Up        *Rate              `json:"up"`   // from players; null where unseen
	Down      *Rate              `json:"down"` // from servers; null where unseen
	Drops     map[string]float64 `json:"drops"`
	WouldDrop map[string]float64 `json:"would_drop"`
}

// Rate is traffic per second.
type Rate struct {
	PacketsPerSecond float64 `json:"packets_per_second"`
	BitsPerSecond    float64 `json:"bits_per_second"`
}

// Between compares two statuses of one edge. Where there is no earlier one (prev nil, a service that is new, a clock
// that went back) there are no rates. A counter that fell was reset, and counts from 0.
func Between(prev, cur *api.Status) Frame {
	var seconds float64
	before := map[string]*api.Service{}
	empty := api.Status{}
	if prev != nil && cur.Time.After(prev.Time) {
		seconds = cur.Time.Sub(prev.Time).Seconds()
		for i := range prev.Services {
			before[prev.Services[i].Name] = &prev.Services[i]
		}
	} else {
		prev = &empty
	}
	f := Frame{
		Time: cur.Time, IntervalMS: seconds * 1000,
		Drops:     perSecond(prev.Drops, cur.Drops, seconds),
		WouldDrop: perSecond(prev.WouldDrop, cur.WouldDrop, seconds),
		Host:      rate(&prev.Host, &cur.Host, seconds),
	}
	for i := range cur.Services {
		now := &cur.Services[i]
		f.Sessions += now.Sessions
		s := Service{Name: now.Name, State: now.State, Reason: now.Reason, Sessions: now.Sessions}
		was, known := before[now.Name]
		since := seconds
		if !known {
			was, since = &api.Service{}, 0
		}
		s.Up, s.Down = rate(was.Up, now.Up, since), rate(was.Down, now.Down, since)
		if seen, ok := now.Strangers["seen"]; ok && since > 0 {
			perSecond := grown(was.Strangers["seen"], seen) / since
			s.Strangers = &perSecond
		}
		s.Drops = perSecond(was.Drops, now.Drops, since)
		s.WouldDrop = perSecond(was.WouldDrop, now.WouldDrop, since)
		f.Services = append(f.Services, s)
	}
	return f
}

func rate(was, now *api.Traffic, seconds float64) *Rate {
	if was == nil || now == nil || seconds == 0 {
		return nil
	}
	return &Rate{
		PacketsPerSecond: grown(was.Packets, now.Packets) / seconds,
		BitsPerSecond:    8 * grown(was.Bytes, now.Bytes) / seconds,
	}
}

func perSecond(was, now map[string]uint64, seconds float64) map[string]float64 {
	rates := map[string]float64{}
	if seconds == 0 {
		return rates
	}
	for k, v := range now {
		rates[k] = grown(was[k], v) / seconds
	}
	return rates
}

func grown(was, now uint64) float64 {
	if now < was {
		return float64(now)
	}
	return float64(now - was)
}

func sum(rates map[string]float64) (total float64) {
	for _, r := range rates {
		total += r
	}
	return total
}
