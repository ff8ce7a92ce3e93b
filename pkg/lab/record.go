// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Snapshot is what a live view shows: the last second.
type Snapshot struct {
	Phase          PhaseInfo
	Elapsed, Total time.Duration
	Players, In    int    // let in so far, welcomed by their server
	Moves, Answers uint64 // in this second
	RTT            spread // of this second's answers
	Attacking      bool
	Arrived        uint64            // packets in on the attackers' leg in this second
	Drops          map[string]uint64 // in this second, by reason
	Reached        uint64            // packets of strangers that reached servers in this second
	Sessions       uint64
	Down           bool // the daemon is not there
}

// statusPatience is how long the edge may take to tell its counters while it is attacked.
const statusPatience = 5 * time.Second

// recorder collects what happens while the phases go on.
type recorder struct {
	down      atomic.Bool
	newcomers atomic.Int64

	mu      sync.Mutex // guards what follows
	flooded bool       // the phase is an attack
	info    PhaseInfo
	start   time.Time
	total   time.Duration
	rtts    map[Group]map[int][]time.Duration // by group and phase
	tcp     map[int][]time.Duration           // by phase
	floods  Flood                             // added up
	last    Flood                             // of this phase
	attack  AttackReport
	sure    map[netip.AddrPort]string // established players' sessions before the attack
	evicted int                       // of them, gone after it
	memory  *MemoryReport
	seen    []Seen // attacks, by the edge's own word
	caught  *Detected
	struck  time.Time // when the first attack began
}

func (r *recorder) begin(i int, p phase) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i == 0 {
		r.start = time.Now()
		r.attack.Dropped = map[string]uint64{}
		r.rtts = map[Group]map[int][]time.Duration{Established: {}, New: {}, Suspect: {}}
		r.tcp = map[int][]time.Duration{}
	}
	r.flooded, r.info, r.last = p.wave.name != "", p.PhaseInfo, Flood{}
}

func (r *recorder) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total = time.Since(r.start)
}

// addFlood adds what the generator says of a run.
func (r *recorder) addFlood(f Flood) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = f
	r.floods.Packets += f.Packets
	r.floods.Elapsed += f.Elapsed
	r.floods.CPUTime += f.CPUTime
	r.floods.CPU = f.CPU
}

// addAttack adds what a phase's attack did to the edge, as the difference of its counters.
func (r *recorder) addAttack(p phase, now, before counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.wave.name == "" { // nobody attacked: what came in is the players' own
		r.attack.Dropped = since(now.drops, before.drops)
		return
	}
	w := WaveReport{Name: p.wave.name, Offered: r.last.Packets, Packets: subtract(now.arrived, before.arrived), Sources: p.wave.sourceCount(r.last.Packets),
		Dropped: since(now.drops, before.drops), Reached: subtract(now.reached, before.reached),
		Host: subtract(now.host, before.host), elapsed: p.lasts, Answers: now.answered.since(before.answered)}
	w.PPS = uint64(float64(w.Packets) / p.lasts.Seconds())
	r.attack.add(w)
}

// holding notes what the edge knows of the established players and how much memory it takes, before the first attack.
func (r *recorder) holding(ctx context.Context, l *lab) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.struck.IsZero() {
		r.struck = time.Now()
	}
	if k, ok := l.edge.(Keeper); ok && r.sure == nil {
		known, err := k.Sessions(ctx)
		if err != nil {
			return fmt.Errorf("list the players' sessions: %w", err)
		}
		r.sure = map[netip.AddrPort]string{}
		for _, a := range l.seats() {
			if known[a] != "" {
				r.sure[a] = known[a]
			}
		}
	}
	if m, ok := l.edge.(Sized); ok && r.memory == nil {
		n, err := m.Memory()
		r.memory = &MemoryReport{BeforeKB: n / 1024}
		return err
	}
	return nil
}

// held compares with it after an attack.
func (r *recorder) held(ctx context.Context, l *lab) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := l.edge.(Keeper); ok {
		known, err := k.Sessions(ctx)
		if err != nil {
			return fmt.Errorf("list the players' sessions: %w", err)
		}
		r.evicted = 0
		for a, id := range r.sure {
			if known[a] != id {
				r.evicted++
			}
		}
	}
	if h, ok := l.edge.(Historian); ok {
		seen, err := h.Attacks(ctx)
		if err != nil {
			return fmt.Errorf("list the attacks: %w", err)
		}
		r.seen = seen
	}
	caught, err := l.detected(ctx, r.struck)
	if err != nil {
		return err
	}
	r.caught = caught
	if m, ok := l.edge.(Sized); ok {
		n, err := m.Memory()
		r.memory.AfterKB = n / 1024
		return err
	}
	return nil
}

// seats is where the established players play from.
func (l *lab) seats() []netip.AddrPort {
	var all []netip.AddrPort
	for _, p := range l.players {
		all = append(all, p.Address())
	}
	for _, p := range l.tcp {
		all = append(all, p.Address())
	}
	return all
}

// tell shows a phase, or news within one.
func (l *lab) tell(p PhaseInfo) {
	l.rec.mu.Lock()
	defer l.rec.mu.Unlock()
	l.rec.info = p
	l.View.Phase(p)
}

// counts are the running totals that a snapshot is the difference of.
type counts struct {
	moves, answers   uint64
	arrived, reached uint64
	host             uint64
	drops            map[string]uint64
	sessions         uint64
	answered         Answers
}

// watch shows a snapshot each second until the context ends.
func (l *lab) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := l.read(ctx, counts{})
	for {
		select {
		case <-ctx.Done():
			l.collect()
			return
		case <-tick.C:
		}
		now := l.read(ctx, last)
		snap := Snapshot{
			Moves: now.moves - last.moves, Answers: subtract(now.answers, last.answers),
			Arrived: subtract(now.arrived, last.arrived), Reached: subtract(now.reached, last.reached),
			Drops: since(now.drops, last.drops), Sessions: now.sessions, Down: l.rec.down.Load(),
			RTT: spreadOf(l.collect()),
		}
		snap.Players = len(l.players) + tcpPlayers + int(l.rec.newcomers.Load())
		snap.In = l.countIn()
		l.rec.mu.Lock()
		snap.Phase, snap.Attacking = l.rec.info, l.rec.flooded
		snap.Elapsed, snap.Total = time.Since(l.rec.start), l.Duration
		l.View.Tick(snap)
		l.rec.mu.Unlock()
		last = now
	}
}

// read takes the totals; what can't be read keeps its last value.
func (l *lab) read(ctx context.Context, last counts) counts {
	now := last
	t := l.score.Tally(Established)
	n := l.score.Tally(New)
	now.moves, now.answers = t.Sent+n.Sent, t.Received+n.Received
	for _, p := range l.tcp {
		now.moves += p.sent.Load()
		now.answers += p.received.Load()
	}
	edge, err := l.readEdge(ctx)
	if err != nil {
		edge = last
	}
	now.arrived, now.reached, now.drops, now.sessions = edge.arrived, edge.reached, edge.drops, edge.sessions
	return now
}

// readEdge reads what counts at the edge and around it.
func (l *lab) readEdge(ctx context.Context) (counts, error) {
	in, errIn := l.site.legs[attackersLeg].edge.Stats()
	out, errOut := l.site.toServer.Arrivals()
	if err := errors.Join(errIn, errOut); err != nil {
		return counts{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	s, err := l.edge.Status(ctx)
	arrived := subtract(in.RxPackets, l.score.Tally(Suspect).Sent) // it plays on the attackers' leg
	answers, errAnswers := l.site.toAttacker.Answers()
	return counts{arrived: arrived, reached: out.Strangers + subtract(out.SYN, l.shook()), host: s.Host, drops: s.Drops, sessions: s.Sessions, answered: answers},
		errors.Join(err, errAnswers)
}

// shook is how many SYNs servers got from newcomers who are in: each pinged and joined.
func (l *lab) shook() (n uint64) {
	for _, j := range l.joiners {
		if j.JoinTime() > 0 {
			n += 2
		}
	}
	return n + uint64(len(l.tcp))
}

func (l *lab) countIn() int {
	in := 0
	for _, p := range slices.Concat(l.players, l.fresh) {
		if p.JoinTime() > 0 {
			in++
		}
	}
	for _, p := range l.tcp {
		if p.JoinTime() > 0 {
			in++
		}
	}
	for _, j := range l.joiners {
		if j.JoinTime() > 0 {
			in++
		}
	}
	return in
}

// collect files the round-trip times measured since the last call and returns those of the players in matches.
func (l *lab) collect() []time.Duration {
	l.rec.mu.Lock()
	defer l.rec.mu.Unlock()
	var all []time.Duration
	for _, p := range l.everyone() {
		for _, s := range p.measured() {
			l.rec.rtts[p.group][s.phase] = append(l.rec.rtts[p.group][s.phase], s.rtt)
			if p.group != Suspect {
				all = append(all, s.rtt)
			}
		}
	}
	for _, p := range l.tcp {
		for _, s := range p.measured() {
			l.rec.tcp[s.phase] = append(l.rec.tcp[s.phase], s.rtt)
		}
	}
	return all
}
