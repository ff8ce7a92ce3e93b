/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counts play at one place, so that "in at the edge, not out of it" is known packet by packet. Two places that the same
 * packets passed have the same numbers and the same sums: a sum adds up a hash over what the edge leaves as it is (the
 * first of UDP's payload; of TCP the sequence numbers, flags, window), so that a packet that went and another that came
 * twice don't make up for each other.
 *
 * Attached where packets arrive (XDP, TC ingress) or leave (TC egress). It changes nothing and lets everything pass.
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

#define TALLY_PORTS 8
#define TALLY_CELLS (TALLY_PORTS * 8)
#define TC_UNSPEC -1 /* on to the next program */

/* The services' ports, at either end of the edge; 0 = none. */
volatile const __u16 tally_ports[TALLY_PORTS];

struct tally {
	__u64 packets;
	__u64 sum;
};

/* By port * 8 + IPv6 * 4 + TCP * 2 + from the server. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TALLY_CELLS);
	__type(key, __u32);
	__type(value, struct tally);
} tally_cells SEC(".maps");

static __always_inline __u64 mix(__u64 h, __u64 v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 29;
}

static __always_inline void add(__u32 cell, __u64 hash)
{
	struct tally *t = bpf_map_lookup_elem(&tally_cells, &cell);

	if (!t)
		return;
	t->packets++;
	t->sum += hash;
}

/* Both protocols begin with their ports; what follows a UDP header may be less than a hash reads. */
static __always_inline void count_l4(void *l4, void *end, __u8 proto, __u32 len, __u32 six)
{
	__be16 *port = l4;
	__u32 *word = l4, cell = six * 4 + (proto == IPPROTO_TCP) * 2;
	__u64 hash;

	if (proto == IPPROTO_TCP) {
		if (l4 + sizeof(struct tcphdr) > end)
			return;
		hash = mix(mix(len, word[1] | (__u64)word[2] << 32), word[3]);
	} else if (proto == IPPROTO_UDP) {
		if (l4 + sizeof(struct udphdr) > end)
			return;
		hash = len;
		if (l4 + sizeof(struct udphdr) + 8 <= end)
			hash = mix(hash, word[2] | (__u64)word[3] << 32);
	} else {
		return;
	}
	for (int i = 0; i < TALLY_PORTS; i++) {
		__be16 want = bpf_htons(tally_ports[i]);

		if (want && port[1] == want)
			return add(i * 8 + cell, hash);
		if (want && port[0] == want)
			return add(i * 8 + cell + 1, hash);
	}
}

/* Options and fragments are none of what is counted. */
static __always_inline void count(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct ipv6hdr *ip6 = data + sizeof(*eth);

	if (data + sizeof(*eth) > end)
		return;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if ((void *)(ip + 1) > end || ip->ihl != 5 || ip->frag_off & bpf_htons(0x3fff))
			return;
		count_l4(ip + 1, end, ip->protocol, bpf_ntohs(ip->tot_len) - sizeof(*ip), 0);
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if ((void *)(ip6 + 1) > end)
			return;
		count_l4(ip6 + 1, end, ip6->nexthdr, bpf_ntohs(ip6->payload_len), 1);
	}
}

SEC("xdp")
int tally_arrive(struct xdp_md *ctx)
{
	count((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return XDP_PASS;
}

/* Of what a socket sent only the headers need be where a program can read them. */
SEC("tc")
int tally_pass(struct __sk_buff *skb)
{
	bpf_skb_pull_data(skb, skb->len < 128 ? skb->len : 128);
	count((void *)(long)skb->data, (void *)(long)skb->data_end);
	return TC_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
