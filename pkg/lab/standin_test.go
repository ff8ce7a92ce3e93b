// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
	"parry/pkg/blocklist"
	"parry/pkg/config"
)

// standIn is `parry run -c FILE` as far as the lab can tell: it takes the configuration, forwards (by nftables, which
// like parry's program stay when it dies), answers on its socket and blocks. It runs in the edge's namespace.
func standIn(file string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	c, err := config.Load(file)
	if err != nil {
		return err
	}
	if exec.Command("nft", "list", "table", "inet", "lab").Run() != nil { // nothing to adopt
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(plainRules())
		if out, err := cmd.CombinedOutput(); err != nil {
			return errors.Join(err, errors.New(string(out)))
		}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	l, err := api.Listen(ctx, c.API.Socket, "", log)
	if err != nil {
		return err
	}
	edge := &standInEdge{Edge: &apitest.Edge{}}
	edge.Now = api.Status{Drops: map[string]uint64{"rate_packets": 7}, Services: []api.Service{{Name: "arena", Sessions: 34}}}
	if err := errors.Join(os.MkdirAll(c.State, 0o700), os.MkdirAll(c.Pin, 0o700)); err != nil {
		return err
	}
	return api.NewHTTPServer(edge, api.HTTPOptions{SpoolDir: c.State}, log).Serve(ctx, l)
}

type standInEdge struct{ *apitest.Edge }

func (e *standInEdge) Add(ctx context.Context, kind api.Kind, entries []blocklist.Entry) error {
	for _, x := range entries {
		if err := exec.CommandContext(ctx, "nft", "add", "element", "inet", "lab", "blocked", "{", x.Prefix.Addr().String(), "}").Run(); err != nil {
			return err
		}
	}
	return e.Edge.Add(ctx, kind, entries)
}

func (e *standInEdge) Del(ctx context.Context, kind api.Kind, keys []blocklist.Key) (int, error) {
	for _, k := range keys {
		if err := exec.CommandContext(ctx, "nft", "delete", "element", "inet", "lab", "blocked", "{", k.Prefix.Addr().String(), "}").Run(); err != nil {
			return 0, err
		}
	}
	return e.Edge.Del(ctx, kind, keys)
}

func TestLabDrivesADaemonOverItsSocket(t *testing.T) {
	plain(t) // root and nft
	self, err := os.Executable()
	must(t, err)
	var inside string
	r, err := Run(t.Context(), Options{Scenario: "host-udp", Duration: shortRun, Rate: 5000, Edge: Parry(self), View: Quiet{},
		Log: slog.New(slog.DiscardHandler), Hold: func(_ context.Context, s *Site) error {
			inside = s.LookInside(self)
			return errors.Join(exists(s.World.Dir(), "parry.sock"), exists(s.World.Dir(), "parry.log"), exists(s.World.Dir(), "bpf"))
		}})
	must(t, err)
	must(t, r.Err())
	if b := r.Block; b == nil || !b.Joined || !b.Silenced || !b.Released {
		t.Errorf("block: %+v", b)
	}
	if c := r.Restart; c == nil || c.SessionsAdopted != 34 || c.StartMS <= 0 || time.Duration(c.DownMS) < 100*time.Millisecond {
		t.Errorf("restart: %+v", c)
	}
	if !strings.Contains(inside, "ip netns exec parry-"+pid()+"-lab-edge") {
		t.Errorf("no way shown to look inside: %s", inside)
	}
	if left := traces(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func exists(dir, name string) error {
	_, err := os.Stat(filepath.Join(dir, name))
	return err
}
