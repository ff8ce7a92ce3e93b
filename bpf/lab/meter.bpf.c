/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The lab's meter: what left the edge, counted where it arrives. It sits on the far end of an edge's link and passes
 * everything on. A packet of the lab's players carries a magic number and the cell of the score sheet it belongs to
 * (phase, group and game), so that "in at the edge, not out of it" is exact by cell, whatever else is going on.
 * Behind the attackers' leg it adds up what comes back to forged addresses, and by how much that is more than they sent:
 * an edge that makes more of a request than it was is a reflector.
 * As an XDP program on the receiving end of a veth it also makes that end able to take redirected frames.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/types.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define METER_MAGIC 0x70617272794c4142ULL /* "parryLAB" */
#define METER_CELLS 1024

#define METER_GAME_HEAD 16 /* what comes before the tag where a game's own header does */
#define METER_SERVICES 8

/* First in each datagram of the lab's own game, in wire order, and after the header of another's. */
struct meter_tag {
	__be64 magic;
	__be16 cell;
};

volatile const __u32 meter_victims; /* a /24 in wire order whose bytes are counted apart; 0 = none */

/* Frames by cell. Read by user space; an unknown cell is not counted. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, METER_CELLS);
	__type(key, __u32);
	__type(value, __u64);
} meter_cells SEC(".maps");

enum meter_kind {
	METER_KIND_PLAYER, /* UDP of the lab's players */
	METER_KIND_STRANGER, /* other UDP, ICMP echoes, later fragments: an attack's, if there is one */
	METER_KIND_TCP,
	METER_KIND_SYN, /* TCP that begins a connection */
	METER_KIND_OTHER, /* ARP, neighbour discovery and what else hosts say to each other */
	METER_KIND_LEN,
};

/* What a service's requests are long, of those that a flood sends it: IP bytes of the shortest. Written by user space. */
struct meter_request {
	__u16 port; /* the service's, wire order; 0 = the end of the list */
	__u16 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, METER_SERVICES);
	__type(key, __u32);
	__type(value, struct meter_request);
} meter_requests SEC(".maps");

enum meter_answer {
	METER_ANSWER_FRAMES, /* UDP and TCP to strangers */
	METER_ANSWER_BYTES, /* of them, from the IP header on */
	METER_ANSWER_EXCESS, /* bytes by which they were longer than what was asked */
	METER_ANSWER_EXCESS_VICTIMS, /* of them, to meter_victims */
	METER_ANSWER_LEN,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, METER_ANSWER_LEN);
	__type(key, enum meter_answer);
	__type(value, __u64);
} meter_answers SEC(".maps");

/* Frames by kind. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, METER_KIND_LEN);
	__type(key, enum meter_kind);
	__type(value, __u64);
} meter_kinds SEC(".maps");

static __always_inline void add(void *map, __u32 key, __u64 more)
{
	__u64 *n = bpf_map_lookup_elem(map, &key);

	if (n)
		*n += more;
}

static __always_inline void count(void *map, __u32 key)
{
	add(map, key, 1);
}

static __always_inline bool tagged(struct meter_tag *tag, void *end)
{
	return (void *)(tag + 1) <= end && tag->magic == bpf_cpu_to_be64(METER_MAGIC);
}

static __always_inline enum meter_kind judge_udp(void *l4, void *end)
{
	struct meter_tag *tag = l4 + sizeof(struct udphdr);

	if (!tagged(tag, end)) {
		tag = (void *)tag + METER_GAME_HEAD;
		if (!tagged(tag, end))
			return METER_KIND_STRANGER;
	}
	if (bpf_ntohs(tag->cell) >= METER_CELLS)
		return METER_KIND_STRANGER;
	count(&meter_cells, bpf_ntohs(tag->cell));
	return METER_KIND_PLAYER;
}

static __always_inline __u32 requested(__be16 port)
{
	for (__u32 i = 0; i < METER_SERVICES; i++) {
		struct meter_request *r;
		__u32 key = i;

		r = bpf_map_lookup_elem(&meter_requests, &key);
		if (!r || !r->port)
			break;
		if (r->port == port)
			return r->bytes;
	}
	return ~0U; /* nobody asks it: what it sends is no answer */
}

/* answered weighs what goes to a stranger by UDP or TCP, whose headers begin alike; only IPv4's can be one of the victims. */
static __always_inline void answered(struct udphdr *udp, void *end, __u32 bytes, __be32 to)
{
	__u32 asked;

	if ((void *)(udp + 1) > end)
		return;
	count(&meter_answers, METER_ANSWER_FRAMES);
	add(&meter_answers, METER_ANSWER_BYTES, bytes);
	asked = requested(udp->source);
	if (bytes <= asked)
		return;
	add(&meter_answers, METER_ANSWER_EXCESS, bytes - asked);
	if (meter_victims && (to & bpf_htonl(0xffffff00)) == meter_victims)
		add(&meter_answers, METER_ANSWER_EXCESS_VICTIMS, bytes - asked);
}

static __always_inline bool begins(void *l4, void *end)
{
	struct tcphdr *tcp = l4;

	return (void *)(tcp + 1) <= end && tcp->syn && !tcp->ack;
}

/* What is none of the lab's players', of what may be an answer. Behind the attackers' leg nobody plays over TCP. */
static __always_inline bool to_stranger(enum meter_kind kind, __u8 protocol)
{
	return protocol == IPPROTO_TCP || (kind == METER_KIND_STRANGER && protocol == IPPROTO_UDP);
}

static __always_inline enum meter_kind judge_l4(__u8 protocol, void *l4, void *end)
{
	if (protocol == IPPROTO_UDP)
		return judge_udp(l4, end);
	if (protocol == IPPROTO_TCP)
		return begins(l4, end) ? METER_KIND_SYN : METER_KIND_TCP;
	return protocol == IPPROTO_ICMPV6 ? METER_KIND_OTHER : METER_KIND_STRANGER;
}

static __always_inline enum meter_kind judge_ipv4(struct iphdr *ip, void *end)
{
	enum meter_kind kind;

	if ((void *)(ip + 1) > end)
		return METER_KIND_OTHER;
	if (ip->frag_off & bpf_htons(0x1fff))
		return METER_KIND_STRANGER;
	kind = judge_l4(ip->protocol, (void *)ip + ip->ihl * 4, end);
	if (to_stranger(kind, ip->protocol))
		answered((void *)ip + ip->ihl * 4, end, bpf_ntohs(ip->tot_len), ip->daddr);
	return kind;
}

static __always_inline enum meter_kind judge_ipv6(struct ipv6hdr *ip, void *end)
{
	enum meter_kind kind;

	if ((void *)(ip + 1) > end)
		return METER_KIND_OTHER;
	kind = judge_l4(ip->nexthdr, ip + 1, end);
	if (to_stranger(kind, ip->nexthdr))
		answered((void *)(ip + 1), end, sizeof(*ip) + bpf_ntohs(ip->payload_len), 0);
	return kind;
}

SEC("xdp")
int meter(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	enum meter_kind kind = METER_KIND_OTHER;
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		kind = judge_ipv4((void *)(eth + 1), end);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		kind = judge_ipv6((void *)(eth + 1), end);
	count(&meter_kinds, kind);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
