// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"parry/pkg/api"
	"parry/pkg/blocklist"
	"parry/pkg/netns"
)

const (
	startPatience = 20 * time.Second
	stopPatience  = 5 * time.Second
	logTail       = 2000 // bytes of the daemon's log in an error
)

// ParryEdge is parry itself: a daemon in the edge's namespace, which the lab talks to over its unix socket.
type ParryEdge struct {
	host    *netns.Host
	binary  string
	dir     string // config, log, socket
	pin     string // the maps are under it
	client  *api.Client
	process *netns.Process
}

// Parry makes a parry edge out of a program file (bin/parry).
func Parry(binary string) EdgeMaker {
	return func(s *Site) (Edge, error) {
		e := &ParryEdge{host: s.Edge, binary: binary, dir: s.World.Dir()}
		pin, err := s.World.MountBPF("bpf")
		if err != nil {
			return nil, err
		}
		socket := filepath.Join(e.dir, "parry.sock")
		e.pin = filepath.Join(pin, "parry")
		text := s.Config(e.pin, filepath.Join(e.dir, "state"), socket)
		if err := os.WriteFile(e.configFile(), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("write the edge's configuration: %w", err)
		}
		e.client = api.Dial(socket)
		return e, nil
	}
}

// Name is parry.
func (e *ParryEdge) Name() string { return "parry" }

func (e *ParryEdge) configFile() string { return filepath.Join(e.dir, "parry.yaml") }
func (e *ParryEdge) logFile() string    { return filepath.Join(e.dir, "parry.log") }

// Start runs the daemon and waits until it answers. After Kill, the new daemon adopts what the old one left.
func (e *ParryEdge) Start(ctx context.Context) error {
	log, err := os.OpenFile(e.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start the edge: %w", err)
	}
	defer log.Close() // the daemon has its own
	cmd := exec.Command(e.binary, "run", "-c", e.configFile())
	cmd.Stdout, cmd.Stderr = log, log
	if e.process, err = e.host.Start(cmd); err != nil {
		return fmt.Errorf("start the edge: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		if _, err = e.client.Status(ctx); err == nil {
			return nil
		}
		select {
		case <-e.process.Done():
			return fmt.Errorf("start the edge: parry run ended: %w\n%s", e.process.Err(), e.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("start the edge: no answer: %w\n%s", err, e.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastWords is the end of the daemon's log.
func (e *ParryEdge) lastWords() string {
	text, err := os.ReadFile(e.logFile())
	if err != nil {
		return err.Error()
	}
	if cut := len(text) - logTail; cut > 0 {
		text = text[cut:]
	}
	return strings.TrimSpace(string(text))
}

// Status asks the daemon.
func (e *ParryEdge) Status(ctx context.Context) (EdgeStatus, error) {
	s, err := e.client.Status(ctx)
	if err != nil {
		select {
		case <-e.process.Done():
			return EdgeStatus{}, fmt.Errorf("the daemon has ended: %w\n%s", e.process.Err(), e.lastWords())
		default:
			return EdgeStatus{}, err
		}
	}
	out := EdgeStatus{Drops: s.Drops, Host: s.Host.Packets}
	for i := range s.Services {
		out.Sessions += s.Services[i].Sessions
	}
	return out, nil
}

// Sessions asks the daemon for those of the lab's players.
func (e *ParryEdge) Sessions(ctx context.Context) (map[netip.AddrPort]string, error) {
	known := map[netip.AddrPort]string{}
	for _, home := range []netip.Prefix{homes, homes6} {
		for s, err := range e.client.PickSessions(ctx, api.Filter{Client: home}) {
			if err != nil {
				return nil, err
			}
			known[s.Client] = s.ID
		}
	}
	return known, nil
}

// Attacks asks the daemon.
func (e *ParryEdge) Attacks(ctx context.Context) ([]Seen, error) {
	records, err := e.client.Attacks(ctx, api.AttackFilter{})
	if err != nil {
		return nil, err
	}
	all := []Seen{}
	for i := range records {
		all = append(all, Seen{Kinds: records[i].Kinds, Services: max(len(records[i].Services), 1)})
	}
	return all, nil
}

// Caught asks the daemon what its detector decided about an address.
func (e *ParryEdge) Caught(ctx context.Context, a netip.Addr) (at time.Time, err error) {
	x, err := e.client.ExplainBlock(ctx, a)
	for _, v := range x.Decisions {
		if v.Acted && (at.IsZero() || v.At.Before(at)) {
			at = v.At
		}
	}
	return at, err
}

// Memory adds up the maps that are pinned.
func (e *ParryEdge) Memory() (uint64, error) {
	var sum uint64
	err := filepath.WalkDir(e.pin, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		m, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			return nil // a program or a link
		}
		defer m.Close()
		info, err := m.Info()
		if err != nil {
			return err
		}
		n, _ := info.Memlock()
		sum += n
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("add up the edge's maps: %w", err)
	}
	return sum, nil
}

// Block adds a block as `parry block add` does.
func (e *ParryEdge) Block(ctx context.Context, prefix netip.Prefix, reason string) error {
	return e.client.Add(ctx, api.Block, []blocklist.Entry{{
		Prefix: prefix, Reason: reason, Source: "cli", Confidence: 1, Added: time.Now(),
	}})
}

// Unblock removes it again.
func (e *ParryEdge) Unblock(ctx context.Context, prefix netip.Prefix) error {
	n, err := e.client.Del(ctx, api.Block, []blocklist.Key{{Prefix: prefix}})
	if err == nil && n != 1 {
		err = fmt.Errorf("removed %d entries", n)
	}
	return err
}

// Kill ends the daemon as kill -9 does.
func (e *ParryEdge) Kill() error {
	if err := e.process.Stop(0); err != nil {
		return fmt.Errorf("kill the daemon: %w", err)
	}
	return nil
}

// Stop ends the daemon. What it left pinned goes with the world.
func (e *ParryEdge) Stop() error {
	if e.process == nil {
		return nil
	}
	err := e.process.Stop(stopPatience)
	if err != nil {
		return fmt.Errorf("stop the daemon: %w", err)
	}
	return nil
}
