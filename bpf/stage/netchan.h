/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Does a Quake III client know what its server told it? ioquake3's netchan (protocol 71) puts into each packet of play a checksum
 * of the packet's number and of the challenge that the server sent to whoever asked: challenge ^ number * challenge. The client gives
 * the challenge back inside a compressed connect; but the edge has seen it pass, and the checksum tells that the client has got it: that
 * is strong proof. Sessions of services whose gate says so (GATE_PROOF_NETCHAN) are watched from their beginning, which keeps
 * them off the express way, until that is decided: by the client's first packet of an even number after its server spoke, once and
 * for all, so that nobody can try one number after the other. Right, it is proven strongly; wrong, or where no challenge was seen
 * (other protocols have no such checksum), it stays as it is.
 *
 * Even, because then each checksum is that of one challenge alone. Of an odd number, each power of two in number - 1 makes one bit of the
 * challenge not count: number 1 has checksum 0 whatever the challenge, number 2^30 + 1 one of four.
 */
#pragma once

#include "gate.h"
#include "proof.h"

#define NETCHAN_FRAGMENT (1u << 31) /* in the number; no part of it */
#define NETCHAN_HEAD 10 /* bytes: number, the client's port, checksum */
#define NETCHAN_TOLD "\377\377\377\377challengeResponse "
#define NETCHAN_TOLD_BYTES (sizeof(NETCHAN_TOLD) - 1)
#define NETCHAN_DIGITS 12 /* bytes: a number of 32 bits, its sign, the space behind it */
#define NETCHAN_READ (NETCHAN_TOLD_BYTES + NETCHAN_DIGITS)

/* Where the challenge of a client's session is kept, and in *tag what the word there is marked with: it is of that session, which began
 * at tick `begun`, or it is nobody's. */
static __always_inline __u64 *challenge_word(const struct pkt *p, __u32 begun, __u32 *tag)
{
	struct secret *s = env_secret();
	const __u8 *client = client_of(p);
	__be16 port = p->down ? p->to_port : p->sport;
	__u64 h = s ? s->key[1] : 0;
	__u32 i;

	if (p->family == 4) {
		h = hash_mix(h ^ addr4(client));
	} else {
		h = hash_mix(h ^ addr_hi(client));
		h = hash_mix(h ^ addr_lo(client));
	}
	h = hash_mix(h ^ (port | (__u32)p->service << 16));
	*tag = (h >> 32) ^ begun;
	i = PREFIX_CHALLENGE * PREFIX_CELLS + (h & (PREFIX_CELLS - 1));
	return bpf_map_lookup_elem(&prefix_word, &i);
}

/* A server's packet that begins so: is it a challenge? Those that have a checksum say more behind it. */
static __always_inline void challenge_told(const struct pkt *p, const struct flow *down, const __u8 *b)
{
	bool minus = b[NETCHAN_TOLD_BYTES] == '-';
	__u32 value = 0, digits = 0, tag;
	__u8 c = 0;
	__u64 *word;

	if (!gate_same(b, NETCHAN_TOLD, NETCHAN_TOLD_BYTES))
		return;
#pragma unroll
	for (int i = 0; i < NETCHAN_DIGITS; i++) {
		c = b[NETCHAN_TOLD_BYTES + i];
		if (i == 0 && minus)
			continue;
		if ((__u32)c - '0' > 9)
			break;
		value = value * 10 + c - '0';
		digits++;
	}
	if (!digits || c != ' ')
		return;
	word = challenge_word(p, down->peer, &tag);
	if (word)
		*(volatile __u64 *)word = (__u64)tag << 32 | (minus ? -value : value);
}

/* Its client has shown that it has got its server's word, by p. False: another packet was first with something. */
static __always_inline bool proven_in_play(const struct pkt *p, struct flow *up, struct flow *down)
{
	__u32 old = *(volatile __u32 *)&up->state;

	if (!carries(old) || old & FLOW_STRONG ||
	    __sync_val_compare_and_swap(&up->state, old,
					(old & ~(FLOW_PHASES | FLOW_NETCHAN | FLOW_WEAK)) | FLOW_STRONG | PHASE_OPEN) !=
		    old)
		return false;
	if (old & FLOW_WEAK) /* whoever takes the flag away gives its place back */
		weak_free(p, p->src);
	phase_open(down, 0);
	__sync_fetch_and_and(&down->state, ~(FLOW_NETCHAN | FLOW_WEAK));
	STRANGER_COUNT(p, strong);
	return true;
}

/* A client's packet that begins so. True: it proves its session. */
static __always_inline bool netchan_heard(const struct pkt *p, struct flow *up, const __u8 *b)
{
	__u32 number = *(const __u32 *)b & ~NETCHAN_FRAGMENT, checksum, tag;
	struct flow *down;
	__u64 *word, told;

	if (number & 1) /* out-of-band words are, too */
		return false;
	__builtin_memcpy(&checksum, b + 6, sizeof(checksum));
	down = other_half(p, up);
	if (!down || !(*(volatile __u32 *)&down->state & FLOW_ANSWERED))
		return false; /* no server has said anything yet */
	word = challenge_word(p, down->peer, &tag);
	told = word ? *(volatile __u64 *)word : 0;
	if (told && told >> 32 == tag && checksum == ((__u32)told ^ number * (__u32)told))
		return proven_in_play(p, up, down);
	flow_netchan_over(up, down);
	return false;
}

/* A packet of a watched session. True: it proves it. */
NOINLINE int netchan(struct xdp_md *ctx, struct pkt *p, struct flow *f)
{
	__u8 b[NETCHAN_READ] __attribute__((aligned(8))) = {};
	__u32 at, n;

	if (!p || !f || p->frag || !(f->state & FLOW_NETCHAN))
		return false;
	at = p->l4 + sizeof(struct udphdr);
	n = payload_length(p, at);
	if (!p->down)
		return n >= NETCHAN_HEAD && !bpf_xdp_load_bytes(ctx, at, b, NETCHAN_HEAD) && netchan_heard(p, f, b);
	if (n > NETCHAN_READ)
		n = NETCHAN_READ;
	if (gate_bounded(n, NETCHAN_READ) && !bpf_xdp_load_bytes(ctx, at, b, n))
		challenge_told(p, f, b);
	return false;
}

/* The same of a local server's, as it leaves. */
NOINLINE int netchan_local(struct __sk_buff *skb, struct pkt *p, struct flow *f)
{
	__u8 b[NETCHAN_READ] __attribute__((aligned(8))) = {};
	__u32 at, n;

	if (!p || !f || p->frag || !(f->state & FLOW_NETCHAN))
		return 0;
	at = p->l4 + sizeof(struct udphdr);
	n = payload_length(p, at);
	if (n > NETCHAN_READ)
		n = NETCHAN_READ;
	if (gate_bounded(n, NETCHAN_READ) && !bpf_skb_load_bytes(skb, at, b, n))
		challenge_told(p, f, b);
	return 0;
}
