/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps that stages share: who writes, who reads, what a miss means, what full means.
 *
 * *State* maps are pinned under maps/ and outlive programs and the daemon. *Generation* maps are built whole
 * from one configuration, pinned under gen-N/, and go with their programs. max_entries here is a floor: the
 * loader sets the real size from `sizes:`.
 */
#pragma once

#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "gate/parry_gate.h"

/* ---- state: sessions -------------------------------------------------------------------------------- */

/* Sessions by exact tuple; transparent and local ones have an entry for each direction. Written by admit and,
 * for the end of a session, by the reaper. Sized by sizes.sessions. A miss is a stranger. Full: the newest
 * stranger is refused (sessions_full); nothing is ever evicted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow_key4);
	__type(value, struct flow4);
	__uint(max_entries, 1024);
} flow4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow_key6);
	__type(value, struct flow6);
	__uint(max_entries, 1024);
} flow6 SEC(".maps");

/* The way back under NAT: slot = index of the NAT address * 65536 + port. Written by admit, freed by the
 * reaper. A slot that is free or names another server is a miss: the packet is the host's. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct flow4);
	__uint(max_entries, PORTS_PER_ADDR);
} nat4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct nat6);
	__uint(max_entries, PORTS_PER_ADDR);
} nat6 SEC(".maps");

/* What is translated of TCP sessions beside addresses and ports (struct proxied). NAT's by slot, so sized as nat4 and nat6; all
 * others' in cells that are claimed one by one. Written by the stages of TCP. Full: the newest session is refused (sessions_full). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct proxied);
	__uint(max_entries, PORTS_PER_ADDR);
} proxied4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct proxied);
	__uint(max_entries, PORTS_PER_ADDR);
} proxied6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct proxied);
	__uint(max_entries, 1024);
} proxied_cell SEC(".maps");

/* Rings of free ports, one for each NAT address (struct nat_addr). Filled by the loader once, then admit
 * takes from the head and the reaper gives back at the tail. Empty: new sessions are refused (no_port). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct port_cell);
	__uint(max_entries, PORTS_PER_ADDR);
} nat_ring4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct port_cell);
	__uint(max_entries, PORTS_PER_ADDR);
} nat_ring6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct nat_addr);
	__uint(max_entries, 1);
} nat_addr4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct nat_addr);
	__uint(max_entries, 1);
} nat_addr6 SEC(".maps");

/* NAT address to its index. Written by the loader. A miss: not one of ours. Sized as nat_addr. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __be32);
	__type(value, __u32);
	__uint(max_entries, 1);
} nat_index4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct in6);
	__type(value, __u32);
	__uint(max_entries, 1);
} nat_index6 SEC(".maps");

/* Buckets and session count of each source, by service. Written by limit and the reaper, swept when idle.
 * Sized by sizes.sources. Full: the newest source is refused (sources_full). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct source_key);
	__type(value, struct source);
	__uint(max_entries, 1024);
} source SEC(".maps");

/* What is timed of halves that are watched, by cell; 0 is nobody's. Claimed and written by stage/watch.h, given back when the half is watched no
 * more, or deleted. Sized by sizes.watched: two a session. Full: a half is not watched, which is counted (fault watch_full). Mapped for the
 * sake of alignment. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct watch);
	__uint(max_entries, 2);
	__uint(map_flags, BPF_F_MMAPABLE);
} watch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct watcher);
	__uint(max_entries, 1);
} watcher SEC(".maps");

/* Clients that are watched always. Written by the daemon. Full: the writer is told. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct watch_key);
	__type(value, __u32);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} watch_flag SEC(".maps");

/* Admitted first fragments. It owns nothing, so the least recently used may go: its datagram is lost.
 * Sized by sizes.fragments. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct frag_key);
	__type(value, struct frag);
	__uint(max_entries, 1024);
} frag SEC(".maps");

/* ---- state: strangers ------------------------------------------------------------------------------- */

/* Unproven sessions in the order in which they began, by family. Written by admit (stage/unproven.h). Sized by sizes.unproven. Full: the
 * oldest goes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct unproven4);
	__uint(max_entries, 1);
} unproven4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct unproven6);
	__uint(max_entries, 1);
} unproven6 SEC(".maps");

/* Who came once (stage/greylist.h). Sized by sizes.greylist. Fuller: more pass at first sight. Mapped for the sake of alignment. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct grey_line);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_MMAPABLE);
} greylist SEC(".maps");

/* How much strangers send (stage/sketch.h). Bounded under any spoofing; what collides counts for more than it sent. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct sketch_line);
	__uint(max_entries, SKETCH_LINES);
	__uint(map_flags, BPF_F_MMAPABLE);
} sketch SEC(".maps");

/* By hash of a prefix or source, which share where they collide; or of a client, of whom the later one has the cell. Index: enum
 * prefix_kind * PREFIX_CELLS + hash. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, PREFIX_KINDS *PREFIX_CELLS);
} prefix_word SEC(".maps");

/* What prefixes have used of services' limits (stage/wide.h). A flood of random ones can't fill it; mapped for the sake of alignment. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct prefix_use);
	__uint(max_entries, PREFIX_USES);
	__uint(map_flags, BPF_F_MMAPABLE);
} prefix_use SEC(".maps");

/* Prefixes of which strangers send the most (stage/heavy.h), by keyed hash: of those that share a cell, the one that most is of. The daemon
 * reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct heavy);
	__uint(max_entries, HEAVY_CELLS);
	__uint(map_flags, BPF_F_MMAPABLE);
} heavy SEC(".maps");

/* Sources, and their /24s and /48s (the masked address; the length stands above the key's family), whose address the detector doubts: ns until which. Service 0 = for all.
 * Written by the daemon, who takes out what has expired. A doubt that finds no room is not held, and counted by the daemon. What is
 * asked first is service_mode.doubt_until. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct source_key);
	__type(value, __u64);
	__uint(max_entries, DOUBTS_MAX);
} doubt SEC(".maps");

/* Sources that have played: ns at which they last began to. Written by the fast path (stage/proof.h), kept over restarts by the
 * daemon. It owns nothing, so the least recently used may go. Sized by sizes.regulars. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct source_key);
	__type(value, __u64);
	__uint(max_entries, 1024);
} regular SEC(".maps");

/* By service. Sized by sizes.services. The first is the daemon's, the other two the fast path's. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct service_mode);
	__uint(max_entries, 64);
} service_mode SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct service_state);
	__uint(max_entries, 64);
} service_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct stranger_count);
	__uint(max_entries, 64);
} stranger_count SEC(".maps");

/* What rules did, and their rates, by slot. Slots are the daemon's to give out. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct rule_count);
	__uint(max_entries, RULE_SLOTS);
} rule_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, RULE_SLOTS);
} rule_bucket SEC(".maps");

/* Rates of sources under rules that limit each, by keyed hash of slot and source: colliding ones share. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, RULE_CELLS);
} rule_cell SEC(".maps");

/* Queries that the daemon is to answer. Full: the query is dropped (answer_busy). */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} asks SEC(".maps");

/* ---- state: deny and allow -------------------------------------------------------------------------- */

/* Written by the loader and by bpftool. Hosts are exact, sized by sizes.blocks and .allows; prefixes by sizes.prefixes.
 * Full: the writer is told. An entry past its expiry is a miss; the daemon removes it. */
#define HOST_LIST(NAME, KEY, FLAGS)               \
	struct {                                  \
		__uint(type, BPF_MAP_TYPE_HASH);  \
		__type(key, KEY);                 \
		__type(value, struct list_entry); \
		__uint(max_entries, 1024);        \
		__uint(map_flags, FLAGS);         \
	} NAME SEC(".maps")
#define NET_LIST(NAME, KEY)                           \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);  \
		__type(key, KEY);                     \
		__type(value, struct list_entry);     \
		__uint(max_entries, 1024);            \
		__uint(map_flags, BPF_F_NO_PREALLOC); \
	} NAME SEC(".maps")

/* Preallocated: the one list that floods are looked up in. The others take memory as they grow. */
HOST_LIST(deny_host4, struct host_key4, 0);
HOST_LIST(deny_host6, struct host_key6, BPF_F_NO_PREALLOC);
HOST_LIST(allow_host4, struct host_key4, BPF_F_NO_PREALLOC);
HOST_LIST(allow_host6, struct host_key6, BPF_F_NO_PREALLOC);
NET_LIST(deny_net4, struct net_key4);
NET_LIST(deny_net6, struct net_key6);
NET_LIST(allow_net4, struct net_key4);
NET_LIST(allow_net6, struct net_key6);

/* One bit for each IPv4 /24 and each hashed IPv6 /48 (2^24 bits) that some prefix list covers: a clear bit
 * saves the LPM lookups. Derived: rebuilt by whoever writes a prefix, within a second of bpftool's writing. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1 << 18);
} net_filter4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1 << 18);
} net_filter6 SEC(".maps");

/* One bit for each IPv4 /16 that some allow prefix covers: a clear one says that of a denied host without the tries. Derived
 * as the two above. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1 << 10);
} allow_filter4 SEC(".maps");

/* One bit for each IPv4 /16 that some allowed host is in: where it and the one above are clear, a denied /24 is denied as a whole.
 * Derived likewise; that some host is allowed is seen by how many are (Linux 6.4 and newer; before, all bits are set). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1 << 10);
} allow_hosts4 SEC(".maps");

/* When the one above was last known to be right, in ns; 0 = never. Written once a second, by whoever looks after it. Where that
 * is two seconds ago nobody does, and no /24 is denied as a whole. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} allow_looked SEC(".maps");

/* Denials of a moment ago, by hash. Written by quick (stage/denial.h). A miss says nothing. A line that is full takes no more
 * until one of it is over. Sized by sizes.blocks: two far cells for each, and an eighth as many near ones. Mapped for the sake of
 * alignment: a line is one of the cache's. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct denial_line);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_MMAPABLE);
} denial SEC(".maps");

/* ---- state: the way out ----------------------------------------------------------------------------- */

/* Next hops by index; 0 is never used. Made by the fast path, link half kept by the daemon. Full: sessions
 * carry hop 0 and the kernel is asked for each packet (fault hops_full). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct hop);
	__uint(max_entries, 4096);
} hop SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct hop_key);
	__type(value, __u32);
	__uint(max_entries, 4096);
} hop_index SEC(".maps");

/* Links that routes may name, by ifindex. Written by the daemon. A miss: no way out there (no_route). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct link);
	__uint(max_entries, 1024);
} link SEC(".maps");

/* Interfaces that frames may be redirected to. Written by the daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1024);
} tx_port SEC(".maps");

/* ---- state: counters and single words --------------------------------------------------------------- */

/* Exact, summed over CPUs by readers. Service 0 is the host's own traffic. Sized by sizes.services. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct service_count);
	__uint(max_entries, 64);
} service_count SEC(".maps");

/* Index: service * REASONS_MAX + enum drop_reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct reason_count);
	__uint(max_entries, 64 * REASONS_MAX);
} reason_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, FAULT_LEN);
} fault_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct edge);
	__uint(max_entries, 1);
} edge SEC(".maps");

/* The policy epoch: moved by whoever changes policy, at most 25 times a second. Flows re-check when it is not
 * theirs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} epoch SEC(".maps");

/* How often policy was loosened, moved likewise: a denial of before is not believed. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} loosened SEC(".maps");

/* Keyed hashes' secrets; random at the edge's first start, set by tests. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct secret);
	__uint(max_entries, 1);
} secret SEC(".maps");

/* GCRA words of the host's own budgets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, BUCKET_LEN);
} host_bucket SEC(".maps");

/* GCRA words of the host's sources, by keyed hash: bounded under any spoofing, colliding sources share. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, HOST_SOURCES);
} host_source SEC(".maps");

/* ---- state: samples ----------------------------------------------------------------------------------- */

/* Packets that somebody asked for, and some of those that are dropped: struct sample and the first bytes of the frame. Read by the
 * daemon. Full: the sample is lost, and counted. Sized by sizes.samples. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} samples SEC(".maps");

/* What is asked for. Written by the daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct sampler);
	__uint(max_entries, 1);
} sampler SEC(".maps");

/* Index: slot; behind them those that are taken always, by enum sample_kind. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct sample_count);
	__uint(max_entries, SAMPLE_SLOTS + SAMPLE_KINDS);
} sample_count SEC(".maps");

/* ---- state: shadow mode -------------------------------------------------------------------------------- */

/* Refusals by service * REASONS_MAX + reason. Made by the fast path as they come (stage/shadow.h). Full: further reasons have
 * no sources and players told of them; what is counted in reason_count is whole. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct shadow_book);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} shadow_book SEC(".maps");

/* Sources that were refused, by service. It owns nothing, so the least recently used may go: of such a source nobody will say that it
 * was a player. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct source_key);
	__type(value, struct shadow_source);
	__uint(max_entries, BOOK_SOURCES);
} shadow_source SEC(".maps");

/* ---- generation: what one configuration says -------------------------------------------------------- */

/* Index = service number; numbers are kept by name from one generation to the next. Written by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct service);
	__uint(max_entries, 64);
} service SEC(".maps");

/* The fast path's own further programs. Filled by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, STAGES);
} stages SEC(".maps");

/* Gates by number. Filled by the loader. A miss: nobody new gets in (gate_missing). */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, GATES_MAX);
} gates SEC(".maps");

/* Programs of the operator's rules: a service's number twice for strangers, plus one for sessions. Filled by the loader, which swaps
 * them one by one. A miss: there are none. Its size is twice that of `service`. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, 2);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct rule_box);
	__uint(max_entries, 1);
} rule_box SEC(".maps");

/* Who listens where. A miss is host traffic. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct front_key4);
	__type(value, struct front);
	__uint(max_entries, 1);
} front4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct front_key6);
	__type(value, struct front);
	__uint(max_entries, 1);
} front6 SEC(".maps");

/* IPv4's fronts by port, as it lies on the wire: a shorter way to most of them. A miss: front4 is asked. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct front_port);
	__uint(max_entries, PORTS_PER_ADDR);
} front_port SEC(".maps");

/* Addresses that some service listens on or NAT uses: later fragments and ICMP errors towards them are ours. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __be32);
	__type(value, __u32);
	__uint(max_entries, 1);
} own4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct in6);
	__type(value, __u32);
	__uint(max_entries, 1);
} own6 SEC(".maps");

/* Which NAT addresses a server may see: struct server has a window into it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} nat_pick SEC(".maps");

/* Maglev tables, MAGLEV_SIZE cells each: index of the server; ~0 = none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, MAGLEV_SIZE);
} pool_table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct server);
	__uint(max_entries, 1);
} server SEC(".maps");

/* Servers by their own address and port. A miss: not one of ours. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct front_key4);
	__type(value, struct origin);
	__uint(max_entries, 1);
} origin4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct front_key6);
	__type(value, struct origin);
	__uint(max_entries, 1);
} origin6 SEC(".maps");

/* Prefixes on the servers' side: their clients reach a transparent service by NAT (hairpin), for the server
 * would answer them past the edge. Key: prefixlen, address. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct inside_key4);
	__type(value, __u32);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} inside4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct inside_key6);
	__type(value, __u32);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} inside6 SEC(".maps");

/* Where services' geo rules judge otherwise than of the rest of the world: bit n is rule n's (stage/geo.h). Written by the loader, kept
 * from one generation to the next while the files and rules are the same. A miss: as the rest of the world. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct inside_key4);
	__type(value, __u64);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} geo4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct inside_key6);
	__type(value, __u64);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} geo6 SEC(".maps");

/* ---- between the daemon and the programs that it runs ------------------------------------------------- */

/* The daemon's orders to reap4, reap6 and reap_source, and what became of them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct reap_item4);
	__uint(max_entries, REAP_BATCH);
} reap_box4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct reap_item6);
	__uint(max_entries, REAP_BATCH);
} reap_box6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct source_key);
	__uint(max_entries, REAP_BATCH);
} reap_box_src SEC(".maps");

/* What was timed of the watched halves that went: an order's number twice, plus one for its down half. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct watch);
	__uint(max_entries, 2 * REAP_BATCH);
} reap_watch SEC(".maps");

/* Two clocks read at once, so that the daemon can measure the jiffy. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct clocks);
	__uint(max_entries, 1);
} clocks SEC(".maps");

/* ---- between programs ------------------------------------------------------------------------------- */

/* The packet in hand, where something is to be told of it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct noted);
	__uint(max_entries, 1);
} noted SEC(".maps");

/* A book begins so: the stack has no room for one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct shadow_book);
	__uint(max_entries, 1);
} book_empty SEC(".maps");

/* ---- tests and replay ------------------------------------------------------------------------------- */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct env);
	__uint(max_entries, 1);
} env SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct trace);
	__uint(max_entries, 1);
} trace SEC(".maps");
