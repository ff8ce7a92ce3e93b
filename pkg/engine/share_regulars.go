// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"

	"parry/loader"
	"parry/pkg/regular"
	"parry/pkg/state"
)

// tellRegulars tells other edges who has played here, of those whom they don't know to have played within the hour: who moves to
// another edge during an attack comes in there.
func (s *sharing) tellRegulars(changes []state.Change) error {
	if s.hub == nil {
		return nil
	}
	now := s.now()
	var all []state.Entry
	for _, c := range changes {
		_, seen, err := regular.Read(c.Key, c.Value)
		if c.Value == nil || err != nil { // one who is too old goes by himself
			continue
		}
		known, ok := s.hub.Known(state.Regular, c.Key)
		if ends := seen.Add(regular.MaxAge); !ends.After(now) || ok && seen.Sub(known.Made) < regular.Fresh {
			continue
		}
		all = append(all, state.Entry{Kind: state.Regular, Key: c.Key, Value: c.Value, Author: state.Detector, Made: seen, Expires: seen.Add(regular.MaxAge)})
	}
	return s.hub.Put(all...)
}

// addRegulars has the fast path know who has played elsewhere. The daemon's own list takes them over from there.
func (s *sharing) addRegulars(winners []state.Winner, services map[string]uint32) error {
	var all []loader.Regular
	for i := range winners {
		w := &winners[i]
		if w.Kind != state.Regular || !w.Holds || w.Edge == s.node {
			continue
		}
		source, seen, err := regular.Read(w.Key, w.Value)
		if n, ok := services[source.Service]; err == nil && ok {
			all = append(all, loader.Regular{Addr: source.Addr, Service: n, Seen: seen})
		}
	}
	if len(all) == 0 {
		return nil
	}
	if err := s.regulars.AddRegulars(all); err != nil {
		return fmt.Errorf("tell the fast path of other edges' regular players: %w", err)
	}
	return nil
}

// checkRegular is what the store asks about another edge's regular.
func checkRegular(e *state.Entry) error {
	if e.Lift {
		return errors.New("a regular is never lifted")
	}
	_, seen, err := regular.Read(e.Key, e.Value)
	if err == nil && seen.Sub(e.Made).Abs() > regular.Fresh {
		err = fmt.Errorf("it was seen at %v, and told as of %v", seen, e.Made)
	}
	return err
}
