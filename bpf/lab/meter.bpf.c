/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The lab's meter: what left the edge, counted where it arrives. It sits on the far end of an edge's link and passes
 * everything on. A packet of the lab's players carries a magic number and the cell of the score sheet it belongs to
 * (phase and group), so that "in at the edge, not out of it" is exact by phase and group, whatever else is going on.
 * As an XDP program on the receiving end of a veth it also makes that end able to take redirected frames.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/types.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define METER_MAGIC 0x70617272794c4142ULL /* "parryLAB" */
#define METER_CELLS 1024

/* The first bytes of each datagram of the lab's players and servers, in wire order. */
struct meter_tag {
	__be64 magic;
	__be16 cell;
};

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
	METER_KIND_OTHER, /* ARP, neighbour discovery and what else hosts say to each other */
	METER_KIND_LEN,
};

/* Frames by kind. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, METER_KIND_LEN);
	__type(key, enum meter_kind);
	__type(value, __u64);
} meter_kinds SEC(".maps");

static __always_inline void count(void *map, __u32 key)
{
	__u64 *n = bpf_map_lookup_elem(map, &key);

	if (n)
		(*n)++;
}

static __always_inline enum meter_kind judge_udp(void *l4, void *end)
{
	struct meter_tag *tag = l4 + sizeof(struct udphdr);

	if ((void *)(tag + 1) > end || tag->magic != bpf_cpu_to_be64(METER_MAGIC))
		return METER_KIND_STRANGER;
	count(&meter_cells, bpf_ntohs(tag->cell));
	return METER_KIND_PLAYER;
}

static __always_inline enum meter_kind judge_l4(__u8 protocol, void *l4, void *end)
{
	if (protocol == IPPROTO_UDP)
		return judge_udp(l4, end);
	if (protocol == IPPROTO_TCP)
		return METER_KIND_TCP;
	return protocol == IPPROTO_ICMPV6 ? METER_KIND_OTHER : METER_KIND_STRANGER;
}

static __always_inline enum meter_kind judge_ipv4(struct iphdr *ip, void *end)
{
	if ((void *)(ip + 1) > end)
		return METER_KIND_OTHER;
	if (ip->frag_off & bpf_htons(0x1fff))
		return METER_KIND_STRANGER;
	return judge_l4(ip->protocol, (void *)ip + ip->ihl * 4, end);
}

static __always_inline enum meter_kind judge_ipv6(struct ipv6hdr *ip, void *end)
{
	if ((void *)(ip + 1) > end)
		return METER_KIND_OTHER;
	return judge_l4(ip->nexthdr, ip + 1, end);
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
