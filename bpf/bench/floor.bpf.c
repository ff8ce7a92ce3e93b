/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Floors: what the fast path's costs are compared with. Each is hand-minimal, the least that a program of its kind has
 * to do, with no policy, no counters, no clock: parse, one lookup, rewrite, checksums, send. Nothing here is padded: a
 * value holds what is written into the packet and no more.
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

#define TC_ACT_UNSPEC (-1)

struct floor_key4 {
	__u64 addrs;
	__u64 rest; /* ports, protocol */
};

struct floor_key6 {
	__u64 addrs[4];
	__u64 rest;
};

/* What the packet leaves with. */
struct floor_way4 {
	__u64 addrs;
	__u32 ports;
	__u16 l3_delta;
	__u16 l4_delta;
	__u16 macs[6];
	__u32 port; /* of floor_tx */
};

struct floor_way6 {
	__u64 addrs[4];
	__u32 ports;
	__u16 l4_delta;
	__u16 macs[6];
	__u16 port;
};

/* User space fills both, and sizes them as the session tables that they are compared with. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct floor_key4);
	__type(value, struct floor_way4);
	__uint(max_entries, 1024);
} floor_flow4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct floor_key6);
	__type(value, struct floor_way6);
	__uint(max_entries, 1024);
} floor_flow6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 1);
} floor_tx SEC(".maps");

static __always_inline __u16 floor_apply(__u16 check, __u16 delta)
{
	__u32 sum = (__u16)~check + delta;

	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

static __always_inline int floor_l4(__u8 proto, void *l4, void *end, __u32 ports, __u16 delta)
{
	struct udphdr *udp = l4;
	struct tcphdr *tcp = l4;

	if (proto == IPPROTO_UDP) {
		__u16 check;

		if ((void *)(udp + 1) > end)
			return -1;
		*(__u32 *)udp = ports;
		if (udp->check) {
			check = floor_apply(udp->check, delta);
			udp->check = check ?: 0xffff;
		}
		return 0;
	}
	if ((void *)(tcp + 1) > end)
		return -1;
	*(__u32 *)tcp = ports;
	tcp->check = floor_apply(tcp->check, delta);
	return 0;
}

/* Returns the way that the packet, already rewritten, leaves by; NULL where it is none of ours. */
static __always_inline struct floor_way4 *floor_rewrite4(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	__u32 *ports = (void *)(ip + 1);
	struct floor_key4 k;
	struct floor_way4 *v;

	if ((void *)(ports + 2) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->ttl <= 1)
		return NULL;
	if (ip->protocol != IPPROTO_UDP && ip->protocol != IPPROTO_TCP)
		return NULL;
	k.addrs = *(__u64 *)&ip->saddr;
	k.rest = *ports | (__u64)ip->protocol << 32;
	v = bpf_map_lookup_elem(&floor_flow4, &k);
	if (!v)
		return NULL;
	__builtin_memcpy(eth, v->macs, 12);
	*(__u64 *)&ip->saddr = v->addrs;
	ip->ttl--;
	ip->check = floor_apply(ip->check, v->l3_delta);
	return floor_l4(ip->protocol, ports, end, v->ports, v->l4_delta) ? NULL : v;
}

static __always_inline struct floor_way6 *floor_rewrite6(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct ipv6hdr *ip = (void *)(eth + 1);
	__u32 *ports = (void *)(ip + 1);
	struct floor_key6 k;
	struct floor_way6 *v;

	if ((void *)(ports + 2) > end || eth->h_proto != bpf_htons(ETH_P_IPV6) || ip->hop_limit <= 1)
		return NULL;
	if (ip->nexthdr != IPPROTO_UDP && ip->nexthdr != IPPROTO_TCP)
		return NULL;
	__builtin_memcpy(k.addrs, &ip->saddr, 32);
	k.rest = *ports | (__u64)ip->nexthdr << 32;
	v = bpf_map_lookup_elem(&floor_flow6, &k);
	if (!v)
		return NULL;
	__builtin_memcpy(eth, v->macs, 12);
	__builtin_memcpy(&ip->saddr, v->addrs, 32);
	ip->hop_limit--;
	return floor_l4(ip->nexthdr, ports, end, v->ports, v->l4_delta) ? NULL : v;
}

SEC("xdp")
int empty(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("tc")
int empty_tc(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

SEC("xdp")
int nat4(struct xdp_md *ctx)
{
	return floor_rewrite4(ctx) ? XDP_TX : XDP_PASS;
}

SEC("xdp")
int nat4_redirect(struct xdp_md *ctx)
{
	struct floor_way4 *v = floor_rewrite4(ctx);

	return v ? bpf_redirect_map(&floor_tx, v->port, 0) : XDP_PASS;
}

SEC("xdp")
int nat6(struct xdp_md *ctx)
{
	return floor_rewrite6(ctx) ? XDP_TX : XDP_PASS;
}

SEC("xdp")
int nat6_redirect(struct xdp_md *ctx)
{
	struct floor_way6 *v = floor_rewrite6(ctx);

	return v ? bpf_redirect_map(&floor_tx, v->port, 0) : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
