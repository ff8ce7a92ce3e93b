/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What becomes of a TCP segment whose numbers are not the server's, or which a header goes before? The second half of the SYN proxy
 * is here: the client's ACK becomes the SYN to the server; the server's answer goes up to stage/handshake.h, which makes two packets of it;
 * from then on both ways are translated.
 *
 * Of a session's state only what can be judged surely is judged: before the server has answered all segments are known, later a SYN is
 * none of its session's. Whether a RST lies in the window is the receiver's to say (RFC 5961), who knows it.
 */
#pragma once

#include "agreed.h"
#include "end.h"
#include "gate.h"
#include "header.h"
#include "proof.h"

#define CONNECT_REPEAT (TICKS_PER_SECOND / 4) /* no SYN goes to a server sooner after the one before */
#define TCP_OVER (-1) /* the session is over: it is a stranger's */

static __always_inline bool tcp_ended(const struct flow *f, const struct flow *o)
{
	__u32 flags = f->state | (o ? o->state : 0);

	return flags & FLOW_RST || (flow_fin(f) && o && flow_fin(o));
}

/* The server's first number, less one header: where its session with the edge begins. */
static __always_inline __u32 server_isn(const struct pkt *p, const struct proxied *x, __u32 state)
{
	return x->isn - (state & FLOW_HEADER ? header_length(p->family) : 0);
}

/* The first SYN of a session that is told its client, or a newer one by the same tuple. */
static __always_inline void header_arm(struct flow *f, struct flow *o, struct proxied *x, __u32 isn)
{
	x->isn = isn;
	__sync_fetch_and_or(&f->state, FLOW_HEADER);
	if (o)
		__sync_fetch_and_or(&o->state, FLOW_HEADER);
}

/* The server has it all. */
static __always_inline void header_done(struct flow *f, struct flow *o)
{
	__sync_fetch_and_and(&f->state, ~FLOW_HEADER);
	if (o)
		__sync_fetch_and_and(&o->state, ~FLOW_HEADER);
}

/* Before its server has answered. */
static __always_inline int judge_early(const struct pkt *p, const struct tcp_box *b, const struct proxied *x,
				       __u32 state)
{
	__u32 acked = tcp_number(b, TCP_ACKED), seq = tcp_number(b, TCP_SEQ);
	__u8 flags = p->tcp & (TCP_SYN | TCP_RST | TCP_FIN | TCP_ACK);
	bool ok;

	if (p->down)
		ok = (flags == (TCP_SYN | TCP_ACK) || flags == (TCP_RST | TCP_ACK)) &&
		     acked == server_isn(p, x, state) + 1;
	else if (p->tcp & TCP_RST)
		ok = seq == x->isn + 1 || seq == x->isn;
	else
		ok = !(p->tcp & TCP_SYN) && p->tcp & TCP_ACK && acked == x->cookie + 1;
	return ok ? 0 : DROP_REASON_TCP_STATE;
}

/* May this be a segment of its session? Returns 0, TCP_OVER, or the enum drop_reason. o: the other half. */
static __always_inline int tcp_judge(struct pkt *p, struct flow *f, struct flow *o, const struct tcp_box *b,
				     const struct proxied *x, __u32 state)
{
	if (!(state & FLOW_PROXIED))
		return 0;
	if (!(x->flags & PROXIED_CONNECTED))
		return judge_early(p, b, x, state);
	if (!(p->tcp & TCP_SYN))
		return 0;
	if (p->down)
		return (p->tcp & (TCP_ACK | TCP_RST | TCP_FIN)) == TCP_ACK &&
				       tcp_number(b, TCP_SEQ) + x->delta == x->cookie ?
			       0 :
			       DROP_REASON_TCP_STATE;
	if (p->tcp & TCP_ACK || !tcp_ended(f, o))
		return DROP_REASON_TCP_STATE;
	mark_closing(f, p->tick);
	if (o)
		mark_closing(o, p->tick);
	return TCP_OVER;
}

/* ---- the handshake with the server ---------------------------------------------------------------------- */

/* Makes the frame end with a TCP header of this length. */
static __always_inline int connect_room(struct xdp_md *ctx, struct pkt *p, __u32 length)
{
	int more = (int)(p->l4 + length) - (int)p->len;

	if (more > 0)
		return frame_grow(ctx, p, p->l4, more);
	return more && bpf_xdp_adjust_tail(ctx, more) ? -1 : 0;
}

/* The client's segment becomes the SYN to its server. */
static __always_inline int connect_syn(struct xdp_md *ctx, struct pkt *p, struct tcp_box *b, const struct proxied *x,
				       __u32 state)
{
	__u32 scale = x->scales & 15, header = state & FLOW_HEADER ? header_length(p->family) : 0;
	struct agreed a = {
		.mss = x->mss - header,
		.says = scale << COOKIE_SCALE_SHIFT,
		.offered = scale,
		.times = !!(x->flags & PROXIED_TIMESTAMPS),
		.permits = !!(x->flags & PROXIED_SACK),
	};

	b->length = sizeof(struct tcphdr) + 4 + (a.times ? 12 : a.permits ? 4 : 0) + (scale != TCP_SCALE_NONE ? 4 : 0);
	if (connect_room(ctx, p, b->length) || tcp_l3_length(ctx, p, p->l4 - p->l3 + b->length))
		return -1;
	*(__be16 *)b->now = p->sport;
	*(__be16 *)(b->now + 2) = p->dport;
	tcp_number_put(b, TCP_SEQ, server_isn(p, x, state));
	tcp_number_put(b, TCP_ACKED, 0);
	tcp_number_put(b, TCP_CHECK, 0);
	b->now[TCP_OFFSET] = b->length << 2;
	b->now[TCP_FLAGS] = TCP_SYN;
	tcp_window_put(b, window_shifted(x->window, scale == TCP_SCALE_NONE ? 0 : scale));
	agreed_options(b, &a, x->ts);
	return tcp_write_new(ctx, p, b);
}

/* The server has answered: from now on its numbers are known. False: it takes no timestamps, which its client was promised. */
static __always_inline bool connect_answered(const struct tcp_box *b, struct proxied *x)
{
	__u32 offered = x->scales >> 4, scale = b->now[(b->opt.scale + 2) & 63];

	if (x->flags & PROXIED_TIMESTAMPS && !b->opt.times)
		return false;
	if (scale > TCP_SCALE_MAX)
		scale = TCP_SCALE_MAX;
	x->delta = x->cookie - tcp_number(b, TCP_SEQ);
	x->ts_delta = x->flags & PROXIED_TIMESTAMPS ? x->ts_delta + 1 - tcp_number(b, b->opt.times + 2) : 0;
	x->shift = x->up_shift = 0;
	if ((x->scales & 15) != TCP_SCALE_NONE && offered != TCP_SCALE_NONE) {
		x->shift = (b->opt.scale ? scale : 0) - offered;
		x->up_shift = b->opt.scale ? 0 : x->scales & 15;
	}
	barrier(); /* who sees that it is connected may read the rest */
	x->flags |= PROXIED_CONNECTED;
	return true;
}

/* The session's server is there, and its client is who it says: proven, but for what its gate has yet to hear. */
static __always_inline void connect_proven(struct flow *down, struct flow *up)
{
	__sync_fetch_and_or(&down->state, FLOW_ANSWERED);
	if (up && !(up->state & FLOW_GATED) && phase_open(up, FLOW_STRONG))
		phase_open(down, 0);
}

/* A refusal by the server, or what ends in one, in the numbers that the client knows. */
static __always_inline void connect_refused(struct tcp_box *b, const struct proxied *x)
{
	for (int i = sizeof(struct tcphdr); i < TCP_HEADER_MAX; i += 4)
		tcp_word_put(b, i, i < b->length ? bpf_htonl(0x01010101) : 0);
	tcp_number_put(b, TCP_SEQ, x->cookie + 1);
	tcp_number_put(b, TCP_ACKED, x->isn + 1);
	b->now[TCP_FLAGS] = TCP_RST | TCP_ACK;
	tcp_window_put(b, 0);
}

/* Before the server has answered. NEXT: it leaves as it is in the box; else a verdict. */
static __always_inline int change_early(struct xdp_md *ctx, struct pkt *p, struct flow *f, struct flow *o,
					struct tcp_box *b, struct proxied *x, __u32 state)
{
	if (p->down && p->tcp & TCP_SYN && connect_answered(b, x)) {
		connect_proven(f, o);
		return VERDICT_PASS;
	}
	if (p->down) {
		connect_refused(b, x);
		__sync_fetch_and_or(&f->state, FLOW_RST);
	} else if (p->tcp & TCP_RST) {
		tcp_number_put(b, TCP_SEQ, server_isn(p, x, state) + 1);
		tcp_number_put(b, TCP_ACKED, 0);
		b->now[TCP_FLAGS] = TCP_RST;
	} else if (x->flags & PROXIED_ASKED && p->tick - f->seen < CONNECT_REPEAT) {
		return drop(p, DROP_REASON_SYN_PROXY);
	} else {
		x->flags |= PROXIED_ASKED;
		return connect_syn(ctx, p, b, x, state) ? abort_changed(p) : VERDICT_NEXT;
	}
	return tcp_write(ctx, p, b) ? abort_changed(p) : VERDICT_NEXT;
}

/* ---- its life ------------------------------------------------------------------------------------------- */

/* What a header that is under way changes. */
static __always_inline void change_header(struct pkt *p, struct flow *f, struct flow *o, struct tcp_box *b,
					  struct proxied *x)
{
	__u32 n = header_length(p->family);

	if (p->tcp & TCP_SYN)
		header_mss(b, n);
	if (!p->down) {
		if ((p->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN)
			add_number(b, TCP_SEQ, -n);
		return;
	}
	if (!(p->tcp & TCP_ACK))
		return;
	if ((__s32)(tcp_number(b, TCP_ACKED) - (x->isn + 1)) < 0)
		tcp_number_put(b, TCP_ACKED, x->isn + 1);
	else if (!(p->tcp & (TCP_SYN | TCP_RST)))
		header_done(f, o);
}

/* A SYN that brings data, and a header is to come before them: they stay behind, the client sends them again. */
static __always_inline int tcp_trim(struct xdp_md *ctx, struct pkt *p, const struct tcp_box *b)
{
	__u32 whole = p->l4 - p->l3 + b->length;

	if (bpf_xdp_adjust_tail(ctx, (int)(p->l3 + whole) - (int)p->len) || tcp_l3_length(ctx, p, whole))
		return -1;
	return 0;
}

/* Changes the packet. Returns NEXT: it is rewritten and sent as any; else a verdict. */
static NOINLINE int tcp_change(struct xdp_md *ctx, struct pkt *p, struct flow *f, struct proxied *x)
{
	__u32 state = f->state;
	struct tcp_box *b = tcp_box_get();
	struct flow *o = p->down ? first_half(p) : other_half(p, f);

	if (!b)
		return VERDICT_ABORT;
	if (state & FLOW_PROXIED && !(x->flags & PROXIED_CONNECTED))
		return change_early(ctx, p, f, o, b, x, state);
	if (state & FLOW_PROXIED && p->down && p->tcp & TCP_SYN)
		return VERDICT_PASS; /* our ACK was lost */
	if (state & FLOW_PROXIED && p->down)
		translate_down(b, x);
	else if (state & FLOW_PROXIED)
		translate_up(b, x);
	if (state & FLOW_HEADER)
		change_header(p, f, o, b, x);
	if (state & FLOW_HEADER && !p->down && p->tcp & TCP_SYN && p->l3_len > p->l4 - p->l3 + b->length)
		return tcp_trim(ctx, p, b) || tcp_write_new(ctx, p, b) ? abort_changed(p) : VERDICT_NEXT;
	if (header_due(p, b, x, state) && header_prepend(ctx, p, b))
		return abort_changed(p);
	return tcp_write(ctx, p, b) ? abort_changed(p) : VERDICT_NEXT;
}

/* Is a session's segment to be looked at here? A SYN may begin another connection by its tuple, with a header of its own. */
static __always_inline bool tcp_special(const struct pkt *p, const struct flow *f, __u32 state)
{
	__u32 i = f->service;
	struct service *svc;

	if (!cfg.proxied || p->proto != IPPROTO_TCP || state & FLOW_LOCAL)
		return false;
	if (state & FLOW_SIDE)
		return true;
	if ((p->tcp & (TCP_SYN | TCP_ACK)) != TCP_SYN || state & FLOW_RETURN || state & FLOW_SERVER_STARTED)
		return false;
	svc = bpf_map_lookup_elem(&service, &i);
	return svc && svc->proxy_header && svc->forward != FORWARD_LOCAL;
}

/* Before the ordinary checks: is it a segment of its session? Returns 0, TCP_OVER or the enum drop_reason; the box has its header. */
NOINLINE int tcp_before(struct xdp_md *ctx, struct pkt *p, struct flow *f, struct proxied *x)
{
	struct tcp_box *b = tcp_box_get();
	struct flow *o;

	if (!p || !f || !x || !b)
		return DROP_REASON_INTERNAL;
	if (p->frag)
		return DROP_REASON_FRAGMENT_REFUSED;
	if (tcp_read(ctx, p, b))
		return DROP_REASON_INTERNAL;
	o = p->down ? first_half(p) : other_half(p, f);
	if (!(f->state & FLOW_PROXIED) && !p->down && (p->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		header_arm(f, o, x, tcp_number(b, TCP_SEQ));
	if (f->state & FLOW_PROXIED && !p->down && !(x->flags & PROXIED_CONNECTED))
		p->gated = 1; /* its server has yet to be asked: what it says now is said again */
	return tcp_judge(p, f, o, b, x, f->state);
}

/* And after them: see tcp_change. */
NOINLINE int tcp_after(struct xdp_md *ctx, struct pkt *p, struct flow *f, struct proxied *x)
{
	return p && f && x ? tcp_change(ctx, p, f, x) : VERDICT_ABORT;
}

/* How much longer the packet leaves than it came, where that is not known to fit. */
static __always_inline __u32 tcp_growth(const struct pkt *p, const struct proxied *x, __u32 state)
{
	const struct tcp_box *b = tcp_box_get();

	return b ? header_due(p, b, x, state) : 0;
}

/* What is translated of the session; one without a cell, that has become special since it began, gets one. */
static __always_inline struct proxied *tcp_side(const struct pkt *p, struct flow *f, __u32 state, __u32 slot)
{
	struct proxied *x = side_of(p->family, f, state, slot);
	struct flow *o;
	__u32 cell;

	if (x || state & (FLOW_RETURN | FLOW_NAT))
		return x;
	o = other_half(p, f);
	cell = o ? side_claim() : 0;
	if (!cell)
		return NULL;
	f->peer = cell;
	o->word = cell;
	return side_cell(cell);
}
