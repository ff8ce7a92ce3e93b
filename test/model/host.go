// SPDX-License-Identifier: Apache-2.0

package model

// What is no service's is this host's own, within three budgets apart from each other: the link's own needs (what is no IP,
// and IPv6's neighbour discovery), the ports that must always work, and the rest, of which one source gets a share.

// hostSources is how many buckets the host's sources share.
const hostSources = 65536

func (e *Edge) host(p *view) Outcome {
	p.service, p.down = 0, false
	switch {
	case p.family == 0 || p.isND():
		return e.budget(p, &e.linkBucket, linkRate, HostLinkRate)
	case e.always(p):
		return e.budget(p, &e.alwaysBucket, alwaysRate, HostAlwaysRate)
	}
	j := e.judge(p, p.src, nil)
	if j.reason != None {
		return drop(j.reason)
	}
	if !j.welcome && !e.sourceShare(p) && e.refuse(p, HostSourceRate, true) {
		return drop(HostSourceRate)
	}
	return e.budget(p, &e.hostBucket, e.config.Host, HostRate)
}

func (e *Edge) budget(p *view, b *bucket, r Rate, reason Reason) Outcome {
	if !b.take(r, e.Now, 1, 0) && e.refuse(p, reason, true) {
		return drop(reason)
	}
	return Outcome{Verdict: Pass}
}

// isND tells whether it is a message of neighbour discovery (RFC 4861).
func (p *view) isND() bool {
	if p.family != 6 || p.proto != icmp6 || p.part == later || p.l4 == 0 || p.l4 > lastHeader || p.l4 >= len(p.frame) {
		return false
	}
	kind := p.frame[p.l4]
	return kind >= 133 && kind <= 137
}

func (e *Edge) always(p *view) bool {
	if p.part == later {
		return false
	}
	for _, a := range e.config.Always {
		if a.Proto == p.proto && a.Port == p.dport {
			return true
		}
	}
	return false
}

// sourceShare: sources are told apart by a keyed hash; those that collide share.
func (e *Edge) sourceShare(p *view) bool {
	i := hashSource(p.src, e.Secret) % hostSources
	b := e.hostSources[i]
	if b == nil {
		b = &bucket{}
		e.hostSources[i] = b
	}
	return b.take(e.config.Source, e.Now, 1, 0)
}

// hostFirst is whole, or the first of a datagram's parts. Those to an address that services share with the host follow their
// first, for none is let in by itself (fragment.go).
func (e *Edge) hostFirst(p *view) Outcome {
	o := e.host(p)
	if o.Verdict == Pass && p.part == first && e.own[p.dst] {
		e.parts[p.partKey()] = &partWay{pass: true, expires: e.tick() + partsLive}
	}
	return o
}

// damaged: a packet that can't be what it says is dropped where it was for a service, or for an address of ours and nobody
// knows which port; else it is the host's, and counts by its frame, for its own word on its length isn't believed.
func (e *Edge) damaged(p *view, r Reason) Outcome {
	switch {
	case r == BadEthernet:
		return drop(r)
	case p.family != 0 && p.dport != 0:
		if f, ok := e.front(p.to(), p.proto); ok {
			p.service = f.service
			return drop(r)
		}
	case p.family != 0 && e.own[p.dst]:
		return drop(r)
	}
	p.length = 0
	return e.host(p)
}

// HostBuckets are the buckets that some source of the host's has drawn on.
func (e *Edge) HostBuckets() []uint32 {
	var all []uint32
	for i := range e.hostSources {
		all = append(all, i)
	}
	return all
}
