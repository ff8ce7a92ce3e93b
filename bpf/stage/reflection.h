/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is this a reflector's answer, sent to a victim whose address somebody forged? Told by the service's source port and the shape that
 * its answers have, both: a player behind a NAT can have any port (US-CERT TA14-017A; shapes as captured, protocols of RFC 1035, 5905,
 * 4511, 1157, 7252).
 */
#pragma once

#include "gate.h"

#define SHAPE_BYTES 8

/* Of which protocol's servers it is an answer, if its first bytes (in the order of the wire) and its length say so. */
static __always_inline enum reflector reflected(__be16 port, __u64 head, __u32 length)
{
	__u8 first = head >> 56, second = head >> 48;
	enum reflector r = REFLECTOR_NONE;
	bool is = false;

	switch (bpf_ntohs(port)) {
	case 53: /* a response (QR), of a size that no question has */
	case 5353:
		r = REFLECTOR_DNS;
		is = length >= 12 && (head >> 40 & 0x80);
		break;
	case 123: /* mode 7 and 6, responses */
		r = REFLECTOR_NTP;
		is = (first & 7) == 7 ? first & 0x80 : (first & 7) == 6 && second & 0x80;
		break;
	case 389: /* BER sequences */
		r = REFLECTOR_CLDAP;
		is = first == 0x30 && length >= 20;
		break;
	case 161:
		r = REFLECTOR_SNMP;
		is = first == 0x30 && length >= 20;
		break;
	case 1900:
		r = REFLECTOR_SSDP;
		is = head >> 32 == 0x48545450; /* HTTP */
		break;
	case 11211: /* its frame header's last two bytes are zero */
		r = REFLECTOR_MEMCACHED;
		is = length >= 8 && !(head & 0xffff);
		break;
	case 19:
	case 17:
		r = REFLECTOR_CHARGEN;
		is = length >= 64;
		break;
	case 111: /* an RPC reply */
		r = REFLECTOR_PORTMAP;
		is = length >= 24 && (__u32)head == 1;
		break;
	case 137: /* a response */
		r = REFLECTOR_NETBIOS;
		is = length >= 50 && (head >> 40 & 0x80);
		break;
	case 520: /* version 1, a response */
		r = REFLECTOR_RIP;
		is = first == 2 && length >= 24;
		break;
	case 3283:
		r = REFLECTOR_ARD;
		is = length >= 1000;
		break;
	case 3702:
		r = REFLECTOR_WSD;
		is = head >> 40 == 0x3c3f78 || head >> 40 == 0x3c534f; /* <?x, <SO */
		break;
	case 5683: /* version 1, a response */
		r = REFLECTOR_COAP;
		is = (first & 0xc0) == 0x40 && second >= 0x40 && second < 0xc0;
		break;
	case 37810: /* DHIP */
		r = REFLECTOR_DVR;
		is = head >> 32 == 0x20000000 && (__u32)head == 0x44484950;
		break;
	case 47808:
		r = REFLECTOR_BACNET;
		is = first == 0x81 && length >= 12;
		break;
	case 27960: /* asked for its status */
	case 27015:
		r = REFLECTOR_GAME;
		is = head >> 32 == 0xffffffff && length >= 60;
		break;
	}
	return is ? r : REFLECTOR_NONE;
}

static __always_inline enum reflector reflector_of(struct xdp_md *ctx, const struct pkt *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 at = p->l4 + sizeof(struct udphdr);
	__u64 *head;

	if (p->proto != IPPROTO_UDP || p->l4 > L4_MAX)
		return REFLECTOR_NONE;
	head = data + at;
	if ((void *)(head + 1) > end)
		return REFLECTOR_NONE;
	return reflected(p->sport, bpf_be64_to_cpu(*head), p->l3_len - (at - p->l3));
}

/* Counted by whose answer it is: a report of an attack names them. */
static __always_inline bool is_reflection(struct xdp_md *ctx, const struct pkt *p)
{
	enum reflector r = reflector_of(ctx, p);

	if (!r)
		return false;
	STRANGER_COUNT(p, reflected[r & 31]);
	return true;
}
