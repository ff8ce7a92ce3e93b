// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"parry/pkg/game"
)

// fault is why a text is no such value, and what was probably meant.
type fault struct{ message, hint string }

func (f *fault) Error() string { return f.message }

func faultf(hint, format string, args ...any) *fault {
	return &fault{message: fmt.Sprintf(format, args...), hint: hint}
}

// asFault makes any error a fault.
func asFault(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	return &fault{message: err.Error()}
}

// ParseListen reads address:port or address:first-last, an IPv6 address in brackets.
func ParseListen(s string) (Listen, error) {
	host, ports, err := splitHostPorts(s)
	if err != nil {
		return Listen{}, err
	}
	addr, err := parseAddr(host)
	if err != nil {
		return Listen{}, err
	}
	r, err := parsePorts(ports)
	if err != nil {
		f := asFault(err)
		if f.hint != "" {
			f.hint = strings.TrimSuffix(netip.AddrPortFrom(addr, 0).String(), "0") + f.hint
		}
		return Listen{}, f
	}
	return Listen{Addr: addr, First: r.First, Last: r.Last}, nil
}

func splitHostPorts(s string) (host, ports string, err error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return "", "", faultf("", "%s has no port: want %s", s, strings.TrimSuffix(netip.AddrPortFrom(a, 0).String(), "0")+"PORT")
	}
	if strings.HasPrefix(s, "[") {
		end := strings.Index(s, "]")
		if end < 0 || !strings.HasPrefix(s[end+1:], ":") {
			return "", "", faultf("", "%q: want [address]:port", s)
		}
		return s[1:end], s[end+2:], nil
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", faultf("", "%q: want address:port", s)
	}
	host, ports = s[:i], s[i+1:]
	if strings.Contains(host, ":") {
		return "", "", faultf("["+host+"]:"+ports, "an IPv6 address with a port needs brackets")
	}
	return host, ports, nil
}

// parseAddr reads an IPv4 or IPv6 address that can stand in a packet from a NIC.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case s == "":
		return a, faultf("", "the address is missing: every address is named, there is no \"any\"")
	case err != nil:
		return a, faultf("", "%q is no IP address (names are not looked up)", s)
	case a.Zone() != "":
		return a, faultf("", "%s: addresses with a zone are not supported", s)
	case a.Is4In6():
		return a, faultf(a.Unmap().String(), "%s is an IPv4 address in IPv6 clothes", s)
	}
	return a, nil
}

// parsePorts reads a port or first-last.
func parsePorts(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	lo, err := parsePort(first)
	if err != nil {
		return PortRange{}, err
	}
	if !isRange {
		return PortRange{First: lo, Last: lo}, nil
	}
	hi, err := parsePort(last)
	if err != nil {
		return PortRange{}, err
	}
	if hi < lo {
		return PortRange{}, faultf(fmt.Sprintf("%d-%d", hi, lo), "port range %s runs backwards", s)
	}
	return PortRange{First: lo, Last: hi}, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, faultf("", "%q is no port: want 1 to 65535", s)
	}
	return uint16(n), nil
}

// parseProtoPort reads tcp/22.
func parseProtoPort(s string) (ProtoPort, error) {
	proto, port, ok := strings.Cut(s, "/")
	if !ok {
		if _, err := parsePort(s); err == nil {
			return ProtoPort{}, faultf("tcp/"+s, "%q: want protocol/port", s)
		}
		return ProtoPort{}, faultf("", "%q: want protocol/port, as tcp/22", s)
	}
	n, err := parsePort(port)
	switch {
	case proto == "tcp" || proto == "udp":
		return ProtoPort{Proto: proto, Port: n}, err
	case strings.EqualFold(proto, "tcp") || strings.EqualFold(proto, "udp"):
		return ProtoPort{}, faultf(strings.ToLower(s), "%q: protocols are written in small letters", s)
	case port == "tcp" || port == "udp":
		return ProtoPort{}, faultf(port+"/"+proto, "%q: want protocol/port", s)
	}
	return ProtoPort{}, faultf("", "%q: the protocol is udp or tcp", s)
}

// parseDuration reads 60s, 15m, 1h30m.
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil {
		return d, nil
	}
	if _, nerr := strconv.ParseFloat(s, 64); nerr == nil {
		return 0, faultf(s+"s", "%s has no unit: want a duration as 60s, 15m or 1h", s)
	}
	if days, found := strings.CutSuffix(s, "d"); found {
		if n, nerr := strconv.ParseUint(days, 10, 8); nerr == nil {
			return 0, faultf(fmt.Sprintf("%dh", n*24), "%q: the largest unit is h", s)
		}
	}
	if compact := strings.ToLower(strings.ReplaceAll(s, " ", "")); compact != s {
		if _, cerr := time.ParseDuration(compact); cerr == nil {
			return 0, faultf(compact, "%q is no duration", s)
		}
	}
	return 0, faultf("", "%q is no duration: want one as 60s, 15m or 1h", s)
}

// parsePrefix reads 198.51.100.0/24.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			return p, faultf(netip.PrefixFrom(a, a.BitLen()).String(), "%s has no prefix length", s)
		}
		return p, faultf("", "%q is no prefix: want one as 198.51.100.0/24", s)
	}
	if p != p.Masked() {
		return p, faultf(p.Masked().String(), "%s has bits set behind its length", s)
	}
	if p.Addr().Is4In6() {
		return p, faultf("", "%s is an IPv4 prefix in IPv6 clothes", s)
	}
	return p, nil
}

var (
	nameForm    = regexp.MustCompile(`^[a-z0-9_][a-z0-9_.-]{0,30}$`)
	gateForm    = regexp.MustCompile(game.GatePattern)
	nodeForm    = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,63}$`)
	countryForm = regexp.MustCompile(`^[A-Z]{2}$`)
	groupForm   = regexp.MustCompile(`^[a-z_][a-z0-9_.-]{0,31}$`)
	notInName   = regexp.MustCompile(`[^a-z0-9_.-]+`)
)

// checkFormat tests a text against one of the formats that check tags name.
func checkFormat(format, s string) *fault {
	switch format {
	case "name":
		if !nameForm.MatchString(s) {
			return faultf(properName(s), "%q is no name: want 1 to 31 of a-z 0-9 - _ . (no - or . first)", s)
		}
	case "gate":
		if !gateForm.MatchString(s) {
			return faultf("", "%q is no gate's name: want auto, off, or a letter and up to 22 of a-z 0-9 _", s)
		}
	case "node":
		if !nodeForm.MatchString(s) {
			return faultf("", "%q is no node name: want 1 to 63 of A-Z a-z 0-9 - _ .", s)
		}
	case "country":
		if !countryForm.MatchString(s) {
			hint := strings.ToUpper(s)
			if !countryForm.MatchString(hint) {
				hint = ""
			}
			return faultf(hint, "%q is no country code: want two capital letters", s)
		}
	case "bytes":
		return bytesFault(s)
	case "place":
		return placeFault(s)
	case "interface":
		if s == "" || len(s) > 15 || s == "." || s == ".." || strings.ContainsAny(s, "/: \t\n") {
			return faultf("", "%q is no interface name: want 1 to 15 characters without space, / or :", s)
		}
	case "group":
		if s != "" && !groupForm.MatchString(s) {
			return faultf("", "%q is no group name", s)
		}
	case "path":
		if !path.IsAbs(s) || path.Clean(s) != s || strings.ContainsAny(s, "\n\x00") {
			hint := path.Clean("/" + s)
			if s == "" || strings.ContainsAny(s, "\n\x00") {
				hint = ""
			}
			return faultf(hint, "%q is no absolute path", s)
		}
	case "hostport":
		return checkHostPort(s)
	}
	return nil
}

// properName turns what was written into a valid name, "" if nothing is left.
func properName(s string) string {
	p := strings.Trim(notInName.ReplaceAllString(strings.ToLower(s), "-"), "-.")
	return p[:min(len(p), 31)]
}

// checkHostPort takes "" (off), :9590, 127.0.0.1:9590, [::1]:9590, localhost:9590; port 0 is a
// free one, for tests.
func checkHostPort(s string) *fault {
	if s == "" {
		return nil
	}
	if s == "off" || s == "none" {
		return faultf("", "%q: want host:port, or \"\" for none", s)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		hint := ""
		if _, perr := parsePort(s); perr == nil {
			hint = "127.0.0.1:" + s
		}
		return faultf(hint, "%q: want host:port, or \"\" for none", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return faultf("", "%q: %q is no port", s, port)
	}
	if strings.ContainsAny(host, " \t\n/") {
		return faultf("", "%q: %q is no host", s, host)
	}
	return nil
}
