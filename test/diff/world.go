// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"parry/loader"
	"parry/test/device"
	"parry/test/model"
	"parry/test/packet"
)

// world is an edge and its model, side by side.
type world struct {
	kind   string
	edge   edge
	real   *loader.Edge
	model  *model.Edge
	lists  *loader.Lists
	device *device.Device
	plan   int  // of edge.plans, that both have now
	swaps  bool // the rules are others than the plan's
	before []loader.ServiceCount
	tried  []loader.StrangerCount
	asks   asks
	cached []step                // answers
	akin   map[int][2]netip.Addr // see kin
	faults map[string]uint64
	seen   *coverage
	last   model.Outcome // of a frame, by the model
	apart  bool          // they may have come apart: the model does not know what the edge used of large tables
	choose *chooser

	four, six, nobody4, nobody6 []netip.Addr
}

// begins is when a sequence begins, unless it says otherwise: eleven days after the host started.
const begins = 1_000_000 * uint64(time.Second)

// The secrets of the edge, and of its cookies.
const (
	secret  = 0x0123456789abcdef
	secret2 = 0xfedcba9876543210
)

var cookieSecret = [2]uint64{0x1716151413121110, 0x1f1e1d1c1b1a1918}

// openWorld makes an edge of a kind. object is another build of the fast path, nil = that of the tree; gates are others in the
// place of those of that name.
func openWorld(kind string, object io.ReaderAt, gates ...loader.Gate) (_ *world, err error) {
	w := &world{kind: kind, edge: edges()[kind], seen: newCoverage(), akin: map[int][2]netip.Addr{}, apart: object != nil || gates != nil}
	w.choose = newChooser(w.edge.sizes.Unproven > 0, len(w.edge.plans) > 0 && w.edge.plans[0].Rules != nil, strings.HasPrefix(kind, "shaken"))
	w.four, w.six = players()
	w.nobody4, w.nobody6 = nobodies()
	if w.edge.plans == nil {
		return nil, fmt.Errorf("no kind of edge is called %q", kind)
	}
	for _, p := range append(w.edge.plans, w.edge.history...) {
		for i := range p.Gates {
			for _, g := range gates {
				if p.Gates[i].Name == g.Name {
					p.Gates[i] = g
				}
			}
		}
	}
	w.real, err = loader.Open(loader.Options{Sizes: w.edge.sizes, Log: slog.New(slog.DiscardHandler), Injected: true, Traced: true, Object: object})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	w.device, err = device.New(func(i int) error {
		for _, l := range links(i) {
			if err := w.real.SetLink(l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	ne := binary.NativeEndian
	if err = w.real.Poke("secret", make([]byte, 4), ne.AppendUint64(ne.AppendUint64(nil, secret), secret2)); err != nil {
		return nil, err
	}
	if err = w.real.Poke("gate_secret", make([]byte, 4), ne.AppendUint64(ne.AppendUint64(nil, cookieSecret[0]), cookieSecret[1])); err != nil {
		return nil, err
	}
	if err = w.real.Watch(0.5, 1); err != nil { // which ones, the model need not know: it changes nothing for packets
		return nil, err
	}
	w.listen()
	for _, p := range append(w.edge.history, w.edge.plans[0]) {
		if err = w.use(p); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *world) close() error {
	w.deaf()
	if w.device != nil {
		w.device.Close()
	}
	return w.real.Close()
}

func (w *world) use(p *loader.Plan) error {
	g, err := w.real.Prepare(p)
	if err != nil {
		return err
	}
	return w.real.Use(g)
}

// reset makes both as they are before a sequence.
func (w *world) reset() error {
	if err := w.real.Clear(); err != nil {
		return err
	}
	w.lists = w.real.Lists()
	w.forgetAsks()
	if err := w.resetHashed(); err != nil {
		return err
	}
	if err := w.forgetRules(); err != nil {
		return err
	}
	if w.plan != 0 {
		if err := w.use(w.edge.plans[0]); err != nil {
			return err
		}
		w.plan = 0
	}
	size := &w.edge.sizes
	w.model = model.New(model.Sizes{Sessions: int(size.Sessions), Sources: int(size.Sources), Unproven: int(size.Unproven), Cells: cellsOf(size.Sessions)})
	w.model.Now, w.model.Chance, w.model.Secret, w.model.Secret2, w.model.Cookies = begins, 1, secret, secret2, cookieSecret
	for _, p := range append(w.edge.history, w.edge.plans[0]) {
		w.model.Configure(configOf(p))
	}
	for _, l := range links(w.device.Ifindex) {
		w.model.SetLink(l.Ifindex, linkOf(l))
	}
	if err := errors.Join(w.setHop(0), w.forgetAnswers()); err != nil {
		return err
	}
	w.model.Route = w.routes()[0]
	if err := errors.Join(w.setEnv(), w.lists.NoticeAllowed()); err != nil {
		return err
	}
	var err error
	if w.before, err = w.real.Counters(); err != nil {
		return err
	}
	if w.tried, err = w.real.StrangerCounts(); err != nil {
		return err
	}
	w.faults, err = w.real.Faults()
	return err
}

// resetHashed forgets what is kept by hash: of large tables, those cells alone that the model used.
func (w *world) resetHashed() error {
	if w.apart {
		return w.real.ClearHashed()
	}
	if w.model == nil {
		return nil
	}
	for _, m := range []struct {
		name string
		size int
		used []uint32
	}{
		{"host_source", 8, w.model.HostBuckets()},
		{"prefix_word", 8, w.model.PrefixCells()},
		{"rule_cell", 8, w.model.RuleCells()},
		{"sketch", 64, w.model.SketchLines()},
		{"greylist", 64, w.model.GreyLines(w.edge.greyLines())},
	} {
		for _, i := range m.used {
			if err := w.real.Poke(m.name, binary.NativeEndian.AppendUint32(nil, i), make([]byte, m.size)); err != nil {
				return err
			}
		}
	}
	return nil
}

// links are what the daemon says of interfaces: the one that frames come in by, another, and a VLAN on that.
func links(device int) []loader.LinkInfo {
	return []loader.LinkInfo{
		{Ifindex: 1, Phys: 1, MTU: 1500},
		{Ifindex: device, Phys: device, MTU: 1500},
		{Ifindex: taggedLink, Phys: device, MTU: 1496, Tags: []loader.Tag{{Proto: packet.TypeVLAN, VID: 7}}},
	}
}

func linkOf(l loader.LinkInfo) model.Link {
	return model.Link{Phys: l.Phys, MTU: l.MTU, Tags: tagsOf(l.Tags)}
}

func tagsOf(tags []loader.Tag) (all []model.Tag) {
	for _, t := range tags {
		all = append(all, model.Tag{Proto: t.Proto, TCI: t.VID})
	}
	return all
}

// setEnv gives the real edge the model's time, chance and routes.
func (w *world) setEnv() error {
	r := w.model.Route
	return w.real.SetEnv(loader.Env{Now: time.Duration(w.model.Now), Chance: w.model.Chance,
		Hop: loader.HopKey{Ifindex: r.Ifindex, Gateway: r.Gateway}, Dst: r.Dst, Src: r.Src})
}

const (
	taggedLink = 9001 // a VLAN device
	lostLink   = 9002 // an interface that nobody described
	goneLink   = 9003 // one that frames can't leave by any more
)

var (
	gateway  = netip.MustParseAddr("203.0.113.1")
	gateway6 = netip.MustParseAddr("2001:db8::1")
	near     = model.MAC{2, 0, 0, 0, 0, 0x01}
	nearer   = model.MAC{2, 0, 0, 0, 0, 0x02}
	ours     = model.MAC(packet.EdgeSide)
	ours2    = model.MAC{2, 0, 0, 0, 0, 0xee}
)

// routes are what a route may lead to. The first is the usual one.
func (w *world) routes() []model.Route {
	out := w.device.Ifindex
	return []model.Route{
		{HopKey: model.HopKey{Ifindex: 1, Gateway: gateway}},
		{},
		{HopKey: model.HopKey{Ifindex: out, Gateway: gateway}, Dst: near, Src: ours},
		{HopKey: model.HopKey{Ifindex: out, Gateway: gateway}, Dst: nearer, Src: ours},
		{HopKey: model.HopKey{Ifindex: out, Gateway: gateway}, Dst: near, Src: ours2},
		{HopKey: model.HopKey{Ifindex: out, Gateway: gateway6}},
		{HopKey: model.HopKey{Ifindex: 1, Gateway: gateway6}},
		{HopKey: model.HopKey{Ifindex: taggedLink, Gateway: gateway}, Dst: near, Src: ours},
		{HopKey: model.HopKey{Ifindex: lostLink, Gateway: gateway}, Dst: near, Src: ours},
		{HopKey: model.HopKey{Ifindex: goneLink, Gateway: gateway}},
		{HopKey: model.HopKey{Ifindex: 1, Gateway: netip.MustParseAddr("203.0.113.7")}},
		{HopKey: model.HopKey{Ifindex: 1, Gateway: netip.MustParseAddr("203.0.113.8")}},
	}
}

// hops are what the daemon may say of next hops. The first is that of the usual route.
func (w *world) hops() []loader.Hop {
	out := w.device.Ifindex
	hop := func(i, phys, mtu int, gateway netip.Addr, valid bool, tags ...loader.Tag) loader.Hop {
		return loader.Hop{HopKey: loader.HopKey{Ifindex: i, Gateway: gateway}, Phys: phys, MTU: mtu, Tags: tags, Dst: near, Src: ours, Valid: valid}
	}
	q, v := loader.Tag{Proto: packet.TypeQinQ, VID: 5}, loader.Tag{Proto: packet.TypeVLAN, VID: 0x6007}
	return []loader.Hop{
		hop(1, 1, 1500, gateway, true),
		hop(1, 1, 1500, gateway, false),
		hop(1, 1, 1500, netip.MustParseAddr("203.0.113.7"), true, v),
		hop(1, 1, 1500, netip.MustParseAddr("203.0.113.7"), true, q, v),
		hop(1, 1, 600, netip.MustParseAddr("203.0.113.8"), true),
		hop(1, 1, 100, netip.MustParseAddr("203.0.113.8"), true),
		hop(out, out, 1400, gateway, true, v),
		hop(out, out, 1500, gateway6, false),
		hop(goneLink, goneLink, 1500, gateway, true),
	}
}

func (w *world) setHop(n int) error {
	h := w.hops()[n]
	m := model.Hop{HopKey: model.HopKey(h.HopKey), Phys: h.Phys, MTU: h.MTU, Tags: tagsOf(h.Tags), Dst: h.Dst, Src: h.Src, State: model.Down}
	if h.Valid {
		m.State = model.Valid
	}
	w.model.SetHop(m)
	_, err := w.real.SetHop(h)
	return err
}
