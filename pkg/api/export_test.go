// SPDX-License-Identifier: Apache-2.0

package api

// Patterns are the routes as the mux knows them.
func (s *HTTPServer) Patterns() []string {
	var ps []string
	for _, r := range s.routes() {
		ps = append(ps, r.pattern)
	}
	return ps
}

// Shapes are the types behind the schemas of docs/openapi.yaml.
func Shapes() map[string]any {
	return map[string]any{
		"Status": Status{}, "Interface": Interface{}, "Service": Service{}, "Traffic": Traffic{}, "Table": Table{},
		"Session": Session{}, "Direction": Direction{}, "Server": Server{}, "ImportEvent": ImportEvent{},
		"ImportProgress": ImportProgress{}, "ImportResult": ImportResult{}, "BadLine": BadLine{}, "Error": errorBody{},
	}
}
