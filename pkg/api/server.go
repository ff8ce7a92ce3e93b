// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// Bounds on what a client may send and on how long it may take. Both sides of the socket are on one host: who is
// slower than this is stuck.
const (
	maxHeader     = 64 << 10 // bytes
	maxBody       = 32 << 20 // bytes of a POST, an import aside
	maxImport     = 1 << 30  // bytes of an import
	maxImports    = 2        // at once; more wait
	headerTimeout = 5 * time.Second
	callTimeout   = 60 * time.Second // for a call that isn't streamed
	stallTimeout  = 60 * time.Second // between two pieces of a stream
	drainTimeout  = 5 * time.Second  // for calls in flight when the daemon ends
)

// HTTPServer answers the API for one edge.
type HTTPServer struct {
	edge     Edge
	opt      HTTPOptions
	log      *slog.Logger
	importer chan struct{} // one token for each import under way
}

// HTTPOptions are what a server may be told; the zero value is good.
type HTTPOptions struct {
	SpoolDir string           // where imports wait, in files without a name, until they are checked; "" = the system's directory
	Now      func() time.Time // the clock that entries are dated by; nil = time.Now
}

// NewHTTPServer makes an HTTPServer.
func NewHTTPServer(edge Edge, opt HTTPOptions, log *slog.Logger) *HTTPServer {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &HTTPServer{edge: edge, opt: opt, log: log, importer: make(chan struct{}, maxImports)}
}

// Serve answers on l until ctx ends, gives calls in flight some seconds to finish, and closes l.
func (s *HTTPServer) Serve(ctx context.Context, l net.Listener) error {
	calls, stopCalls := context.WithCancel(context.WithoutCancel(ctx))
	defer stopCalls()
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       stallTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return calls },
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the api: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(calls, drainTimeout)
	defer cancel()
	err := srv.Shutdown(grace)
	if err != nil {
		stopCalls()
		err = errors.Join(fmt.Errorf("api calls in flight at the end: %w", err), srv.Close())
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// route is one thing that the API can do.
type route struct {
	pattern  string // of http.ServeMux
	handle   func(w http.ResponseWriter, r *http.Request) error
	streamed bool  // the time limit is on each piece rather than on the whole
	limit    int64 // bytes of the body; 0 = as of all
	root     bool  // not for the socket's group: root alone
}

// routes is the whole API; docs/openapi.yaml must describe exactly these.
func (s *HTTPServer) routes() []route {
	rs := []route{
		{pattern: "GET /v1/status", handle: s.status},
		{pattern: "GET /v1/sessions", handle: s.sessions, streamed: true},
		{pattern: "DELETE /v1/sessions", handle: s.endSessions},
		{pattern: "GET /v1/history", handle: s.history, streamed: true},
		{pattern: "GET /v1/players", handle: s.players},
		{pattern: "GET /v1/player", handle: s.player},
		{pattern: "GET /v1/past", handle: s.past},
		{pattern: "GET /v1/servers", handle: s.servers},
		{pattern: "GET /v1/who", handle: s.who},
		{pattern: "POST /v1/reload", handle: s.reload},
		{pattern: "POST /v1/confirm", handle: s.confirm, root: true},
		{pattern: "GET /v1/gates", handle: s.gates},
		{pattern: "POST /v1/gates", handle: s.loadGate, limit: MaxGate, root: true},
		{pattern: "DELETE /v1/gates/{name}", handle: s.unloadGate, root: true},
		{pattern: "GET /v1/rules", handle: s.rules},
		{pattern: "POST /v1/rules", handle: s.addRule, limit: maxRule},
		{pattern: "DELETE /v1/rules/{rule}", handle: s.delRule},
		{pattern: "GET /v1/events", handle: s.events, streamed: true},
		{pattern: "GET /v1/attacks", handle: s.attacks},
		{pattern: "GET /v1/shadow", handle: s.shadow},
		{pattern: "POST /v1/shadow", handle: s.promote},
		{pattern: "DELETE /v1/shadow", handle: s.rollBack},
		{pattern: "GET /v1/explain", handle: s.explain},
		{pattern: "GET /v1/blocks/explain", handle: s.explainBlock},
		{pattern: "GET /v1/capture", handle: s.capture, streamed: true, root: true},
	}
	for _, k := range []Kind{Block, Allow} {
		l := listHandlers{HTTPServer: s, kind: k}
		rs = append(rs,
			route{pattern: "GET /v1/" + k.plural(), handle: l.list, streamed: true},
			route{pattern: "POST /v1/" + k.plural(), handle: l.add},
			route{pattern: "DELETE /v1/" + k.plural(), handle: l.del},
			route{pattern: "POST /v1/" + k.plural() + "/import", handle: l.importFile, streamed: true},
			route{pattern: "GET /v1/" + k.plural() + "/export", handle: l.export, streamed: true},
		)
	}
	return rs
}

// Handler is the API without a socket.
func (s *HTTPServer) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		mux.Handle(rt.pattern, s.bound(rt))
	}
	return jsonRefusals(mux)
}

// bound runs one route within its limits, and turns its error into a refusal.
func (s *HTTPServer) bound(rt route) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &response{ResponseWriter: rw, ctl: http.NewResponseController(rw)}
		limit := cmp.Or(rt.limit, maxBody)
		if rt.streamed {
			limit, w.stall = maxImport, stallTimeout
		}
		w.deadlines(callTimeout)
		r.Body = &body{ReadCloser: http.MaxBytesReader(w, r.Body, limit), w: w}
		start := time.Now()
		err := allowed(rt, r)
		if err == nil {
			err = rt.handle(w, r)
		}
		s.record(r, time.Since(start), err)
		if err == nil {
			return
		}
		if w.started {
			// The status is gone already: break the connection off, so that nobody takes half an answer for a whole one.
			panic(http.ErrAbortHandler)
		}
		refuse(w, err)
	})
}

// record logs what changed something and what failed; a client's own mistake is the client's to read.
func (s *HTTPServer) record(r *http.Request, took time.Duration, err error) {
	log := s.log.With("method", r.Method, "path", r.URL.Path, "took", took)
	switch {
	case err != nil && statusOf(err) >= http.StatusInternalServerError && r.Context().Err() == nil:
		log.Warn("api call failed", "err", err)
	case err != nil:
		log.Debug("api call refused", "err", err)
	case r.Method != http.MethodGet:
		log.Info("api call")
	}
}

// refuse sends err as JSON.
func refuse(w http.ResponseWriter, err error) {
	b := errorBody{Error: err.Error()}
	var imp *ImportError
	if errors.As(err, &imp) {
		b.Bad, b.Lines = imp.Bad, imp.Lines
	}
	// The client may be gone; there is nobody else to tell.
	_ = writeJSON(w, statusOf(err), b)
}

// writeJSON sends v as one document.
func writeJSON(w http.ResponseWriter, code int, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if _, err := w.Write(append(doc, '\n')); err != nil {
		return fmt.Errorf("send answer: %w", err)
	}
	return nil
}

// jsonRefusals answers what the mux doesn't know (404, 405) in JSON like every other refusal.
func jsonRefusals(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		rec := refusal{header: http.Header{}, code: http.StatusNotFound}
		h.ServeHTTP(&rec, r)
		text := "there is no " + r.URL.Path + ": see docs/openapi.yaml"
		if allow := rec.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			text = r.URL.Path + " knows " + allow + ", not " + r.Method
		}
		_ = writeJSON(w, rec.code, errorBody{Error: text})
	})
}

// refusal catches what the mux would have said.
type refusal struct {
	header http.Header
	code   int
}

func (r *refusal) Header() http.Header         { return r.header }
func (r *refusal) WriteHeader(code int)        { r.code = code }
func (r *refusal) Write(b []byte) (int, error) { return len(b), nil }

// response knows whether an answer began, and pushes a stream's deadlines ahead with each piece.
type response struct {
	http.ResponseWriter
	ctl     *http.ResponseController
	stall   time.Duration // 0: the deadlines stay where they are
	started bool
}

// deadlines sets how long both directions may still take. What has no deadlines (a test's recorder) has none.
func (w *response) deadlines(d time.Duration) {
	t := time.Now().Add(d)
	_ = w.ctl.SetReadDeadline(t)
	_ = w.ctl.SetWriteDeadline(t)
}

// WriteHeader begins the answer.
func (w *response) WriteHeader(code int) {
	w.started = true
	w.ResponseWriter.WriteHeader(code)
}

// Write sends one piece.
func (w *response) Write(b []byte) (int, error) {
	w.started = true
	if w.stall > 0 {
		w.deadlines(w.stall)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// body pushes a stream's deadlines ahead as its pieces come in.
type body struct {
	io.ReadCloser
	w *response
}

// Read takes one piece.
func (b *body) Read(p []byte) (int, error) {
	if b.w.stall > 0 {
		b.w.deadlines(b.w.stall)
	}
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = Mark(errStalled, errors.New("the request stopped coming: nothing for a minute"))
	}
	return n, err
}
