// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Limits of Options.
const (
	MinDuration     = 8 * time.Second
	DefaultDuration = 30 * time.Second
)

const joinPatience = 10 * time.Second // to get in while nobody attacks

// ErrOptions marks errors that another command line would avoid.
var ErrOptions = errors.New("bad options")

// Options say what a run does.
type Options struct {
	Scenario string        // one of Scenarios
	Duration time.Duration // of play, at least MinDuration
	Short    bool          // leave out what shows blocks and the daemon's death
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
	scenario Scenario
	site     *Site
	edge     Edge
	match    *Match
	score    *Score
	phases   []phase
	rec      recorder

	players  []*Player // in their matches before the attack
	fresh    []*Player // those who come while it goes on
	tcp      []*TCPPlayer
	joiners  []*joiner // those who come by TCP
	suspect  *Player   // nil where nobody is blocked
	browsers []*browser
	blocked  *BlockResult
	crashed  *CrashResult

	running sync.WaitGroup // players and servers
	mu      sync.Mutex     // guards failed
	failed  []error        // of running
}

// Run builds a world, plays and attacks as the options say, removes the world and reports. It ends early, with the
// context's error, when the context does. The report may be there along with an error about removing the world.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	scenario, err := findScenario(o.Scenario)
	if err != nil {
		return nil, optionError{err}
	}
	if o.Duration < MinDuration {
		return nil, optionError{fmt.Errorf("duration %v is too short to play, attack and recover in: take at least %v",
			o.Duration, MinDuration)}
	}
	l := &lab{Options: o, scenario: scenario, score: &Score{}, phases: makePhases(scenario, o.Duration, o.Short)}
	l.View.Phase(PhaseInfo{Name: "build", Title: "building the world: players, attackers, edge and servers"})
	if l.site, err = NewSite(ctx, "lab", o.Log); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.site.Close()) }()
	if err := l.site.addRooms(scenario.rooms); err != nil {
		return nil, err
	}
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
	if l.match, err = newMatch(l.site.Servers, l.score, services(), l.Log); err != nil {
		return err
	}
	l.goRun(&l.running, serving, l.match.Run)
	if err := l.cast(); err != nil {
		return err
	}
	if err := l.site.toAttacker.Expect(requests(l.scenario.streams())); err != nil {
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
