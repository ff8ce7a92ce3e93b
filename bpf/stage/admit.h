/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * May a new session begin? On which server? Everything that is asked once a session: lists, limits, the pool's
 * table, a NAT port, the two ways out. The caller then sends the packet down the established path.
 */
#pragma once

#include "../lib/hash.h"
#include "../lib/ring.h"
#include "begin.h"
#include "flow.h"
#include "heavy.h"
#include "newcomer.h"
#include "reflection.h"
#include "revive.h"

#define NAT_ADDRS_MAX 64
#define NO_SERVER (~0u)

/* ---- who is it for? ---------------------------------------------------------------------------------- */

static __always_inline struct front *front_of(__u32 family, const __u8 *addr, __be16 port, __u8 proto)
{
	if (family == 4) {
		struct front_key4 k = { .addr = addr4(addr), .port = port, .proto = proto };

		return APART(bpf_map_lookup_elem(&front4, &k));
	} else {
		struct front_key6 k = { .port = port, .proto = proto };

		__builtin_memcpy(k.addr, addr, 16);
		return bpf_map_lookup_elem(&front6, &k);
	}
}

static __always_inline struct origin *origin_of(const struct pkt *p)
{
	if (p->family == 4) {
		struct front_key4 k = { .addr = addr4(p->src), .port = p->sport, .proto = p->proto };

		return APART(bpf_map_lookup_elem(&origin4, &k));
	} else {
		struct front_key6 k = { .port = p->sport, .proto = p->proto };

		__builtin_memcpy(k.addr, p->src, 16);
		return bpf_map_lookup_elem(&origin6, &k);
	}
}

static __always_inline bool is_own(const struct pkt *p, const __u8 *addr)
{
	if (p->family == 4) {
		__be32 a = addr4(addr);

		return APART(bpf_map_lookup_elem(&own4, &a));
	} else {
		struct in6 a;

		__builtin_memcpy(a.addr, addr, 16);
		return bpf_map_lookup_elem(&own6, &a);
	}
}

static __always_inline bool is_inside(const struct pkt *p)
{
	if (p->family == 4) {
		struct inside_key4 k = { .prefixlen = 32, .addr = addr4(p->src) };

		return APART(bpf_map_lookup_elem(&inside4, &k));
	} else {
		struct inside_key6 k = { .prefixlen = 128 };

		__builtin_memcpy(k.addr, p->src, 16);
		return bpf_map_lookup_elem(&inside6, &k);
	}
}

/* An address that no player has: one of ours, nobody's, a group's. */
static __always_inline bool no_player(const struct pkt *p, const __u8 *addr)
{
	if (p->family == 4) {
		__u32 a = bpf_ntohl(addr4(addr));

		if (a >> 24 == 0 || a >> 24 == 127 || a >> 28 >= 14)
			return true;
	} else if (addr[0] == 0xff || (!addr_hi(addr) && (!addr_lo(addr) || addr_lo(addr) == bpf_cpu_to_be64(1)))) {
		return true;
	}
	return is_own(p, addr);
}

/* An address that no router lets through from a player: of one link alone, or no host's (RFC 3927, 4291, 6052, 6666). */
static __always_inline bool impossible(const struct pkt *p)
{
	__u64 hi = bpf_be64_to_cpu(addr_hi(p->src)), dst = bpf_be64_to_cpu(addr_hi(p->dst));

	if (p->family == 4)
		return (hi >> 48) == 0xa9fe && (dst >> 48) != 0xa9fe; /* 169.254.0.0/16 */
	if (hi >> 54 == 0xfe80 >> 6 || hi >> 54 == 0xfec0 >> 6)
		return dst >> 54 != 0xfe80 >> 6;
	return hi == 0x0100000000000000ULL || /* 100::/64 */
	       hi == 0x0064ff9b00000000ULL || /* 64:ff9b::/96 */
	       (!hi && bpf_be64_to_cpu(addr_lo(p->src)) >> 32 == 0xffff); /* ::ffff:0:0/96 */
}

/* ---- which server? ----------------------------------------------------------------------------------- */

/* h % MAGLEV_SIZE, without the division that the compiler leaves in. */
static __always_inline __u32 maglev_cell(__u32 h)
{
	return h - (__u32)(h * 0x80180481ULL >> 43) * MAGLEV_SIZE;
}

_Static_assert(MAGLEV_SIZE == 4093, "2^43 / 4093, rounded up: exact for 32 bits (Granlund, Montgomery 1994)");

/* By the client's address (IPv6: its /64), so that a returning player gets the same server, by TCP and UDP, on
 * every edge. */
static __always_inline struct server *pick_server(const struct pkt *p, const struct service *svc)
{
	__u32 table = p->family == 4 ? svc->table4 : svc->table6, at, *cell;

	if (table == NO_SERVER)
		return NULL;
	if (p->family == 4)
		at = table + maglev_cell(hash_addr(0, addr4(p->src), 0));
	else
		at = table + maglev_cell(hash_addr(addr_hi(p->src), 0, 0));
	cell = bpf_map_lookup_elem(&pool_table, &at);
	if (!cell || *cell == NO_SERVER)
		return NULL;
	at = *cell;
	return bpf_map_lookup_elem(&server, &at);
}

/* A NAT port that may face the server. Starts at a random one of its addresses and takes the next where that has
 * none to give. Returns 0 or the enum drop_reason. */
static __always_inline int take_port(const struct pkt *p, const struct server *srv, struct making *m)
{
	__u32 n = srv->nat_count, at = env_chance();

	if (!n)
		return DROP_REASON_NO_PORT;
	for (__u32 i = 0; i < NAT_ADDRS_MAX; i++) {
		__u32 pick = srv->nat_first + (at + i) % n, *addr;
		struct nat_addr *a;
		int port;

		if (i >= n)
			break;
		addr = bpf_map_lookup_elem(&nat_pick, &pick);
		if (!addr)
			break;
		port = ring_take(p->family, *addr, p->tick);
		if (!port)
			continue;
		a = ring_of(p->family, *addr);
		if (!a)
			break;
		m->slot = *addr << 16 | (port & 0xffff);
		addr_copy(m->face, a->addr);
		m->face_port = bpf_htons(port);
		return 0;
	}
	return DROP_REASON_NO_PORT;
}

/* The way to a server, for which the kernel is asked as seldom as by a session: when policy or the network moved, and after
 * two seconds. p->to is the server. */
static __always_inline int server_hop(struct xdp_md *ctx, struct pkt *p, struct server *srv)
{
	__u64 way = *(volatile __u64 *)&srv->way;
	__u16 epoch = policy_epoch();
	int hop = way & 0xffff;

	if (hop && (__u16)(way >> 16) == epoch && p->tick - (__u32)(way >> 32) <= RECHECK_TICKS && hop_get(hop))
		return hop;
	hop = hop_for(ctx, p);
	if (hop > 0)
		*(volatile __u64 *)&srv->way = (__u16)hop | (__u64)epoch << 16 | (__u64)p->tick << 32;
	return hop;
}

/* The two ways out: to the server, and back to the client by the way this packet came if the kernel knows none. */
static __always_inline int find_hops(struct xdp_md *ctx, struct pkt *p, struct making *m, struct server *srv)
{
	int up, down;

	addr_copy(p->to, m->server);
	p->learn = p->down;
	up = srv ? server_hop(ctx, p, srv) : hop_for(ctx, p);
	addr_copy(p->to, m->client);
	p->learn = !p->down;
	down = hop_for(ctx, p);
	p->learn = 0;
	if (up < 0 || down < 0)
		return DROP_REASON_NO_ROUTE;
	m->up_hop = up;
	m->down_hop = down;
	return 0;
}

/* ---- admission --------------------------------------------------------------------------------------- */

static __always_inline void ends_of_client(const struct pkt *p, struct making *m)
{
	addr_copy(m->client, p->src);
	addr_copy(m->vip, p->dst);
	addr_copy(m->face, p->src);
	m->client_port = p->sport;
	m->vip_port = p->dport;
	m->face_port = p->sport;
}

static __always_inline int make(struct pkt *p, struct making *m)
{
	return p->family == 4 ? make4(p, m) : make6(p, m);
}

/* Fills in the server's half of the matter. Returns 0 or the enum drop_reason. */
static __always_inline int face_server(struct xdp_md *ctx, struct pkt *p, const struct service *svc, struct making *m)
{
	struct server *srv;
	int err;

	if (svc->forward == FORWARD_LOCAL) {
		addr_copy(m->server, p->dst);
		m->server_port = p->dport;
		m->flags |= FLOW_LOCAL;
		return 0;
	}
	srv = pick_server(p, svc);
	if (!srv)
		return DROP_REASON_NO_SERVER;
	addr_copy(m->server, srv->addr);
	m->server_port = bpf_htons(bpf_ntohs(srv->port) + p->offset);
	err = find_hops(ctx, p, m, srv);
	if (err)
		return err;
	if (svc->forward == FORWARD_NAT || (cfg.transparent && is_inside(p))) {
		m->flags |= FLOW_NAT;
		return take_port(p, srv, m); /* last: what is given back was in nobody's way */
	}
	return 0;
}

/* A TCP segment that can't begin a session: under NAT only a SYN can (a server knows no other address of this
 * player's); elsewhere a session older than the edge is taken up where it is. */
static __always_inline bool begins(const struct pkt *p, const struct service *svc)
{
	if (p->proto != IPPROTO_TCP)
		return true;
	if (p->shaken)
		return true;
	if (p->tcp & (TCP_RST | TCP_FIN))
		return false;
	return (p->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN || (svc->forward != FORWARD_NAT && !(p->tcp & TCP_SYN));
}

/* The session did not come to be. Where another packet was first with it, that one's serves this packet too. */
static __always_inline int lost(struct pkt *p, enum drop_reason reason)
{
	return reason == DROP_REASON_RACE ? VERDICT_AGAIN : drop(p, reason);
}

/* May a stranger's packet that its lists don't refuse begin a session? Returns a verdict, or ADMIT. */
NOINLINE int admit_rest(struct xdp_md *ctx, struct pkt *p)
{
	struct service *svc;
	__u32 i;
	int err;

	if (!p)
		return VERDICT_ABORT;
	i = p->service;
	svc = bpf_map_lookup_elem(&service, &i);
	if (!svc)
		return drop(p, DROP_REASON_NO_SERVER);
	if (!begins(p, svc))
		return drop(p, DROP_REASON_NO_SESSION);
	err = revive(p);
	if (err)
		return err;
	if (p->allowed)
		return VERDICT_ADMIT;
	stranger_seen(p);
	if (is_reflection(ctx, p) && refuse(p, DROP_REASON_REFLECTION, svc->enforce))
		return VERDICT_DROP;
	return VERDICT_ADMIT;
}

/* A stranger's packet to a service: may it begin a session? p->service and p->offset are set. Returns a verdict, ADMIT, or SYN. */
NOINLINE int admit(struct xdp_md *ctx, struct pkt *p)
{
	struct service *svc;
	int err;

	if (!p)
		return VERDICT_ABORT;
	p->epoch = policy_epoch(); /* read before the checks */
	svc = service_of(p);
	if (!svc)
		return drop(p, DROP_REASON_NO_SERVER);
	err = policy(p, svc);
	if (err)
		return drop(p, err);
	if (no_player(p, p->src))
		return drop(p, DROP_REASON_BAD_ADDRESS);
	if (impossible(p) && refuse(p, DROP_REASON_IMPOSSIBLE_SOURCE, svc->enforce))
		return VERDICT_DROP;
	if (p->l3_len > svc->max_packet && refuse(p, DROP_REASON_PACKET_SIZE, svc->enforce))
		return VERDICT_DROP;
	if (p->frag && !svc->fragments && refuse(p, DROP_REASON_FRAGMENT_REFUSED, svc->enforce))
		return VERDICT_DROP;
	if (p->proto == IPPROTO_TCP && tcp_odd(p->tcp) && refuse(p, DROP_REASON_TCP_FLAGS, svc->enforce))
		return VERDICT_DROP;
	if (cfg.proxied && svc->syn_proxy && p->proto == IPPROTO_TCP)
		return VERDICT_SYN;
	return admit_rest(ctx, p);
}

/* A stranger that may begin a session begins one. */
NOINLINE int admit_session(struct xdp_md *ctx, struct pkt *p)
{
	struct hop *hop = NULL;
	struct service *svc;
	struct source *s;
	struct making *m;
	__u32 slot = 0;
	int err, first;

	if (!p)
		return VERDICT_ABORT;
	svc = service_of(p);
	if (!svc)
		return drop(p, DROP_REASON_NO_SERVER);
	err = newcomer(p, svc, &slot);
	if (err)
		return drop(p, err);
	s = limit_session(p, svc);
	if (!s) {
		wide_undo(p, svc);
		return drop(p, p->reason);
	}
	m = making_new(
		p, (p->unlimited || !cfg.limits ? FLOW_UNLIMITED : 0) | source_prefix(p, svc) << FLOW_PREFIX_SHIFT |
			   (p->proof == GATE_PROOF_STRONG && !p->shaken ? PHASE_OPEN : PHASE_OPENING) |
			   (p->again ? FLOW_AGAIN : 0) | (svc->netchan && p->proto == IPPROTO_UDP ? FLOW_NETCHAN : 0));
	if (!m) {
		limit_undo(p, s, svc);
		return VERDICT_ABORT;
	}
	m->up_flags = newcomer_flags(p, svc);
	m->epoch = p->epoch - would_deny(p);
	ends_of_client(p, m);
	err = face_server(ctx, p, svc, m) ?: side_begin(p, svc, m);
	if (!err) {
		first = first_of(ctx, p, s, svc, m, &hop);
		err = make(p, m);
		if (!err) {
			newcomer_came(p, slot);
			p->playing = p->proof == GATE_PROOF_STRONG;
			if (cfg.told && !first && m->flags & FLOW_FRESH)
				tell(ctx, p, SAMPLE_KIND_FIRST, 0);
			return first ?: first_leave(ctx, p, m, hop);
		}
		first_undo(p, s, svc, m);
	}
	limit_undo(p, s, svc);
	side_free(m->cell);
	if (m->slot && ring_put_back(p->family, m->slot, p->tick))
		fault(FAULT_PORT_LOST);
	return lost(p, err);
}

/* First cell of the answers of the server that it would get; NO_SERVER: there are none. */
static __always_inline __u32 answers_of(const struct pkt *p, const struct service *svc)
{
	__u32 answers = svc->answers;
	struct server *srv;

	if (svc->forward != FORWARD_LOCAL && answers != NO_SERVER) {
		srv = pick_server(p, svc);
		answers = srv ? srv->answers : NO_SERVER;
	}
	return answers == NO_SERVER ? NO_SERVER :
				      answers + p->offset * GATE_KINDS; /* on each port is a server of its own */
}

/* Lays a packet out before its service's gate. Returns the gate's number; 0: there is none that it has to pass. A TCP client's gate
 * sees what it says first, once it has a session. */
NOINLINE int gate_prepare(struct xdp_md *ctx, struct pkt *p)
{
	struct service *svc;
	bool on;

	if (!p)
		return 0;
	svc = service_of(p);
	on = p->why == WHY_SPEAKS_ON;
	if (!svc || !cfg.gates || !svc->gate ||
	    (!on && (p->allowed || p->why == WHY_BELIEVED || (p->proto != IPPROTO_UDP && p->why != WHY_FIRST_WORDS))))
		return 0;
	return gate_show(ctx, p, svc, on ? NO_SERVER : answers_of(p, svc));
}

static __always_inline void ends_of_server(const struct pkt *p, const struct origin *o, struct making *m)
{
	addr_copy(m->client, p->dst);
	addr_copy(m->face, p->dst);
	addr_copy(m->vip, o->vip);
	addr_copy(m->server, p->src);
	m->client_port = p->dport;
	m->face_port = p->dport;
	m->vip_port = o->port;
	m->server_port = p->sport;
}

/* A server's first word to somebody who is in no session with it: leaves as its service's, and the answers are
 * admitted. What no player is meant by (this host's own addresses, broadcasts), and what has no way out through the
 * edge, is the host's: NEXT. */
NOINLINE int admit_server(struct xdp_md *ctx, struct pkt *p)
{
	struct service *svc;
	struct source *s;
	struct making *m;
	struct origin *o;
	__u32 i;
	int err;

	if (!p)
		return VERDICT_ABORT;
	o = origin_of(p);
	if (!o || no_player(p, p->dst))
		return VERDICT_NEXT;
	i = o->service;
	svc = bpf_map_lookup_elem(&service, &i);
	if (!svc || !begins(p, svc))
		return VERDICT_NEXT;
	m = making_new(p, PHASE_OPENING | FLOW_SERVER_STARTED | source_prefix(p, svc) << FLOW_PREFIX_SHIFT);
	if (!m)
		return VERDICT_NEXT;
	m->epoch = policy_epoch();
	ends_of_server(p, o, m);
	addr_copy(p->to, m->client);
	p->down = 1;
	p->service = o->service;
	err = policy(p, svc);
	if (err)
		return drop(p, err);
	err = revive_down(p);
	if (err)
		return err;
	if (find_hops(ctx, p, m, NULL)) {
		p->shadow = p->allowed = p->unlimited = 0; /* what was said of its client is nothing of the host's */
		return VERDICT_NEXT;
	}
	s = limit_session(p, svc);
	if (!s)
		return drop(p, p->reason);
	m->epoch -= would_deny(p);
	m->up_flags = ruled_flag(p, PHASE_OPENING);
	if (p->unlimited)
		m->flags |= FLOW_UNLIMITED;
	err = make(p, m);
	if (!err)
		return VERDICT_AGAIN;
	limit_undo(p, s, svc);
	return lost(p, err);
}
