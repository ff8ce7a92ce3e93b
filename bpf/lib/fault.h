/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts what went wrong inside and was no packet's fault. */
#pragma once

#include "../maps.h"

static __always_inline void fault(enum fault f)
{
	__u64 *n = bpf_map_lookup_elem(&fault_count, &f);

	if (n)
		++*n;
}
