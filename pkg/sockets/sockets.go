// SPDX-License-Identifier: Apache-2.0

// Package sockets reads who listens and who is connected on this machine, and which process that is, from the files
// under /proc. It changes nothing. A process may end while it looks: what is gone is left out.
package sockets

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Socket is a UDP or TCP socket of one network namespace.
type Socket struct {
	Protocol      string // udp or tcp
	Local, Remote netip.AddrPort
	State         State
	Unacked       uint64 // bytes that were sent and not acknowledged, or wait to be sent
	Retransmits   int    // of the oldest segment, one after the other without an answer
	Inode         uint64 // 0 = the kernel's own, or one whose process is gone
}

// State is what a socket does.
type State uint8

// The states: the others of TCP are none of an open connection.
const (
	Other       State = iota
	Listening         // TCP that takes connections, UDP that takes anybody's datagrams
	Established       // TCP, and UDP that talks to one address
)

// The kernel's numbers of states (net/tcp_states.h); UDP uses the same.
const (
	tcpEstablished = 1
	tcpClose       = 7
	tcpListen      = 10
)

// Any says that the socket takes packets to all of the host's addresses. One of IPv6 mostly takes IPv4 as well.
func (s Socket) Any() bool { return s.Local.Addr().IsUnspecified() }

// Of lists the sockets of the network namespace that a process is in: "self", or its number. root is "/", but in tests.
func Of(root, process string) ([]Socket, error) {
	var all []Socket
	for _, f := range []struct{ file, protocol string }{{"udp", "udp"}, {"udp6", "udp"}, {"tcp", "tcp"}, {"tcp6", "tcp"}} {
		path := filepath.Join(root, "proc", process, "net", f.file)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(f.file, "6") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("read the sockets: %w", err)
		}
		some, err := parse(string(text), f.protocol)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// parse reads a table like /proc/net/tcp6; its first line is headings.
func parse(text, protocol string) ([]Socket, error) {
	var all []Socket
	first := true
	for line := range strings.Lines(text) {
		if first {
			first = false
			continue
		}
		s, err := parseLine(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
		}
		s.Protocol = protocol
		if protocol == "tcp" && s.State == Listening && s.Remote.Port() != 0 {
			s.State = Other
		}
		all = append(all, s)
	}
	return all, nil
}

var errShort = errors.New("it has too few words")

// parseLine reads: number, local, remote, state, queues, timer, retransmits, uid, timeout, inode, …
func parseLine(words []string) (Socket, error) {
	var s Socket
	if len(words) < 10 {
		return s, errShort
	}
	var errs [6]error
	s.Local, errs[0] = parseEndpoint(words[1])
	s.Remote, errs[1] = parseEndpoint(words[2])
	state, err := strconv.ParseUint(words[3], 16, 8)
	errs[2] = err
	switch state {
	case tcpEstablished:
		s.State = Established
	case tcpListen, tcpClose: // an unconnected UDP socket is "closed"
		s.State = Listening
	}
	sent, _, _ := strings.Cut(words[4], ":")
	s.Unacked, errs[3] = strconv.ParseUint(sent, 16, 64)
	retransmits, err := strconv.ParseUint(words[6], 16, 31)
	s.Retransmits, errs[4] = int(retransmits), err
	s.Inode, errs[5] = strconv.ParseUint(words[9], 10, 64)
	return s, errors.Join(errs[:]...)
}

// parseEndpoint reads 0100007F:1F90: words of 32 bits as this machine stores them, and a port.
func parseEndpoint(text string) (netip.AddrPort, error) {
	host, portText, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	port, perr := strconv.ParseUint(portText, 16, 16)
	if !ok || err != nil || perr != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address and port", text)
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(port)), nil
}
