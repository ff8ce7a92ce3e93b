// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"

	"golang.org/x/sys/unix"
)

// peerKey finds in a call's context who makes it.
type peerKey struct{}

// withPeer notes whose process is at the other end of a connection, as the kernel knows it.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || credErr != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, cred.Uid)
}

// allowed refuses what is for root alone, and for the user that the daemon runs as, who could do it anyway. Of whom nothing is
// known is neither.
func allowed(rt route, r *http.Request) error {
	if !rt.root {
		return nil
	}
	uid, known := r.Context().Value(peerKey{}).(uint32)
	if known && (uid == 0 || int(uid) == os.Geteuid()) {
		return nil
	}
	return Mark(ErrRoot, errors.New("gates are code that runs in the kernel: root alone loads and unloads them (run it with sudo)"))
}
