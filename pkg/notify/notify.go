// SPDX-License-Identifier: Apache-2.0

// Package notify tells the service manager how the daemon fares, in the protocol of sd_notify(3):
// one datagram of KEY=value lines to the socket that the manager names in NOTIFY_SOCKET.
package notify

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Notifier sends states to one service manager. A nil Notifier has no manager to tell and does nothing,
// so callers need not ask whether there is one.
type Notifier struct {
	conn *net.UnixConn
}

// New connects to the notification socket; an empty name (no service manager) gives a nil Notifier.
// A name that begins with @ is an abstract socket.
func New(socket string) (*Notifier, error) {
	if socket == "" {
		return nil, nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("notification socket %s: %w", socket, err)
	}
	return &Notifier{conn: conn}, nil
}

// Ready says that the daemon protects its services now, or again after a reload.
func (n *Notifier) Ready(status string) error {
	return n.send("READY=1", statusLine(status))
}

// Reloading says that a reload began. Type=notify-reload wants the moment on the monotonic clock, by which
// it tells this reload from an earlier one; Ready ends it.
func (n *Notifier) Reloading() error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return fmt.Errorf("monotonic clock: %w", err)
	}
	return n.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(ts.Nano()/1000, 10))
}

// Stopping says that the daemon is on its way out.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1") }

// Status sets the free text that `systemctl status` shows.
func (n *Notifier) Status(status string) error { return n.send(statusLine(status)) }

// Watchdog says that the daemon is alive; to be sent at half of WatchdogInterval.
func (n *Notifier) Watchdog() error { return n.send("WATCHDOG=1") }

// Close frees the socket.
func (n *Notifier) Close() error {
	if n == nil {
		return nil
	}
	return n.conn.Close()
}

// WatchdogInterval is how long the manager waits for a Watchdog before it restarts process pid; 0 when it
// doesn't wait. The interval comes from WATCHDOG_USEC, and counts only for the process in WATCHDOG_PID.
func WatchdogInterval(getenv func(string) string, pid int) time.Duration {
	if p := getenv("WATCHDOG_PID"); p != "" && p != strconv.Itoa(pid) {
		return 0
	}
	usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 || usec > int64(24*time.Hour/time.Microsecond) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}

func (n *Notifier) send(lines ...string) error {
	if n == nil {
		return nil
	}
	if _, err := n.conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// statusLine keeps a status on one line: a newline in it would begin another assignment.
func statusLine(s string) string {
	return "STATUS=" + strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' || r == 0 }), " ")
}
