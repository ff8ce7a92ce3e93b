/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every type that the fast path and the daemon share. bpf2go makes the Go side of it, so nothing here is
 * written twice. A pinned map's layout is an interface: a change to a struct that lives in a state map
 * (maps.h says which do) raises LAYOUT_VERSION, and the loader then migrates or refuses in words.
 *
 * Byte order: __be16/__be32 and byte arrays are wire order, all else is the host's.
 * Time: nanoseconds of CLOCK_MONOTONIC at the grain of a jiffy (lib/env.h); a *tick* is 2^20 ns of that
 * (about 1.05 ms), kept in 32 bits (wraps after 52 days, so ticks are only ever subtracted).
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#define LAYOUT_VERSION 7

#define TICK_SHIFT 20
#define TICKS_PER_SECOND 954 /* 10^9 / 2^20, rounded up */

#define REASONS_MAX 128 /* stride of the counters kept by service and reason */
#define NAME_LEN 32
#define REASON_TEXT_LEN 40
#define MAGLEV_SIZE 4093 /* prime; a server's share is right within 1 % up to 40 servers of equal weight */
#define PORTS_PER_ADDR 65536
#define LINK_TAGS_MAX 2
#define ALWAYS_MAX 16
#define HOST_SOURCES 65536
#define REAP_BATCH 256
#define GATES_MAX 64
#define STAGE_STRANGER 0 /* index into stages */
#define STAGE_ADMIT 1
#define STAGE_AGAIN 2
#define STAGE_BRIEF 3
#define STAGE_NOTE 4
#define STAGE_RULED 5
#define STAGE_SYN 6
#define STAGE_SYN_BRIEF 7
#define STAGE_TCP 8
#define STAGES 9
#define PREFIX_CELLS 65536 /* of what is kept by hash of a prefix or source: those that collide share */
#define SKETCH_LINES 65536
#define HEAVY_CELLS 4096
#define HEAVY_EVERY 16 /* of a service's strangers' packets, on a CPU, one is looked at */
#define PREFIX_USES 65536 /* cells for limits by prefix */
#define GREYLIST_PER_LINE 8 /* strangers that a line remembers at 24 bits each */
#define ANSWER_PRIORITY 0x70617272 /* SO_PRIORITY of what the daemon sends in a service's name */
#define SAMPLE_MAX 2048 /* bytes of a frame in a sample */
#define SAMPLE_HEADERS 128 /* and in one that is taken always */
#define DOUBTS_MAX \
	16384 /* sources and prefixes that are doubted at once: a hundred a second for a minute is less than half of it */
#define SAMPLE_SLOTS 4 /* captures at a time */
#define SAMPLE_PAYLOAD 1024 /* bytes of a frame in one that is told for the sake of what it says */
#define SAMPLE_FIRSTS 4 /* of a session that are told, each way */
#define SAMPLE_HANDSHAKE 3 /* TCP: so many more are looked at, for some say nothing */
#define SAMPLE_STEP_SHIFT \
	24 /* ns >> this: how often a source that is refused is told again, and a CPU wakes the daemon (17 ms) */
#define SAMPLE_CELLS 4096 /* sources whose drops are told apart: those that collide share a sample a second */
#define RULE_SLOTS 1024 /* rules at once, of all services together */
#define RULE_CELLS 65536 /* words of rules that limit each source, by keyed hash */
#define BOOK_REGISTERS 1024 /* of a sketch of sources: 3.3 % standard error */
#define BOOK_SOURCES 32768 /* refused sources that are remembered until they prove to be players */
#define SETTLE_BATCH 128 /* lines: half a millisecond, when each cell has something to tell */

/* Why a packet was dropped. Append only: a number keeps its meaning, a retired reason gets _RETIRED. The
 * lower-case name without prefix is what people see everywhere. */
enum drop_reason {
	DROP_REASON_NONE = 0,
	/* Damaged: counted under the service it was sent to; towards anything else it is host traffic. */
	DROP_REASON_BAD_ETHERNET = 1, /* shorter than its own headers, or more than two VLAN tags */
	DROP_REASON_BAD_IPV4 = 2, /* version, header length or total length can't be */
	DROP_REASON_BAD_IPV6 = 3, /* version or payload length can't be */
	DROP_REASON_BAD_EXTENSION = 4, /* extension headers overrun, repeat without end, or are unknown */
	DROP_REASON_BAD_UDP = 5, /* length field under 8 or over the IP payload; IPv6 checksum 0 */
	DROP_REASON_BAD_TCP = 6, /* data offset under 5 or over the IP payload */
	DROP_REASON_BAD_ICMP = 7, /* an ICMP header cut short */
	DROP_REASON_BAD_FRAGMENT = 8, /* first fragment without its whole L4 header, or beyond 65535 bytes */
	DROP_REASON_BAD_ADDRESS = 9, /* source is ourselves, multicast, loopback or zero */
	/* Policy: these obey `enforce`. */
	DROP_REASON_DENIED = 10, /* on a deny list */
	DROP_REASON_NOT_ALLOWED = 11, /* the service wants an allow entry */
	DROP_REASON_PACKET_SIZE = 12, /* over the service's max_packet */
	DROP_REASON_RATE_PACKETS = 13, /* the source's packets per second */
	DROP_REASON_RATE_BYTES = 14, /* the source's bytes per second */
	DROP_REASON_RATE_SESSIONS = 15, /* the source's new sessions per window */
	DROP_REASON_TOO_MANY_SESSIONS = 16, /* the source's concurrent sessions */
	DROP_REASON_HOST_RATE = 17, /* this host's own budget */
	DROP_REASON_HOST_SOURCE_RATE = 18, /* one source's share of it */
	DROP_REASON_HOST_ALWAYS_RATE = 19, /* the budget of the ports in host.always */
	DROP_REASON_HOST_LINK_RATE = 20, /* the budget of ARP, ND and other non-IP */
	/* It can't be forwarded. */
	DROP_REASON_NO_SERVER = 21, /* the pool has no server that takes players */
	DROP_REASON_NO_PORT = 22, /* all NAT ports are taken or at rest */
	DROP_REASON_NO_ROUTE = 23, /* the kernel has no route there */
	DROP_REASON_NO_NEIGHBOR = 24, /* the next hop's link address is not known */
	DROP_REASON_SESSIONS_FULL = 25, /* the session table is full */
	DROP_REASON_SOURCES_FULL = 26, /* the source table is full */
	DROP_REASON_NO_SESSION = 27, /* a TCP segment of no session, not a SYN */
	DROP_REASON_FRAGMENT_ORPHAN = 28, /* a later fragment whose first was not admitted */
	DROP_REASON_TTL = 29, /* would leave with TTL or hop limit 0 */
	DROP_REASON_TOO_BIG = 30, /* larger than the next hop's MTU; the sender is told by ICMP */
	DROP_REASON_ICMP_RATE = 31, /* the budget for translated ICMP errors */
	DROP_REASON_ICMP_UNRELATED =
		32, /* an ICMP error that claims to be about a service or NAT port, but is about no session */
	DROP_REASON_RACE = 33, /* two packets made one session at once and this one's copy lost */
	/* Something failed after the packet was already changed: seen as XDP_ABORTED by the tracepoint. */
	DROP_REASON_INTERNAL = 34,
	DROP_REASON_SESSION_KILLED = 35, /* its session was ended by hand less than a second ago */
	DROP_REASON_FRAGMENT_REFUSED = 36, /* policy: a stranger's first fragment, to a service that takes none */
	/* Strangers: policy, obeys `enforce`. */
	DROP_REASON_GATE_REFUSED = 37, /* no believable first packet of its service's game */
	DROP_REASON_GATE_MISSING = 38, /* its service's gate is not there: nobody new gets in */
	DROP_REASON_STRANGER_RATE = 39, /* a stranger's packets per second */
	DROP_REASON_GREYLISTED = 40, /* first sight under attack: who comes again gets in */
	DROP_REASON_STRANGERS_FULL = 41, /* more strangers at once than the edge takes in */
	DROP_REASON_UNPROVEN_RATE = 42, /* it goes on and on, and the server has not answered */
	DROP_REASON_ANSWER_BUDGET = 43, /* the budget of answers to unproven sources (no reflector) */
	DROP_REASON_QUERY_RATE = 44, /* the source's queries per second */
	DROP_REASON_REFLECTION = 45, /* a reflector's answer, by source port and shape */
	DROP_REASON_IMPOSSIBLE_SOURCE = 46, /* an address that nobody can have */
	DROP_REASON_ANSWER_QUEUED = 47, /* the daemon answers this query, in several packets */
	DROP_REASON_ANSWER_BUSY = 48, /* it has too many such queries waiting */
	DROP_REASON_SILENT = 49, /* a TCP client that connected and said nothing */
	/* Limits of more than one source, and the operator's word: policy, obeys `enforce`. */
	DROP_REASON_PREFIX_PACKETS = 50, /* packets per second of its /24 or /48 */
	DROP_REASON_PREFIX_BYTES = 51, /* and bytes */
	DROP_REASON_PREFIX_SESSIONS = 52, /* and new sessions */
	DROP_REASON_SERVICE_PACKETS = 53, /* packets per second of all who are not proven, to this service */
	DROP_REASON_SERVICE_BYTES = 54, /* and bytes */
	DROP_REASON_SERVICE_SESSIONS = 55, /* and new sessions */
	DROP_REASON_GEO = 56, /* its country or network (ASN) is not let in */
	DROP_REASON_RULE = 57, /* an operator's rule says so */
	DROP_REASON_RULE_LIMIT = 58, /* over an operator's rule's rate */
	/* TCP */
	DROP_REASON_BAD_COOKIE = 59, /* policy: an ACK of no session, without the cookie that the SYN proxy gave */
	DROP_REASON_TCP_FLAGS = 60, /* policy: flags that no stack sends together */
	DROP_REASON_TCP_STATE = 61, /* policy: a segment that its session's state rules out */
	DROP_REASON_SYN_PROXY = 62, /* the SYN proxy took its place: its server is being connected */
	/* The daemon's detector */
	DROP_REASON_DOUBTED = 63, /* policy: while its source attacks unproven, it has to prove its address strongly */
	DROP_REASON_LEN,
};

enum verdict {
	VERDICT_NEXT = 0, /* no verdict yet: the next stage decides */
	VERDICT_PASS = 1, /* to this host's own stack */
	VERDICT_DROP = 2,
	VERDICT_TX = 3, /* out by the interface it came in by */
	VERDICT_REDIRECT = 4, /* out by another interface */
	VERDICT_ABORT = 5, /* a drop that the xdp_exception tracepoint shows */
};

enum forward_mode {
	FORWARD_NONE = 0, /* no such service */
	FORWARD_NAT = 1,
	FORWARD_TRANSPARENT = 2,
	FORWARD_LOCAL = 3,
};

/* A session's life. Zero is an unused return slot. OPENING and OPEN carry packets; the others are a miss. */
enum session_phase {
	PHASE_FREE = 0,
	PHASE_OPENING = 1, /* admitted: unproven */
	PHASE_OPEN = 2, /* proven: by a secret, or both sides have spoken and the client again after */
	PHASE_CLOSING = 3, /* over; can be revived for a second, then it is reaped */
	PHASE_DEAD = 4, /* being deleted; nothing revives it */
};

/* struct flow.state: phase in the low bits, flags above them, all moved by atomics. */
#define FLOW_PHASES 0x7
#define FLOW_PHASE(state) ((state)&FLOW_PHASES)
enum flow_flag {
	FLOW_PROXIED = 1u << 3, /* TCP: the SYN proxy shook hands with its client, so its numbers are translated */
	FLOW_HEADER = 1u << 4, /* TCP: its server has not acknowledged the PROXY header yet */
	FLOW_RULED = 1u << 5, /* a rule with --established is about its service */
	FLOW_NETCHAN = 1u << 6, /* UDP, both halves: what proves it strongly may still come (stage/netchan.h) */
	FLOW_FRESH = 1u << 7, /* each half its own: its first packets are told (stage/told.h) */
	FLOW_RETURN = 1u << 8, /* this entry is the server-to-client half */
	FLOW_NAT = 1u << 9, /* its return half is a slot of nat4/nat6 (numbered `peer`), not a second entry */
	FLOW_LOCAL = 1u << 10, /* the server is this host: packets are passed up, nothing is rewritten */
	FLOW_UNLIMITED = 1u << 11, /* no source limits: an allow entry says so, or none are set */
	FLOW_SERVER_STARTED = 1u << 12, /* the server spoke first */
	FLOW_KILLED = 1u << 13, /* ended by hand: nothing revives it */
	FLOW_FIN_CLIENT = 1u << 14, /* up half: the client is done. Down half: and was before its server */
	FLOW_FIN_SERVER = 1u << 15, /* down half: the server is done. Up half: and was before its client */
	FLOW_RST = 1u << 16,
	FLOW_ANSWERED = 1u << 17, /* down half: the server has answered (TCP: it has seen the client's ACK) */
	FLOW_EVICTED = 1u << 18, /* a stranger that newer ones pushed out: nothing revives it */
	FLOW_WEAK = 1u << 19, /* proven by a two-way exchange alone. Up half: and counted in the weak ones' quotas */
	FLOW_STRONG = 1u << 20, /* proven by an echoed secret or a TCP handshake */
	FLOW_QUERY = 1u << 21, /* a query and its answer: no connection */
	FLOW_LASTING = 1u << 22, /* proven, and played for a while */
	FLOW_GATED = 1u << 23, /* TCP: its first segment with payload is still to be shown to the gate */
	FLOW_AGAIN = 1u << 24, /* its client had to come again, and did (stage/greylist.h) */
	FLOW_WATCHED = 1u << 25, /* each half its own: its packets are timed, in cell `watch` (stage/watch.h) */
};

/* Of an open session's packets only the common way knows what to do. */
#define FLOW_SPECIAL (FLOW_PROXIED | FLOW_HEADER | FLOW_RULED)

/* Above the flags: the length of the prefix that is its source, of which IPv6's 64 is kept as 0. A reload may draw sources anew; a
 * session stays counted where it was when it began. */
#define FLOW_PREFIX_SHIFT 26
#define FLOW_PREFIX(state) ((state) >> FLOW_PREFIX_SHIFT ?: 64)

struct in6 {
	__u8 addr[16];
};

struct inside_key4 {
	__u32 prefixlen;
	__be32 addr;
};

struct inside_key6 {
	__u32 prefixlen;
	__u8 addr[16];
};

struct secret {
	__u64 key[2];
};

/* A session's key is the exact tuple on the wire, client to server or (transparent, local) back. Written
 * with two 8-byte stores: narrower ones cost up to twice on cold lookups. */
struct flow_key4 {
	__be32 src;
	__be32 dst;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};

struct flow_key6 {
	__u8 src[16];
	__u8 dst[16];
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};

/* Tokens that a flow borrowed from its source's buckets are one word (stage/limit.h). From its low end: packets, the CPU
 * whose they are, when they were borrowed (tick >> 4), bytes. Of both counts the highest bit is never set. */
#define LOAN_PACKET_BITS 13
#define LOAN_CPU_BITS 13 /* Linux knows 8192 at most */
#define LOAN_TICK_BITS 16
#define LOAN_BYTE_BITS 22
#define LOAN_PACKETS_MAX 0xfff /* the most that is lent at once */
#define LOAN_BYTES_MAX 0xfffff /* more than any packet has */

/* The only server whose packets a return slot takes. Read as one word, before and after the rest. */
struct from {
	__be32 addr; /* IPv4; for IPv6 see struct nat6 */
	__be16 port;
	__u8 proto;
	__u8 gen; /* moves when the slot is taken */
};

/* What every session half has, whatever its family. Counters are plain: two CPUs in one half may lose an
 * update of each other's (per-service counters are exact). */
struct flow {
	__u64 packets;
	__u64 bytes; /* L3 bytes as received */
	__u64 word; /* client to server: a loan (LOAN_*); return slot of NAT: struct from; any other down half: its cell of proxied_cell */
	__u32 seen; /* tick of the last packet that passed */
	__u16 epoch; /* policy epoch read before its last check, its low half: a check is not believed for as long as that takes to wrap */
	__u16 watch; /* cell of `watch`; 0 = none */
	__u32 checked; /* tick of its last check */
	__u16 hop; /* index into hop; 0: ask the kernel for each packet */
	__u16 service;
	__u32 peer; /* up half: the slot of its down half (FLOW_NAT), or its cell of proxied_cell; down half: tick at which the session began */
	__u32 state; /* enum session_phase | enum flow_flag */
};

struct flow4 {
	struct flow f;
	__be32 src; /* what the packet leaves with */
	__be32 dst;
	__be16 sport;
	__be16 dport;
	__u16 l3_delta; /* one's-complement sums of all that changes, TTL included (RFC 1624) */
	__u16 l4_delta;
};

struct flow6 {
	struct flow f;
	__u8 src[16];
	__u8 dst[16];
	__be16 sport;
	__be16 dport;
	__u16 l4_delta;
	__u16 pad;
};

struct nat6 {
	struct flow6 flow;
	__u8 from[16]; /* the server's address: struct flow.from has no room for it */
};

/* What the fast path must know of a TCP session whose client shook hands with the edge, or whose server is told its client by a
 * header, beside the session's halves. NAT: at its slot's place in proxied4/6; else in a cell of its own (stage/side.h). */
struct proxied {
	__u32 taken; /* a cell of its own: somebody's */
	__u32 delta; /* a server's sequence number and this make what its client sees */
	__u32 ts_delta; /* the same of timestamps. Before the server has answered: the timestamp that the client was given */
	__s8 shift; /* of windows that the server says: to the left, negative: to the right */
	__u8 up_shift; /* of windows that the client says: to the left */
	__u8 flags; /* enum proxied_flag */
	__u8 scales; /* window scales: the client's, the one that it was offered << 4; 15 = none */
	__u32 isn; /* the client's initial sequence number */
	__u32 cookie; /* the edge's towards the client */
	__u32 ts; /* the client's timestamp when it shook hands */
	__u16 mss; /* that the server is told */
	__u16 window; /* the client's when it shook hands, as on the wire */
};

enum proxied_flag {
	PROXIED_CONNECTED = 1, /* the server has shaken hands, too */
	PROXIED_TIMESTAMPS = 2,
	PROXIED_SACK = 4,
	PROXIED_ASKED = 8, /* it was sent a SYN */
};

/* One free port of a NAT address; 0 = the cell is empty. */
struct port_cell {
	__u32 freed; /* tick */
	__u16 port; /* host order */
	__u16 rest; /* ticks >> 4 that it rests before it is given out again */
};

/* One NAT address and its ring of free ports: cells [index * 65536, ...) of nat_ring4/6. */
struct nat_addr {
	__u8 addr[16]; /* IPv4 in the first four bytes */
	__u32 head; /* next to give out; moved by compare-and-swap */
	__u32 tail; /* next to fill; moved by atomic add */
	__u16 first; /* of the ports that were ever put in its ring */
	__u16 last;
	__u32 ports; /* how many there are in all */
	__u32 pad;
};

/* What this configuration makes of an address and port. */
struct front_key4 {
	__be32 addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
};

struct front_key6 {
	__u8 addr[16];
	__be16 port;
	__u8 proto;
	__u8 pad[5];
};

struct front {
	__u16 service;
	__u16 offset; /* which port of the service's range: the server's range maps port by port */
};

/* The only front of IPv4 on a port, or the first of several. */
struct front_port {
	__be32 addr;
	__u16 service;
	__u16 offset;
	__u8 proto[2]; /* that it listens on; 0 = none */
	__u8 gated; /* its service has a gate */
	__u8 proxied; /* and a SYN proxy */
	__u8 pad[4];
};

/* A bucket is one 64-bit word, the theoretical arrival time of GCRA in 2^-8 ns, moved by compare-and-swap.
 * cost 0 = no limit. */
struct rate {
	__u64 cost; /* 2^-8 ns a unit */
	__u64 burst; /* 2^-8 ns that may be used ahead */
};

/* Append only, with zero for what was before: the next daemon reads the one before's. */
struct service {
	__u8 name[NAME_LEN];
	struct rate packets; /* per source */
	struct rate bytes;
	struct rate sessions; /* new ones */
	__u32 packet_batch; /* units that a flow may borrow at once: max(1, burst / 256), at most LOAN_*_MAX */
	__u32 byte_batch;
	__u32 max_sessions; /* concurrent, per source; 0 = no limit */
	__u32 max_packet; /* L3 bytes */
	__u32 timeout_udp; /* ticks */
	__u32 timeout_tcp;
	__u32 timeout_closing;
	__u32 timeout_opening;
	__u32 table4; /* first cell of its Maglev table in pool_table, by family; ~0 = none */
	__u32 table6;
	__u8 forward; /* enum forward_mode */
	__u8 allowlist; /* refuses all who aren't allowed */
	__u8 enforce; /* 0: policy is counted, not carried out */
	__u8 enforce_limits; /* the same for the source limits alone */
	__u8 prefix4; /* a source is a prefix of this length */
	__u8 prefix6; /* at most 64 */
	__u8 retired; /* gone from the configuration; its sessions play on */
	__u8 ever; /* EVER_*: families and modes that it has had, for their sessions play on */
	__u8 fragments; /* a stranger's first fragment may begin a session */
	__u8 gate; /* index into gates; 0 = none */
	__u8 netchan; /* its UDP sessions begin with FLOW_NETCHAN */
	__u8 watch_gate; /* 1: what its gate refuses is counted and goes on */
	__u8 syn_proxy; /* enum syn_proxy */
	__u8 proxy_header; /* TCP: its servers are told the client by PROXY protocol v2 */
	__u8 trial; /* number of the trial that it is on; 0 = none: its policy was switched on a moment ago, and whom it hits is booked */
	__u8 sequence; /* enum sequence: what of its datagrams can be numbered */
	__u32 unanswered; /* packets that an unproven session may send before its server answers; 0 = no limit */
	struct rate strangers; /* new sessions of unproven sources, before they have to come again */
	struct rate admissions; /* of those that did */
	struct rate admissions_prefix; /* and of each /16 of theirs (IPv6: /32) */
	struct rate queries; /* per source */
	__u32 stranger_packets; /* of one source in a window of the sketch; 0 = no limit */
	__u32 weak_sessions; /* at once; 0 = no limit */
	__u32 weak_prefix; /* of those, of one /24 or /48 */
	__u32 timeout_weak; /* ticks; 0 = as the others */
	__u32 answers; /* ~0: none are cached; FORWARD_LOCAL: first cell of its server's cache in gate_answer_at, else struct server says */
	__u32 timeout_silent; /* ticks, of a TCP client that has said nothing yet; 0 = as the others */
	__u64 gate_params[6];
	__u32 weak_gain; /* bytes that a server may send a weakly proven client for each byte of the client's; 0 = no bound */
	__u32 pad2;
	struct rate prefix_packets; /* per prefix of sources (stage/wide.h) */
	struct rate prefix_bytes;
	struct rate prefix_sessions;
	struct rate all_packets; /* of all together who are not proven */
	struct rate all_bytes;
	struct rate all_sessions;
	__u8 wide4; /* how long such a prefix is */
	__u8 wide6; /* at most 64 */
	__u8 enforce_prefix;
	__u8 enforce_all;
	__u8 geo; /* 1 + the number of its rule (stage/geo.h); 0 = none */
	__u8 geo_default; /* what becomes of whom the maps say nothing: 1 = refused */
	__u8 pad3[2];
	__u32 shared_sessions; /* lasting ones that make a source a shared address; 0 = none is */
	__u32 shared_factor; /* by which its limits are wider then */
};

/* Whether the edge shakes hands with TCP clients before their server hears of them. */
enum syn_proxy {
	SYN_PROXY_OFF = 0,
	SYN_PROXY_AUTO = 1, /* under attack, or while more strangers come than are let in at first sight */
	SYN_PROXY_ALWAYS = 2,
};

/* How a service fares. Written by the daemon alone. */
struct service_mode {
	__u64 grace_until; /* ns: until then sessions older than the edge pass the gate */
	__u64 doubt_until; /* ns: until then some source is doubted here, so strangers are asked for strong proof where they can give it */
	__u32 state; /* enum gate_state */
	__u32 rules; /* RULES_*: whom its operator's rules are asked about */
};

#define RULES_ANY 1 /* strangers, and who is not proven */
#define RULES_ESTABLISHED 2 /* sessions, too */
#define RULES_SOURCE 4 /* some rule limits each source */

/* A packet between the core and the program of its service's rules (stage/rules.h, pkg/rule). */
struct rule_box {
	__u64 now; /* ns */
	__u64 key; /* of hashes; only under RULES_SOURCE */
	__u64 source; /* first bytes of the source address; IPv4 in the low four */
	__u32 length; /* of the frame, VLAN tags left out */
	__u32 bytes; /* of the IP packet */
	__u32 from; /* this and the next two: what the program found out */
	__u32 to;
	__u16 l3; /* offset of the IP header */
	__u16 class;
	__u32 rule; /* number of the rule that decided; 0 = none */
	__u32 shadow; /* of the first that only watches and would have refused it */
	__u8 would; /* and how: RULE_* */
	__u8 watch; /* nothing is dropped here: what is refused counts as a shadow */
	__u8 family;
	__u8 header;
};

/* What such a program returns. */
#define RULE_PASSED 0
#define RULE_DROPPED 1
#define RULE_LIMITED 2

/* What a rule did. Exact: one for each CPU. */
struct rule_count {
	__u64 packets; /* that it was about */
	__u64 bytes;
	__u64 dropped; /* of those */
	__u64 shadow; /* would have been dropped, were rule and policy enforced */
};

/* What strangers have used up of a service's bounds. Written by the fast path alone. */
struct service_state {
	__u64 strangers; /* GCRA words */
	__u64 admissions;
	__u32 weak; /* sessions with FLOW_WEAK */
	__u32 pad;
	__u64 packets; /* GCRA words of the limits of all who are not proven */
	__u64 bytes;
	__u64 sessions;
};

/* What the sources of a prefix together have used of a service's limits: GCRA words. By keyed hash; those that collide share. */
struct prefix_use {
	__u64 packets;
	__u64 bytes;
	__u64 sessions;
	__u64 pad;
};

/* Whose answers a reflection is made of (stage/reflection.h). */
enum reflector {
	REFLECTOR_NONE = 0,
	REFLECTOR_DNS = 1,
	REFLECTOR_NTP = 2,
	REFLECTOR_CLDAP = 3,
	REFLECTOR_SNMP = 4,
	REFLECTOR_SSDP = 5,
	REFLECTOR_MEMCACHED = 6,
	REFLECTOR_CHARGEN = 7, /* or QOTD */
	REFLECTOR_PORTMAP = 8,
	REFLECTOR_NETBIOS = 9,
	REFLECTOR_RIP = 10,
	REFLECTOR_ARD = 11, /* Apple remote desktop */
	REFLECTOR_WSD = 12, /* WS-Discovery */
	REFLECTOR_COAP = 13,
	REFLECTOR_DVR = 14,
	REFLECTOR_BACNET = 15,
	REFLECTOR_GAME = 16, /* another game's server */
	REFLECTOR_LEN,
};

/* What strangers tried, and what became of it. Exact: one for each CPU. */
struct stranger_count {
	__u64 strangers; /* packets of no session */
	__u64 believed; /* by the gate, or there is none */
	__u64 greylisted;
	__u64 returned; /* came again in time */
	__u64 admitted; /* sessions, unproven and proven */
	__u64 strong; /* proven so */
	__u64 weak;
	__u64 answered; /* by the edge */
	__u64 asked; /* of the daemon */
	__u64 evicted; /* unproven sessions that newer ones pushed out */
	__u64 sketched; /* packets that the sketch counted */
	__u64 lost; /* packets of proven sessions that were dropped, and not for their own source's doing (stage/exit.h) */
	__u64 reflected[REFLECTOR_LEN]; /* packets, by enum reflector; [0] is not used */
	__u64 pad[3];
};

/* A slot of the unproven. The two arrays of them are rings. */
struct unproven4 {
	struct flow_key4 key;
	__u32 begun; /* tick; of no session: 0 */
	__u32 pad;
};

struct unproven6 {
	struct flow_key6 key;
	__u32 begun;
	__u32 pad;
};

/* Strangers that were seen, as bits of their hash (stage/greylist.h). */
struct grey_line {
	__u32 generation; /* that `now` belongs to */
	__u32 slice; /* that the low half of `recent` belongs to */
	__u64 now[3];
	__u64 before[3];
	__u64 recent; /* two slices of 32 bits */
};

/* A line of the sketch: counters of packets, each with the window that it counts (stage/sketch.h). */
struct sketch_line {
	__u32 cell[16];
};

/* A prefix that sends much, over all services (stage/heavy.h). */
struct heavy {
	__u64 prefix; /* family << 56 | the first 24 or 48 bits of its addresses */
	__u64 services; /* bit n: some service whose number is n, but for multiples of 64 */
	__u32 window;
	__u32 votes;
	__u32 hits; /* since the cell became its own; grows */
	__u32 pad;
};

/* A query that the daemon is to answer. */
struct gate_ask {
	__u8 src[16];
	__u8 dst[16];
	__be16 sport;
	__be16 dport;
	__u16 service;
	__u8 family;
	__u8 kind;
	__u32 answers; /* first cell of its server's cache */
	__u32 pad;
};

/* Only the loader reads these: cfg leaves in what they need. */
#define EVER_IPV4 1
#define EVER_IPV6 2
#define EVER_TRANSPARENT 4
#define EVER_LOCAL 8
#define EVER_PROXIED 16 /* by the SYN proxy, or with a PROXY header */

struct server {
	__u8 addr[16]; /* IPv4 in the first four bytes */
	__be16 port; /* of offset 0: a service's ports keep their distances */
	__u16 mss; /* of what TCP takes: learned by the daemon; 0 with the next four = not known */
	__u16 nat_first; /* NAT addresses that may face it: nat_pick[nat_first, + nat_count) */
	__u16 nat_count;
	__u8 wscale; /* 15 = it takes none */
	__u8 sack;
	__u8 timestamps;
	__u8 known;
	__u32 answers; /* first cell of its cache in gate_answer_at; ~0 = none */
	__u64 way; /* when it was last asked for: hop | policy epoch (its low half) << 16 | tick << 32. Moved as one word; 0 = not yet */
};

/* A server's own address and port: what it sends first leaves as this service. */
struct origin {
	__u8 vip[16];
	__be16 port;
	__u16 service;
	__u32 pad;
};

/* A source is an address or prefix in the eyes of one service. */
struct source_key {
	__u64 addr; /* first 8 bytes of the address as on the wire, masked; IPv4 in the low 4 */
	__u32 service;
	__u32 family;
};

struct source {
	__u64 packets; /* GCRA words */
	__u64 bytes;
	__u64 news;
	__u32 sessions; /* admitted and not yet reaped; or one of the two below */
	__u32 seen; /* tick */
	__u32 lasting; /* of the sessions, those whose up half has FLOW_LASTING */
	__u32 pad;
};

#define SOURCE_DYING (1u << 31) /* idle: deleted a second later, unless a session begins before */
#define SOURCE_DEAD (3u << 30) /* being deleted; nothing revives it */

/* Deny and allow lists. service 0 = all. Hosts are exact; prefixes are an LPM trie over (service, address), so
 * that one service's entry hides none of another's. */
struct host_key4 {
	__u32 service;
	__be32 addr;
};

struct host_key6 {
	__u32 service;
	__u8 addr[16];
};

struct net_key4 {
	__u32 prefixlen; /* 32 + the prefix's own */
	__u32 service;
	__be32 addr;
};

struct net_key6 {
	__u32 prefixlen;
	__u32 service;
	__u8 addr[16];
};

enum entry_source {
	ENTRY_SOURCE_MAP = 0, /* written by bpftool: zero is what a person leaves */
	ENTRY_SOURCE_CLI = 1,
	ENTRY_SOURCE_API = 2,
	ENTRY_SOURCE_DETECT = 3,
	ENTRY_SOURCE_FLEET = 4,
};

struct list_entry {
	__u64 expires; /* CLOCK_MONOTONIC ns; 0 = never */
	__u64 hits; /* packets judged by it; plain, so a guess under contention. Some are still in cells (struct denial) */
	__u64 pad; /* to whole cache lines: see below */
	__u32 added; /* Unix seconds; 0 = not said */
	__u8 source; /* enum entry_source */
	__u8 confidence; /* percent; 0 = not said */
	__u8 unlimited; /* allow lists: source limits don't hold for it */
	__u8 bits; /* prefix lists: the prefix's own length, so that an expired entry can look past itself; 0 = unknown */
	__u8 reason[REASON_TEXT_LEN];
};

/* A denial that was judged a moment ago (stage/denial.h). One cell holds for an address or a /24, and one service. */
struct denial {
	__u64 whom; /* address | service << 32 | kind << 48 | loosenings of policy before it was judged << 49 */
	__u32 until; /* ns >> DENIAL_SHIFT */
	__u32 hits; /* that its entry is still to be told of */
};

struct denial_line {
	struct denial cell[4];
};

/* A next hop: what egress writes. The daemon keeps the link half fresh, the fast path makes entries. */
enum hop_state {
	HOP_EMPTY = 0,
	HOP_WANTED = 1, /* no link address yet: the daemon is to get one */
	HOP_LEARNED = 2, /* link address taken from the client's own frame until the daemon knows better */
	HOP_VALID = 3,
	HOP_DOWN = 4,
};

struct hop_key {
	__u32 ifindex; /* of the route: may be a VLAN device */
	__u32 family;
	__u8 gateway[16]; /* or the on-link destination */
};

struct vlan_tag {
	__be16 proto;
	__be16 tci;
};

struct hop {
	__u32 ifindex; /* that the frame leaves by */
	__u16 mtu; /* L3 */
	__u8 tags;
	__u8 state; /* enum hop_state */
	__u8 dst[6];
	__u8 src[6];
	struct vlan_tag tag[LINK_TAGS_MAX];
	struct hop_key key;
	__u32 made; /* tick */
	__u32 pad[2];
};

/* A link that routes name: how XDP reaches it. Written by the daemon. */
struct link {
	__u32 ifindex;
	__u16 mtu;
	__u8 tags;
	__u8 pad;
	__u8 mac[6];
	__u8 pad2[2];
	struct vlan_tag tag[LINK_TAGS_MAX];
};

/* A first fragment that was admitted, so that the rest can follow. */
struct frag_key {
	__u8 src[16];
	__u8 dst[16];
	__u32 id;
	__u32 proto;
};

struct frag {
	__u8 src[16]; /* what its later fragments leave with */
	__u8 dst[16];
	__u32 id; /* as on the wire; re-issued under NAT */
	__u32 expires; /* tick */
	__u16 hop;
	__u16 service;
	__u32 state; /* flow_flags of the session's half */
	struct source_key source; /* whose buckets its fragments draw on */
	__be16 sport; /* as the first had them: with them its session is found */
	__be16 dport;
	__u32 refused; /* it was a local server's, and did not leave: no later one may */
};

struct service_count {
	__u64 up_packets; /* client to server */
	__u64 up_bytes;
	__u64 down_packets;
	__u64 down_bytes;
	__u64 pass;
	__u64 drop;
	__u64 tx;
	__u64 redirect;
};

struct reason_count {
	__u64 packets;
	__u64 bytes;
	__u64 shadow_packets; /* would have been dropped were policy enforced */
	__u64 shadow_bytes;
};

/* Failures inside the fast path that are no packet's fault. */
enum fault {
	FAULT_BUCKET_CONTENDED = 0, /* compare-and-swap lost four times: the packet passed */
	FAULT_SOURCE_MISSING = 1, /* a session's source entry was gone: the packet passed */
	FAULT_HOPS_FULL = 2, /* next hops by the kernel, packet by packet */
	FAULT_FRAGMENTS = 3, /* a first fragment could not be noted */
	FAULT_PORT_LOST = 4, /* a port could not be returned to its ring */
	FAULT_WATCH_FULL = 5, /* half of a session was to be watched, and all cells are taken */
	FAULT_LEN,
};

/* One word each for the whole edge, kept over generations of programs. Written by user space when the edge is made,
 * and then only by the fast path. */
struct edge {
	__u32 layout; /* LAYOUT_VERSION of the maps beside it */
	__u32 hops; /* next free index of hop, from 1 */
	__u32 frag_id; /* next IP ID for fragments under NAT */
	__u32 lo_forwarding; /* families (1 = IPv4, 2 = IPv6) whose forwarding on lo was switched on for env_route */
	__u32 unproven[2]; /* next slot of unproven4 and of unproven6 */
	__u32 proxied; /* last cell of proxied_cell that was tried */
	__u32 watch; /* and of watch */
};

/* What is kept in prefix_word, by hash of a prefix, a source or a client. */
enum prefix_kind {
	PREFIX_ADMISSIONS = 0, /* GCRA words: strangers of a /16 (IPv6: /32) of a service */
	PREFIX_ANSWERS = 1, /* bytes given to unproven sources of a /24 or /48, over the whole edge */
	PREFIX_QUERIES = 2, /* queries of a source to a service */
	PREFIX_WEAK = 3, /* a count: weakly proven sessions of a /24 or /48 of a service */
	PREFIX_CHALLENGE = 4, /* what a server told its client (stage/netchan.h): session << 32 | challenge */
	PREFIX_KINDS,
};

enum bucket {
	BUCKET_HOST = 0,
	BUCKET_ALWAYS = 1,
	BUCKET_LINK = 2,
	BUCKET_ICMP = 3,
	BUCKET_ANSWERS = 4, /* bytes of answers to unproven sources, all together: at first sight */
	BUCKET_ANSWERS_AGAIN = 5, /* and to those that came again */
	BUCKET_LEN,
};

/* Injected by tests, the fuzzer and replay (cfg.injected). */
struct env {
	__u64 now; /* ns */
	__u64 chance; /* state of the generator */
	struct hop_key hop; /* the answer to every route question; ifindex 0 = no route */
	__u8 dst[6]; /* the neighbour's link address and ours, as the kernel knows them; zero = it does not */
	__u8 src[6];
	__u32 cpu; /* that handles the packet; ~0 = the one that does */
};

/* What became of the last packet (cfg.traced): read by tests and replay. */
struct trace {
	__u32 verdict;
	__u32 reason;
	__u32 service;
	__u32 shadow; /* reason of the last policy drop that was not enforced */
};

/* What a program tells of packets (cfg.samples); each includes the one before. */
enum sample_level {
	SAMPLES_NONE = 0,
	SAMPLES_ALWAYS = 1, /* of what is dropped, one a source and second */
	SAMPLES_DROPS = 2, /* whatever is dropped, to who asks for it in a sample_slot */
	SAMPLES_ALL = 3, /* whatever passes, too: every packet goes the common way meanwhile */
};

enum sample_flag {
	SAMPLE_DOWN = 1, /* from a server to a client */
	SAMPLE_FIRST = 2, /* it began its session; refused: it would have begun one */
	SAMPLE_REGULAR = 4, /* one of those that are taken always */
	SAMPLE_OUT = 8, /* as it left this host, a local server's; else as it came in (dropped: as it was then) */
	SAMPLE_PLAYER = 16, /* its client is one: proven strongly, or has played for a while */
};

/* What attacks are found by. The daemon is woken for it. */
enum sample_step {
	STEP_BEGAN = 1, /* it began its session */
	STEP_STRONG = 2, /* it proved its client's address strongly. TCP that a gate is to hear: and it has heard it */
	STEP_LASTING = 4, /* with it, its session came to last */
	STEP_LASTS = 8, /* its session has come to last before: of a turn */
	STEP_QUERY = 16, /* a query: its client wants no session */
	STEP_REFUSED = 32, /* it would have begun one, and its source's own limits refuse that */
	STEP_CALLED = 64, /* its server spoke first: it began its session so */
};

/* How a game numbers its datagrams. */
enum sequence {
	SEQUENCE_NONE = 0,
	SEQUENCE_RAKNET = 1, /* 24 bits behind a flag byte; acknowledgements have none */
	SEQUENCE_SOURCE = 2, /* 32 bits; a datagram may say how many numbers were left out on purpose */
	SEQUENCE_QUAKE3 = 3, /* 31 bits; all fragments of a packet have the same */
};

#define WATCH_SIZES 8 /* below 64 bytes, below 128 ...; from 4096 */
#define WATCH_TIMES 16 /* below 2^WATCH_TIME_SHIFT ns (131 us), below twice that ...; from 2.1 s */
#define WATCH_TIME_SHIFT 17
#define WATCH_REASONS 4 /* told apart; all others are one */
#define WATCH_WINDOWS 4 /* a power of two */
#define WATCH_WINDOW_SHIFT 33 /* of ns: 8.6 s */
#define WATCH_GAP_SHIFT 10 /* a division would cost more than all else of it */
#define WATCH_BURST_GAP 1000000 /* ns: packets that follow each other within less are of one burst */
#define WATCH_BURST 3 /* from so many on it is one */
#define WATCH_BEHIND 64 /* how far behind the highest number one is late; else it is strange */
#define WATCH_AHEAD 1024 /* and before it one tells of a loss */

/* What one such window showed. */
struct watch_window {
	__u32 number; /* ns >> WATCH_WINDOW_SHIFT */
	__u32 gap; /* ns >> WATCH_GAP_SHIFT: the longest */
	__u32 numbers; /* readable ones */
	__u32 lost;
};

/* A half's packets while it is watched, as they come to the edge, those that it drops included. Plain, but for `taken`: two CPUs in one half
 * may lose an update of each other's. */
struct watch {
	__u32 taken; /* 1 = somebody's */
	__u32 freed; /* tick at which it was given back: it rests for a second, for a packet may still be on its way to it */
	__u64 began; /* ns */
	__u64 last; /* ns: its last packet; 0 = none yet */
	__u64 packets;
	__u64 spacing; /* ns between the last two; ~0 = not known */
	__u64 jitter; /* ns << 4: RFC 3550's estimate (6.4.1, A.8), of the differences between spacings, for nobody knows the sender's clock */
	__u64 gap; /* ns: the longest spacing */
	__u32 run; /* packets of the burst, if it is one, that the last belongs to */
	__u32 bursts;
	/* Numbers. `seen` bit n: the one n below the highest has come. Of two strange ones in a row the second begins anew. */
	__u64 seen;
	__u32 highest;
	__u32 first;
	__u32 next; /* what would follow the last strange one */
	__u32 numbers; /* readable ones */
	__u32 lost;
	__u32 reordered;
	__u32 duplicates;
	__u32 strange; /* too far off: no such numbers, another connection's, or forged */
	__u32 longest_burst;
	__u8 sequence; /* enum sequence */
	__u8 pad[19]; /* to a whole cache line, as all that follows */
	__u8 reason[WATCH_REASONS]; /* enum drop_reason */
	__u32 drops[WATCH_REASONS + 1]; /* by those; the last: for others */
	__u32 pad2[2];
	__u32 sizes[WATCH_SIZES]; /* packets, by log2 of L3 bytes */
	__u32 times[WATCH_TIMES]; /* spacings, by log2 */
	struct watch_window window[WATCH_WINDOWS]; /* by their number */
};

/* Which sessions are to be watched. Written by the daemon. */
struct watcher {
	__u32 share; /* of 2^32; ~0 = all */
	__u32 period; /* another one has another share */
	__u32 flagged; /* how many entries watch_flag has */
	__u32 pad;
};

/* Whose sessions are watched whatever the share. */
struct watch_key {
	__u8 addr[16]; /* the client's; IPv4 in the first four bytes */
	__be16 port; /* 0 = all of its sessions */
	__u16 family;
	__u32 pad;
};

/* Why a packet is told that no capture asked for. A kind has a rate and counts of its own. */
enum sample_kind {
	SAMPLE_KIND_DROP = 0, /* its source's drop of the second (SAMPLE_REGULAR), or none: captures alone have asked */
	SAMPLE_KIND_FIRST = 1, /* of the first ones of its session's half */
	SAMPLE_KIND_TURN = 2, /* one of those at which its session is judged again: every two seconds at most */
	SAMPLE_KIND_STEP = 3, /* a step that nobody can forge, and it is told for nothing else: without its frame */
	SAMPLE_KIND_BEGIN =
		4, /* the same of any other: a stranger's session began. A flood of those leaves the others their rate */
	SAMPLE_KINDS,
};

/* What is told of a packet, as a record of the ring `samples`: this, and the first bytes of its frame. */
struct sample {
	__u64 time; /* CLOCK_MONOTONIC ns */
	__u8 client[16]; /* whom policy judges; IPv4 in the first four bytes */
	__u8 front[16]; /* the edge's address that the client speaks to; zero = not known */
	__u32 ifindex; /* that it came in by (SAMPLE_OUT: left by) */
	__u32 length; /* of the frame */
	__u32 rule; /* number of the operator's rule that judged it; 0 = none */
	__u32 every; /* so many packets it stands for, where one in so many is taken; 0 = not known */
	__u16 service;
	__u16 taken; /* bytes of the frame that follow */
	__u8 reason; /* enum drop_reason */
	__u8 shadow; /* what policy would have said, were it enforced */
	__u8 verdict; /* enum verdict */
	__u8 flags; /* enum sample_flag */
	__u8 slots; /* captures that it is for, a bit each */
	__u8 family; /* of the client; 0 = not known */
	__u16 cpu;
	__be16 client_port;
	__be16 front_port;
	__u8 proto;
	__u8 kind; /* enum sample_kind */
	__u8 step; /* enum sample_step */
	__u8 pad;
	__u32 packets; /* told by kind: that its half had before */
};

enum sample_want {
	SAMPLE_WANT_DROPS = 1, /* dropped, or would be were policy enforced */
	SAMPLE_WANT_PASSES = 2,
};

/* A session's packets one way, as they come in. */
struct sample_tuple {
	__u8 src[16];
	__u8 dst[16];
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 family; /* 0 = not asked for */
	__u8 pad[2];
};

/* What one capture asks for. Written by the daemon. */
struct sample_slot {
	__u64 mask[2]; /* of `addr`, as it lies in memory */
	__u8 addr[16]; /* the client's, or either end's */
	struct sample_tuple way[2];
	__u32 rate; /* packets a second, of each CPU */
	__u32 every; /* one in so many */
	__u16 snap; /* bytes of each frame */
	__u16 service;
	__u8 want; /* enum sample_want; 0 = this slot is free */
	__u8 by_service;
	__u8 reason; /* 0 = any */
	__u8 family; /* of the address; 0 = any */
};

struct sampler {
	struct sample_slot slot[SAMPLE_SLOTS];
	__u32 snap; /* the longest of all; 0 = frames are not copied as they come in */
	__u32 rate[SAMPLE_KINDS]; /* of those that are taken always, a second and CPU, by enum sample_kind */
};

/* What became of the samples of one slot; behind the slots', of those that are taken always, by enum sample_kind. */
struct sample_count {
	__u64 taken;
	__u64 full; /* lost: the ring had no room */
	__u64 over; /* passed over: more than its rate */
	__u32 second; /* that `used` counts */
	__u32 used;
	__u32 turn; /* towards one in so many */
	__u32 offered; /* in that second; told by turns: sets how many one stands for in the next */
	__u32 every; /* told by turns: one in so many */
	__u32 woken; /* of steps: when the daemon was woken last, ns >> SAMPLE_STEP_SHIFT */
};

/* What is booked of refusals (stage/shadow.h). */
enum book_kind {
	BOOK_WOULD = 0, /* policy only watches */
	BOOK_DID = 1, /* it was dropped, while its service is on trial */
	BOOK_KINDS,
};

#define BOOK_WORDS (BOOK_KINDS * REASONS_MAX / 64)

/* A service's refusals for one reason. */
struct shadow_book {
	__u64 players[BOOK_KINDS]; /* sources that were refused and are players */
	__u8 registers[BOOK_REGISTERS]; /* sketch of the sources that policy would have refused */
};

/* A refused source. Bits by enum book_kind and reason. */
struct shadow_source {
	__u64 refused[BOOK_WORDS];
	__u64 counted[BOOK_WORDS]; /* as a player, of those */
	__u32 player;
	__u32 trial; /* number of the one that BOOK_DID is of */
};

/* A packet on its way out of which something is to be told. */
struct noted {
	struct sample_tuple ends; /* as it came in */
	__u32 code; /* XDP_* */
	__u8 have; /* its frame was copied as it came in: 1 and as many bytes as sample.taken says */
	__u8 tcp; /* this and the next three: as in struct pkt */
	__u8 half;
	__u8 query;
	__u8 frag;
	__u8 pad[7];
	struct sample sample;
	__u8 data[SAMPLE_MAX]; /* behind the sample, as in the ring */
};

struct always {
	__be16 port;
	__u8 proto;
	__u8 pad;
};

/* Fixed while a program is loaded: the verifier removes what it rules out. */
struct cfg {
	__u64 jiffy_ns; /* measured */
	__u64 jiffy_base; /* jiffies * jiffy_ns - this = CLOCK_MONOTONIC */
	struct rate host; /* packets */
	struct rate host_source;
	struct rate host_always;
	struct rate host_link;
	struct rate icmp;
	struct rate
		answers; /* bytes that unproven sources may be given beyond what they sent: all of them, half at first sight */
	struct rate answers_prefix; /* and a /24 or /48 */
	struct always always[ALWAYS_MAX];
	__u8 injected; /* time, chance and routes come from map env */
	__u8 traced;
	__u8 enforce; /* 0: no policy drops anything */
	__u8 ipv4; /* some service listens on this family */
	__u8 ipv6;
	__u8 nat; /* some service forwards by nat (or may, by hairpin) */
	__u8 transparent;
	__u8 local;
	__u8 limits; /* some service limits its sources */
	__u8 frags; /* loaded for multi-buffer frames */
	__u8 sizes; /* some service bounds its packets' size */
	__u8 monitor; /* some service does not enforce */
	__u8 ordered; /* this machine's CPUs see each other's stores in the order in which they are made (x86) */
	__u8 denial_shift; /* of a 32-bit hash, to the number of a line of denial */
	__u8 gates; /* some service has a gate */
	__u8 samples; /* enum sample_level */
	__u8 prefixes; /* some service limits prefixes of sources */
	__u8 all; /* some service limits all who are not proven together */
	__u8 shared; /* some service has a rule for shared addresses */
	__u8 geo; /* some service asks where its clients are */
	__u8 books; /* some policy only watches, or a service is on trial */
	__u8 trial; /* some service is */
	__u8 proxied; /* some TCP session's numbers may be translated, or a header prepended */
	__u8 told; /* sessions are told of: their first packets, and others by turns (stage/told.h) */
	__u8 doubts; /* the daemon may doubt sources (stage/doubt.h) */
	__u8 watch; /* sessions may be watched */
	__u8 pad[2];
	__u32 unproven; /* slots for strangers' sessions, a power of two; 0 = no bound */
	__u32 greylist; /* lines, a power of two */
	__u32 sample_seed; /* so that nobody can choose a source that shares another's samples */
	__u32 proxied_cells; /* a power of two */
	__u32 watch_cells; /* a power of two, at most 65536 */
};

enum reap_op {
	REAP_SWEEP = 0, /* end it if it is idle, free it if it has been over for a second */
	REAP_END = 1, /* end it now */
};

/* One session, for the daemon: as an order to the reaper and its answer, and as a line of a listing. */
struct reap_item4 {
	struct flow_key4 key; /* of the up half */
	__u32 op; /* enum reap_op */
	__u32 done; /* enum session_phase that it has now; PHASE_FREE = it is gone */
	struct flow4 up;
	struct flow4 down;
};

struct reap_item6 {
	struct flow_key6 key;
	__u32 op;
	__u32 done;
	struct flow6 up;
	struct flow6 down;
};

struct clocks {
	__u64 jiffies;
	__u64 monotonic;
};

_Static_assert(sizeof(struct flow_key4) == 16, "two 8-byte stores");
_Static_assert(sizeof(struct flow_key6) == 40, "five 8-byte stores");
_Static_assert(sizeof(struct from) == 8, "moved as one word");
_Static_assert(LOAN_PACKET_BITS + LOAN_CPU_BITS + LOAN_TICK_BITS + LOAN_BYTE_BITS == 64, "moved as one word");
_Static_assert(LOAN_PACKETS_MAX < 1 << (LOAN_PACKET_BITS - 1) && LOAN_BYTES_MAX < 1 << (LOAN_BYTE_BITS - 1), "");
_Static_assert(sizeof(struct flow) == 48, "the common head");
_Static_assert(sizeof(struct flow4) == 64, "kernel header 48 + key 16 + value 64 = two cache lines");
_Static_assert(sizeof(struct flow6) == 88, "");
_Static_assert(sizeof(struct hop) == 64, "one cache line");
_Static_assert(sizeof(struct proxied) == 32, "half a cache line");
_Static_assert(sizeof(struct watch) == 320, "five cache lines");
_Static_assert(sizeof(struct service_count) == 64, "one cache line");
_Static_assert(sizeof(struct list_entry) == 72, "kernel header 48 + key 8 + value 72 = two cache lines");
_Static_assert(sizeof(struct denial_line) == 64, "one cache line");
_Static_assert(sizeof(struct grey_line) == 64, "one cache line");
_Static_assert(sizeof(struct sketch_line) == 64, "one cache line");
_Static_assert(sizeof(struct rule_box) == 56, "pkg/rule knows where its fields are");
_Static_assert(sizeof(struct rule_count) == 32, "half a cache line");
_Static_assert(sizeof(struct stranger_count) == 256, "four cache lines");
_Static_assert(BOOK_WORDS == 4, "a power of two: indexes are masked");
_Static_assert(sizeof(struct sample) == 80, "pkg/sample reads it byte by byte");
_Static_assert(__builtin_offsetof(struct noted, data) == __builtin_offsetof(struct noted, sample) + 80, "one record");
_Static_assert(sizeof(struct prefix_use) == 32, "two a cache line: none lies in two");
_Static_assert(sizeof(struct port_cell) == 8, "moved as one word");
_Static_assert(DROP_REASON_LEN <= REASONS_MAX, "the stride holds every reason");
