/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is this a reflector's answer, sent to a victim whose address somebody forged? Told by the service's source port and the shape that
 * its answers have, both: a player behind a NAT can have any port (US-CERT TA14-017A; shapes as captured, protocols of RFC 1035, 5905,
 * 4511, 1157, 7252).
 */
#pragma once

#include "gate.h"

#define SHAPE_BYTES 8

/* The first bytes of a stranger's payload, in the order of the wire. */
static __always_inline bool reflected(__be16 port, __u64 head, __u32 length)
{
	__u8 first = head >> 56, second = head >> 48;

	switch (bpf_ntohs(port)) {
	case 53: /* DNS: a response (QR), of a size that no question has */
	case 5353:
		return length >= 12 && (head >> 40 & 0x80);
	case 123: /* NTP: mode 7 and 6, responses */
		return (first & 7) == 7 ? first & 0x80 : (first & 7) == 6 && second & 0x80;
	case 389: /* CLDAP, SNMP: BER sequences */
	case 161:
		return first == 0x30 && length >= 20;
	case 1900: /* SSDP */
		return head >> 32 == 0x48545450; /* HTTP */
	case 11211: /* memcached: its frame header's last two bytes are zero */
		return length >= 8 && !(head & 0xffff);
	case 19: /* CHARGEN, QOTD */
	case 17:
		return length >= 64;
	case 111: /* portmap: an RPC reply */
		return length >= 24 && (__u32)head == 1;
	case 137: /* NetBIOS: a response */
		return length >= 50 && (head >> 40 & 0x80);
	case 520: /* RIPv1: a response */
		return first == 2 && length >= 24;
	case 3283: /* Apple remote desktop */
		return length >= 1000;
	case 3702: /* WS-Discovery */
		return head >> 40 == 0x3c3f78 || head >> 40 == 0x3c534f; /* <?x, <SO */
	case 5683: /* CoAP: version 1, a response */
		return (first & 0xc0) == 0x40 && second >= 0x40 && second < 0xc0;
	case 37810: /* DVR: DHIP */
		return head >> 32 == 0x20000000 && (__u32)head == 0x44484950;
	case 47808: /* BACnet */
		return first == 0x81 && length >= 12;
	case 27960: /* another game's server, asked for its status */
	case 27015:
		return head >> 32 == 0xffffffff && length >= 60;
	}
	return false;
}

static __always_inline bool is_reflection(struct xdp_md *ctx, const struct pkt *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 at = p->l4 + sizeof(struct udphdr);
	__u64 *head;

	if (p->proto != IPPROTO_UDP || p->l4 > L4_MAX)
		return false;
	head = data + at;
	if ((void *)(head + 1) > end)
		return false;
	return reflected(p->sport, bpf_be64_to_cpu(*head), p->l3_len - (at - p->l3));
}
