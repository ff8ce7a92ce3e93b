// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"parry/loader"
	"parry/pkg/event"
	"parry/pkg/nexthop"
)

// After a change of the network the sessions' next packets make new next hops, which somebody has to resolve: play
// stands still meanwhile. Routes change in groups (both families, a whole table), and one new plan is enough for all.
const (
	lookSoon         = 20 * time.Millisecond
	looksAfterChange = 10
	routesSettle     = 5 * time.Millisecond
)

// follow keeps the fast path's links and next hops as the kernel's are, until ctx ends.
func (e *Engine) follow(ctx context.Context) error {
	var look, routes <-chan time.Time
	looks := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look:
			e.locked(func() { e.fault("look for next hops", e.adoptHops()) })
			look = nil
			if looks--; looks > 0 {
				look = time.After(lookSoon)
			}
		case <-routes:
			e.locked(e.onRoutes)
			routes, look, looks = nil, time.After(lookSoon), looksAfterChange
		case ev, ok := <-e.watcher.Changes():
			switch {
			case !ok:
				return nil
			case ev.Kind == nexthop.RoutesChanged && routes == nil:
				routes = time.After(routesSettle)
			case ev.Kind != nexthop.RoutesChanged:
				e.locked(func() { e.on(ev) })
			}
			if ev.Kind == nexthop.LinkChanged || ev.Kind == nexthop.Overflowed {
				look, looks = time.After(lookSoon), looksAfterChange
			}
		}
	}
}

func (e *Engine) locked(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func (e *Engine) on(ev nexthop.Event) {
	switch ev.Kind {
	case nexthop.HopChanged:
		e.onHop(ev.Hop)
	case nexthop.LinkChanged:
		e.onLink(ev)
	case nexthop.Overflowed:
		e.log.Warn("more changed on the network than could be followed: reading everything anew")
		e.fault("tell the fast path of links", e.tellLinks())
		for _, h := range e.watcher.Hops() {
			e.onHop(h)
		}
		e.onRoutes()
	}
}

// onHop writes what is known of a next hop. One that a client's own frame taught stays usable until the kernel knows
// better.
func (e *Engine) onHop(h nexthop.Hop) {
	if !h.Valid && h.Dst == [6]byte{} && !e.isServed(h.Key) {
		return
	}
	out := loader.Hop{
		HopKey: loader.HopKey{Ifindex: h.Ifindex, Gateway: h.Gateway}, Phys: h.Phys, MTU: h.MTU, Dst: h.Dst, Src: h.Src, Valid: h.Valid,
	}
	for _, t := range h.Tags {
		out.Tags = append(out.Tags, loader.Tag(t))
	}
	_, err := e.edge.SetHop(out)
	e.fault("write a next hop", err)
	e.tellHop(h)
	if !h.Valid {
		e.log.Warn("a next hop can't be reached", "gateway", h.Gateway, "ifindex", h.Ifindex, "why", h.Reason)
	}
}

// tellHop publishes that a next hop can, or can't, be reached, if that is news.
func (e *Engine) tellHop(h nexthop.Hop) {
	if e.down[h.Key] == !h.Valid {
		return
	}
	if h.Valid {
		delete(e.down, h.Key)
	} else {
		e.down[h.Key] = true
	}
	ev := event.Event{Type: event.HopUp, Text: fmt.Sprintf("the next hop %s can be reached again", h.Gateway)}
	if !h.Valid {
		ev = event.Event{Type: event.HopDown, Text: fmt.Sprintf("the next hop %s can't be reached: %s", h.Gateway, h.Reason)}
	}
	ev.Data = map[string]any{"gateway": h.Gateway.String(), "ifindex": h.Ifindex}
	e.events.Publish(ev)
}

// tellInterface publishes whether an interface carries the fast path.
func (e *Engine) tellInterface(name, why string) {
	ev := event.Event{Type: event.InterfaceProtected, Text: name + " is protected again"}
	if why != "" {
		ev = event.Event{Type: event.InterfaceUnprotected, Text: name + " is unprotected: " + why}
	}
	ev.Data = map[string]any{"interface": name}
	e.events.Publish(ev)
}

func (e *Engine) isServed(k nexthop.Key) bool { return slices.Contains(e.served, k) }

func infoOf(l nexthop.Link) loader.LinkInfo {
	out := loader.LinkInfo{Ifindex: l.Ifindex, Phys: l.Phys, MTU: l.MTU, MAC: l.MAC}
	for _, t := range l.Tags {
		out.Tags = append(out.Tags, loader.Tag(t))
	}
	return out
}

// tellLinks tells the fast path of every link. Loopback and links that XDP can't send by stay unknown to it.
func (e *Engine) tellLinks() error {
	for _, l := range e.watcher.Links() {
		if err := e.tellLink(l); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) tellLink(l nexthop.Link) error {
	if l.Unsupported != "" || l.MAC == [6]byte{} {
		return nil
	}
	info := infoOf(l)
	e.links[l.Ifindex] = info
	return e.edge.SetLink(info)
}

func (e *Engine) onLink(ev nexthop.Event) {
	if ev.Gone {
		delete(e.links, ev.Link.Ifindex)
		e.fault("forget a link", e.edge.DropLink(ev.Link.Ifindex))
	} else if !linkThere(ev.Link.Ifindex) {
		return // it was set down to be removed: the word of that is on its way
	} else {
		e.fault("tell the fast path of a link", e.tellLink(ev.Link))
	}
	i := slices.IndexFunc(e.ifaces, func(i loader.Interface) bool { return i.Name == ev.Link.Name })
	if i < 0 {
		return
	}
	if ev.Gone {
		if e.ifaces[i].Ifindex == ev.Link.Ifindex {
			e.broken[ev.Link.Name] = "the interface is gone; it is protected again as soon as it returns"
			e.log.Error("an interface is gone", "interface", ev.Link.Name)
			e.tellInterface(ev.Link.Name, e.broken[ev.Link.Name])
		}
		return
	}
	e.ifaces[i].Ifindex = ev.Link.Ifindex
	e.protect(e.ifaces[i])
}

// linkThere asks the kernel: the news of a link can be older than its end.
func linkThere(ifindex int) bool {
	_, err := netlink.LinkByIndex(ifindex)
	return err == nil
}

// protect sees to it that an interface carries the fast path.
func (e *Engine) protect(i loader.Interface) {
	if e.plan == nil || e.edge.Attached(i) {
		return
	}
	if err := e.edge.Reattach(i); err != nil {
		e.broken[i.Name] = err.Error()
		e.tellInterface(i.Name, err.Error())
		e.fault("protect "+i.Name, err)
		return
	}
	delete(e.broken, i.Name)
	e.log.Info("an interface is protected again", "interface", i.Name, "ifindex", i.Ifindex)
	e.tellInterface(i.Name, "")
	e.onRoutes()
}

// onRoutes finds the servers anew. If the way to one has changed, so may the address that it sees: the plan is made
// again. Every flow asks for its way at its next packet.
func (e *Engine) onRoutes() {
	if e.plan == nil {
		return
	}
	plan, keys, err := e.planOf(e.cfg, e.ifaces)
	if err != nil {
		e.fault("find the servers", err)
		return
	}
	e.want(keys)
	e.served = keys
	if !samePlan(plan, e.plan) {
		if err := e.swap(e.cfg, plan, e.present()); err != nil {
			e.fault("follow the routes", err)
		} else {
			e.plan = plan
			e.log.Info("the way to the servers has changed, the fast path follows")
			e.events.Publish(event.Event{Type: event.ServerRoute, Text: "the way to the servers has changed, the fast path follows"})
		}
	}
	e.fault("move the policy epoch", e.lists.l.Recheck())
}

// present are the interfaces that are there.
func (e *Engine) present() []loader.Interface {
	var all []loader.Interface
	for _, i := range e.ifaces {
		if e.broken[i.Name] == "" && linkThere(i.Ifindex) {
			all = append(all, i)
		}
	}
	return all
}

// samePlan compares what routes can change.
func samePlan(a, b *loader.Plan) bool {
	return a.Frags == b.Frags && slices.Equal(a.Inside, b.Inside) &&
		slices.EqualFunc(a.Pools, b.Pools, func(x, y loader.Pool) bool {
			return slices.EqualFunc(x.Servers, y.Servers, func(s, t loader.Server) bool { return slices.Equal(s.NAT, t.NAT) })
		})
}

// want has the kernel keep the servers' next hops resolved, and those that the fast path has met.
func (e *Engine) want(keys []nexthop.Key) {
	for _, k := range keys {
		if !e.wanted[k] {
			e.wanted[k] = true
			e.watcher.Want(k)
		}
	}
}

// adoptHops looks for next hops that the fast path made by itself.
func (e *Engine) adoptHops() error {
	hops, err := e.edge.Hops()
	if err != nil {
		return err
	}
	for _, h := range hops {
		e.want([]nexthop.Key{{Ifindex: h.Ifindex, Gateway: h.Gateway}})
	}
	return nil
}
