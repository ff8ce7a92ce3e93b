// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// PhaseInfo says what goes on.
type PhaseInfo struct {
	Name  string
	Title string
}

type phaseKind int

const (
	warm phaseKind = iota
	calm
	attack
	after
	block
	crash
)

// phase is a stretch of play. Packets carry its number.
type phase struct {
	PhaseInfo
	kind  phaseKind
	lasts time.Duration
	wave  wave // of an attack
}

const (
	// warmUp is how long players play before the calm is measured: first packets resolve neighbours and the like.
	warmUp = 500 * time.Millisecond
	// judged is how long a newcomer's attempt to join is watched, at least, while the attack goes on.
	judged = 3200 * time.Millisecond
)

// arrivals is how long newcomers keep coming in an attack: who comes later could not be judged while it lasts.
func (p phase) arrivals() time.Duration { return max(p.lasts-judged, p.lasts/4) }

// makePhases shares a run's duration out: some of it calm, most of it attack, the rest to recover and, unless it is to be
// short, to block someone and to kill the daemon.
func makePhases(s Scenario, d time.Duration, short bool) []phase {
	share := func(percent int) time.Duration { return d * time.Duration(percent) / 100 }
	calmly, attacked, recover := 15, 55, 6
	if short {
		calmly, attacked, recover = 20, 74, 6
	}
	all := []phase{
		{PhaseInfo{"join", "players join their matches"}, warm, warmUp, wave{}},
		{PhaseInfo{"calm", "players play, nobody attacks: this is what normal feels like"}, calm, share(calmly) - warmUp, wave{}},
	}
	if !s.attacks() {
		all = append(all, phase{PhaseInfo{"play", s.Name + ": " + s.What}, attack, share(attacked), wave{}})
	}
	for _, w := range s.waves {
		all = append(all, phase{PhaseInfo{"attack", w.name + ": " + s.What}, attack, share(attacked) / time.Duration(len(s.waves)), w})
	}
	all = append(all, phase{PhaseInfo{"after", "the attack is over, players play on"}, after, share(recover), wave{}})
	if short {
		return all
	}
	return append(all,
		phase{PhaseInfo{"block", "one player misbehaves and gets blocked in the middle of play"}, block, share(10), wave{}},
		phase{PhaseInfo{"crash", "the daemon is killed (kill -9) while all play, and started again"}, crash, share(14), wave{}})
}

// numbers lists the phases of the given kinds, as packets carry them.
func (l *lab) numbers(kinds ...phaseKind) []int {
	var n []int
	for i, p := range l.phases {
		for _, k := range kinds {
			if p.kind == k {
				n = append(n, i)
			}
		}
	}
	return n
}

func (l *lab) runPhases(ctx context.Context, join func(runner)) error {
	watched, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.watch(watched)
	}()
	defer func() {
		stop()
		<-done
	}()
	for i, p := range l.phases {
		l.score.setPhase(i)
		l.rec.begin(i, p)
		l.tell(p.PhaseInfo)
		if err := l.runPhase(ctx, p, join); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	l.rec.end()
	return nil
}

func (l *lab) runPhase(ctx context.Context, p phase, join func(runner)) error {
	switch p.kind {
	case warm:
		if err := l.letIn(ctx, join); err != nil {
			return err
		}
	case attack:
		return l.attack(ctx, p, join)
	case block:
		return l.block(ctx, p)
	case crash:
		return l.crash(ctx, p)
	}
	return wait(ctx, p.lasts)
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// attack floods while everyone plays on, and lets new players in while it goes on.
func (l *lab) attack(ctx context.Context, p phase, join func(runner)) error {
	if err := l.rec.holding(ctx, l); err != nil {
		return err
	}
	before, err := l.readEdge(ctx)
	if err != nil {
		return err
	}
	bots, err := l.bots(p.wave)
	if err != nil {
		return err
	}
	ending, stop := context.WithTimeout(ctx, p.lasts)
	defer stop()
	var playing sync.WaitGroup
	for _, b := range bots {
		l.goRun(&playing, ending, b.Run)
	}
	flooded := make(chan error, 1)
	go func() { flooded <- l.flood(ending, p) }()
	playing.Go(func() { letNewIn(ending, l, p, l.joiners, join) })
	letNewIn(ending, l, p, l.fresh, join)
	<-ending.Done()
	playing.Wait()
	if err := errors.Join(<-flooded, ctx.Err()); err != nil {
		return err
	}
	now, err := l.readEdge(ctx)
	if err != nil {
		return err
	}
	l.rec.addAttack(p, now, before)
	return l.rec.held(ctx, l)
}

// flood sends a phase's attack until the context ends.
func (l *lab) flood(ctx context.Context, p phase) error {
	streams := p.wave.all()
	if streams == nil {
		return nil
	}
	g, err := l.site.NewGenerator(streams)
	if err != nil {
		return err
	}
	f, err := g.Run(ctx, Load{Rate: p.wave.bounded(l.Rate)})
	l.rec.addFlood(f)
	return errors.Join(err, g.Close())
}

// block lets the suspect play, blocks it in the middle of its match, and lets it go again.
func (l *lab) block(ctx context.Context, p phase) error {
	b, ok := l.edge.(Blocker)
	if !ok {
		l.tell(PhaseInfo{p.Name, "this edge can't block anyone: players play on"})
		return wait(ctx, p.lasts)
	}
	if l.suspect.JoinTime() == 0 {
		l.blocked = &BlockResult{Address: suspectAddr.String()}
		return wait(ctx, p.lasts)
	}
	if err := wait(ctx, p.lasts/4); err != nil {
		return err
	}
	who := netip.PrefixFrom(suspectAddr, suspectAddr.BitLen())
	asked := time.Now()
	if err := b.Block(ctx, who, "parry lab shows a block"); err != nil {
		return fmt.Errorf("block %s: %w", who, err)
	}
	told := time.Since(asked)
	enforced := time.Since(l.suspect.epoch)
	l.tell(PhaseInfo{p.Name, "parry block add " + suspectAddr.String() + ": it hears nothing any more, everyone else plays on"})
	if err := wait(ctx, p.lasts/2); err != nil {
		return err
	}
	last := time.Duration(l.suspect.heard.Load())
	r := &BlockResult{Address: suspectAddr.String(), Joined: true, CallMS: ms(told), EffectMS: ms(max(0, last-enforced) + told),
		Silenced: l.suspect.Silence() > p.lasts/4}
	if err := b.Unblock(ctx, who); err != nil {
		return fmt.Errorf("unblock %s: %w", who, err)
	}
	l.blocked = r
	lifted := time.Since(l.suspect.epoch)
	if err := wait(ctx, p.lasts/4); err != nil {
		return err
	}
	r.Released = time.Duration(l.suspect.heard.Load()) > lifted
	return nil
}

// crash kills the edge's control, lets play go on without it, and starts it again.
func (l *lab) crash(ctx context.Context, p phase) error {
	m, ok := l.edge.(Mortal)
	if !ok {
		l.tell(PhaseInfo{p.Name, "this edge has no daemon to kill: players play on"})
		return wait(ctx, p.lasts)
	}
	if err := wait(ctx, p.lasts/6); err != nil {
		return err
	}
	before, err := l.edge.Status(ctx)
	if err != nil {
		return err
	}
	l.rec.down.Store(true)
	killed := time.Now()
	if err := m.Kill(); err != nil {
		return err
	}
	if err := wait(ctx, p.lasts/3); err != nil {
		return err
	}
	restarted := time.Now()
	if err := l.edge.Start(ctx); err != nil {
		return err
	}
	r := &CrashResult{DownMS: ms(time.Since(killed)), StartMS: ms(time.Since(restarted)), SessionsBefore: before.Sessions}
	now, err := l.edge.Status(ctx)
	if err != nil {
		return err
	}
	r.SessionsAdopted = now.Sessions
	l.rec.down.Store(false)
	l.crashed = r
	l.tell(PhaseInfo{p.Name, "the new daemon has adopted everything that the old one left; players play on"})
	return wait(ctx, p.lasts/2)
}
