// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Who plays what. As many newcomers come by a challenge that proves them as without one.
var (
	establishedIn = [games]int{arenaGame: 50, sourceGame: 15, quakeGame: 15, raknetGame: 20}
	newIn         = [games]int{arenaGame: 60, sourceGame: 20, quakeGame: 20, raknetGame: 100}
)

const (
	tcpPlayers   = 4
	everyNthIsV6 = 5   // of the players of the lab's own game
	newASecond   = 25  // newcomers; a short attack has fewer
	newTCP       = 100 // newcomers over TCP, in 30 seconds; a short attack has fewer
	newTCPIn     = 30 * time.Second
	newStay      = 2 * time.Second // is how long they play: what counts is that they get in
	botsMove     = 200 * time.Millisecond
	botsStay     = 8 * time.Second // so that none opens more sessions a minute than one may
	botIDs       = 1 << 20         // theirs begin there
)

// establishedPlayers and newPlayers add up who plays over UDP.
func establishedPlayers() int { return sumGames(establishedIn) }
func newPlayers() int         { return sumGames(newIn) }

func sumGames(table [games]int) int {
	n := 0
	for _, v := range table {
		n += v
	}
	return n
}

// inTurn lists n games so that any stretch of the list has each as often as the table wants.
func inTurn(table [games]int, n int) []gameID {
	all := sumGames(table)
	var had [games]int
	var list []gameID
	for i := range n {
		next := arenaGame
		for g := range games { // the one that lags most
			if table[g]*(i+1)-had[g]*all > table[next]*(i+1)-had[next]*all {
				next = g
			}
		}
		had[next]++
		list = append(list, next)
	}
	return list
}

// cast makes all players, and those who query; the new ones wait for the attack.
func (l *lab) cast() (err error) {
	if l.players, err = l.openPlayers(Established, 0, inTurn(establishedIn, establishedPlayers())); err != nil {
		return err
	}
	if l.fresh, err = l.openPlayers(New, len(l.players), inTurn(newIn, l.newcomers())); err != nil {
		return err
	}
	for _, p := range l.fresh {
		p.stay = newStay
	}
	at := establishedPlayers() + newPlayers()
	for i := range tcpPlayers {
		from, err := l.site.playerAddress(at+i, false)
		if err != nil {
			return err
		}
		l.tcp = append(l.tcp, NewTCPPlayer(l.site.Players, at+i, from, outpost, l.score))
	}
	at += tcpPlayers
	same := func(a, b int) bool { return l.phases[a].kind == l.phases[b].kind }
	for i, k := range queryKinds() {
		from, err := l.site.playerAddress(at+i, false)
		if err != nil {
			return err
		}
		l.browsers = append(l.browsers, &browser{kind: k, host: l.site.Players, from: from, score: l.score, same: same})
	}
	at += len(queryKinds())
	for i := range min(newTCP, int(newTCP*l.window()/newTCPIn)) {
		from, err := l.site.playerAddress(at+i, false)
		if err != nil {
			return err
		}
		l.joiners = append(l.joiners, &joiner{id: at + i, host: l.site.Players, from: from, to: realm})
	}
	if l.Short {
		return nil
	}
	l.suspect, err = newPlayer(l.site.Attackers, at, Suspect, arenaGame, suspectAddr, arena4, l.score)
	return err
}

func (l *lab) openPlayers(g Group, first int, list []gameID) ([]*Player, error) {
	var all []*Player
	arena := 0
	for i, game := range list {
		v6 := false
		if game == arenaGame {
			arena++
			v6 = arena%everyNthIsV6 == 0
		}
		from, err := l.site.playerAddress(first+i, v6)
		if err != nil {
			return nil, err
		}
		p, err := newPlayer(l.site.Players, first+i, g, game, from, serviceOf(game, v6), l.score)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// newcomers is how many there is time for.
func (l *lab) newcomers() int { return min(newPlayers(), int(l.window().Seconds()*newASecond)) }

// window is for how long newcomers come, in all.
func (l *lab) window() (window time.Duration) {
	for _, p := range l.phases {
		if p.kind == attack {
			window += p.arrivals()
		}
	}
	return window
}

// everyone lists who plays over UDP.
func (l *lab) everyone() []*Player {
	all := slices.Concat(l.players, l.fresh)
	if l.suspect != nil {
		all = append(all, l.suspect)
	}
	return all
}

// letIn starts the established players, the suspect and the queries, and waits until the players are in.
func (l *lab) letIn(ctx context.Context, join func(runner)) error {
	for _, p := range l.tcp {
		join(p)
	}
	for _, b := range l.browsers {
		join(b)
	}
	first := slices.Clone(l.players)
	if l.suspect != nil {
		first = append(first, l.suspect)
	}
	for _, p := range first {
		join(p)
	}
	ctx, cancel := context.WithTimeout(ctx, joinPatience)
	defer cancel()
	for n, p := range first {
		select {
		case <-p.Joined():
		case <-ctx.Done():
			return fmt.Errorf("player %d of %d (%s) could not join through the idle edge: %w", n+1, len(first), p.game, ctx.Err())
		}
	}
	return nil
}

// letNewIn starts this phase's share of newcomers, evenly over the time in which they can still be judged.
func letNewIn[R runner](ctx context.Context, l *lab, p phase, all []R, join func(runner)) {
	attacks := l.numbers(attack)
	var mine []R
	for i, n := range all {
		if attacks[i%len(attacks)] == int(l.score.phase.Load()) {
			mine = append(mine, n)
		}
	}
	start, gap := time.Now(), p.arrivals()/time.Duration(max(len(mine), 1))
	for i, n := range mine {
		if wait(ctx, time.Until(start.Add(gap*time.Duration(i+1)))) != nil {
			return // the phase is over: its caller knows why
		}
		join(n)
		l.rec.newcomers.Add(1)
	}
}

// bot is a machine that plays slowly, leaves and comes again from another port.
type bot struct {
	lab  *lab
	n    int
	from netip.Addr
}

// Run plays until the context ends.
func (b bot) Run(ctx context.Context) error {
	if wait(ctx, time.Duration(b.n)*time.Second/slowBots) != nil {
		return nil
	}
	for game := gameID(b.n) % games; ctx.Err() == nil; {
		p, err := newPlayer(b.lab.site.Attackers, botIDs+b.n, Stranger, game, b.from, serviceOf(game, false), b.lab.score)
		if err != nil {
			return err
		}
		p.every, p.stay = botsMove, botsStay
		if err := p.Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// bots makes a wave's machines.
func (l *lab) bots(w wave) ([]runner, error) {
	var all []runner
	for n := range w.bots {
		from, err := l.site.botAddress(n)
		if err != nil {
			return nil, err
		}
		all = append(all, bot{l, n, from})
	}
	return all, nil
}
