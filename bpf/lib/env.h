/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The one door by which time, chance, secrets and the kernel's routes reach the fast path. No stage calls a
 * clock, random or FIB helper: cfg.injected chooses the kernel's or the map's (tests, fuzzer, replay), and the
 * verifier removes the other.
 */
#pragma once

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "../maps.h"

#define AF_INET 2
#define AF_INET6 10
#define LOOPBACK_IFINDEX 1

volatile const struct cfg cfg;

/* One bit a port as it lies on the wire: some NAT address gives it out. */
#define NAT_PORT_WORDS (PORTS_PER_ADDR / 64)
volatile const __u64 nat_ports[NAT_PORT_WORDS];

/* One bit for each of the edge's own IPv4 addresses, by hash: a clear one says of an address that it is none. */
#define OWN_BITS 4096
volatile const __u64 own_bits[OWN_BITS / 64];

static __always_inline __u32 own_bit(__be32 addr)
{
	return addr * 0x9e3779b1u >> 20;
}

/* The second in which a source's drop was last sampled, by hash. A generation's own. */
volatile __u8 sample_cells[SAMPLE_CELLS] SEC(".data.cells");
volatile __u8 step_cells[SAMPLE_CELLS] SEC(".data.cells");

/* The values of the maps `epoch` and `loosened`, read for each packet without a lookup: the loader lays each over its map. */
volatile __u32 epoch_now SEC(".data.epoch");
volatile __u32 loosened_now SEC(".data.loosened");

static __always_inline struct env *env_injected(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&env, &zero);
}

/* CLOCK_MONOTONIC in ns, at the grain of a jiffy: 1 ns a read where bpf_ktime_get_ns costs 32. */
static __always_inline __u64 env_now(void)
{
	if (cfg.injected) {
		struct env *e = env_injected();

		return e ? e->now : 0;
	}
	return bpf_jiffies64() * cfg.jiffy_ns - cfg.jiffy_base;
}

/* The same to the ns, for what is not done for every packet. */
static __always_inline __u64 env_precise(void)
{
	return cfg.injected ? env_now() : bpf_ktime_get_ns();
}

static __always_inline __u32 env_chance(void)
{
	if (cfg.injected) {
		struct env *e = env_injected();

		if (!e)
			return 0;
		e->chance = e->chance * 6364136223846793005ULL + 1442695040888963407ULL;
		return e->chance >> 32;
	}
	return bpf_get_prandom_u32();
}

/* Which CPU handles the packet. */
static __always_inline __u32 env_cpu(void)
{
	if (cfg.injected) {
		struct env *e = env_injected();

		if (!e || e->cpu != ~0u)
			return e ? e->cpu : 0;
	}
	return bpf_get_smp_processor_id();
}

static __always_inline struct secret *env_secret(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&secret, &zero);
}

static __always_inline __u32 policy_epoch(void)
{
	return epoch_now;
}

static __always_inline __u32 policy_looser(void)
{
	return loosened_now;
}

/* Asks for the way to an address. Fills `key` (route's interface, gateway or the destination itself) and, where
 * the neighbour is known, the two link addresses. Returns 0, or 1 where only the key is known, or -1.
 * The lookup is made as if from lo, whose forwarding the daemon switches on: that asks for the host's own
 * routes without making the host a router. */
static __always_inline int env_route(struct xdp_md *ctx, __u32 family, const __u8 *dst, struct hop_key *key, __u8 *dmac,
				     __u8 *smac)
{
	struct bpf_fib_lookup fib = {};
	long err;

	__builtin_memset(key, 0, sizeof(*key));
	if (cfg.injected) {
		struct env *e = env_injected();

		if (!e || !e->hop.ifindex)
			return -1;
		*key = e->hop;
		__builtin_memcpy(dmac, e->dst, 6);
		__builtin_memcpy(smac, e->src, 6);
		return !(e->dst[0] | e->dst[5]);
	}
	fib.ifindex = LOOPBACK_IFINDEX;
	if (family == 4) {
		fib.family = AF_INET;
		__builtin_memcpy(&fib.ipv4_dst, dst, 4);
	} else {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_dst, dst, 16);
	}
	err = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (err != BPF_FIB_LKUP_RET_SUCCESS && err != BPF_FIB_LKUP_RET_NO_NEIGH)
		return -1;
	key->ifindex = fib.ifindex;
	if (fib.family == AF_INET) { /* an IPv4 route may have an IPv6 gateway */
		key->family = 4;
		__builtin_memcpy(key->gateway, &fib.ipv4_dst, 4);
	} else {
		key->family = 6;
		__builtin_memcpy(key->gateway, fib.ipv6_dst, 16);
	}
	if (err == BPF_FIB_LKUP_RET_NO_NEIGH)
		return 1;
	__builtin_memcpy(dmac, fib.dmac, 6);
	__builtin_memcpy(smac, fib.smac, 6);
	return 0;
}
