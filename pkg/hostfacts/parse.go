// SPDX-License-Identifier: Apache-2.0

package hostfacts

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func parseKernel(s string) (Kernel, error) {
	major, rest, _ := strings.Cut(s, ".")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	a, aerr := strconv.Atoi(major)
	b, berr := strconv.Atoi(rest[:end])
	if aerr != nil || berr != nil {
		return Kernel{Release: s}, fmt.Errorf("%q is no kernel release", s)
	}
	return Kernel{Release: s, Major: a, Minor: b}, nil
}

// refusesXDP tells by a virtio device's features, a digit each from bit 0 on, whether virtio_net refuses XDP: the host that runs
// the virtual machine merges what it hands over or leaves its checksums open (VIRTIO_NET_F_GUEST_CSUM, TSO4, TSO6, ECN, UFO,
// USO4, USO6), and does not let the driver switch that off (VIRTIO_NET_F_CTRL_GUEST_OFFLOADS).
func refusesXDP(features string) bool {
	has := func(bit int) bool { return bit < len(features) && features[bit] == '1' }
	return !has(2) && slices.ContainsFunc([]int{1, 7, 8, 9, 10, 54, 55}, has)
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no port", s)
	}
	return uint16(n), nil
}

func parseLocalPorts(s string) (PortRange, error) {
	words := strings.Fields(s)
	if len(words) != 2 {
		return PortRange{}, fmt.Errorf("%q is no port range", s)
	}
	return parseRange(words[0], words[1])
}

func parseRange(first, last string) (PortRange, error) {
	a, aerr := parsePort(first)
	b, berr := parsePort(last)
	if err := errors.Join(aerr, berr); err != nil {
		return PortRange{}, err
	}
	if a > b {
		return PortRange{}, fmt.Errorf("the range %d-%d is the wrong way round", a, b)
	}
	return PortRange{a, b}, nil
}

// parseReserved reads "8080,9148-9200"; the kernel writes an empty line for none.
func parseReserved(s string) ([]PortRange, error) {
	if s == "" {
		return nil, nil
	}
	var out []PortRange
	for word := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(word, "-")
		if !isRange {
			last = first
		}
		r, err := parseRange(first, last)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	return out, nil
}

func parseJIT(s string) (JIT, error) {
	switch s {
	case "0":
		return JITOff, nil
	case "1", "2": // 2 prints the code too
		return JITOn, nil
	}
	return JITUnknown, fmt.Errorf("%q is none of 0, 1, 2", s)
}

func parseCaps(s string) (Caps, error) {
	for line := range strings.Lines(s) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			if err != nil {
				return 0, fmt.Errorf("CapEff %q is no number", strings.TrimSpace(hex))
			}
			return Caps(n), nil
		}
	}
	return 0, errors.New("CapEff is missing")
}

// parseUsers reports whether the user map is the one that maps all to themselves.
func parseUsers(s string) (bool, error) {
	return slices.Equal(strings.Fields(s), []string{"0", "0", "4294967295"}), nil
}

// mount is one line of mountinfo.
type mount struct{ point, typ string }

// parseMounts reads mountinfo (proc(5)): point is the fifth field, the type the
// first after a lone dash.
func parseMounts(s string) ([]mount, error) {
	var out []mount
	for line := range strings.Lines(s) {
		words := strings.Fields(line)
		dash := slices.Index(words, "-")
		if dash < 5 || dash+1 >= len(words) {
			return nil, fmt.Errorf("%q is no mount", strings.TrimSpace(line))
		}
		out = append(out, mount{point: unescape(words[4]), typ: words[dash+1]})
	}
	return out, nil
}

// unescape turns \040 and its like into what they stand for.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
