// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"parry/pkg/pcap"
	"parry/test/need"
)

// first is a flow's first payload in a labelled capture.
type first struct {
	file, flow, label string
	proto             uint8
	payload           []byte
}

// firsts are those of all labelled flows, of a flood's same packets one; where the shared captures are not, the test is
// skipped.
func firsts(t *testing.T) (all []first) {
	t.Helper()
	dir := need.Captures(t)
	f, err := os.Open(filepath.Join(dir, "labels.tsv"))
	must(t, err)
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	must(t, err)
	labels := map[string]map[string]string{}
	for _, row := range rows[1:] {
		if labels[row[0]] == nil {
			labels[row[0]] = map[string]string{}
		}
		labels[row[0]][row[1]] = row[2]
	}
	for file, flows := range labels {
		all = append(all, readFirsts(t, filepath.Join(dir, file), flows)...)
	}
	return all
}

func readFirsts(t *testing.T, path string, flows map[string]string) (all []first) {
	t.Helper()
	r, err := pcap.Open(path)
	must(t, err)
	defer r.Close()
	seen := map[string]bool{}
	for {
		p, err := r.Next()
		if err == io.EOF {
			return all
		}
		if errors.Is(err, pcap.ErrPacket) {
			continue
		}
		must(t, err)
		f, back, ok := readPacket(p.Data)
		if !ok || seen[f.flow] || seen[back] {
			continue
		}
		seen[f.flow] = true
		f.file, f.label = filepath.Base(path), flows[f.flow]
		if _, reply := flows[back]; f.label == "" && !reply {
			f.label = cmp.Or(flows["all"], flows["all-other"])
		}
		if again := f.label + string(f.payload); f.label != "" && (flows[f.flow] != "" || !seen[again]) {
			seen[again] = true
			all = append(all, f)
		}
	}
}

// readPacket reads a frame that has a payload, as labels.tsv names its flow and the flow back.
func readPacket(data []byte) (f first, back string, ok bool) {
	p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	network, transport := p.NetworkLayer(), p.TransportLayer()
	if network == nil || transport == nil || p.Metadata().Truncated || len(transport.LayerPayload()) == 0 {
		return f, "", false
	}
	src, _ := netip.AddrFromSlice(network.NetworkFlow().Src().Raw())
	dst, _ := netip.AddrFromSlice(network.NetworkFlow().Dst().Raw())
	var sport, dport uint16
	name := ""
	switch l := transport.(type) {
	case *layers.UDP:
		f.proto, name, sport, dport = udp, "udp", uint16(l.SrcPort), uint16(l.DstPort)
	case *layers.TCP:
		f.proto, name, sport, dport = tcp, "tcp", uint16(l.SrcPort), uint16(l.DstPort)
	default:
		return f, "", false
	}
	from, to := netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	f.flow, back = fmt.Sprintf("%s %s > %s", name, from, to), fmt.Sprintf("%s %s > %s", name, to, from)
	f.payload = slices.Clone(transport.LayerPayload())
	return f, back, true
}

// family is what a gate is held to on captures: the label of its own flows, how many of them it lets in (those that the
// capture has from their first packet on; counted by hand), and a label under which its protocol is found, too.
type family struct {
	gate, label string
	want        int
	kin         string
	params      [6]uint64
}

// No gate lets in another game's first packet, nor an attack's; each lets in all first packets of its own.
func TestCaptures(t *testing.T) {
	flows := firsts(t)
	for _, f := range []family{
		{gate: "source", label: "source", want: 16},
		{gate: "quake3", label: "quake3", want: 12},
		{gate: "raknet", label: "raknet", want: 11},
		{gate: "minecraft_java", label: "minecraft_java", want: 16},
		{gate: "stun", label: "stun_turn", want: 56}, // not WhatsApp's, whose lengths are no multiples of 4
		{gate: "enet", label: "enet", want: 3},       // one is compressed
		{gate: "wireguard", label: "wireguard", want: 2},
		{gate: "quic", label: "quic", want: 19},                 // not the drafts'
		{gate: "unreal", label: "unreal", want: 3, kin: "riot"}, // Valorant wraps the same handshake
		{gate: "unreal", label: "unreal", want: 3, params: [6]uint64{4, 7, 5}},
		{gate: "teamspeak3", label: "teamspeak3"},
		{gate: "photon", label: "photon", want: 4},
		{gate: "steam_sdr", label: "steam_sdr", want: 1},
	} {
		t.Run(f.gate, func(t *testing.T) {
			r := newRig(t, f.gate)
			r.box.Params = f.params
			f.hold(t, r, flows)
		})
	}
}

func (f family) hold(t *testing.T, r *rig, flows []first) {
	t.Helper()
	in, own, foreign := 0, 0, 0
	for _, p := range flows {
		if p.proto != r.box.Proto {
			continue
		}
		passed := r.run(p.payload).verdict != refuse
		switch {
		case p.label == f.label:
			own++
			if passed {
				in++
			} else {
				t.Logf("refused: %s %s: %d bytes, %x", p.file, p.flow, len(p.payload), head(p.payload))
			}
		case passed && f.kin == p.label:
			t.Logf("kin: %s: %s %s: %x", p.label, p.file, p.flow, head(p.payload))
		case passed:
			t.Errorf("let in a foreign packet, of %s: %s %s: %x", p.label, p.file, p.flow, head(p.payload))
		default:
			foreign++
		}
	}
	t.Logf("%s: %d of its own %d let in, %d foreign refused", f.gate, in, own, foreign)
	if in != f.want {
		t.Errorf("%d of its own flows let in, want %d", in, f.want)
	}
}
