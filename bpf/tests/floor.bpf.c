/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the fast path's costs are compared with, and what lets a test run repeat one packet a million times.
 *
 * Floors are hand-minimal: the least that a program of that kind has to do, with no policy at all. A rewritten packet
 * stays rewritten, so the tables of floor_nat4 and floor_nat6 map A to B and B to A: each repetition hits.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/types.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FLOOR_FLOWS 262144 /* as large as the session table's default */
#define TTL 64
#define KNOWN 4096 /* sources that `stranger4` sends from in turn */

struct key4 {
	__u64 addrs;
	__u64 rest; /* ports, protocol */
};

struct key6 {
	__u64 addrs[4];
	__u64 rest;
};

/* What the packet leaves with. As large as a session's value, so that it takes as much of the caches. */
struct way {
	__u64 addrs[4]; /* IPv4: the first word */
	__u32 ports;
	__u16 l3_delta;
	__u16 l4_delta;
	__u16 macs[6];
	__u8 pad[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct key4);
	__type(value, struct way);
	__uint(max_entries, FLOOR_FLOWS);
} floor_flow4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct key6);
	__type(value, struct way);
	__uint(max_entries, FLOOR_FLOWS);
} floor_flow6 SEC(".maps");

/* The program that a wrapper runs. It empties itself when user space lets go of it. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 1);
} floor_target SEC(".maps");

struct tally {
	__u64 packets; /* that stranger4 has sent */
	__u64 wrong; /* test runs of a wrapper whose target was not there */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct tally);
	__uint(max_entries, 1);
} floor_counts SEC(".maps");

volatile const __u8 floor_is6; /* the packets of `again` are IPv6 */
volatile const __u8 floor_new_source; /* each packet of `stranger4` comes from another address, not only another port */

static __always_inline __u16 floor_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u16 floor_apply(__u16 check, __u16 delta)
{
	return ~floor_fold((__u16)~check + delta);
}

static __always_inline int floor_l4(__u8 proto, void *l4, void *end, const struct way *v)
{
	struct udphdr *udp = l4;
	struct tcphdr *tcp = l4;

	if (proto == IPPROTO_UDP) {
		__u16 check;

		if ((void *)(udp + 1) > end)
			return -1;
		*(__u32 *)udp = v->ports;
		if (udp->check) {
			check = floor_apply(udp->check, v->l4_delta);
			udp->check = check ?: 0xffff;
		}
		return 0;
	}
	if ((void *)(tcp + 1) > end)
		return -1;
	*(__u32 *)tcp = v->ports;
	tcp->check = floor_apply(tcp->check, v->l4_delta);
	return 0;
}

SEC("xdp")
int floor_empty(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp")
int floor_nat4(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	__u32 *ports = (void *)(ip + 1);
	struct key4 k;
	struct way *v;

	if ((void *)(ports + 2) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->ttl <= 1)
		return XDP_PASS;
	if (ip->protocol != IPPROTO_UDP && ip->protocol != IPPROTO_TCP)
		return XDP_PASS;
	k.addrs = *(__u64 *)&ip->saddr;
	k.rest = *ports | (__u64)ip->protocol << 32;
	v = bpf_map_lookup_elem(&floor_flow4, &k);
	if (!v)
		return XDP_PASS;
	__builtin_memcpy(eth, v->macs, 12);
	*(__u64 *)&ip->saddr = v->addrs[0];
	ip->ttl--;
	ip->check = floor_apply(ip->check, v->l3_delta);
	return floor_l4(ip->protocol, ports, end, v) ? XDP_ABORTED : XDP_TX;
}

SEC("xdp")
int floor_nat6(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct ipv6hdr *ip = (void *)(eth + 1);
	__u32 *ports = (void *)(ip + 1);
	struct key6 k;
	struct way *v;

	if ((void *)(ports + 2) > end || eth->h_proto != bpf_htons(ETH_P_IPV6) || ip->hop_limit <= 1)
		return XDP_PASS;
	if (ip->nexthdr != IPPROTO_UDP && ip->nexthdr != IPPROTO_TCP)
		return XDP_PASS;
	__builtin_memcpy(k.addrs, &ip->saddr, 32);
	k.rest = *ports | (__u64)ip->nexthdr << 32;
	v = bpf_map_lookup_elem(&floor_flow6, &k);
	if (!v)
		return XDP_PASS;
	__builtin_memcpy(eth, v->macs, 12);
	__builtin_memcpy(&ip->saddr, v->addrs, 32);
	ip->hop_limit--;
	return floor_l4(ip->nexthdr, ports, end, v) ? XDP_ABORTED : XDP_TX;
}

static __always_inline int floor_run(struct xdp_md *ctx)
{
	struct tally *n;
	__u32 zero = 0;

	bpf_tail_call(ctx, &floor_target, 0);
	n = bpf_map_lookup_elem(&floor_counts, &zero);
	if (n)
		n->wrong++;
	return XDP_ABORTED;
}

/* Gives a packet that goes round and round its TTL back, and runs the target. */
SEC("xdp")
int again(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct ipv6hdr *ip6 = (void *)(eth + 1);

	if (floor_is6) {
		if ((void *)(ip6 + 1) > end)
			return XDP_ABORTED;
		ip6->hop_limit = TTL;
	} else {
		if ((void *)(ip + 1) > end)
			return XDP_ABORTED;
		ip->ttl = TTL;
	}
	return floor_run(ctx);
}

/* Makes the packet one of somebody who was never here (a UDP packet without checksum to where it was first sent),
 * and runs the target. The first 8 bytes of its data keep what rewriting changes: destination and its port. */
SEC("xdp")
int stranger4(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	__u32 *keep = (void *)(udp + 1);
	__u32 zero = 0, n;
	struct tally *c;

	c = bpf_map_lookup_elem(&floor_counts, &zero);
	if (!c || (void *)(keep + 2) > end)
		return XDP_ABORTED;
	n = c->packets++;
	ip->ttl = TTL;
	ip->saddr = bpf_htonl((100u << 24) + (floor_new_source ? n : n % KNOWN));
	ip->daddr = keep[0];
	udp->source = bpf_htons(1024 + (n / KNOWN & 0x7fff));
	udp->dest = keep[1];
	return floor_run(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
