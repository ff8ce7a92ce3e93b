// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"parry/pkg/detect"

	"parry/pkg/attack"
	"parry/pkg/event"
	"parry/pkg/history"
)

// Patterns are the routes as the mux knows them.
func (s *HTTPServer) Patterns() []string {
	var ps []string
	for _, r := range s.routes() {
		ps = append(ps, r.pattern)
	}
	return ps
}

// As makes a handler's calls those of a user.
func As(uid uint32, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, uid)))
	})
}

// Shapes are the types behind the schemas of docs/openapi.yaml.
func Shapes() map[string]any {
	return map[string]any{
		"Status": Status{}, "Interface": Interface{}, "Service": Service{}, "Traffic": Traffic{}, "Table": Table{},
		"Session": Session{}, "Direction": Direction{}, "Server": Server{}, "Gate": Gate{}, "Rule": Rule{}, "NewRule": NewRule{}, "ImportEvent": ImportEvent{},
		"ImportProgress": ImportProgress{}, "ImportResult": ImportResult{}, "BadLine": BadLine{}, "Error": errorBody{},
		"Strangers": Strangers{}, "Event": event.Event{}, "Attack": attack.Record{}, "Measure": attack.Measure{}, "Moment": attack.Moment{},
		"Samples": Samples{}, "SampleKind": SampleKind{}, "ShadowReport": ShadowReport{}, "ShadowRow": ShadowRow{}, "ShadowThing": ShadowThing{}, "ShadowPromotion": ShadowPromotion{},
		"Explanation": Explanation{}, "BlockExplanation": BlockExplanation{}, "Evidence": Evidence{}, "Fact": detect.Fact{}, "Standing": detect.Standing{}, "Factor": detect.Factor{}, "Neighbours": detect.Neighbours{}, "ListedEntry": ListedEntry{}, "Place": Place{}, "LimitUse": LimitUse{}, "DropReason": DropReason{},
		"DroppedPacket": DroppedPacket{}, "Watched": Watched{},
		"HistoryCounts": HistoryCounts{}, "Record": history.Record{}, "Way": history.Way{}, "Player": Player{}, "PlayerPage": PlayerPage{}, "Past": Past{},
	}
}
