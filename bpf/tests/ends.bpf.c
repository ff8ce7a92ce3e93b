/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The two ends of a flood's way through an edge, as cheap as can be: what they take is not what is measured.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FLOWS 64 /* power of two */
#define FRAME_WORDS 8

struct frame {
	__u64 word[FRAME_WORDS];
};

/* A packet of each flow, written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct frame);
	__uint(max_entries, FLOWS);
} send_frames SEC(".maps");

volatile const __u32 send_ifindex;
volatile const __be16 sink_port;
__u64 sent; /* one CPU sends at a time */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} sunk SEC(".maps");

/* Live frames are recycled with whatever their receivers wrote into them: all of it is written again. */
SEC("xdp")
int send(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 i = sent++ & (FLOWS - 1);
	struct frame *f = bpf_map_lookup_elem(&send_frames, &i), *to = data;

	if (!f || (void *)(to + 1) > end)
		return XDP_ABORTED;
	*to = *f;
	return bpf_redirect(send_ifindex, 0);
}

/* Counts the UDP packets to one port and drops them before the receiving host spends anything on them. All else passes. */
SEC("xdp")
int sink(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	__u32 zero = 0;
	__u64 *n;

	if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return XDP_PASS;
	if (ip->protocol != IPPROTO_UDP || udp->dest != sink_port)
		return XDP_PASS;
	n = bpf_map_lookup_elem(&sunk, &zero);
	if (n)
		(*n)++;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
