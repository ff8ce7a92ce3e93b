// SPDX-License-Identifier: Apache-2.0

package naming

import "bytes"

// Peers. Sources: BEP 5 (DHT), BEP 15 (trackers over UDP), BEP 29 (uTP); docs.syncthing.net "Local Discovery".
var peerRules = [...]rule{
	{P2P, 90, "a message of BitTorrent's DHT", bitTorrentDHT},
	{P2P, 95, "BitTorrent asks a tracker", func(p *packet) bool { return p.n == 16 && p.is(0, "\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00") }},
	{P2P, 55, "what uTP's SYN looks like", utpSyn},
	{P2P, 95, "Syncthing's discovery", func(p *packet) bool { return p.be32(0) == 0x2ea7d90b }},
}

// bitTorrentDHT: a dictionary that says what kind of message it is.
func bitTorrentDHT(p *packet) bool {
	return (p.is(0, "d1:") || p.is(0, "d2:")) && (bytes.Contains(p.b, []byte("1:y1:")) || bytes.Contains(p.b, []byte("4:nodes")) || p.cut())
}

// utpSyn: type 4 of version 1, no extension but selective acknowledgement, and number 1: 20 bytes.
func utpSyn(p *packet) bool {
	return p.u8(0) == 0x41 && p.u8(1) <= 2 && p.be16(16) == 1 && p.be16(18) == 0 && p.n >= 20 && p.n <= 34
}
