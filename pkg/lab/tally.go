// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"slices"
	"time"

	"parry/pkg/netns"
)

// report adds up what the run counted. All players have left by now.
func (l *lab) report(ctx context.Context) (*Report, error) {
	up, err := l.site.toServer.Cells()
	if err != nil {
		return nil, err
	}
	down, err := l.site.toPlayer.Cells()
	if err != nil {
		return nil, err
	}
	r := &Report{Scenario: l.Scenario, Edge: l.edge.Name(), DurationMS: l.rec.total.Milliseconds(), Attack: l.rec.attack,
		Block: l.blocked, Restart: l.crashed, Memory: l.rec.memory, Queries: l.queryReports(), Seen: l.rec.seen, Detected: l.rec.caught, rooms: l.scenario.rooms}
	if len(l.rec.sure) > 0 {
		r.Evicted = &l.rec.evicted
	}
	if r.LinkDropped, err = l.linkDrops(); err != nil {
		return nil, err
	}
	for _, h := range []*netns.Host{l.site.Players, l.site.Servers} {
		u, err := readUDPErrors(h)
		if err != nil {
			return nil, err
		}
		r.Damaged += u.damaged
		r.SocketDropped += u.overflow
	}
	r.Attack.CPU, r.Attack.CPUMS = l.rec.floods.CPU, ms(l.rec.floods.CPUTime)
	spare := r.LinkDropped
	for _, g := range []Group{Established, New} {
		r.Players = append(r.Players, l.groupReport(g, up, down, &spare))
	}
	r.Players = append(r.Players, l.tcpReport(), l.joinReport())
	if r.Restart != nil {
		in := l.numbers(crash)
		var lost uint64
		for game := range games {
			lost += l.score.lost(up, down, Established, game, in) + l.score.lost(up, down, New, game, in)
		}
		r.Restart.Lost = subtract(lost, r.LinkDropped)
	}
	r.judge()
	return r, ctx.Err()
}

func (l *lab) allPhases() []int { return l.numbers(warm, calm, attack, after, block, crash) }

// linkDrops counts what full links dropped on the way into the edge.
func (l *lab) linkDrops() (uint64, error) {
	var n uint64
	for _, i := range []int{playersLeg, serversLeg} {
		s, err := l.site.legs[i].far.Stats()
		if err != nil {
			return 0, err
		}
		n += s.TxDropped
	}
	return n, nil
}

// groupReport adds up a group's games. up and down are what the meters counted; spare is what full links dropped before
// the edge and no group has been excused for yet.
func (l *lab) groupReport(g Group, up, down []uint64, spare *uint64) GroupReport {
	row := GroupReport{Group: "established", Protocol: "udp"}
	control, players := l.numbers(calm), l.players
	if g == New { // who come when the calm is over; a starved machine may have had no time for the last ones
		came := slices.DeleteFunc(slices.Clone(l.fresh), func(p *Player) bool { return !p.Came() })
		row.Group, control, players = "new", l.numbers(after), came
	}
	all := l.score.Tally(g, l.allPhases()...)
	still, attacked := l.score.Tally(g, control...), l.score.Tally(g, l.numbers(attack)...)
	row.Sent, row.Received = all.Sent, all.Received
	row.Unanswered, row.UnansweredCalm = all.unanswered(), still.unanswered()
	row.LossPPM, row.LossCalmPPM = attacked.lossPPM(), still.lossPPM()
	row.Players = len(players)
	var joins []time.Duration
	for game := range games {
		part, times := l.gameReport(g, game, players)
		lost := l.score.lost(up, down, g, game, l.allPhases())
		part.Lost = subtract(lost, *spare)
		*spare = subtract(*spare, lost)
		row.Lost += part.Lost
		joins = append(joins, times...)
		row.ByGame = append(row.ByGame, part)
	}
	row.Joined, row.JoinMS, row.JoinMaxMS = joined(joins)
	row.RTT = spreadOf(pick(l.rec.rtts[g], l.numbers(attack))).ms()
	row.RTTCalm = spreadOf(pick(l.rec.rtts[g], control)).ms()
	return row
}

func (t Tally) unanswered() uint64 { return subtract(t.Sent, t.Received) }

func (t Tally) lossPPM() uint64 {
	if t.Sent == 0 {
		return 0
	}
	return t.unanswered() * 1_000_000 / t.Sent
}

// gameReport is a group's share in one game, and how long each took to join (0: it is not in).
func (l *lab) gameReport(g Group, game gameID, players []*Player) (GameReport, []time.Duration) {
	all := l.score.tally(g, game, l.allPhases()...)
	part := GameReport{Game: game.String(), Sent: all.Sent, Received: all.Received, LimitMS: game.joinLimit().Milliseconds()}
	var joins []time.Duration
	for _, p := range players {
		if p.game != game {
			continue
		}
		part.Players++
		took := p.JoinTime()
		joins = append(joins, took)
		if took > 0 && took <= game.joinLimit() {
			part.InTime++
		}
	}
	part.Joined, part.JoinMS, part.JoinMaxMS = joined(joins)
	return part, joins
}

// queryReports adds up what browsers found. None of them runs any more.
func (l *lab) queryReports() []QueryReport {
	var all []QueryReport
	for _, b := range l.browsers {
		r := QueryReport{Kind: b.kind.name}
		r.Asked, r.Answered, r.TookMS = b.tally(l.numbers(attack))
		r.AskedCalm, r.AnsweredCalm, r.TookCalmMS = b.tally(l.numbers(calm))
		all = append(all, r)
	}
	return all
}

func (b *browser) tally(phases []int) (asked, answered int, took rttMS) {
	var times []time.Duration
	for _, p := range phases {
		if r := b.results[p]; r != nil {
			asked += r.asked
			answered += r.answered
			times = append(times, r.took...)
		}
	}
	return asked, answered, spreadOf(times).ms()
}

func (l *lab) tcpReport() GroupReport {
	row := GroupReport{Group: "established", Protocol: "tcp", Players: len(l.tcp)}
	var joins []time.Duration
	for _, p := range l.tcp {
		joins = append(joins, p.JoinTime())
		row.Sent += p.sent.Load()
		row.Received += p.received.Load()
		row.Retransmitted += p.again.Load()
		if p.Broken() {
			row.Broken++
		}
	}
	// What the edge loses of a connection, the kernel sends again: only what never came is lost.
	row.Unanswered = subtract(row.Sent, row.Received)
	row.Lost = row.Unanswered
	row.Joined, row.JoinMS, row.JoinMaxMS = joined(joins)
	row.RTT = spreadOf(pick(l.rec.tcp, l.numbers(attack))).ms()
	row.RTTCalm = spreadOf(pick(l.rec.tcp, l.numbers(calm))).ms()
	return row
}

// joined is how many got in (a time over 0), how long half of them took at most, and the slowest.
func joined(times []time.Duration) (n int, median, slowest ms) {
	in := slices.DeleteFunc(slices.Clone(times), func(d time.Duration) bool { return d <= 0 })
	slices.Sort(in)
	return len(in), ms(quantile(in, 0.5)), ms(quantile(in, 1))
}

// pick joins the values of some phases.
func pick(byPhase map[int][]time.Duration, phases []int) []time.Duration {
	var all []time.Duration
	for _, p := range phases {
		all = append(all, byPhase[p]...)
	}
	return all
}
