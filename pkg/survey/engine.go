// SPDX-License-Identifier: Apache-2.0

package survey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// engineSockets are where Docker and podman answer, by the same protocol.
var engineSockets = []string{"/var/run/docker.sock", "/run/podman/podman.sock"}

const (
	enginePatience = 2 * time.Second
	longestAnswer  = 16 << 20 // bytes of a container engine's
)

// Engines asks Docker and podman for the port mappings of what runs.
func Engines(ctx context.Context) ([]Mapped, error) {
	var all []Mapped
	var errs []error
	for _, path := range engineSockets {
		some, err := askEngine(ctx, path)
		all, errs = append(all, some...), append(errs, err)
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, errors.Join(errs...)
}

// askEngine asks one of them at its socket.
func askEngine(ctx context.Context, path string) ([]Mapped, error) {
	ctx, cancel := context.WithTimeout(ctx, enginePatience)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/containers/json", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask %s: %s", path, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, longestAnswer))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", path, err)
	}
	return parseContainers(text)
}

// parseContainers reads what GET /containers/json answers.
func parseContainers(text []byte) ([]Mapped, error) {
	var containers []struct {
		Names []string
		Image string
		Ports []struct {
			IP                      string
			PrivatePort, PublicPort uint16
			Type                    string
		}
		NetworkSettings struct {
			Networks map[string]struct{ IPAddress string }
		}
	}
	if err := json.Unmarshal(text, &containers); err != nil {
		return nil, fmt.Errorf("read the list of containers: %w", err)
	}
	var all []Mapped
	for _, c := range containers {
		name := ""
		if len(c.Names) > 0 {
			name = strings.TrimPrefix(c.Names[0], "/")
		}
		var inner netip.Addr
		for _, n := range c.NetworkSettings.Networks {
			if a, err := netip.ParseAddr(n.IPAddress); err == nil {
				inner = a
			}
		}
		for _, p := range c.Ports {
			if p.PublicPort == 0 || p.Type != "tcp" && p.Type != "udp" {
				continue
			}
			addr, err := netip.ParseAddr(p.IP)
			if err != nil {
				addr = netip.IPv4Unspecified()
			}
			all = append(all, Mapped{
				Protocol: p.Type, Address: addr, Port: p.PublicPort, Container: name, Image: c.Image, Inner: netip.AddrPortFrom(inner, p.PrivatePort),
			})
		}
	}
	return all, nil
}
