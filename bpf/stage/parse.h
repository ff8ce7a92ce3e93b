/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is this packet? Ethernet, up to two VLAN tags, IPv4 with options, IPv6 with extension headers, TCP, UDP,
 * ICMP. Damage is noted in pkt.reason with whatever was readable up to there: whether it is dropped depends on
 * whom it is for (stage/host.h). Header checksums are not verified: NICs do that, and forwarding by difference
 * keeps a wrong checksum wrong for the receiver to see.
 */
#pragma once

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>

#include "../lib/pkt.h"

#define EXTENSIONS_MAX 6 /* RFC 8200 4.1 lists seven headers, the last two of which may not meet */
#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff

#define NEXTHDR_HOP 0
#define NEXTHDR_ROUTING 43
#define NEXTHDR_FRAGMENT 44
#define NEXTHDR_AUTH 51
#define NEXTHDR_DEST 60

struct vlan_hdr {
	__be16 tci;
	__be16 proto;
};

struct ext_hdr {
	__u8 next;
	__u8 len;
	__u8 type;
	__u8 left;
};

struct frag_hdr {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

static __always_inline int damaged(struct pkt *p, enum drop_reason reason)
{
	p->reason = reason;
	return -1;
}

static __always_inline bool is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

/* Sets l3 and tags; returns the protocol as on the wire, -1 where the frame ends too early or has too many tags. */
static __always_inline int parse_ethernet(struct pkt *p, void *data, void *end)
{
	struct ethhdr *eth = data;
	__be16 proto;

	if ((void *)(eth + 1) > end)
		return -1;
	proto = eth->h_proto;
	p->l3 = sizeof(*eth);
	for (int i = 0; i < LINK_TAGS_MAX && is_vlan(proto); i++) {
		struct vlan_hdr *tag = data + p->l3;

		if ((void *)(tag + 1) > end)
			return -1;
		proto = tag->proto;
		p->l3 += sizeof(*tag);
		p->tags++;
	}
	return is_vlan(proto) ? -1 : proto;
}

/* A fragment's place in its datagram: offset in bytes, length of this part, more to come. */
static __always_inline int parse_fragment(struct pkt *p, __u32 offset, __u32 len, bool more)
{
	__u32 header = p->proto == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);

	p->frag = offset ? FRAG_LATER : FRAG_FIRST;
	if (offset + len > 65535 || (more && len & 7) || !len)
		return damaged(p, DROP_REASON_BAD_FRAGMENT);
	if (offset < header && (offset || len < header)) /* RFC 1858, RFC 3128: no part of an L4 header is late */
		return damaged(p, DROP_REASON_BAD_FRAGMENT);
	return 0;
}

static __always_inline int parse_ipv4(struct pkt *p, void *data, void *end)
{
	struct iphdr *ip = data + p->l3;
	__u32 header, total;
	__u16 off;

	if ((void *)(ip + 1) > end)
		return damaged(p, DROP_REASON_BAD_IPV4);
	p->family = 4;
	p->proto = ip->protocol;
	p->ttl = ip->ttl;
	*(__u32 *)p->src = ip->saddr;
	*(__u32 *)p->dst = ip->daddr;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || total < header || p->l3 + total > p->len)
		return damaged(p, DROP_REASON_BAD_IPV4);
	p->l3_len = total;
	p->l4 = p->l3 + header;
	off = bpf_ntohs(ip->frag_off);
	if (off & (IP_MF | IP_OFFSET)) {
		p->frag_id = ip->id;
		return parse_fragment(p, (off & IP_OFFSET) * 8, total - header, off & IP_MF);
	}
	return 0;
}

static __always_inline bool is_extension(__u8 proto)
{
	return proto == NEXTHDR_HOP || proto == NEXTHDR_ROUTING || proto == NEXTHDR_DEST || proto == NEXTHDR_AUTH ||
	       proto == NEXTHDR_FRAGMENT;
}

/* Walks the extension headers. `rest` = bytes of payload not yet walked. */
static __always_inline int parse_extensions(struct pkt *p, void *data, void *end, __u32 rest)
{
	__u32 at = p->l4, size;

	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		struct ext_hdr *h;

		if (!is_extension(p->proto))
			break;
		if (at > L4_MAX) /* the verifier needs the bound beside the access */
			return damaged(p, DROP_REASON_BAD_EXTENSION);
		h = data + at;
		if ((void *)h + sizeof(struct frag_hdr) > end)
			return damaged(p, DROP_REASON_BAD_EXTENSION);
		if (p->proto == NEXTHDR_ROUTING && h->left)
			return damaged(p, DROP_REASON_BAD_EXTENSION);
		size = p->proto == NEXTHDR_AUTH ? (h->len + 2) * 4 : (h->len + 1) * 8;
		if (p->proto == NEXTHDR_FRAGMENT) {
			struct frag_hdr *f = (void *)h;
			__u32 off = bpf_ntohs(f->offset);

			size = sizeof(*f);
			if (size > rest)
				return damaged(p, DROP_REASON_BAD_EXTENSION);
			p->proto = f->next;
			p->l4 = at + size;
			if (off & ~6) { /* an atomic fragment (RFC 6946) is none */
				if (p->l4 > L4_MAX)
					return damaged(p, DROP_REASON_BAD_EXTENSION);
				p->frag_id = f->id;
				return parse_fragment(p, off & ~7, rest - size, off & 1);
			}
		} else {
			p->proto = h->next;
		}
		if (size > rest)
			return damaged(p, DROP_REASON_BAD_EXTENSION);
		rest -= size;
		at += size;
	}
	if (at > L4_MAX || is_extension(p->proto))
		return damaged(p, DROP_REASON_BAD_EXTENSION);
	p->l4 = at;
	return 0;
}

static __always_inline int parse_ipv6(struct pkt *p, void *data, void *end)
{
	struct ipv6hdr *ip = data + p->l3;
	__u32 payload;

	if ((void *)(ip + 1) > end)
		return damaged(p, DROP_REASON_BAD_IPV6);
	p->family = 6;
	p->proto = ip->nexthdr;
	p->ttl = ip->hop_limit;
	__builtin_memcpy(p->src, &ip->saddr, 16);
	__builtin_memcpy(p->dst, &ip->daddr, 16);
	payload = bpf_ntohs(ip->payload_len);
	if (ip->version != 6 || !payload || p->l3 + sizeof(*ip) + payload > p->len)
		return damaged(p, DROP_REASON_BAD_IPV6);
	p->l3_len = payload + sizeof(*ip);
	p->l4 = p->l3 + sizeof(*ip);
	if (p->proto == IPPROTO_UDP || p->proto == IPPROTO_TCP || p->proto == IPPROTO_ICMPV6)
		return 0;
	return parse_extensions(p, data, end, payload);
}

static __always_inline int parse_udp(struct pkt *p, void *data, void *end, __u32 rest)
{
	struct udphdr *udp = data + p->l4;
	__u32 len;

	if ((void *)(udp + 1) > end || rest < sizeof(*udp))
		return damaged(p, DROP_REASON_BAD_UDP);
	p->sport = udp->source;
	p->dport = udp->dest;
	len = bpf_ntohs(udp->len);
	p->whole = len;
	if (len < sizeof(*udp) || (p->frag == FRAG_NONE && len > rest) || (p->family == 6 && !udp->check))
		return damaged(p, DROP_REASON_BAD_UDP);
	return 0;
}

static __always_inline int parse_tcp(struct pkt *p, void *data, void *end, __u32 rest)
{
	struct tcphdr *tcp = data + p->l4;
	__u32 header;

	if ((void *)(tcp + 1) > end || rest < sizeof(*tcp))
		return damaged(p, DROP_REASON_BAD_TCP);
	p->sport = tcp->source;
	p->dport = tcp->dest;
	p->tcp = ((__u8 *)tcp)[13];
	header = tcp->doff * 4;
	if (header < sizeof(*tcp))
		return damaged(p, DROP_REASON_BAD_TCP);
	if (header > rest) /* no part of it is late */
		return damaged(p, p->frag ? DROP_REASON_BAD_FRAGMENT : DROP_REASON_BAD_TCP);
	return 0;
}

static __always_inline int parse_icmp(struct pkt *p, void *data, void *end, __u32 rest)
{
	if (rest < 8 || data + p->l4 + 8 > end)
		return damaged(p, DROP_REASON_BAD_ICMP);
	return 0;
}

/* Fills p; returns 0, or -1 with p->reason. A frame that is not IP has family 0. */
static __always_inline int parse(struct pkt *p, void *data, void *end)
{
	int err = 0, proto = parse_ethernet(p, data, end);
	__u32 rest;

	if (proto == bpf_htons(ETH_P_IP))
		err = parse_ipv4(p, data, end);
	else if (proto == bpf_htons(ETH_P_IPV6))
		err = parse_ipv6(p, data, end);
	else if (proto < 0)
		return damaged(p, DROP_REASON_BAD_ETHERNET);
	else
		return 0;
	if (err)
		return err;
	if (p->frag == FRAG_LATER)
		return 0;
	rest = p->l3_len - (p->l4 - p->l3);
	if (p->proto == IPPROTO_UDP)
		return parse_udp(p, data, end, rest);
	if (p->proto == IPPROTO_TCP)
		return parse_tcp(p, data, end, rest);
	if (p->proto == (p->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return parse_icmp(p, data, end, rest);
	return 0;
}
