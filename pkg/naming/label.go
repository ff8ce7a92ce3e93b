// SPDX-License-Identifier: Apache-2.0

package naming

// Label is what a session is called. Its text is an interface: outside tools rely on it.
type Label uint8

// Labels: games and voice first, then what is neither, then attacks.
const (
	UnknownUDP Label = iota
	UnknownTCP

	MinecraftJava
	RakNet
	Source
	Quake3
	Unreal
	Riot
	SteamSDR
	SteamOther
	ENet
	Photon
	Console
	OtherGameUDP
	OtherGameTCP
	TeamSpeak3
	Mumble
	DiscordVoice

	StunTurn
	RTPVoIP
	QUIC
	WebTLS
	WebHTTP
	VideoStream
	DNS
	NTP
	WireGuard
	VPNOther
	P2P
	OtherUDP
	OtherTCP
	L3Other

	AmpReflection
	TCPSynFlood
	TCPReflection
	Scan

	labels // how many there are
)

var labelNames = [labels]string{
	UnknownUDP: "unknown_udp", UnknownTCP: "unknown_tcp",
	MinecraftJava: "minecraft_java", RakNet: "raknet", Source: "source", Quake3: "quake3", Unreal: "unreal", Riot: "riot",
	SteamSDR: "steam_sdr", SteamOther: "steam_other", ENet: "enet", Photon: "photon", Console: "console",
	OtherGameUDP: "other_game_udp", OtherGameTCP: "other_game_tcp",
	TeamSpeak3: "teamspeak3", Mumble: "mumble", DiscordVoice: "discord_voice",
	StunTurn: "stun_turn", RTPVoIP: "rtp_voip", QUIC: "quic", WebTLS: "web_tls", WebHTTP: "web_http", VideoStream: "video_stream",
	DNS: "dns", NTP: "ntp", WireGuard: "wireguard", VPNOther: "vpn_other", P2P: "p2p",
	OtherUDP: "other_udp", OtherTCP: "other_tcp", L3Other: "l3_other",
	AmpReflection: "amp_reflection", TCPSynFlood: "tcp_synflood", TCPReflection: "tcp_reflection", Scan: "scan",
}

// Labels returns all of them, games first.
func Labels() []Label {
	all := make([]Label, 0, labels)
	for l := MinecraftJava; l < labels; l++ {
		all = append(all, l)
	}
	return append(all, UnknownUDP, UnknownTCP)
}

func (l Label) String() string {
	if l >= labels {
		return "unknown"
	}
	return labelNames[l]
}

// Plays reports whether the label is a game, or the voice that players talk by.
func (l Label) Plays() bool { return l >= MinecraftJava && l <= DiscordVoice }

// Known reports whether the label says anything.
func (l Label) Known() bool { return l != UnknownUDP && l != UnknownTCP }
