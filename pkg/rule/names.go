// SPDX-License-Identifier: Apache-2.0

package rule

// layers by the word that begins a byte test or names a protocol.
func layers() map[string]layer {
	return map[string]layer{"ip": layerIP, "ip6": layerIP6, "tcp": layerTCP, "udp": layerUDP, "icmp": layerICMP, "icmp6": layerICMP6}
}

// numbers that have names: fields and values of TCP and ICMP.
func numbers() map[string]uint32 {
	return map[string]uint32{
		"tcpflags": 13, "tcp-fin": 0x01, "tcp-syn": 0x02, "tcp-rst": 0x04, "tcp-push": 0x08, "tcp-ack": 0x10, "tcp-urg": 0x20, "tcp-ece": 0x40, "tcp-cwr": 0x80,
		"icmptype": 0, "icmpcode": 1, "icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8,
		"icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12, "icmp-tstamp": 13, "icmp-tstampreply": 14,
		"icmp-ireq": 15, "icmp-ireqreply": 16, "icmp-maskreq": 17, "icmp-maskreply": 18,
		"icmp6type": 0, "icmp6code": 1, "icmp6-destinationunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3, "icmp6-parameterproblem": 4,
		"icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-routersolicit": 133, "icmp6-routeradvert": 134, "icmp6-neighborsolicit": 135,
		"icmp6-neighboradvert": 136, "icmp6-redirect": 137,
	}
}

// foreign are words of tcpdump's that rules have no use for, and why.
func foreign() map[string]string {
	const link, elsewhere = "rules see no link header", "rules see packets of services alone"
	return map[string]string{
		"ether": link, "link": link, "vlan": link + ": a tagged frame is judged by the IP packet in it", "mpls": link, "pppoes": link, "pppoed": link, "llc": link,
		"arp": elsewhere, "rarp": elsewhere, "sctp": elsewhere, "igmp": elsewhere, "esp": elsewhere, "ah": elsewhere, "pim": elsewhere, "vrrp": elsewhere,
		"broadcast": elsewhere, "multicast": elsewhere, "gateway": elsewhere, "inbound": elsewhere, "outbound": elsewhere, "ifname": elsewhere,
		"protochain": "it would loop; ip6[6] is the first next header",
	}
}

// keywords are all words that mean something, for the nearest of them.
func keywords() []string {
	words := []string{"and", "or", "not", "src", "dst", "host", "net", "port", "portrange", "proto", "mask", "len", "length", "less", "greater"}
	for w := range layers() {
		words = append(words, w)
	}
	for w := range numbers() {
		words = append(words, w)
	}
	return words
}
