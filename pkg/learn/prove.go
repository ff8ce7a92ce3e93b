// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Replay is what the edge would have done with the captures, had it enforced what is proposed.
type Replay struct {
	Packets int            `json:"packets"`
	Dropped map[string]int `json:"dropped"` // by reason
}

func (r *Replay) String() string {
	if len(r.Dropped) == 0 {
		return fmt.Sprintf("replayed through the edge's own program, enforced: %d packets, none dropped", r.Packets)
	}
	text := fmt.Sprintf("replayed through the edge's own program, enforced: of %d packets were dropped", r.Packets)
	for _, reason := range slices.Sorted(maps.Keys(r.Dropped)) {
		text += fmt.Sprintf(" %d for %s,", r.Dropped[reason], reason)
	}
	return strings.TrimSuffix(text, ",")
}

// Counter reads what `parry replay --json` writes, and counts what became of the service's packets; a capture may hold others.
type Counter struct {
	Replay
	rest []byte
}

// Count begins a count.
func Count() *Counter { return &Counter{Replay: Replay{Dropped: map[string]int{}}} }

func (c *Counter) Write(b []byte) (int, error) {
	c.rest = append(c.rest, b...)
	for {
		i := bytes.IndexByte(c.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		var line struct{ Verdict, Reason, Service string }
		if err := json.Unmarshal(c.rest[:i], &line); err != nil {
			return 0, fmt.Errorf("a line of the replay: %w", err)
		}
		c.rest = append(c.rest[:0], c.rest[i+1:]...)
		if line.Service == "" {
			continue
		}
		c.Packets++
		if line.Verdict == "drop" || line.Verdict == "aborted" || line.Reason != "" { // TCP that a gate refuses goes on as a reset
			c.Dropped[line.Reason]++
		}
	}
}

// Replayer sends a capture through the edge's own program, by the configuration of a file.
type Replayer func(ctx context.Context, config, capture string) (Replay, error)

// Prove learns, and holds what it proposes against the captures that it was learned from. A known game's gate that refuses some of
// them is proposed to watch. Where replay isn't permitted nothing is proven, and Replay stays nil.
func Prove(ctx context.Context, o Options, replay Replayer) (*Profile, error) {
	p, err := Learn(o)
	if err != nil {
		return nil, err
	}
	seen, err := p.replay(ctx, replay)
	if errors.Is(err, fs.ErrPermission) {
		return p, nil
	}
	if err == nil && p.Known && seen.Dropped["gate_refused"] > 0 {
		o.LoosenGate = true
		if p, err = Learn(o); err == nil {
			seen, err = p.replay(ctx, replay)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("replay what was learned: %w", err)
	}
	if seen.Packets < p.Packets {
		p.Notes = append(p.Notes, fmt.Sprintf("the edge took %d of the %d packets for the service's: the rest came in frames that it passes by, as PPPoE's", seen.Packets, p.Packets))
	}
	p.Replay = seen
	p.YAML = p.yaml()
	return p, nil
}

// replay replays the captures with everything enforced.
func (p *Profile) replay(ctx context.Context, replay Replayer) (_ *Replay, err error) {
	dir, err := os.MkdirTemp("", "parry-learn-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "learned.yaml")
	if err := os.WriteFile(file, []byte(p.Enforced()), 0o600); err != nil {
		return nil, err
	}
	all := &Replay{Dropped: map[string]int{}}
	for _, capture := range p.Files {
		one, err := replay(ctx, file, capture)
		if err != nil {
			return nil, err
		}
		all.Packets += one.Packets
		for reason, n := range one.Dropped {
			all.Dropped[reason] += n
		}
	}
	return all, nil
}
