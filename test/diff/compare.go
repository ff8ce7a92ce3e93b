// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"parry/loader"
	"parry/test/model"
	"parry/test/packet"
)

// difference is what the edge and its model don't agree in. It is an error of one of the two.
type difference struct{ text string }

func (d *difference) Error() string { return d.text }

func differ(format string, args ...any) error { return &difference{fmt.Sprintf(format, args...)} }

// do puts both through a step. A *difference: they came apart by it.
func (w *world) do(s step) error {
	switch s.op {
	case "receive":
		return w.receive(s.frame)
	case "flood":
		for range s.n {
			if err := w.receive(s.frame); err != nil {
				return err
			}
		}
		return nil
	case "send":
		return w.send(s.frame, s.n)
	case "pass":
		w.model.Now += uint64(s.pass)
		if err := w.setEnv(); err != nil {
			return err
		}
		return w.lists.NoticeAllowed() // as the daemon does
	case "clock":
		w.model.Now = clocks[s.n%len(clocks)]
		return w.setEnv()
	case "sweep":
		return w.sweep()
	case "look":
		return w.settle()
	case "kill":
		return w.kill(s.key)
	case "list", "quietly":
		return w.list(s)
	case "doubt":
		w.model.Doubt(s.entry, w.model.Now+uint64(s.ttl))
		return w.real.AddDoubt(loader.Doubt{Prefix: s.entry.Prefix, Service: uint32(s.entry.Service), For: s.ttl})
	case "unlist":
		w.model.Delete(s.list, s.entry)
		w.model.Bump()
		_, err := w.lists.Del(which(s.list), []loader.EntryKey{{Prefix: s.entry.Prefix, Service: uint32(s.entry.Service)}})
		return err
	case "bump":
		w.model.Bump()
		return w.lists.Bump()
	case "route":
		all := w.routes()
		w.model.Route = all[s.n%len(all)]
		return w.setEnv()
	case "hop":
		return w.setHop(s.n % len(w.hops()))
	case "state", "grace", "answer":
		return w.told(s)
	case "rules":
		return w.setRules(s.n)
	case "plan":
		return w.configure(s.n % len(w.edge.plans))
	}
	return fmt.Errorf("no step is called %q", s.op)
}

// configure is a reload: the daemon has every session check afterwards.
func (w *world) configure(n int) error {
	if err := w.settleAsks(); err != nil {
		return err
	}
	if err := w.use(w.edge.plans[n]); err != nil {
		return err
	}
	w.plan = n
	w.model.Configure(configOf(w.edge.plans[n]))
	if names := w.real.ServiceNames(); !slices.Equal(names, w.model.Names) {
		return differ("services are numbered %q, not %q", names, w.model.Names)
	}
	return w.setEnv()
}

var codes = map[model.Verdict]uint32{
	model.Pass: loader.XDPPass, model.Drop: loader.XDPDrop, model.TX: loader.XDPTX, model.Redirect: loader.XDPRedirect, model.Abort: loader.XDPAborted,
}

func (w *world) receive(frame []byte) error {
	want := w.model.Receive(frame)
	got, err := w.real.Process(frame)
	if err != nil {
		return err
	}
	w.seen.packet(want)
	w.last = want
	if model.Verdict(got.Verdict) != want.Verdict || model.Reason(got.Reason) != want.Reason || model.Reason(got.Shadow) != want.Shadow ||
		int(got.Service) != want.Service || got.Code != codes[want.Verdict] {
		return differ("verdict: got %q %q (shadow %q) of service %d, code %d\nwant %q %q (shadow %q) of service %d", got.Verdict, got.Reason, got.Shadow,
			got.Service, got.Code, want.Verdict, want.Reason, want.Shadow, want.Service)
	}
	switch want.Verdict {
	case model.Pass:
		if want.Out == nil {
			want.Out = frame
		}
	case model.TX, model.Redirect:
	default:
		return nil
	}
	if !bytes.Equal(got.Out, want.Out) {
		return differ("the frame that leaves (%s):\ngot  %x\nwant %x", want.Verdict, got.Out, want.Out)
	}
	if want.Verdict == model.Pass {
		return w.shaken(frame, want)
	}
	if packet.Check(frame) != nil {
		return nil // as wrong as it came
	}
	if err := packet.Check(got.Out); err != nil {
		return differ("the frame that leaves: %v\n%x", err, got.Out)
	}
	return nil
}

func (w *world) send(frame []byte, segments int) error {
	want := w.model.Send(frame, segments)
	code, err := w.real.Reply(frame, segments)
	if err != nil {
		return err
	}
	w.seen.sent(want)
	w.last = want
	wanted := uint32(loader.TCNext)
	if want.Verdict == model.Drop {
		wanted = loader.TCShot
	}
	if code != wanted {
		return differ("TC code %d, not %d: want %q %q of service %d", int32(code), int32(wanted), want.Verdict, want.Reason, want.Service)
	}
	return nil
}

// sweep is what the daemon does once a second.
func (w *world) sweep() error {
	var told []model.Key
	got, err := w.real.Sweep(func(s *loader.Session) { told = append(told, keyOf(s)) })
	if err != nil {
		return err
	}
	ended, idle, err := w.model.Sweep(told)
	if err != nil {
		return differ("%v", err)
	}
	if got.Ended != ended || got.Sources != idle {
		return differ("the sweep ended %d and met %d idle sources, not %d and %d", got.Ended, got.Sources, ended, idle)
	}
	return nil
}

func keyOf(s *loader.Session) model.Key {
	return model.Key{Client: s.Client, Front: s.Front, Proto: s.Proto}
}

func (w *world) kill(k model.Key) error {
	var found []loader.Session
	err := w.real.Sessions(func(s *loader.Session) bool {
		if keyOf(s) == k {
			found = append(found, *s)
		}
		return len(found) == 0
	})
	if err != nil || len(found) == 0 && w.model.Find(k) == nil {
		return err
	}
	n, err := w.real.EndSessions(found)
	if err != nil {
		return err
	}
	if alive := w.model.Kill(k); alive != (n == 1) {
		return differ("killing %v ended %d sessions; alive by the model: %v", k, n, alive)
	}
	return nil
}

// settle compares what is not compared after each packet: sessions, counters, ports, sources, chance.
func (w *world) settle() error {
	env, err := w.real.Env()
	if err != nil {
		return err
	}
	if env.Chance != w.model.Chance {
		return differ("chance is %#x, not %#x: another number of ports was asked for", env.Chance, w.model.Chance)
	}
	for _, compare := range []func() error{w.settleSessions, w.settleCounters, w.settlePorts, w.settleSources, w.settleStrangers, w.settleAsks, w.settleRules, w.settleBooks, w.settleWatched} {
		if err := compare(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) settleSessions() error {
	left := map[model.Key]*model.Session{}
	for _, s := range w.model.Sessions() {
		left[s.Key()] = s
	}
	var found error
	err := w.real.Sessions(func(s *loader.Session) bool {
		m := left[keyOf(s)]
		if m == nil {
			found = differ("there is a session of %v with %v (%s), which the model does not know", s.Client, s.Front, s.State)
			return false
		}
		delete(left, keyOf(s))
		if got, want := text(s), w.modelText(m); got != want {
			found = differ("a session\ngot  %s\nwant %s", got, want)
		} else if found = w.settleMarks(m); found != nil {
			return false
		}
		return found == nil
	})
	for k := range left {
		if found == nil {
			found = differ("there is no session of %v with %v", k.Client, k.Front)
		}
	}
	if err != nil {
		return err
	}
	return found
}

func text(s *loader.Session) string {
	return fmt.Sprintf("%d %v %v by %v as %v %v: %s, up %v, down %v, began by the server %v, age %v, idle %v", s.Service, s.Proto, s.Client, s.Front, s.Face,
		s.Server, s.State, model.Direction(s.Up), model.Direction(s.Down), s.ServerStarted, s.Age>>20, s.Idle>>20)
}

func (w *world) modelText(s *model.Session) string {
	state := loader.Unproven
	switch {
	case s.Closing:
		state = loader.Closing
	case s.Proof != model.Unknown:
		state = loader.Proven
	}
	return fmt.Sprintf("%d %v %v by %v as %v %v: %s, up %v, down %v, began by the server %v, age %v, idle %v", s.Service, s.Proto, s.Client, s.Front, s.Face,
		s.Server, state, s.Up(), s.Down(), s.ServerStarted, time.Duration(w.model.Age(s)), time.Duration(w.model.Idle(s)))
}

func (w *world) settleCounters() error {
	all, err := w.real.Counters()
	if err != nil {
		return err
	}
	want := w.model.Counts()
	for i, now := range all {
		var before loader.ServiceCount
		if i < len(w.before) {
			before = w.before[i]
		}
		got, wanted := countText(now, before), modelCountText(want[i])
		if got != wanted {
			return differ("counters of service %d (%s)\ngot  %s\nwant %s", i, w.model.Names[i], got, wanted)
		}
	}
	faults, err := w.real.Faults()
	faults["watch_full"] = w.faults["watch_full"] // nothing of a packet hangs on that
	if err == nil && !maps.Equal(faults, w.faults) {
		return differ("faults: %v, were %v", faults, w.faults)
	}
	return err
}

// settleWatched fails unless each cell that is taken is one watched half's: of those that are not watched, or gone, none is left.
func (w *world) settleWatched() error {
	halves := 0
	err := w.real.WatchedSessions(func(s *loader.Session) bool {
		for _, timed := range []*loader.Timing{s.UpTiming, s.DownTiming} {
			if timed != nil {
				halves++
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	taken, err := w.real.WatchedHalves()
	if err == nil && taken != halves {
		return differ("%d cells of watched halves are taken, and %d halves are watched", taken, halves)
	}
	w.seen.Watched += halves
	return err
}

func countText(now, was loader.ServiceCount) string {
	parts := []string{fmt.Sprint(now.Up.Packets-was.Up.Packets, now.Up.Bytes-was.Up.Bytes, now.Down.Packets-was.Down.Packets, now.Down.Bytes-was.Down.Bytes,
		" pass ", now.Pass-was.Pass, " drop ", now.Drop-was.Drop, " tx ", now.TX-was.TX, " redirect ", now.Redirect-was.Redirect)}
	for r, n := range now.Reasons {
		o := was.Reasons[r]
		parts = append(parts, reasonText(r, n.Packets-o.Packets, n.Bytes-o.Bytes, n.ShadowPackets-o.ShadowPackets, n.ShadowBytes-o.ShadowBytes))
	}
	return join(parts)
}

func reasonText(reason string, n ...uint64) string {
	if !slices.ContainsFunc(n, func(v uint64) bool { return v != 0 }) {
		return ""
	}
	return fmt.Sprint(reason, " ", n)
}

func join(parts []string) string {
	slices.Sort(parts)
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}

func modelCountText(c *model.Count) string {
	if c == nil {
		c = &model.Count{}
	}
	parts := []string{fmt.Sprint(c.Up.Packets, c.Up.Bytes, c.Down.Packets, c.Down.Bytes, " pass ", c.Pass, " drop ", c.Drop, " tx ", c.TX, " redirect ",
		c.Redirect)}
	all := map[model.Reason]bool{}
	for _, m := range []map[model.Reason]model.Direction{c.Reasons, c.Shadows} {
		for r := range m {
			all[r] = true
		}
	}
	for r := range all {
		parts = append(parts, reasonText(string(r), c.Reasons[r].Packets, c.Reasons[r].Bytes, c.Shadows[r].Packets, c.Shadows[r].Bytes))
	}
	return join(parts)
}

func (w *world) settlePorts() error {
	all, err := w.real.Ports()
	if err != nil {
		return err
	}
	want := w.model.FreePorts()
	for _, u := range all {
		if ports, ok := want[u.Addr]; ok && !slices.Equal(u.Free, ports) {
			return differ("free ports of %v are %v, not %v", u.Addr, u.Free, ports)
		}
	}
	return nil
}

func (w *world) settleSources() error {
	n, err := w.real.CountEntries("source")
	if err == nil && n != w.model.Sources() {
		return differ("%d sources, not %d", n, w.model.Sources())
	}
	return err
}

// settleBooks compares how many players are booked as refused. How many sources there are is a sketch's word: test/fastpath looks at that.
func (w *world) settleBooks() error {
	all, err := w.real.Books()
	if err != nil {
		return err
	}
	got := map[model.BookKey]uint64{}
	for _, b := range all {
		for did, n := range map[bool]uint64{false: b.Players, true: b.Hit} {
			if n > 0 {
				got[model.BookKey{Service: int(b.Service), Reason: model.Reason(b.Reason), Did: did}] = n
			}
		}
	}
	if !maps.Equal(got, w.model.Players()) {
		return differ("players who were refused, or would have been: got %v, want %v", got, w.model.Players())
	}
	return nil
}
