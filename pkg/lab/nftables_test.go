// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parry/test/need"
)

// needPlain says what the plain edge needs.
func needPlain(t *testing.T) {
	t.Helper()
	need.Root(t)
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft is not installed: the plain edge needs it")
	}
}

// undead is a plain edge that can, like a daemon, be "killed": its rules stay.
type undead struct {
	*PlainEdge
	deaths int
}

var (
	_ Edge    = (*undead)(nil)
	_ Blocker = (*undead)(nil)
	_ Mortal  = (*undead)(nil)
)

func plain(t *testing.T) EdgeMaker {
	t.Helper()
	needPlain(t)
	return func(s *Site) (Edge, error) {
		e, err := Nftables()(s)
		return &undead{PlainEdge: e.(*PlainEdge)}, err
	}
}

func (e *undead) Kill() error { e.deaths++; return nil }

func (e *undead) Start(ctx context.Context) error {
	if e.deaths > 0 {
		return nil
	}
	return e.PlainEdge.Start(ctx)
}

// lossy is a plain edge that drops players' packets in the way that a failing edge would.
type lossy struct{ *undead }

func (e *lossy) Start(ctx context.Context) error {
	if err := e.undead.Start(ctx); err != nil || e.deaths > 0 {
		return err
	}
	// The 20th datagram of each hundred to servers, from 50 on: those of joining stay.
	_, err := e.host.Exec(ctx, "nft", "add", "rule", "inet", "lab", "early", "udp", "dport", fmt.Sprint(arena4.Port()),
		"numgen", "inc", "mod", "100", "19", "drop")
	return err
}

const shortRun = MinDuration + time.Second

func TestTrackingDropsAddUpOverCPUs(t *testing.T) {
	got := trackingDrops("entries  clashres found new invalid ignore delete insert insert_failed drop early_drop\n" +
		"0000000a 00000000 00000001 00000000 0 0 0 0 00000002 00000010 00000001\n" +
		"0000000a 00000000 00000001 00000000 0 0 0 0 00000001 00000001 00000000\n")
	want := map[string]uint64{"conntrack_insert": 3, "conntrack_full": 0x11, "conntrack_evicted": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
