// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager listens as a service manager does and returns what one send delivered.
func manager(t *testing.T, name string) (*Notifier, func() string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	n, err := New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, func() string {
		buf := make([]byte, 4096)
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		k, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:k])
	}
}

func TestEachStateReachesTheManagerInOneDatagram(t *testing.T) {
	n, read := manager(t, filepath.Join(t.TempDir(), "notify"))
	for _, tc := range []struct {
		name string
		send func() error
		want string
	}{
		{"ready", func() error { return n.Ready("2 services on eth0") }, "READY=1\nSTATUS=2 services on eth0"},
		{"stopping", n.Stopping, "STOPPING=1"},
		{"status", func() error { return n.Status("attack on arena") }, "STATUS=attack on arena"},
		{"status can't smuggle a second assignment", func() error { return n.Status("a\nREADY=1\r\x00b") }, "STATUS=a READY=1 b"},
		{"watchdog", n.Watchdog, "WATCHDOG=1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.send(); err != nil {
				t.Fatal(err)
			}
			if got := read(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestReloadingCarriesTheMonotonicMoment(t *testing.T) {
	n, read := manager(t, filepath.Join(t.TempDir(), "notify"))
	before := monotonicUsec(t)
	if err := n.Reloading(); err != nil {
		t.Fatal(err)
	}
	got := read()
	m := regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=(\d+)$`).FindStringSubmatch(got)
	if m == nil {
		t.Fatalf("got %q", got)
	}
	usec, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || usec < before || usec > monotonicUsec(t) {
		t.Errorf("moment %s is not between the moments before and after (%v)", m[1], err)
	}
}

func monotonicUsec(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano() / 1000
}

func TestAbstractSocket(t *testing.T) {
	n, read := manager(t, "@parry-notify-test-"+strconv.Itoa(unix.Getpid()))
	if err := n.Watchdog(); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "WATCHDOG=1" {
		t.Errorf("got %q", got)
	}
}

func TestWithoutAManagerNothingIsSentAndNothingFails(t *testing.T) {
	n, err := New("")
	if err != nil || n != nil {
		t.Fatalf("New(\"\") = %v, %v", n, err)
	}
	for _, err := range []error{n.Ready("x"), n.Reloading(), n.Stopping(), n.Status("x"), n.Watchdog(), n.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAMissingSocketIsNamed(t *testing.T) {
	_, err := New("/nonexistent/notify")
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/notify") {
		t.Errorf("got %v", err)
	}
}

func TestWatchdogInterval(t *testing.T) {
	for _, tc := range []struct {
		name, usec, pid string
		want            time.Duration
	}{
		{"not asked for", "", "", 0},
		{"asked for", "30000000", "", 30 * time.Second},
		{"asked of us", "30000000", "42", 30 * time.Second},
		{"asked of another process", "30000000", "43", 0},
		{"nonsense", "soon", "", 0},
		{"negative", "-1", "", 0},
		{"beyond a day", "9223372036854775807", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env := map[string]string{"WATCHDOG_USEC": tc.usec, "WATCHDOG_PID": tc.pid}
			if got := WatchdogInterval(func(k string) string { return env[k] }, 42); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
