// SPDX-License-Identifier: Apache-2.0

package quality

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ndpiLabels is what nDPI's names stand for, in its favour: a name that is of several labels is right for each of them.
var ndpiLabels = map[string][]string{
	"Minecraft": {"minecraft_java"},
	"RakNet":    {"raknet"}, "Roblox": {"raknet"},
	"Steam": {"source", "steam_sdr", "steam_other"}, "Source_Engine": {"source"}, "Valve_SDR": {"steam_sdr"}, "HalfLife2": {"source"},
	"Quake":     {"quake3"},
	"EpicGames": {"unreal"}, "Fortnite": {"unreal"},
	"RiotGames": {"riot"}, "LoLWildRift": {"riot"}, "LeagueOfLegends": {"riot"},
	"GaijinEntertainment": {"enet", "other_game_udp", "other_game_tcp"}, "ENet": {"enet"},
	"TocaBoca": {"photon"}, "Photon": {"photon"},
	"Nintendo": {"console"}, "Activision": {"console"}, "Xbox": {"console"}, "Playstation": {"console"},
	"TeamSpeak": {"teamspeak3"}, "Mumble": {"mumble"}, "Discord": {"discord_voice"},
}

var ndpiGames = []string{
	"AmongUs", "GenshinImpact", "CoD_Mobile", "Starcraft", "WorldOfWarcraft", "Warcraft3", "Armagetron", "KCP", "Yojimbo", "Crossfire", "Dofus",
	"Guildwars", "GuildWars2", "Heroes_of_the_Storm", "MapleStory", "Nexon", "PathofExile", "WorldOfKungFu", "Blizzard", "CNP", "BFCP_Game",
}

// ndpiMeans turns a name ("Steam", "STUN.Discord") into labels.
func ndpiMeans(name string) []string {
	for part := range strings.SplitSeq(name, ".") {
		if l, ok := ndpiLabels[part]; ok {
			return l
		}
		for _, g := range ndpiGames {
			if part == g {
				return []string{"other_game_udp", "other_game_tcp"}
			}
		}
	}
	return []string{"no game"}
}

var errNoReader = errors.New("ndpiReader is not installed (Debian's libndpi-bin: scripts/setup-debian quality)")

// ndpiReads has ndpiReader name the flows of a capture.
func ndpiReads(t *testing.T, capture, scratch string) (map[tuple]string, error) {
	reader, err := exec.LookPath("ndpiReader")
	if err != nil {
		return nil, errNoReader
	}
	out := filepath.Join(scratch, "flows.csv")
	if said, err := exec.CommandContext(t.Context(), reader, "-q", "-i", capture, "-C", out).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("ndpiReader of %s: %w: %.200s", capture, err, said)
	}
	f, err := os.Open(out)
	if err != nil {
		return nil, fmt.Errorf("what ndpiReader wrote: %w", err)
	}
	defer f.Close()
	return ndpiFlows(f)
}

// ndpiFlows reads what it writes: a line of names, then a line a flow.
func ndpiFlows(in io.Reader) (map[tuple]string, error) {
	lines := csv.NewReader(in)
	lines.FieldsPerRecord, lines.LazyQuotes = -1, true
	names, err := lines.Read()
	if err != nil {
		return nil, fmt.Errorf("ndpiReader's names of columns: %w", err)
	}
	at := map[string]int{}
	for i, name := range names {
		at[name] = i
	}
	flows := map[tuple]string{}
	for {
		line, err := lines.Read()
		if err == io.EOF {
			return flows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("ndpiReader's flows: %w", err)
		}
		field := func(name string) string {
			if i, ok := at[name]; ok && i < len(line) {
				return line[i]
			}
			return ""
		}
		proto := map[string]string{"6": "tcp", "17": "udp"}[field("protocol")]
		a, err := end(field("src_ip"), field("src_port"))
		b, err2 := end(field("dst_ip"), field("dst_port"))
		if proto == "" || err != nil || err2 != nil {
			continue
		}
		if a.Compare(b) > 0 {
			a, b = b, a
		}
		flows[tuple{proto, a, b}] = field("ndpi_proto")
	}
}

func end(address, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(address)
	n, err2 := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(n)), errors.Join(err, err2)
}
