/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Is something to be told of this packet? Most are counted and no more. Of those that are dropped, one a second and source is told
 * always, so that a person who was dropped can be told why; more while somebody captures. What policy would have dropped goes into the
 * books (stage/shadow.h). What is to be told is laid down here, on
 * the packet's way out; a program of its own (stage/sample.h) does the rest, after which the verdict is the same.
 */
#pragma once

#include "../lib/env.h"
#include "../lib/pkt.h"

#define NOTED 0x100 /* beside XDP_*: parry_note is to run before the program ends */

/* Does a program of this configuration tell of packets? The verifier removes all of it where none does. */
#define NOTES (cfg.samples | cfg.books) /* cfg.told goes with samples */

#define SAMPLE_SECOND 30 /* ns >> this */

/* Its source's cell. */
static __always_inline __u32 sample_hash(const struct pkt *p)
{
	const __u8 *client = client_of(p);
	__u32 h;

	if (p->family == 4)
		h = addr4(client);
	else
		h = addr_hi(client) ^ addr_hi(client) >> 32;
	return (h ^ cfg.sample_seed) * 0x9e3779b1u >> 20;
}

/* Is it this source's turn? Costs a load and a compare where it is not. Two sources that share a cell share its sample. */
static __always_inline bool sample_turn(const struct pkt *p)
{
	__u8 second = p->now >> SAMPLE_SECOND;
	__u32 h = sample_hash(p);

	if (sample_cells[h] == second)
		return false;
	sample_cells[h] = second;
	return true;
}

/* Its source's own limits refuse that it begins a session. Told a few times a second and source: such a source was let in before, so a flood
 * of random ones has none of it. */
static __always_inline void step_refused(struct pkt *p)
{
	__u8 now = p->now >> SAMPLE_STEP_SHIFT;
	__u32 h;

	if (!cfg.told)
		return;
	h = sample_hash(p);
	if (step_cells[h] == now)
		return;
	step_cells[h] = now;
	p->step = STEP_REFUSED;
}

_Static_assert(SAMPLE_CELLS == 1 << (32 - 20), "sample_turn's hash");

static __always_inline struct noted *noted_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&noted, &zero);
}

/* Of what goes down and is a step, who speaks to whom: laid down where it is found, for at the exit it would be stack of everybody's. */
static __always_inline void step_ends(const struct pkt *p)
{
	struct noted *n = noted_get();

	if (!cfg.told || !n)
		return;
	addr_copy(n->sample.front, p->as);
	n->sample.client_port = p->to_port;
	n->sample.front_port = p->as_port;
}

/* Lays down what is known of it. Returns what the code is marked with. What follows from
 * it is left to stage/sample.h: here it would lie beneath the calls of all who end a packet's way. */
static __always_inline int note(const struct pkt *p, enum verdict v, int code, bool regular)
{
	struct noted *n = noted_get();

	if (!n)
		return 0;
	addr_copy(n->ends.src, p->src);
	addr_copy(n->ends.dst, p->dst);
	n->ends.sport = p->sport;
	n->ends.dport = p->dport;
	n->ends.proto = p->proto;
	n->ends.family = p->family;
	n->code = code;
	addr_copy(n->sample.client, client_of(p));
	n->sample.kind = p->told;
	n->sample.step = p->step;
	n->tcp = p->tcp;
	n->half = p->half;
	n->query = p->query;
	n->frag = p->frag;
	n->sample.length = p->len;
	n->sample.rule = p->rule;
	n->sample.service = p->service;
	n->sample.reason = p->reason;
	n->sample.shadow = p->shadow;
	n->sample.verdict = v;
	n->sample.flags = (p->down ? SAMPLE_DOWN : 0) | (regular ? SAMPLE_REGULAR : 0);
	if (p->player || p->proof == GATE_PROOF_STRONG)
		n->sample.flags |= SAMPLE_PLAYER;
	n->sample.family = p->family;
	return NOTED;
}

/* Returns NOTED, or 0 where nothing is to be told. */
static __always_inline int noteworthy(const struct pkt *p, enum verdict v, int code)
{
	bool refused = p->reason | p->shadow, booked, regular, told = cfg.told && (p->told | p->step);

	if (!NOTES || (!refused && !told && cfg.samples < SAMPLES_ALL))
		return 0;
	booked = cfg.books && (p->shadow || (cfg.trial && p->reason));
	regular = cfg.samples && refused && sample_turn(p);
	return booked || regular || told || cfg.samples >= SAMPLES_DROPS ? note(p, v, code, regular) : 0;
}
