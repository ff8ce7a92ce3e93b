/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The lab's flood. User space runs this program with BPF_PROG_TEST_RUN and live frames: each run is one packet,
 * redirected out of a veth. The kernel recycles the pages with whatever their receivers wrote into them, so the
 * whole frame is written again each time: a template, made by user space, into which go a source address and port, an
 * IP id and some of the payload at random (no cycle for a filter to learn), and checksums finished from the template's
 * partial sums. A source may also go through a fixed set of addresses in turn, again and again.
 *
 * One CPU runs it at a time: templates are filled in where they lie.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define GEN_TEMPLATES 128
#define GEN_SOURCES 65536
#define GEN_ROOM 2048 /* power of two: offsets are masked with it for the verifier */
#define GEN_WORDS 32 /* of the payload, at random */
#define GEN_AT(off) ((off) & (GEN_ROOM - 1))

#define IP4_ID 4 /* offsets in the IPv4 header */
#define IP4_CHECK 10
#define IP4_SOURCE 12
#define IP6_SOURCE 8 /* and in the IPv6 header */

/* Sums are of 16-bit words in wire order, read as the host reads them, not folded. */
struct gen_template {
	__u32 len; /* bytes of the frame */
	__u32 family; /* 4 or 6 */
	__u32 l3; /* offset of the IP header */
	__u32 l4_check; /* offset of the L4 checksum, 0 = leave it alone */
	__u32 port; /* offset of the source port, 0 = has none */
	__u32 vary; /* offset of the first byte to fill at random, even from the L4 header on */
	__u32 vary_words; /* 4 bytes each, 0 = none, at most GEN_WORDS */
	__u32 udp; /* a computed checksum 0 is sent as ffff */
	__u32 pseudo; /* the L4 checksum covers the source address (all but ICMPv4's) */
	__u32 ip_sum; /* IPv4 header without source, id and checksum */
	__u32 l4_sum; /* pseudo header and L4 without source, port and varying bytes */
	__u32 first_source; /* slice of gen_sources to pick from */
	__u32 sources;
	__u32 turn; /* of a source that cycles: which address is next. The program's own */
	__u8 frame[GEN_ROOM + 16]; /* 16: a store at the last offset stays inside */
};

struct gen_source {
	__u32 addr[4]; /* wire order; IPv4 uses the first word */
	__u32 random[4]; /* bits of addr to fill at random */
	__u32 first_port; /* host order */
	__u32 ports; /* how many there are from it on */
	__u32 cycle; /* not 0: so many addresses in turn, each with a port of its own (IPv4, bits at random: the last ones) */
};

/* Odd factors spread what cycles over its prefix and ports: each is a permutation of the numbers of so many bits. */
#define GEN_SPREAD 0x9e3779b1U
#define GEN_SPREAD_PORT 0x85ebca6bU

/* Written by user space before a run; the program fills in what varies. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GEN_TEMPLATES);
	__type(key, __u32);
	__type(value, struct gen_template);
} gen_templates SEC(".maps");

/* Written by user space before a run. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GEN_SOURCES);
	__type(key, __u32);
	__type(value, struct gen_source);
} gen_sources SEC(".maps");

volatile const __u32 gen_ifindex; /* where frames leave */
volatile const __u32 gen_count; /* templates in use, each as likely as the next */

/* How many frames were made, and may be: a run that a signal interrupts is repeated whole, so the limit is kept here. */
__u64 gen_sent;
__u64 gen_limit;

static __always_inline __u32 pick(__u32 n)
{
	return ((__u64)bpf_get_prandom_u32() * n) >> 32;
}

static __always_inline __u32 sum32(__u32 word)
{
	return (word & 0xffff) + (word >> 16);
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline void put16(struct gen_template *t, __u32 off, __u16 value)
{
	*(__u16 *)&t->frame[GEN_AT(off)] = value;
}

static __always_inline void put32(struct gen_template *t, __u32 off, __u32 value)
{
	*(__u32 *)&t->frame[GEN_AT(off)] = value;
}

static __always_inline __u32 next_turn(struct gen_template *t, __u32 cycle)
{
	__u32 turn = t->turn;

	t->turn = turn + 1 < cycle ? turn + 1 : 0;
	return turn;
}

/* put_source writes the source address and the IPv4 header's own sum; returns the sum of the address. */
static __always_inline __u64 put_source(struct gen_template *t, const struct gen_source *s, __u32 turn)
{
	__u32 at = t->l3 + (t->family == 6 ? IP6_SOURCE : IP4_SOURCE);
	__u32 words = t->family == 6 ? 4 : 1;
	__u64 sum = 0;
	__u32 id;

	for (__u32 i = 0; i < 4; i++) {
		__u32 word = s->addr[i];

		if (i >= words)
			break;
		if (s->cycle)
			word |= bpf_htonl(turn * GEN_SPREAD & bpf_ntohl(s->random[i]));
		else if (s->random[i])
			word |= bpf_get_prandom_u32() & s->random[i];
		put32(t, at + i * 4, word);
		sum += sum32(word);
	}
	if (t->family == 6)
		return sum;
	id = bpf_get_prandom_u32() & 0xffff;
	put16(t, t->l3 + IP4_ID, id);
	put16(t, t->l3 + IP4_CHECK, fold(t->ip_sum + sum + id));
	return sum;
}

/* vary fills in what is random of the payload; returns its sum. One draw serves: what follows it is a congruential
 * sequence (Numerical Recipes), its weak low bits included, which is more than a filter looks at. */
static __always_inline __u64 vary(struct gen_template *t)
{
	__u32 word = bpf_get_prandom_u32(), words = t->vary_words, at = t->vary;
	__u64 sum = 0;

	for (__u32 i = 0; i < GEN_WORDS; i++) {
		if (i >= words)
			break;
		put32(t, at + i * 4, word);
		sum += sum32(word);
		word = word * 1664525U + 1013904223U;
	}
	return sum;
}

static __always_inline void fill(struct gen_template *t, const struct gen_source *s)
{
	__u32 turn = s->cycle ? next_turn(t, s->cycle) : 0;
	__u64 source = put_source(t, s, turn);
	__u64 sum = t->l4_sum + (t->pseudo ? source : 0);

	if (t->port) {
		__u32 nth = s->cycle ? ((__u64)(turn * GEN_SPREAD_PORT) * s->ports) >> 32 : pick(s->ports);
		__u16 port = bpf_htons(s->first_port + nth);

		put16(t, t->port, port);
		sum += port;
	}
	if (t->vary_words)
		sum += vary(t);
	if (t->l4_check) {
		__u16 check = fold(sum);

		put16(t, t->l4_check, t->udp && !check ? 0xffff : check);
	}
}

SEC("xdp")
int gen_flood(struct xdp_md *ctx)
{
	__u32 key = pick(gen_count);
	struct gen_template *t;
	struct gen_source *s;
	__u32 len, now;

	if (gen_sent >= gen_limit)
		return XDP_DROP;
	t = bpf_map_lookup_elem(&gen_templates, &key);
	if (!t)
		return XDP_ABORTED;
	key = t->first_source + pick(t->sources);
	s = bpf_map_lookup_elem(&gen_sources, &key);
	if (!s)
		return XDP_ABORTED;
	len = t->len;
	if (len < 14 || len > GEN_ROOM)
		return XDP_ABORTED;
	now = ctx->data_end - ctx->data;
	if (now != len && bpf_xdp_adjust_tail(ctx, (int)len - (int)now))
		return XDP_ABORTED;
	fill(t, s);
	if (bpf_xdp_store_bytes(ctx, 0, t->frame, len))
		return XDP_ABORTED;
	gen_sent++;
	return bpf_redirect(gen_ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
