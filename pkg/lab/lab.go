// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Limits of Options.
const (
	MinDuration     = 5 * time.Second
	DefaultDuration = time.Minute
)

const (
	establishedPlayers = 30
	newPlayers         = 10
	tcpPlayers         = 4
	everyNthIsV6       = 5 // of the UDP players
	joinPatience       = 10 * time.Second
)

// ErrOptions marks errors that another command line would avoid.
var ErrOptions = errors.New("bad options")

// Options say what a run does.
type Options struct {
	Scenario string        // one of ScenarioNames
	Duration time.Duration // of play, at least MinDuration
	Rate     uint64        // packets a second of the flood, 0 = as many as one CPU makes
	Edge     EdgeMaker     // what is under test
	View     View          // is told what goes on
	Log      *slog.Logger
	// Hold is called, if set, when all is measured and before the world is removed. It returns when the world may go.
	Hold func(ctx context.Context, s *Site) error
}

// optionError is an ErrOptions with the words of what it wraps.
type optionError struct{ error }

// Is makes it an ErrOptions.
func (optionError) Is(target error) bool { return target == ErrOptions }

// View is told what goes on, from one goroutine.
type View interface {
	Phase(p PhaseInfo)  // a phase begins
	Tick(snap Snapshot) // each second
	Done(r *Report)     // all is measured
}

// lab is one run.
type lab struct {
	Options
	site   *Site
	edge   Edge
	match  *Match
	score  *Score
	phases []phase
	rec    recorder

	players []*Player
	tcp     []*TCPPlayer
	suspect *Player
	blocked *BlockResult
	crashed *CrashResult

	running sync.WaitGroup // players and servers
	mu      sync.Mutex     // guards failed
	failed  []error        // of running
}

// Run builds a world, plays and attacks as the options say, removes the world and reports. It ends early, with the
// context's error, when the context does. The report may be there along with an error about removing the world.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	parts, err := findScenario(o.Scenario)
	if err != nil {
		return nil, optionError{err}
	}
	if o.Duration < MinDuration {
		return nil, optionError{fmt.Errorf("duration %v is too short to play, attack and recover in: take at least %v",
			o.Duration, MinDuration)}
	}
	l := &lab{Options: o, score: &Score{}, phases: makePhases(parts, o.Duration)}
	l.View.Phase(PhaseInfo{Name: "build", Title: "building the world: players, attackers, edge and servers"})
	if l.site, err = NewSite(ctx, "lab", o.Log); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.site.Close()) }()
	if l.edge, err = o.Edge(l.site); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.edge.Stop()) }()
	if err := l.edge.Start(ctx); err != nil {
		return nil, err
	}
	if err := l.playAll(ctx); err != nil {
		return nil, err
	}
	if report, err = l.report(ctx); err != nil {
		return nil, err
	}
	l.View.Done(report)
	if o.Hold != nil {
		return report, o.Hold(ctx, l.site)
	}
	return report, nil
}

// playAll lets the players in, goes through the phases and waits for all to leave.
func (l *lab) playAll(ctx context.Context) (err error) {
	serving, shut := context.WithCancel(ctx)
	playing, leave := context.WithCancel(ctx)
	defer func() {
		shut()
		l.running.Wait()
		err = errors.Join(append([]error{err}, l.failed...)...)
	}()
	var players sync.WaitGroup
	defer func() {
		leave()
		players.Wait()
	}()
	if l.match, err = NewMatch(l.site.Servers, l.score, slices.Concat(arenaServers, arena6Servers), outpostServers, l.Log); err != nil {
		return err
	}
	l.goRun(&l.running, serving, l.match.Run)
	if err := l.openPlayers(); err != nil {
		return err
	}
	join := func(p runner) { l.goRun(&players, playing, p.Run) }
	return l.runPhases(ctx, join)
}

// runner is what has a Run that ends with its context.
type runner interface {
	Run(ctx context.Context) error
}

// goRun runs f until its end and keeps its error.
func (l *lab) goRun(wg *sync.WaitGroup, ctx context.Context, f func(context.Context) error) {
	wg.Go(func() {
		if err := f(ctx); err != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.failed = append(l.failed, err)
		}
	})
}

// openPlayers makes all players; the new ones wait for the attack.
func (l *lab) openPlayers() error {
	for i := range establishedPlayers + newPlayers {
		group, v6 := Established, i%everyNthIsV6 == everyNthIsV6-1
		if i >= establishedPlayers {
			group = New
		}
		service := arena4
		if v6 {
			service = arena6
		}
		from, err := l.site.playerAddress(i, v6)
		if err != nil {
			return err
		}
		p, err := NewPlayer(l.site.Players, i, group, from, service, l.score)
		if err != nil {
			return err
		}
		l.players = append(l.players, p)
	}
	for i := range tcpPlayers {
		n := establishedPlayers + newPlayers + i
		from, err := l.site.playerAddress(n, false)
		if err != nil {
			return err
		}
		l.tcp = append(l.tcp, NewTCPPlayer(l.site.Players, n, from, outpost, l.score))
	}
	var err error
	l.suspect, err = NewPlayer(l.site.Attackers, len(l.players)+len(l.tcp), Suspect, suspectAddr, arena4, l.score)
	return err
}

// letIn starts the established players and the suspect, and waits until they are in.
func (l *lab) letIn(ctx context.Context, join func(runner)) error {
	for _, p := range l.tcp {
		join(p)
	}
	first := slices.Concat(l.players[:establishedPlayers], []*Player{l.suspect})
	for _, p := range first {
		join(p)
	}
	ctx, cancel := context.WithTimeout(ctx, joinPatience)
	defer cancel()
	for n, p := range first {
		select {
		case <-p.Joined():
		case <-ctx.Done():
			return fmt.Errorf("player %d of %d could not join through the idle edge: %w", n+1, len(first), ctx.Err())
		}
	}
	return nil
}
