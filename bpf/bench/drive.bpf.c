/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Drivers: what lets a test run repeat one packet a million times. A test run hands the same buffer to each
 * repetition, as the one before left it; a driver makes of it the next packet and tail calls the program that is
 * measured. What the driver itself takes is measured around an empty program, and subtracted.
 *
 * A store that a wider load follows at once costs 10 to 15 ns that no real packet costs (the load waits until the
 * store has reached the cache). Drivers therefore write as little as they can, and in words at least as wide as
 * programs read.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TTL_MAX 255
#define FRAME_MAX 64
#define QUESTION_MAX 128
#define QUESTION_LEAST (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr))

/* The program that is measured. It empties itself when user space lets go of it. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 1);
} drive_target SEC(".maps");

__u64 drive_next; /* how many packets of strangers there were; user space sets it back */
__u64 drive_wrong; /* repetitions that met no target */
__u8 drive_question[QUESTION_MAX]; /* `asker`: the frame. User space sets it */

volatile const __u32 drive_ttl_at; /* `again`: offset of TTL or hop limit */
volatile const __u32 drive_random; /* `stranger`: any of the sources for each packet, else each in its turn */
volatile const __u32 drive_sources; /* how many */
volatile const __u32 drive_ports; /* of each source, at random, too */
volatile const __u32 drive_length; /* of the question's frame */
volatile const __be32 drive_to; /* where to */
volatile const __be16 drive_to_port;
volatile const __u32 drive_udp_rest; /* length and checksum, as they stand in the packet */

#define SPREAD_FIRST 0x10000000u /* 16.0.0.0 to 79.255.255.255 */
#define SPREAD_MASK 0x3fffffffu
#define FIRST_PORT 1024

/* The i-th address, one to one: all over the space, as players and attackers are (spread.go has its twin). */
static __always_inline __be32 spread(__u32 i)
{
	__u32 x = i * 0x2c1b3c6du & SPREAD_MASK;

	x ^= x >> 15;
	x = x * 0x297a2d39u & SPREAD_MASK;
	x ^= x >> 15;
	return bpf_htonl(SPREAD_FIRST + x);
}

static __always_inline int target(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &drive_target, 0);
	drive_wrong++;
	return XDP_ABORTED;
}

/* For programs that make of a packet one that they know, too: gives it its TTL back once in 254 times. */
SEC("xdp")
int again(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 at = drive_ttl_at;

	if (at >= FRAME_MAX || data + FRAME_MAX > end)
		return XDP_ABORTED;
	if (data[at] <= 1)
		data[at] = TTL_MAX;
	return target(ctx);
}

/* Makes the packet one of somebody else: IPv4 without options, UDP. Its checksums are not made right. */
SEC("xdp")
int stranger(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	__u64 *udp = (void *)(ip + 1);
	__u32 i, port = FIRST_PORT;

	if ((void *)(udp + 1) > end)
		return XDP_ABORTED;
	if (drive_random) {
		i = ((__u64)bpf_get_prandom_u32() * drive_sources) >> 32;
		if (drive_ports)
			port += ((__u64)bpf_get_prandom_u32() * drive_ports) >> 32;
	} else {
		__u64 n = drive_next++;

		i = n % drive_sources;
		port += n / drive_sources;
	}
	if (ip->ttl <= 1)
		ip->ttl = TTL_MAX;
	*(__u64 *)(void *)&ip->saddr = spread(i) | (__u64)drive_to << 32; /* by void *: clang is to write it at once */
	*udp = bpf_htons(port) | (__u32)drive_to_port << 16 | (__u64)drive_udp_rest << 32;
	return target(ctx);
}

/* Asks the same question anew, in the place of its answer. What it does takes the same whatever it finds: the frame is cut first, so
 * that it always grows by as much. Its narrow stores must have reached the cache when the program begins: a locked one waits for them. */
SEC("xdp")
int asker(struct xdp_md *ctx)
{
	__u32 length = drive_length;

	if (length <= QUESTION_LEAST || length > QUESTION_MAX)
		return XDP_ABORTED;
	if (bpf_xdp_adjust_tail(ctx, (int)QUESTION_LEAST - (int)(ctx->data_end - ctx->data)) ||
	    bpf_xdp_adjust_tail(ctx, (int)(length - QUESTION_LEAST)) ||
	    bpf_xdp_store_bytes(ctx, 0, drive_question, length))
		return XDP_ABORTED;
	__sync_fetch_and_add(&drive_next, 1);
	return target(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
