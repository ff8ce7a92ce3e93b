// SPDX-License-Identifier: Apache-2.0

package diff

// shakenMutants are faults in the SYN proxy and the PROXY header.
func shakenMutants() []mutant {
	return []mutant{
		{"syn: cookies of any step", "stage/cookie.h", "		step--;\n	hash", "		step--;\n	step &= 1;\n	hash", "shaken", ""},
		{"syn: a cookie is any port's", "stage/cookie.h", "p->sport | (__u32)p->dport << 16 | (__u64)says << 32", "(__u32)p->dport << 16 | (__u64)says << 32", "shaken", ""},
		{"syn: what was agreed on is the client's word", "stage/cookie.h", "(__u64)says << 32 | (__u64)COOKIE_SYN << 40", "(__u64)COOKIE_SYN << 40", "shaken", ""},
		{"syn: a window at once", "stage/syn.h", "	tcp_window_put(b, 0);\n", "", "shaken", ""},
		{"syn: probes bring no cookie", "stage/syn.h", "		isn = seq;\n", "		isn = seq + 7;\n", "shaken", ""},
		{"syn: grace is nobody's", "stage/syn.h", "syn_proxied(p, svc) && !in_grace(p, svc) &&", "syn_proxied(p, svc) &&", "shaken", ""},
		{"syn: in registers all scales are 14", "stage/syn_brief.h", "scale = bpf_ntohl(w[9]) & 0xff; /* Linux */", "scale = 14;", "shaken-brief", ""},
		{"syn: in registers nobody has grace", "stage/syn_brief.h", "(void *)(w + 5) > end || in_grace(p, svc)", "(void *)(w + 5) > end", "shaken-brief", ""},
		{"shaken: the server is asked again at once", "stage/connect.h", "x->flags & PROXIED_ASKED && p->tick", "0 && p->tick", "shaken", ""},
		{"shaken: any answer will do", "stage/connect.h", "acked == server_isn(p, x, state) + 1;", "acked;", "shaken", ""},
		{"shaken: timestamps go back", "stage/connect.h", "x->ts_delta + 1 - tcp_number", "x->ts_delta - tcp_number", "shaken", ""},
		{"shaken: a promise is forgotten", "stage/connect.h", "if (x->flags & PROXIED_TIMESTAMPS && !b->opt.times)", "if (0)", "shaken", ""},
		{"shaken: scales are as promised", "stage/connect.h", "x->shift = (b->opt.scale ? scale : 0) - offered;", "x->shift = 0;", "shaken", ""},
		{"shaken: a SYN amid the session goes on", "stage/connect.h", "	if (p->tcp & TCP_ACK || !tcp_ended(f, o))\n		return DROP_REASON_TCP_STATE;", "	if (p->tcp & TCP_ACK || !tcp_ended(f, o))\n		return 0;", "shaken", ""},
		{"shaken: SACK is left alone", "stage/translate.h", "		add_number(b, at + 4, -x->delta);\n", "", "shaken", ""},
		{"shaken: resets acknowledge", "stage/translate.h", "	if (!(b->now[TCP_FLAGS] & TCP_ACK)) /* it says nothing of the server's */\n		return;\n", "", "shaken", ""},
		{"shaken: on the short cut the other way round", "stage/express_proxied.h", "down ? express_add(w + 1, delta) : express_add(w + 2, -delta)", "down ? express_add(w + 1, -delta) : express_add(w + 2, delta)", "shaken", ""},
		{"shaken: quotes are the client's", "stage/icmp.h", "bpf_htonl(bpf_ntohl(was) - side->delta)", "was", "shaken", ""},
		{"shaken: cells are kept", "stage/end.h", "	else if (down)\n		bpf_map_delete_elem(&flow4, dk);\n	if (cfg.proxied && !(up->f.state & FLOW_NAT))\n		side_free(up->f.peer);", "	else if (down)\n		bpf_map_delete_elem(&flow4, dk);", "shaken-full", ""},
		{"shaken: the ACK to the server has no header", "stage/handshake.h", "	if (state & FLOW_HEADER)\n		s->header", "	if (0)\n		s->header", "shaken", ""},
		{"shaken: the client's window is not scaled", "stage/handshake.h", "s->window = tcp_window(b) >> (scaled ? x->scales >> 4 : 0);", "s->window = tcp_window(b);", "shaken", ""},
		{"header: once is enough", "stage/connect.h", "	if (header_due(p, b, x, state) && header_prepend(ctx, p, b))", "	if (header_due(p, b, x, state) && f->packets < 2 && header_prepend(ctx, p, b))", "shaken", ""},
		{"header: a part acknowledged is all", "stage/connect.h", "	else if (!(p->tcp & (TCP_SYN | TCP_RST)))\n		header_done(f, o);", "	if (!(p->tcp & (TCP_SYN | TCP_RST)))\n		header_done(f, o);", "shaken", ""},
		{"header: the size stays", "stage/header.h", "	b->now[(at + 1) & 63] = mss - n;\n", "", "shaken", ""},
		{"header: another connection goes without", "stage/connect.h", "	return svc && svc->proxy_header && svc->forward != FORWARD_LOCAL;", "	return false;", "shaken", ""},
		{"flags: anything goes", "stage/tcp.h", "		return f & (TCP_FIN | TCP_RST) || flags & TCP_URG;", "		return false;", "shaken", ""},
	}
}
