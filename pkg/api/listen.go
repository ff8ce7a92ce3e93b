// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen opens the daemon's socket for root and the group: mode 0660, or 0600 where the group doesn't exist. A stale
// socket is replaced; a live daemon's is ErrInUse, and something that is no socket is left alone. Who holds the
// socket is known by a lock on the file socket.lock, which dies with its process, so two daemons that start
// at once can't both win. Closing the listener removes the socket and frees the lock.
func Listen(ctx context.Context, socket, group string, log *slog.Logger) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return nil, fmt.Errorf("socket %s: %w", socket, err)
	}
	lock, err := lockSocket(socket)
	if err != nil {
		return nil, err
	}
	l, err := bind(ctx, socket)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := admit(socket, group, log); err != nil {
		return nil, errors.Join(err, l.Close(), lock.Close())
	}
	return &lockedListener{Listener: l, lock: lock}, nil
}

// lockSocket takes the lock for as long as the file is open.
func lockSocket(socket string) (*os.File, error) {
	name := socket + ".lock"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of socket %s: %w", socket, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = Mark(ErrInUse, fmt.Errorf("another parry daemon holds %s: stop it first, or give this one an api.socket of its own", socket))
	} else if err != nil {
		err = fmt.Errorf("lock %s: %w", name, err)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// bind replaces a stale socket. The socket's mode is set before it has a name, so that there is no moment in
// which others can connect.
func bind(ctx context.Context, socket string) (net.Listener, error) {
	if err := removeStale(ctx, socket); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmodErr error
		err := c.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmodErr)
	}}
	l, err := lc.Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", socket, err)
	}
	return l, nil
}

// removeStale clears the way for bind, unless somebody who doesn't take our lock listens there.
func removeStale(ctx context.Context, socket string) error {
	info, err := os.Lstat(socket)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("socket %s: %w", socket, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("socket %s: a file that is no socket is in the way: remove it, or choose another api.socket", socket)
	}
	var d net.Dialer
	if conn, err := d.DialContext(ctx, "unix", socket); err == nil {
		return errors.Join(Mark(ErrInUse, fmt.Errorf("another program listens on %s: stop it first, or choose another api.socket", socket)), conn.Close())
	}
	if err := os.Remove(socket); err != nil {
		return fmt.Errorf("remove stale socket %s: %w", socket, err)
	}
	return nil
}

// admit lets the group in.
func admit(socket, group string, log *slog.Logger) error {
	if group == "" {
		return nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		log.Warn("group of the api socket doesn't exist: root alone may use it", "group", group, "socket", socket)
		return nil
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("group %s: id %q: %w", group, g.Gid, err)
	}
	if err := os.Chown(socket, -1, gid); err != nil {
		return fmt.Errorf("socket %s: give it to group %s: %w", socket, group, err)
	}
	if err := os.Chmod(socket, 0o660); err != nil {
		return fmt.Errorf("socket %s: open it to group %s: %w", socket, group, err)
	}
	return nil
}

// lockedListener frees the socket's lock after the socket is gone.
type lockedListener struct {
	net.Listener
	lock *os.File
}

// Close removes the socket, then frees its lock.
func (l *lockedListener) Close() error { return errors.Join(l.Listener.Close(), l.lock.Close()) }
