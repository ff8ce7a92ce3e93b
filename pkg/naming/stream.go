// SPDX-License-Identifier: Apache-2.0

package naming

// Well-known protocols over TCP, by how their specifications let them begin. They are here so that they are not taken for games.
var streamRules = [...]rule{
	{OtherTCP, 85, "how a well-known protocol over TCP begins", func(p *packet) bool { return beginsWith(p, streamBegins[:]) }},
	{OtherTCP, 80, "MySQL's greeting, as long as it says", mysqlGreeting},
	{OtherTCP, 75, "LDAP or Kerberos", berStream},
	{OtherTCP, 80, "a TPKT as long as it says (RDP, S7, H.323)", func(p *packet) bool { return p.is(0, "\x03\x00") && int(p.be16(2)) == p.n && p.n >= 7 }},
	{OtherTCP, 80, "PostgreSQL begins", func(p *packet) bool {
		return int(p.be32(0)) == p.n && (p.be32(4) == 0x30000 || p.be32(4) == 80877103 || p.be32(4) == 80877102)
	}},
	{P2P, 97, "BitTorrent's handshake", func(p *packet) bool { return p.is(0, "\x13BitTorrent protocol") }},
	{P2P, 95, "Monero's Levin", func(p *packet) bool { return p.is(0, "\x01\x21\x01\x01\x01\x01\x01\x01") }},
	{VPNOther, 90, "PPTP's magic", func(p *packet) bool { return p.be32(4) == 0x1a2b3c4d && int(p.be16(0)) == p.n }},
	{VPNOther, 85, "OpenVPN's reset over TCP", func(p *packet) bool { return int(p.be16(0)) == p.n-2 && openVPN(p, 2) }},
	{DNS, 90, "DNS over TCP", func(p *packet) bool { return int(p.be16(0)) == p.n-2 && dnsMessage(p, 2) }},
	{StunTurn, 95, "STUN over TCP: its cookie and length", stunMessage},
	{RTPVoIP, 90, "SIP over TCP", sip},
}

// begin is a text, and where it stands.
type begin struct {
	at   int
	text string
}

var streamBegins = [...]begin{
	{0, "SSH-"}, {0, "220 "}, {0, "220-"}, {0, "+OK"}, {0, "* OK"}, {0, "EHLO "}, {0, "HELO "}, {0, "USER "}, {0, "NICK "}, {0, "@RSYNCD"},
	{4, "\xffSMB"}, {4, "\xfeSMB"}, {0, "AMQP"}, {0, "<?xml"}, {0, "<stream:"}, {0, "ZBXD"}, {0, `{"`}, {0, "# munin"}, {4, "MQTT"}, {4, "MQIsdp"},
	{0, "\x05\x64"}, {0, "CONNECT\n"}, {0, "git-upload"}, {4, "git-upload-pack "}, {0, "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f"}, {0, "DHIP"}, {0, "RFB 00"},
	{0, "stats\r\n"}, {0, "get "}, {0, "*1\r\n$"}, {0, "*2\r\n$"}, {0, "*3\r\n$"}, {0, "MSH|"}, {0, "\x0bMSH|"}, {0, "\x00REQ"}, {0, "\x00RES"}, {0, "ICY "},
}

func beginsWith(p *packet, table []begin) bool {
	for i := range table {
		if p.is(table[i].at, table[i].text) {
			return true
		}
	}
	return false
}

// mysqlGreeting: three bytes of length, number 0, version 10 and a text.
func mysqlGreeting(p *packet) bool {
	return int(p.le32(0)&0xffffff) == p.n-4 && p.u8(3) == 0 && p.u8(4) == 10 && p.u8(5) >= '3' && p.u8(5) <= '9'
}

// berStream: a sequence and a number (LDAP), or a length and an application's tag (Kerberos).
func berStream(p *packet) bool {
	if at := p.ber(0, 0x30); at > 0 && p.u8(at) == 2 && p.u8(at+1) >= 1 && p.u8(at+1) <= 4 {
		return p.u8(at+2+int(p.u8(at+1)))>>5 == 3
	}
	return int(p.be32(0)) == p.n-4 && p.n > 40 && p.ber(4, p.u8(4)) > 0 && p.u8(4) >= 0x6a && p.u8(4) <= 0x7e
}
