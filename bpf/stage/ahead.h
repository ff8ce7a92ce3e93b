/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What will be asked of memory next? A stranger's source lies where the caches don't have it. It is looked up as soon as the
 * packet is known to be a service's, and nothing waits for the answer: it comes while the packet is parsed and judged, and
 * beside what else is on its way from memory.
 */
#pragma once

#include "limit.h"

static __always_inline void ahead4(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *l4 = (void *)(ip + 1);
	struct front_port *f;
	struct source_key k;
	struct service *svc;
	struct source *s;
	__u32 i;

	if ((void *)(l4 + 1) > end)
		return;
	i = l4->dest;
	f = bpf_map_lookup_elem(&front_port, &i);
	if (!f)
		return;
	i = f->service;
	svc = bpf_map_lookup_elem(&service, &i);
	if (!svc)
		return;
	source_key_of(&k, ip->saddr, 4, i, svc->prefix4);
	s = bpf_map_lookup_elem(&source, &k);
	if (s)
		*(volatile __u32 *)&s->seen;
}
