// SPDX-License-Identifier: Apache-2.0

package diff

// watchedMutants are faults in what is done for sessions that are watched. What is timed of them is test/fastpath's to compare.
func watchedMutants() []mutant {
	return []mutant{
		{"watched: cells are kept for ever", "stage/watch.h", "	__sync_lock_test_and_set(&w->taken, 0);\n", "", "", ""},
		{"watched: a deleted slot keeps its cell", "stage/end.h", "	if (down)\n		watch_end(&down->f, tick);\n	if (down && up->f.state & FLOW_NAT)\n		free_slot(&down->f, 4,", "	if (down && up->f.state & FLOW_NAT)\n		free_slot(&down->f, 4,", "", ""},
		{"watched: they have no limits", "stage/express_watched.h", "if (!h || (!(state & FLOW_RETURN) && !express_limits(&f->f, state, ip->saddr, 4, way->now, total)))", "if (!h)", "", ""},
		{"watched: IPv6's sums are left as they were", "stage/express_watched.h", "	express_sum(l4, end, proto, delta);\n", "", "", ""},
		{"watched: a source of 64 bits is everybody", "abi.h", "((state) >> FLOW_PREFIX_SHIFT ?: 64)", "((state) >> FLOW_PREFIX_SHIFT)", "", ""},
	}
}
