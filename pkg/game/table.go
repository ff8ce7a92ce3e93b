// SPDX-License-Identifier: Apache-2.0

package game

// sourceGNS tells the gate "source" that Steam networking begins on its port, too.
const sourceGNS = 1

// The table. What is open is shown to no gate unless the operator names one: Rust plays a RakNet of its own beside Source's
// queries, DarkPlaces and FiveM open otherwise than their relatives, Cube's engines answer pings that are no ENet, and of
// the others nobody has shown that they open as their engine does (Steam's relays, handshakes of their own).
//
// Families are those of the specification; a title is listed when its
// server can be run by anyone and its family, port and transport are well known.
// The ports of families are the ones their protocol is most often met at.

var families = [...]row{
	{name: "minecraft_java", family: "minecraft_java", class: ClassMMORPG, title: "Minecraft Java Edition", protos: "tcp", port: 25565},
	{name: "raknet", family: "raknet", class: ClassMMORPG, title: "RakNet (Minecraft Bedrock and relatives)", protos: "udp", port: 19132},
	{name: "source", family: "source", class: ClassFPS, title: "Source and GoldSrc engines", protos: "udp", port: 27015},
	{name: "quake3", family: "quake3", class: ClassFPS, title: "Quake III family (idTech 3)", protos: "udp", port: 27960},
	{name: "unreal", family: "unreal", class: ClassFPS, title: "Unreal Engine", protos: "udp", port: 7777},
	{name: "riot", family: "riot", class: ClassFPS, title: "Riot (Valorant)", protos: "udp", port: 7194},
	{name: "steam_sdr", family: "steam_sdr", class: ClassFPS, title: "Steam networking and datagram relay", protos: "udp", port: 27015},
	{name: "enet", family: "enet", class: ClassMMORPG, title: "ENet", protos: "udp"},
	{name: "photon", family: "photon", class: ClassMMORPG, title: "Photon", protos: "udp", port: 5055},
	{name: "teamspeak3", family: "teamspeak3", class: ClassMMORPG, title: "TeamSpeak 3", protos: "udp", port: 9987},
	{name: "mumble", family: "mumble", class: ClassMMORPG, title: "Mumble", protos: "udp tcp", port: 64738},
	{name: "stun_turn", family: "stun_turn", class: ClassMMORPG, title: "STUN and TURN", protos: "udp", port: 3478},
	{name: "wireguard", family: "wireguard", class: ClassMMORPG, title: "WireGuard", protos: "udp", port: 51820},
	{name: "quic", family: "quic", class: ClassMMORPG, title: "QUIC", protos: "udp", port: 443},
	{name: "generic_udp", family: "generic_udp", class: ClassMMORPG, title: "Any game over UDP", protos: "udp"},
	{name: "generic_tcp", family: "generic_tcp", class: ClassMMORPG, title: "Any game over TCP", protos: "tcp"},
	{name: Auto, family: Auto, class: ClassMMORPG, title: "Named from its traffic"},
}

var titles = [...]row{
	// Minecraft
	{name: "minecraft", family: "minecraft_java", class: ClassMMORPG, title: "Minecraft Java Edition", protos: "tcp", port: 25565,
		aliases: []string{"mc", "minecraft-java", "paper", "spigot", "velocity", "bungeecord"}},
	{name: "bedrock", family: "raknet", class: ClassMMORPG, title: "Minecraft Bedrock Edition", protos: "udp", port: 19132,
		aliases: []string{"minecraft_bedrock", "minecraft-bedrock", "pocketmine", "geyser", "nukkit"}},

	// Source and GoldSrc
	{name: "cs2", family: "source", class: ClassFPS, title: "Counter-Strike 2", protos: "udp", port: 27015, params: []uint64{sourceGNS}},
	{name: "csgo", family: "source", class: ClassFPS, title: "Counter-Strike: Global Offensive", protos: "udp", port: 27015},
	{name: "css", family: "source", class: ClassFPS, title: "Counter-Strike: Source", protos: "udp", port: 27015},
	{name: "cs16", family: "source", class: ClassFPS, title: "Counter-Strike 1.6", protos: "udp", port: 27015},
	{name: "tf2", family: "source", class: ClassFPS, title: "Team Fortress 2", protos: "udp", port: 27015},
	{name: "gmod", family: "source", class: ClassFPS, title: "Garry's Mod", protos: "udp", port: 27015, aliases: []string{"garrysmod"}},
	{name: "l4d2", family: "source", class: ClassFPS, title: "Left 4 Dead 2", protos: "udp", port: 27015, aliases: []string{"left4dead2"}},
	{name: "hl2dm", family: "source", class: ClassFPS, title: "Half-Life 2: Deathmatch", protos: "udp", port: 27015},
	{name: "rust", family: "source", class: ClassFPS, title: "Rust", protos: "udp", port: 28015, query: 28017, open: true},
	{name: "apex", family: "source", class: ClassFPS, title: "Apex Legends", protos: "udp", port: 37015, open: true},
	{name: "dota2", family: "source", class: ClassMOBA, title: "Dota 2", protos: "udp", port: 27015, params: []uint64{sourceGNS}},

	// Quake III family
	{name: "openarena", family: "quake3", class: ClassFPS, title: "OpenArena", protos: "udp", port: 27960, legacy: true},
	{name: "ioquake3", family: "quake3", class: ClassFPS, title: "ioquake3 / Quake III Arena", protos: "udp", port: 27960, aliases: []string{"quake3arena", "q3a"}},
	{name: "urbanterror", family: "quake3", class: ClassFPS, title: "Urban Terror", protos: "udp", port: 27960, aliases: []string{"urt"}, legacy: true},
	{name: "xonotic", family: "quake3", class: ClassFPS, title: "Xonotic", protos: "udp", port: 26000, open: true},
	{name: "cod4", family: "quake3", class: ClassFPS, title: "Call of Duty 4", protos: "udp", port: 28960, legacy: true},
	{name: "cod2", family: "quake3", class: ClassFPS, title: "Call of Duty 2", protos: "udp", port: 28960, legacy: true},
	{name: "et", family: "quake3", class: ClassFPS, title: "Wolfenstein: Enemy Territory", protos: "udp", port: 27960, aliases: []string{"etlegacy"}, legacy: true},
	{name: "rtcw", family: "quake3", class: ClassFPS, title: "Return to Castle Wolfenstein", protos: "udp", port: 27960, legacy: true},
	{name: "jedi_academy", family: "quake3", class: ClassFPS, title: "Jedi Academy", protos: "udp", port: 29070, legacy: true},

	// Unreal Engine and Riot
	{name: "fortnite", family: "unreal", class: ClassFPS, title: "Fortnite", protos: "udp", port: 9000},
	{name: "ark", family: "unreal", class: ClassMMORPG, title: "ARK: Survival", protos: "udp", port: 7777, query: 27015, open: true},
	{name: "satisfactory", family: "unreal", class: ClassMMORPG, title: "Satisfactory", protos: "udp tcp", port: 7777},
	{name: "palworld", family: "unreal", class: ClassMMORPG, title: "Palworld", protos: "udp", port: 8211, open: true},
	{name: "squad", family: "unreal", class: ClassFPS, title: "Squad", protos: "udp", port: 7787, query: 27165, open: true},
	{name: "valorant", family: "riot", class: ClassFPS, title: "Valorant", protos: "udp", port: 7194},
	{name: "league_of_legends", family: "riot", class: ClassMOBA, title: "League of Legends", protos: "udp", port: 5000, aliases: []string{"lol"}},

	// ENet
	{name: "fivem", family: "enet", class: ClassMMORPG, title: "FiveM", protos: "udp tcp", port: 30120, aliases: []string{"redm"}, open: true},
	{name: "sauerbraten", family: "enet", class: ClassFPS, title: "Cube 2: Sauerbraten", protos: "udp", port: 28785, aliases: []string{"cube2"}, open: true},
	{name: "assaultcube", family: "enet", class: ClassFPS, title: "AssaultCube", protos: "udp", port: 28763, open: true},
	{name: "0ad", family: "enet", class: ClassRTS, title: "0 A.D.", protos: "udp", port: 20595},
	{name: "godot", family: "enet", class: ClassMMORPG, title: "Godot high-level multiplayer", protos: "udp"},
	{name: "warthunder", family: "enet", class: ClassFPS, title: "War Thunder", protos: "udp", port: 20011},

	// Voice
	{name: "ts3", family: "teamspeak3", class: ClassMMORPG, title: "TeamSpeak 3", protos: "udp", port: 9987, aliases: []string{"teamspeak"}},
	{name: "murmur", family: "mumble", class: ClassMMORPG, title: "Mumble server", protos: "udp tcp", port: 64738},

	// Protocols of their own
	{name: "luanti", family: "generic_udp", class: ClassMMORPG, title: "Luanti (Minetest)", protos: "udp", port: 30000, aliases: []string{"minetest"}},
	{name: "ddnet", family: "generic_udp", class: ClassFPS, title: "DDraceNetwork", protos: "udp", port: 8303},
	{name: "teeworlds", family: "generic_udp", class: ClassFPS, title: "Teeworlds", protos: "udp", port: 8303},
	{name: "factorio", family: "generic_udp", class: ClassRTS, title: "Factorio", protos: "udp", port: 34197},
	{name: "valheim", family: "generic_udp", class: ClassMMORPG, title: "Valheim", protos: "udp", port: 2456, query: 2457},
	{name: "samp", family: "generic_udp", class: ClassMMORPG, title: "San Andreas Multiplayer", protos: "udp", port: 7777, aliases: []string{"openmp"}},
	{name: "openttd", family: "generic_tcp", class: ClassRTS, title: "OpenTTD", protos: "tcp udp", port: 3979},
	{name: "terraria", family: "generic_tcp", class: ClassMMORPG, title: "Terraria", protos: "tcp", port: 7777, aliases: []string{"tshock"}},
	{name: "openra", family: "generic_tcp", class: ClassRTS, title: "OpenRA", protos: "tcp", port: 1234},
	{name: "warzone2100", family: "generic_tcp", class: ClassRTS, title: "Warzone 2100", protos: "tcp", port: 2100},
}

// wires is what gates and limits know of families. A most of 0 is none. Rates: cl_maxpackets is 125 at most in Quake III (ioquake/ioq3), a
// command rate of Source 128; of ENet, Unreal and Riot a packet a frame of clients that draw 128 a second. Java and Bedrock tick 20 times
// a second: the rest are actions, what is sent again, and acknowledgements, of RakNet one in 10 ms at most. Voice: 100 frames a second, and what keeps it alive.
var wires = [...]wire{
	{family: "minecraft_java", gate: "minecraft_java", proof: ProofStrong, first: Bounds{Min: 1}, rate: 100},
	{family: "raknet", gate: "raknet", proof: ProofStrong, first: Bounds{33, 1492}, payload: 1464, rate: 128},
	{family: "source", gate: "source", proof: ProofStrong, first: Bounds{Min: 5}, rate: 128},
	{family: "quake3", gate: "quake3", proof: ProofNetchan, first: Bounds{11, 1399}, payload: 1400, rate: 125},
	{family: "unreal", gate: "unreal", proof: ProofWeak, first: Bounds{29, 64}, rate: 128},
	{family: "riot", proof: ProofWeak, rate: 128},
	{family: "steam_sdr", gate: "steam_sdr", proof: ProofWeak, first: Bounds{100, 1300}, payload: 1300, rate: 128},
	{family: "enet", gate: "enet", proof: ProofWeak, first: Bounds{52, 56}, payload: 4096, rate: 128},
	{family: "photon", gate: "photon", proof: ProofWeak, first: Bounds{56, 56}},
	{family: "teamspeak3", gate: "teamspeak3", proof: ProofWeak, first: Bounds{34, 34}, rate: 120},
	{family: "mumble", gate: "mumble", proof: ProofWeak, first: Bounds{6, 1024}, payload: 1024, rate: 120},
	{family: "stun_turn", gate: "stun", proof: ProofWeak, first: Bounds{20, 1300}},
	{family: "wireguard", gate: "wireguard", proof: ProofWeak, first: Bounds{148, 148}},
	{family: "quic", gate: "quic", proof: ProofWeak, first: Bounds{Min: 1200}},
	{family: "generic_udp", proof: ProofWeak},
	{family: "generic_tcp", proof: ProofStrong},
}
