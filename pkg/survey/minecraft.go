// SPDX-License-Identifier: Apache-2.0

package survey

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
)

// longestStatus is in bytes: an icon is a part of it.
const longestStatus = 256 << 10

var errNoStatus = errors.New("it gave no status")

// minecraftStatus asks a Minecraft Java server for its status, and returns its description.
func minecraftStatus(ctx context.Context, at netip.AddrPort) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
	if err != nil {
		return "", fmt.Errorf("ask for a status: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", fmt.Errorf("ask for a status: %w", err)
		}
	}
	// Handshake: protocol -1 (any), host, port, 1 = status; then the request.
	host := at.Addr().String()
	hello := append([]byte{0x00, 0xff, 0xff, 0xff, 0xff, 0x0f, byte(len(host))}, host...)
	hello = append(binary.BigEndian.AppendUint16(hello, at.Port()), 1)
	if _, err := conn.Write(append(append([]byte{byte(len(hello))}, hello...), 1, 0)); err != nil {
		return "", fmt.Errorf("ask for a status: %w", err)
	}
	return readStatus(bufio.NewReader(io.LimitReader(conn, longestStatus)))
}

// readStatus reads length, packet 0, and a text in JSON. Lengths are Uvarints as Go has them.
func readStatus(r *bufio.Reader) (string, error) {
	var head [3]uint64 // of the packet, its type, of the text
	for i := range head {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return "", errors.Join(errNoStatus, err)
		}
		head[i] = n
	}
	if head[1] != 0 || head[2] > head[0] || head[2] > longestStatus {
		return "", errNoStatus
	}
	text := make([]byte, head[2])
	if _, err := io.ReadFull(r, text); err != nil {
		return "", errors.Join(errNoStatus, err)
	}
	var status struct{ Description any }
	if err := json.Unmarshal(text, &status); err != nil {
		return "", errors.Join(errNoStatus, err)
	}
	return strings.Join(strings.Fields(plainText(status.Description)), " "), nil
}

// plainText takes the words out of a chat component, without colours.
func plainText(v any) string {
	switch v := v.(type) {
	case string:
		var b strings.Builder
		skip := false
		for _, r := range v {
			if skip {
				skip = false
			} else if r == '§' {
				skip = true
			} else {
				b.WriteRune(r)
			}
		}
		return b.String()
	case map[string]any:
		return plainText(v["text"]) + plainText(v["extra"])
	case []any:
		var b strings.Builder
		for _, e := range v {
			b.WriteString(plainText(e))
		}
		return b.String()
	}
	return ""
}
