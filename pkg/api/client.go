// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
)

// Client asks the daemon behind one socket. It has the methods of the Edge itself, keeps no connection open, and
// may be used from several goroutines.
type Client struct {
	socket string
	http   *http.Client
}

var _ Edge = (*Client)(nil)

// Dial makes a Client; whether a daemon answers shows at the first call, as ErrNoDaemon (see Ping).
func Dial(socket string) *Client {
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives:     true,
		DisableCompression:    true,
		ExpectContinueTimeout: callTimeout,
	}}}
}

// Socket is where the Client looks for the daemon.
func (c *Client) Socket() string { return c.socket }

// Ping connects and hangs up: nil means that a daemon listens.
func (c *Client) Ping(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return c.explain(err)
	}
	return conn.Close()
}

// Status asks for the edge at this moment.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var st Status
	err := c.call(ctx, http.MethodGet, "/v1/status", nil, nil, &st)
	return st, err
}

// ServiceNames lists the services.
func (c *Client) ServiceNames(ctx context.Context) ([]string, error) {
	st, err := c.Status(ctx)
	names := make([]string, 0, len(st.Services))
	for _, s := range st.Services {
		names = append(names, s.Name)
	}
	return names, err
}

// Sessions lists what the filter picks.
func (c *Client) Sessions(ctx context.Context, f Filter) ([]Session, error) {
	return Collect(c.PickSessions(ctx, f))
}

// EndSessions ends what the filter picks; an empty filter ends all.
func (c *Client) EndSessions(ctx context.Context, f Filter) (int, error) {
	q := f.query()
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.empty() {
		q.Set("all", "1")
	}
	return c.count(ctx, http.MethodDelete, "/v1/sessions", q, nil)
}

// Servers lists the servers of all pools.
func (c *Client) Servers(ctx context.Context) ([]Server, error) {
	var list []Server
	err := c.call(ctx, http.MethodGet, "/v1/servers", nil, nil, &list)
	return list, err
}

// Who finds the session that a server sees as addr.
func (c *Client) Who(ctx context.Context, protocol string, addr netip.AddrPort) (Session, error) {
	var s Session
	err := c.call(ctx, http.MethodGet, "/v1/who", url.Values{"proto": {protocol}, "edge": {addr.String()}}, nil, &s)
	return s, err
}

// Reload makes the daemon read its configuration again.
func (c *Client) Reload(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/reload", nil, nil, &struct{}{})
}

func (f Filter) query() url.Values {
	q := url.Values{}
	for k, v := range map[string]string{"id": f.ID, "service": f.Service, "server": f.Server, "player": f.Player} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if f.Client.IsValid() {
		q.Set("client", f.Client.String())
	}
	return q
}

// count makes a call that changes things and says how many.
func (c *Client) count(ctx context.Context, method, path string, q url.Values, in any) (int, error) {
	var b countBody
	err := c.call(ctx, method, path, q, in, &b)
	for _, n := range []*int{b.Added, b.Removed, b.Ended} {
		if n != nil {
			return *n, err
		}
	}
	return 0, err
}

// call makes a request, with in as its JSON body if there is one, and decodes the answer into out.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		doc, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(doc)
	}
	resp, err := c.open(ctx, method, path, q, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return c.broke(path, err)
	}
	return nil
}

// open makes a request; a refusal comes back as an error, anything else as an answer to read and close.
func (c *Client) open(ctx context.Context, method, path string, q url.Values, body io.Reader) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "parry", Path: path, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	if body != nil {
		// The daemon looks at the address before it lets us send a million lines.
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	var refusal errorBody
	if err := json.NewDecoder(resp.Body).Decode(&refusal); err != nil || refusal.Error == "" {
		return nil, fmt.Errorf("what answers at %s is not parry: status %s", c.socket, resp.Status)
	}
	return nil, errorOf(resp.StatusCode, refusal)
}

// explain says what to do about a daemon that can't be reached.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTSOCK):
		return Mark(ErrNoDaemon, fmt.Errorf(
			"no daemon answers at %s: is `parry run` up? (an edge with another api.socket: --socket PATH or PARRY_SOCKET)", c.socket))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the socket %s is not open to you: be root or in its group (parry)", c.socket)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the daemon at %s took the call but didn't answer in time: see its log", c.socket)
	case errors.Is(err, context.Canceled):
		return err
	}
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	return fmt.Errorf("daemon at %s: %w", c.socket, err)
}

// broke says that an answer ended in its middle.
func (c *Client) broke(what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("the daemon's answer to %s broke off: %w (its log says why)", what, err)
}
