// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"parry/pkg/netns"
)

// udpErrors is what a host's own UDP stack threw away.
type udpErrors struct {
	damaged  uint64 // wrong checksums
	overflow uint64 // sockets were full
}

// readUDPErrors reads them for both families.
func readUDPErrors(h *netns.Host) (udpErrors, error) {
	var v4, v6 []byte
	err := h.Do(func() (err error) {
		if v4, err = os.ReadFile("/proc/thread-self/net/snmp"); err != nil {
			return err
		}
		if v6, err = os.ReadFile("/proc/thread-self/net/snmp6"); errors.Is(err, fs.ErrNotExist) {
			return nil // a kernel without IPv6
		}
		return err
	})
	if err != nil {
		return udpErrors{}, fmt.Errorf("read the counters of %s: %w", h.Name(), err)
	}
	counters := parseSNMP(string(v4), string(v6))
	return udpErrors{
		damaged:  counters["UdpInCsumErrors"] + counters["Udp6InCsumErrors"],
		overflow: counters["UdpRcvbufErrors"] + counters["Udp6RcvbufErrors"],
	}, nil
}

// parseSNMP reads /proc/net/snmp (a line of names, then one of values, for each protocol) and snmp6 (a name and a value
// a line) into one table; IPv4's names carry their protocol in front, as IPv6's do.
func parseSNMP(v4, v6 string) map[string]uint64 {
	all := map[string]uint64{}
	put := func(name, value string) {
		if n, err := strconv.ParseUint(value, 10, 64); err == nil { // a few are signed and never of use here
			all[name] = n
		}
	}
	var names []string
	for line := range strings.Lines(v4) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(names) != len(fields) || names[0] != fields[0] {
			names = fields
			continue
		}
		for i := 1; i < len(fields); i++ {
			put(strings.TrimSuffix(fields[0], ":")+names[i], fields[i])
		}
		names = nil
	}
	for line := range strings.Lines(v6) {
		if fields := strings.Fields(line); len(fields) == 2 {
			put(fields[0], fields[1])
		}
	}
	return all
}
