// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serve runs the API of edge on a socket of its own until the test ends.
func serve(t testing.TB, edge api.Edge) *api.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "parry.sock")
	l, err := api.Listen(t.Context(), socket, "", quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.NewHTTPServer(edge, api.HTTPOptions{SpoolDir: t.TempDir()}, quiet()).Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return api.Dial(socket)
}

func comparers() cmp.Options {
	return cmp.Options{
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
}

// What a client gets over the socket is what the edge says itself.
func TestClientSaysWhatTheEdgeSays(t *testing.T) {
	edge := apitest.World()
	c := serve(t, edge)
	ctx := t.Context()
	both := func(name string, ask func(e api.Edge) (any, error)) {
		t.Helper()
		want, wantErr := ask(edge)
		got, err := ask(c)
		if diff := cmp.Diff(want, got, comparers()); diff != "" {
			t.Errorf("%s (-edge +client):\n%s", name, diff)
		}
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Errorf("%s: client says %v, the edge %v", name, err, wantErr)
		}
	}
	both("status", func(e api.Edge) (any, error) { return e.Status(ctx) })
	both("servers", func(e api.Edge) (any, error) { return e.Servers(ctx) })
	both("service names", func(e api.Edge) (any, error) { return e.ServiceNames(ctx) })
	for name, f := range map[string]api.Filter{
		"all":             {},
		"two":             {Limit: 2},
		"id":              {ID: "6-1"},
		"service":         {Service: "arena"},
		"client":          {Client: netip.MustParsePrefix("198.51.100.8/32")},
		"prefix":          {Client: netip.MustParsePrefix("2001:db8::/32")},
		"server":          {Server: "eu-1"},
		"server address":  {Server: "10.0.1.11"},
		"server and port": {Server: "[fd00::21]:25565"},
	} {
		both("sessions "+name, func(e api.Edge) (any, error) {
			list, err := api.Collect(e.PickSessions(ctx, f))
			if len(list) == 0 {
				t.Errorf("the filter %s picks nothing: the row proves nothing", name)
			}
			return list, err
		})
	}
	both("who", func(e api.Edge) (any, error) { return e.Who(ctx, "udp", netip.MustParseAddrPort("10.0.0.1:1025")) })
	both("who: nobody", func(e api.Edge) (any, error) { return e.Who(ctx, "tcp", netip.MustParseAddrPort("10.0.0.1:1025")) })
	if _, err := c.Who(ctx, "tcp", netip.MustParseAddrPort("10.0.0.1:1025")); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("who: %v is not ErrNotFound", err)
	}
}

func TestEndSessionsEndsWhatTheFilterPicks(t *testing.T) {
	edge := apitest.World()
	c := serve(t, edge)
	n, err := c.EndSessions(t.Context(), api.Filter{Client: netip.MustParsePrefix("198.51.100.0/24")})
	if n != 2 || err != nil {
		t.Fatalf("ended %d, %v", n, err)
	}
	left, err := edge.Sessions(t.Context(), api.Filter{})
	if err != nil || len(left) != 1 || left[0].ID != "6-1" {
		t.Errorf("left: %+v, %v", left, err)
	}
	if n, err := c.EndSessions(t.Context(), api.Filter{}); n != 1 || err != nil {
		t.Errorf("end all: %d, %v", n, err)
	}
}

func TestReload(t *testing.T) {
	edge := apitest.World()
	c := serve(t, edge)
	if err := c.Reload(t.Context()); err != nil || edge.Reloads() != 1 {
		t.Fatalf("%d reloads, %v", edge.Reloads(), err)
	}
	edge.ReloadErr = api.Mark(api.ErrConfig, errors.New(`parry.yaml:3:5: unknown key "lisetn": did you mean listen?`))
	err := c.Reload(t.Context())
	if !errors.Is(err, api.ErrConfig) || err.Error() != edge.ReloadErr.Error() {
		t.Errorf("got %v", err)
	}
}

// A refusal is JSON with the right status, whatever is refused.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		say                      string
	}{
		{"no such path", "GET", "/v1/nonsense", "", 404, "there is no /v1/nonsense"},
		{"root", "GET", "/", "", 404, "there is no /"},
		{"wrong method", "PUT", "/v1/status", "", 405, "knows GET, HEAD, not PUT"},
		{"misspelt filter", "GET", "/v1/sessions?servise=arena", "", 400, `unknown parameter "servise"`},
		{"parameter twice", "GET", "/v1/sessions?service=a&service=b", "", 400, "given 2 times"},
		{"bad client", "GET", "/v1/sessions?client=1.2.3", "", 400, `"1.2.3" is not an address`},
		{"bad limit", "GET", "/v1/sessions?limit=-1", "", 400, "limit"},
		{"history of no cause", "GET", "/v1/history?ended_by=rage", "", 400, "none of client, server"},
		{"history of no time", "GET", "/v1/history?since=yesterday", "", 400, "no time like"},
		{"history backwards", "GET", "/v1/history?since=2026-01-31T12:00:00Z&until=2026-01-31T11:00:00Z", "", 400, "until is before since"},
		{"history of no client", "GET", "/v1/history?client=x", "", 400, "not an address"},
		{"players, none", "GET", "/v1/players?limit=0", "", 400, "not within 1 and 10000"},
		{"players of long ago", "GET", "/v1/players?lately=25h", "", 400, "no duration of at most"},
		{"player, nobody", "GET", "/v1/player?who=nobody", "", 404, "nothing is known"},
		{"player, unnamed", "GET", "/v1/player", "", 400, "want a name or an address"},
		{"past of nobody", "GET", "/v1/past?at=2026-01-31T11:00:00Z", "", 400, "say whom"},
		{"past of two", "GET", "/v1/past?at=2026-01-31T11:00:00Z&address=203.0.113.7&player=x", "", 400, "say whom"},
		{"past of a novel", "GET", "/v1/past?at=2026-01-31T11:00:00Z&player=" + strings.Repeat("x", 300), "", 400, "at most 256"},
		{"past, no time", "GET", "/v1/past?address=203.0.113.7", "", 400, "want a time that is over"},
		{"past, to come", "GET", "/v1/past?address=203.0.113.7&at=2999-01-31T11:00:00Z", "", 400, "want a time that is over"},
		{"past of no address", "GET", "/v1/past?address=x&at=2026-01-31T11:00:00Z", "", 400, "is no address"},
		{"end without a filter", "DELETE", "/v1/sessions", "", 400, "say which sessions"},
		{"end all and some", "DELETE", "/v1/sessions?all=1&service=arena", "", 400, "contradict"},
		{"who without a port", "GET", "/v1/who?edge=10.0.0.1&proto=udp", "", 400, "not address:port"},
		{"who without a protocol", "GET", "/v1/who?edge=10.0.0.1:1", "", 400, "neither udp nor tcp"},
		{"who: nobody", "GET", "/v1/who?edge=10.0.0.1:1&proto=tcp", "", 404, "nobody plays"},
		{"add nothing", "POST", "/v1/blocks", "", 400, "not JSON"},
		{"add text", "POST", "/v1/blocks", "203.0.113.7", 400, "not JSON"},
		{"add with a misspelt field", "POST", "/v1/blocks", `[{"prefix":"203.0.113.7","reson":"x"}]`, 400, "did you mean reason"},
		{"add without a prefix", "POST", "/v1/blocks", `[{"reason":"x"}]`, 400, "no prefix"},
		{"add host bits", "POST", "/v1/blocks", `[{"prefix":"203.0.113.7/24"}]`, 400, "did you mean 203.0.113.0/24"},
		{"add two documents", "POST", "/v1/blocks", `{"prefix":"203.0.113.7"}{"prefix":"203.0.113.8"}`, 400, "not one JSON document"},
		{"add for no service", "POST", "/v1/blocks", `{"prefix":"203.0.113.7","service":"arenna"}`, 400, "did you mean arena"},
		{"add an unlimited block", "POST", "/v1/blocks", `{"prefix":"203.0.113.7","unlimited":true}`, 400, "allow list"},
		{"add what has expired", "POST", "/v1/blocks", `{"prefix":"203.0.113.7","expires":"2020-01-01T00:00:00Z"}`, 400, "expired at 2020"},
		{"block everybody", "POST", "/v1/blocks", `{"prefix":"0.0.0.0/0"}`, 400, "0.0.0.0/0 is all IPv4 addresses: they would be kept out"},
		{"block everybody after all", "POST", "/v1/blocks?force=0", `{"prefix":"::/0"}`, 400, "::/0 is all IPv6 addresses"},
		{"block very many", "POST", "/v1/blocks", `[{"prefix":"203.0.113.7"},{"prefix":"2000::/15"}]`, 400, "1/32768 of all IPv6 addresses"},
		{"allow everybody", "POST", "/v1/allows", `{"prefix":"128.0.0.0/1"}`, 400, "1/2 of all IPv4 addresses: no block would hold"},
		{"import everybody", "POST", "/v1/blocks/import", "203.0.113.7\n16.0.0.0/7\n", 400, "line 2: 16.0.0.0/7 is 1/128 of all"},
		{"add too much", "POST", "/v1/blocks", "[" + strings.Repeat(" ", 33<<20) + "]", 413, "too large"},
		{"delete nothing", "DELETE", "/v1/blocks", "", 400, "say which entries"},
		{"delete half nonsense", "DELETE", "/v1/blocks", `[{"prefix":"203.0.113.7"},{"prefix":"x"}]`, 400, "not an address"},
		{"delete a service", "DELETE", "/v1/blocks?service=arena", "", 400, "service goes with prefix"},
		{"delete nonsense", "DELETE", "/v1/blocks?prefix=arena", "", 400, "not an address"},
		{"list two prefixes", "GET", "/v1/blocks?prefix=203.0.113.7&prefix=203.0.113.8", "", 400, "2 times"},
		{"export in no format", "GET", "/v1/blocks/export?format=xml", "", 400, "none of text, json, jsonl"},
		{"import with a bad ttl", "POST", "/v1/blocks/import?ttl=soon", "203.0.113.7\n", 400, "ttl"},
		{"import with a long reason", "POST", "/v1/blocks/import?reason=" + strings.Repeat("x", 40), "203.0.113.7\n", 400, "39 fit"},
		{"import a bad line", "POST", "/v1/blocks/import", "203.0.113.7\n300.0.0.1\n", 400, "line 2"},
		{"import UTF-16", "POST", "/v1/blocks/import", "\xff\xfe1\x00", 400, "UTF-16"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			edge := apitest.World()
			rec := httptest.NewRecorder()
			req := httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body))
			api.NewHTTPServer(edge, api.HTTPOptions{SpoolDir: t.TempDir()}, quiet()).Handler().ServeHTTP(rec, req)
			var refusal struct{ Error string }
			if err := json.Unmarshal(rec.Body.Bytes(), &refusal); err != nil {
				t.Fatalf("%d %q: %v", rec.Code, rec.Body, err)
			}
			if rec.Code != tc.status || !strings.Contains(refusal.Error, tc.say) {
				t.Errorf("got %d %q, want %d %q", rec.Code, refusal.Error, tc.status, tc.say)
			}
			if n := edge.Len(api.Block); n != 0 {
				t.Errorf("%d entries were applied", n)
			}
		})
	}
}

func TestWhatFailsInTheEdgeIsTheDaemonsFault(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
	}{
		{errors.New("map sessions: operation not permitted"), 500},
		{api.Mark(api.ErrFull, errors.New("the list is full")), 507},
		{context.DeadlineExceeded, 503},
	} {
		edge := apitest.World()
		edge.Fail = tc.err
		h := api.NewHTTPServer(edge, api.HTTPOptions{SpoolDir: t.TempDir()}, quiet()).Handler()
		for _, path := range []string{"/v1/status", "/v1/sessions", "/v1/servers", "/v1/blocks", "/v1/allows/export"} {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
			if rec.Code != tc.status || !strings.Contains(rec.Body.String(), tc.err.Error()) {
				t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
			}
		}
	}
}

func TestEmptyListsAreListsAndUnseenDirectionsAreNull(t *testing.T) {
	h := api.NewHTTPServer(&apitest.Edge{}, api.HTTPOptions{SpoolDir: t.TempDir()}, quiet()).Handler()
	for _, path := range []string{"/v1/sessions", "/v1/servers", "/v1/blocks", "/v1/allows"} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if got := strings.TrimSpace(rec.Body.String()); got != "[]" {
			t.Errorf("%s is %s", path, got)
		}
	}
	doc, err := json.Marshal(apitest.World().Now.Services[2])
	if err != nil || !bytes.Contains(doc, []byte(`"down":null`)) {
		t.Errorf("%s, %v", doc, err)
	}
}

// Calls in flight when the daemon ends are answered.
func TestServeEndsAfterTheCallsInFlight(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	edge := apitest.World()
	edge.Step = func(*api.Status) { close(entered); <-leave }
	socket := filepath.Join(t.TempDir(), "parry.sock")
	l, err := api.Listen(t.Context(), socket, "", quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served, asked := make(chan error, 1), make(chan error, 1)
	go func() { served <- api.NewHTTPServer(edge, api.HTTPOptions{}, quiet()).Serve(ctx, l) }()
	go func() {
		_, err := api.Dial(socket).Status(t.Context())
		asked <- err
	}()
	<-entered
	stop()
	// The socket goes before the calls do.
	for deadline := time.Now().Add(5 * time.Second); api.Dial(socket).Ping(t.Context()) == nil; {
		if time.Now().After(deadline) {
			t.Fatal("the socket still answers")
		}
	}
	close(leave)
	if err := <-asked; err != nil {
		t.Errorf("the call in flight got %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestHTTPMethodsOfRoutesAnswerJSON(t *testing.T) {
	rec := httptest.NewRecorder()
	api.NewHTTPServer(apitest.World(), api.HTTPOptions{}, quiet()).Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/v1/status", nil))
	if ct := rec.Header().Get("Content-Type"); rec.Code != http.StatusOK || ct != "application/json" {
		t.Errorf("%d %s", rec.Code, ct)
	}
}
