// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"time"

	"parry/pkg/attack"
	"parry/pkg/show"
)

// AttackFilter picks attacks; a zero field matches all.
type AttackFilter struct{ ID, Service string }

// Apply picks from a list.
func (f AttackFilter) Apply(all []attack.Record) []attack.Record {
	picked := []attack.Record{}
	for i := range all {
		if (f.ID == "" || f.ID == all[i].ID) && (f.Service == "" || all[i].On(f.Service)) {
			picked = append(picked, all[i])
		}
	}
	return picked
}

// Alarm says why a service isn't normal, and since when; "" if it is.
func (s *Service) Alarm(now time.Time) string {
	if s.State == "" || s.State == attack.Normal.String() {
		return ""
	}
	text := s.Name
	if s.Since != nil {
		text += " since " + show.Duration(max(0, now.Sub(*s.Since)))
	}
	text += ": " + s.Reason
	if s.State == attack.Attack.String() && s.GateState != s.State {
		text += "; newcomers needn't prove more: it is dealt with anyhow"
	}
	return text
}

func (s *HTTPServer) attacks(w http.ResponseWriter, r *http.Request) error {
	if err := params(r, "id", "service"); err != nil {
		return err
	}
	q := r.URL.Query()
	list, err := s.edge.Attacks(r.Context(), AttackFilter{ID: q.Get("id"), Service: q.Get("service")})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, nonNil(list))
}
