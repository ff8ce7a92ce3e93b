// SPDX-License-Identifier: Apache-2.0

package survey

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"parry/pkg/sockets"
)

// named is a game that the configuration knows, and what it is called where that is another.
type named struct{ game, title string }

// programs tells games by what runs: the program's name, its arguments, the image of its container; in lower case. The first
// that fits counts.
var programs = []struct {
	pattern *regexp.Regexp
	named
}{
	{word(`bedrock[_-]server|minecraft-bedrock-server|pocketmine\S*|nukkit\S*|geyser\S*`), named{game: "bedrock"}},
	{word(`(srcds\S*|hlds\S*).* -game cstrike`), named{game: "css"}},
	{word(`srcds\S*.* -game csgo`), named{game: "csgo"}},
	{word(`srcds\S*.* -game garrysmod`), named{game: "gmod"}},
	{word(`srcds\S*.* -game tf`), named{game: "tf2"}},
	{word(`srcds\S*.* -game left4dead2`), named{game: "l4d2"}},
	{word(`srcds\S*.* -game hl2mp`), named{game: "hl2dm"}},
	{word(`hlds\S*`), named{game: "cs16"}},
	{word(`srcds\S*`), named{game: "source"}},
	{word(`cs2|cs2-\S+`), named{game: "cs2"}},
	{word(`dota2?`), named{game: "dota2"}},
	{word(`rustdedicated\S*`), named{game: "rust"}},
	{word(`valheim\S*`), named{game: "valheim"}},
	{word(`shootergame\S*|arkascended\S*`), named{game: "ark"}},
	{word(`palserver\S*|palworld\S*`), named{game: "palworld"}},
	{word(`squadgame\S*`), named{game: "squad"}},
	{word(`factoryserver\S*|satisfactory\S*`), named{game: "satisfactory"}},
	{word(`factorio\S*`), named{game: "factorio"}},
	{word(`terrariaserver\S*|tshock\S*|terraria\S*`), named{game: "terraria"}},
	{word(`oa_ded\S*|openarena\S*`), named{game: "openarena"}},
	{word(`quake3-urt\S*|urbanterror\S*`), named{game: "urbanterror"}},
	{word(`ioq3ded\S*|ioquake3\S*|q3ded\S*`), named{game: "ioquake3"}},
	{word(`xonotic\S*|darkplaces\S*`), named{game: "xonotic"}},
	{word(`cod4\S*`), named{game: "cod4"}},
	{word(`cod2\S*`), named{game: "cod2"}},
	{word(`etlded\S*|etded\S*`), named{game: "et"}},
	{word(`jampded\S*|openjkded\S*`), named{game: "jedi_academy"}},
	{word(`fxserver\S*|redm|fivem\S*`), named{game: "fivem"}},
	{word(`samp03svr\S*|omp-server\S*`), named{game: "samp"}},
	{word(`ts3server\S*|teamspeak3?`), named{game: "ts3"}},
	{word(`murmurd?|mumble-server\S*`), named{game: "murmur"}},
	{word(`luanti\S*|minetest\S*`), named{game: "luanti"}},
	{word(`ddnet\S*`), named{game: "ddnet"}},
	{word(`teeworlds\S*`), named{game: "teeworlds"}},
	{word(`openttd\S*`), named{game: "openttd"}},
	{word(`openra\S*`), named{game: "openra"}},
	{word(`warzone2100\S*`), named{game: "warzone2100"}},
	{word(`pyrogenesis\S*|0ad`), named{game: "0ad"}},
	{word(`sauer_server\S*|sauerbraten\S*`), named{game: "sauerbraten"}},
	{word(`ac_server\S*|assaultcube\S*`), named{game: "assaultcube"}},
	{word(`turnserver|coturn`), named{game: "stun_turn"}},
	{word(`7daystodie\S*`), named{"generic_udp", "7 Days to Die"}},
	{word(`projectzomboid\S*|zomboid\S*`), named{"generic_udp", "Project Zomboid"}},
	{word(`dayzserver\S*`), named{"generic_udp", "DayZ"}},
	{word(`arma3server\S*`), named{"generic_udp", "Arma 3"}},
	{word(`unturned\S*`), named{"generic_udp", "Unturned"}},
	{word(`conansandboxserver\S*`), named{"generic_udp", "Conan Exiles"}},
	{word(`vrisingserver\S*`), named{"generic_udp", "V Rising"}},
	{word(`enshrouded\S*`), named{"generic_udp", "Enshrouded"}},
	{word(`dontstarve_dedicated\S*`), named{"generic_udp", "Don't Starve Together"}},
	{word(`(java|jre|openjdk).*(paper|spigot|bukkit|purpur|folia|velocity|bungeecord|waterfall|forge|fabric|quilt|minecraft|server\.jar)\S*`), named{game: "minecraft"}},
	{word(`minecraft\S*`), named{game: "minecraft"}},
}

// word finds a pattern at the begin of a word, or of a path's last part.
func word(pattern string) *regexp.Regexp {
	return regexp.MustCompile(`(?:^|[\s/\\])(?:` + pattern + `)(?:$|[\s:/\\])`)
}

// systems are programs that no player connects to, by the begin of their names; with $ by all of it.
var systems = []struct{ prefix, what string }{
	{"sshd", "ssh"}, {"dropbear", "ssh"}, {"systemd", "the system"}, {"dhclient", "the system"}, {"dhcpcd", "the system"}, {"networkmanager", "the system"},
	{"chronyd", "time"}, {"ntpd", "time"}, {"ntpsec", "time"}, {"avahi", "the system"}, {"cupsd", "printing"}, {"rpcbind", "the system"}, {"rpc.", "the system"},
	{"named$", "names"}, {"dnsmasq", "names"}, {"unbound", "names"}, {"pdns", "names"},
	{"mysqld", "a database"}, {"mariadbd", "a database"}, {"postgres", "a database"}, {"redis", "a database"}, {"mongod", "a database"}, {"memcached", "a database"},
	{"nginx", "a web server"}, {"apache", "a web server"}, {"httpd", "a web server"}, {"caddy", "a web server"}, {"haproxy", "a web server"}, {"traefik", "a web server"},
	{"php", "a web server"}, {"lighttpd", "a web server"}, {"exim", "mail"}, {"master$", "mail"}, {"smtpd", "mail"}, {"dovecot", "mail"}, {"sendmail", "mail"},
	{"proftpd", "file transfer"}, {"vsftpd", "file transfer"}, {"pure-ftpd", "file transfer"}, {"smbd", "file transfer"}, {"nmbd", "file transfer"}, {"rsync", "file transfer"},
	{"dockerd", "containers"}, {"containerd", "containers"}, {"wings", "a panel"}, {"pterodactyl", "a panel"}, {"ampinstmgr", "a panel"}, {"cockpit", "a panel"},
	{"node_exporter", "monitoring"}, {"prometheus", "monitoring"}, {"grafana", "monitoring"}, {"zabbix", "monitoring"}, {"telegraf", "monitoring"}, {"snmpd", "monitoring"},
	{"netdata", "monitoring"}, {"tailscaled", "a tunnel"}, {"openvpn", "a tunnel"}, {"parry$", "parry itself"},
}

// adminPorts are for nobody but the owner, whatever listens there.
var adminPorts = map[uint16]string{22: "ssh", 23: "telnet", 3389: "remote desktop", 5900: "remote desktop", 10000: "a panel", 25575: "Minecraft's RCON"}

// webPorts are no game's unless its program says so.
var webPorts = map[uint16]string{80: "the web", 443: "the web", 53: "names", 67: "the system", 68: "the system", 123: "time", 546: "the system", 5353: "the system", 5355: "the system"}

// gameOf tells a game by a subject.
func gameOf(subject string) (named, bool) {
	for _, p := range programs {
		if p.pattern.MatchString(subject) {
			return p.named, true
		}
	}
	return named{}, false
}

// systemOf tells what a program is that is no game.
func systemOf(process string) (string, bool) {
	process = strings.ToLower(process)
	for _, s := range systems {
		if whole, exact := strings.CutSuffix(s.prefix, "$"); exact && process == whole || !exact && strings.HasPrefix(process, s.prefix) {
			return s.what, true
		}
	}
	return "", false
}

// subject is what a process is told by: its name, its program and its arguments. Paths on the way to a file would name games by the
// folders they lie in, which is right for what starts there.
func subject(p *sockets.Process) string {
	words := []string{p.Name, filepath.Base(p.Exe)}
	for _, a := range p.Args {
		words = append(words, filepath.Base(a))
	}
	return strings.ToLower(strings.Join(words, " "))
}

// numbers are those of a command line that may be ports: `+port 27016`, `-port=27016`, `0.0.0.0:27016`.
func numbers(args []string) []uint16 {
	var all []uint16
	for _, a := range args {
		for _, digits := range strings.FieldsFunc(a, func(r rune) bool { return r < '0' || r > '9' }) {
			if n, err := strconv.ParseUint(digits, 10, 16); err == nil && n > 0 {
				all = append(all, uint16(n))
			}
		}
	}
	return all
}

func isSSH(l Listener) bool {
	what, ok := systemOf(l.Process)
	return ok && what == "ssh" || l.Process == "systemd" && l.Port == 22
}
