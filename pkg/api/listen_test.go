// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"parry/pkg/api"
)

func TestListenReplacesAStaleSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "parry.sock")
	if err := os.Mkdir(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as a daemon that was killed leaves it
	dead.Close()

	l, err := api.Listen(t.Context(), socket, "", quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Dial(socket).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close the socket is still there: %v", err)
	}
}

func TestListenRefusesALiveDaemonsSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "parry.sock")
	first, err := api.Listen(t.Context(), socket, "", quiet())
	if err != nil {
		t.Fatal(err)
	}
	second, err := api.Listen(t.Context(), socket, "", quiet())
	if !errors.Is(err, api.ErrInUse) || !strings.Contains(err.Error(), socket) {
		t.Fatalf("the second daemon got %v, %v", second, err)
	}
	if err := api.Dial(socket).Ping(t.Context()); err != nil {
		t.Errorf("the refusal broke the first daemon's socket: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := api.Listen(t.Context(), socket, "", quiet())
	if err != nil {
		t.Fatalf("after the first daemon's end: %v", err)
	}
	third.Close()
}

func TestListenTakesNothingFromOthers(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(t.Context(), file, "", quiet()); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("over a file: %v", err)
	}
	if b, err := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file is gone: %q %v", b, err)
	}

	foreign := filepath.Join(dir, "foreign.sock")
	l, err := net.Listen("unix", foreign)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := api.Listen(t.Context(), foreign, "", quiet()); !errors.Is(err, api.ErrInUse) {
		t.Errorf("over another program's socket: %v", err)
	}
}

func TestSocketIsForRootAndTheGroup(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Skip("this user's group has no name")
	}
	for _, tc := range []struct {
		group string
		mode  os.FileMode
		warn  bool
	}{
		{group.Name, 0o660, false},
		{"no-such-group", 0o600, true},
		{"", 0o600, false},
	} {
		var log bytes.Buffer
		socket := filepath.Join(t.TempDir(), "parry.sock")
		l, err := api.Listen(t.Context(), socket, tc.group, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		info, err := os.Stat(socket)
		if err != nil || info.Mode().Perm() != tc.mode {
			t.Errorf("group %q: mode %v, want %v (%v)", tc.group, info.Mode().Perm(), tc.mode, err)
		}
		if warned := strings.Contains(log.String(), "doesn't exist"); warned != tc.warn {
			t.Errorf("group %q: log %q", tc.group, log.String())
		}
	}
}

func TestWithoutADaemonTheClientGivesAdvice(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, socket := range []string{filepath.Join(dir, "none.sock"), stale} {
		_, err := api.Dial(socket).Status(t.Context())
		if !errors.Is(err, api.ErrNoDaemon) || !strings.Contains(err.Error(), "no daemon answers at "+socket+": is `parry run` up?") {
			t.Errorf("got %v", err)
		}
		if err := api.Dial(socket).Ping(t.Context()); !errors.Is(err, api.ErrNoDaemon) {
			t.Errorf("ping: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := api.Dial(stale).Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled call says %v", err)
	}
}
