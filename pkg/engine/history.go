// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"parry/loader"
	"parry/pkg/api"
	"parry/pkg/config"
	"parry/pkg/game"
	"parry/pkg/history"
	"parry/pkg/roster"
	"parry/pkg/sample"
)

const (
	historyEvery = time.Second // that records wait to be written
	historyTend  = 10 * time.Second
	historyRetry = time.Minute // between attempts to open a folder that can't be
	historyQueue = 1 << 16     // ends that wait to be written; more are lost, and counted
)

// historian writes down each session that ended. As an analyser it only takes note; a goroutine of its own finds out the rest and writes.
type historian struct {
	dir     string
	log     *slog.Logger
	started time.Time
	roster  *roster.Roster
	fault   func(what string, err error)
	bounds  func() history.Bounds
	witness func([]ended) []history.Record // finds out the rest

	// By who tells of packets and ends.
	drops  *history.Drops
	budget *history.Budget

	mu      sync.Mutex // guards what follows
	waiting []ended
	spare   []ended
	counts  api.HistoryCounts
	book    *history.Log // nil: it can't be opened

	writing sync.Mutex // held by who writes; guards what follows
	why     error      // why there is no book
	failing bool       // what was written last was not taken, and that is said
	opened  time.Time  // when it was last tried to open one
}

// ended is the end of a session, and what would be forgotten of it.
type ended struct {
	sample.End
	named   string // its game by its first packets; "" = they name none
	player  string
	dropped uint8 // why its packets were dropped since the last one that passed
}

func newHistorian(c *config.Config, names *roster.Roster, log *slog.Logger, started time.Time) *historian {
	return &historian{
		dir: filepath.Join(c.State, "history"), log: log, started: started, roster: names, drops: history.NewDrops(),
		budget: history.NewBudget(int(c.Sizes.Sessions), 0),
	}
}

// Packet notes what is dropped of sessions that there are.
func (h *historian) Packet(p *sample.Packet) {
	if p.Reason == 0 || p.Shadow || p.First || !p.Front.IsValid() {
		return
	}
	h.drops.Note(history.Tuple{Client: p.Client, Front: p.Front, Proto: p.Proto}, p.Reason, p.Time)
}

// Ended notes the end of a session, if it is one to be kept. It never waits for the disk.
func (h *historian) Ended(e *sample.End) {
	dropped := h.drops.After(history.Tuple{Client: e.Client, Front: e.Front, Proto: e.Proto}, e.Last)
	count := func(n *uint64) {
		h.mu.Lock()
		defer h.mu.Unlock()
		*n++
	}
	switch {
	case e.Query:
		count(&h.counts.Queries)
		return
	case e.Proof == string(loader.ProofNone):
		count(&h.counts.Unproven)
		return
	case !h.budget.Takes(time.Duration(e.Last-min(e.Last, e.Began)), e.Up.Packets, e.Down.Packets, time.Since(h.started)):
		count(&h.counts.PassedOver)
		return
	}
	w := ended{End: *e, dropped: dropped}
	k := roster.Key{Client: e.Client, Front: e.Front, Proto: e.Proto}
	if n, ok := h.roster.Named(k); ok {
		w.named = n.Game.String()
	}
	w.player, _ = h.roster.Player(k)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) >= historyQueue {
		h.counts.Lost++
		return
	}
	h.waiting = append(h.waiting, w)
}

// now is the wall clock's time as it was when the daemon started, and what has passed since: no step of the clock moves it.
func (h *historian) now() time.Time { return h.started.Add(time.Since(h.started)) }

// flush writes what waits.
func (h *historian) flush() {
	h.writing.Lock()
	defer h.writing.Unlock()
	h.mu.Lock()
	all := h.waiting
	h.waiting = h.spare[:0]
	h.mu.Unlock()
	if len(all) > 0 && h.bounds().Keep > 0 {
		h.write(h.witness(all))
	}
	h.spare = all
}

func (h *historian) write(all []history.Record) {
	book, err := h.open()
	if err != nil {
		h.mu.Lock()
		h.counts.Lost += uint64(len(all))
		h.mu.Unlock()
	} else {
		err = book.Append(all, h.now())
	}
	h.said(err)
}

// said tells of a fault once, and of its end.
func (h *historian) said(err error) {
	switch {
	case err != nil && !h.failing:
		h.fault("keep the sessions that ended; they are lost, and play is not", err)
	case err == nil && h.failing:
		h.log.Info("sessions that end are kept again")
	}
	h.failing = err != nil
}

// open gives the book, and opens it unless that has just failed. h.writing is held.
func (h *historian) open() (*history.Log, error) {
	if book := h.reading(); book != nil || !h.opened.IsZero() && time.Since(h.opened) < historyRetry {
		return book, h.why
	}
	h.opened = time.Now()
	var book *history.Log
	book, h.why = history.Open(h.dir, h.bounds(), h.now(), h.log)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.book = book
	return book, h.why
}

// reading is the book; nil: there is none.
func (h *historian) reading() *history.Log {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.book
}

// run writes until ctx ends, and then once more.
func (h *historian) run(ctx context.Context) error {
	h.begin()
	tick, tend := time.NewTicker(historyEvery), time.NewTicker(historyTend)
	defer tick.Stop()
	defer tend.Stop()
	for {
		select {
		case <-ctx.Done():
			h.flush()
			h.writing.Lock()
			defer h.writing.Unlock()
			if book := h.reading(); book != nil {
				h.fault("end the history", book.Close())
			}
			return nil
		case <-tick.C:
			h.flush()
		case <-tend.C:
			h.tend()
		}
	}
}

// begin opens the book, so that what is wrong with it is said at the start.
func (h *historian) begin() {
	h.writing.Lock()
	defer h.writing.Unlock()
	if h.bounds().Keep > 0 {
		_, err := h.open()
		h.said(err)
	}
}

func (h *historian) tend() {
	h.writing.Lock()
	defer h.writing.Unlock()
	if book := h.reading(); book != nil {
		if err := book.Tend(h.bounds(), h.now()); err != nil {
			h.said(err)
		}
	}
}

// reader is what was written, for who asks.
func (h *historian) reader() (*history.Log, error) {
	h.writing.Lock()
	defer h.writing.Unlock()
	if h.bounds().Keep == 0 {
		return nil, errors.New("`history.keep` is 0s")
	}
	return h.open()
}

// keeps tells whether there is a history to ask.
func (h *historian) keeps() bool {
	_, err := h.reader()
	return err == nil
}

// state says what there is, and what became of ends.
func (h *historian) state() api.HistoryCounts {
	h.mu.Lock()
	c, book := h.counts, h.book
	h.mu.Unlock()
	if book != nil {
		s := book.Stats()
		c.Records, c.Bytes, c.Segments, c.Damaged = s.Written, uint64(s.Bytes), s.Segments, s.Damaged
		c.Lost += s.Unsaved
	}
	return c
}

// historyBounds are what the configuration has now.
func (e *Engine) historyBounds() history.Bounds {
	e.mu.Lock()
	defer e.mu.Unlock()
	return history.Bounds{Keep: e.cfg.History.Keep, MaxBytes: int64(e.cfg.History.MaxBytes)}
}

// History yields records of sessions that ended, those that ended last first.
func (a edgeAPI) History(ctx context.Context, f history.Filter) iter.Seq2[history.Record, error] {
	return func(yield func(history.Record, error) bool) {
		a.e.historian.flush()
		book, err := a.e.historian.reader()
		if err != nil {
			yield(history.Record{}, api.Mark(api.ErrNotFound, fmt.Errorf("nothing is kept of sessions that ended: %w", err)))
			return
		}
		book.Find(ctx, f)(yield)
	}
}

// witnessed makes records of ends, by what is known of each as it is written.
func (e *Engine) witnessed(all []ended) []history.Record {
	names := e.naming()
	offset := time.Now().UnixNano() - int64(loader.Monotonic())
	reasons := e.edge.Names().Reasons
	var records []history.Record
	for i := range all {
		w := &all[i]
		r := names.record(w, offset)
		known := history.Witness{ClientLast: w.ClientLast, Gone: names.gone(&r)}
		if int(w.dropped) < len(reasons) && w.dropped > 0 {
			known.Dropped = reasons[w.dropped]
		}
		if w.By == string(loader.EndIdle) && known.Dropped == "" {
			known.Denied = e.deniedAt(w.Client.Addr(), w.Service, r.End)
		}
		r.EndedBy = history.Ending(w.By, known)
		records = append(records, r)
	}
	return records
}

// wayKept is what a record keeps of one direction; fine: what was watched of it, nil = nothing.
func wayKept(w sample.Way, fine *sample.Fine) *history.Way {
	out := &history.Way{Packets: w.Packets, Bytes: w.Bytes}
	if fine != nil {
		gap := float64(fine.RecentGap) / float64(time.Millisecond)
		out.LongestGapMS = &gap
	}
	if share, ok := fine.RecentLoss(); ok {
		out.Loss = &share
	}
	return out
}

// dropsKept adds up both directions' drops; null where neither was watched.
func dropsKept(all ...*sample.Fine) (drops map[string]uint64) {
	for _, fine := range all {
		if fine == nil {
			continue
		}
		if drops == nil {
			drops = map[string]uint64{}
		}
		for reason, n := range fine.Drops {
			drops[reason] += uint64(n)
		}
	}
	return drops
}

// record is all of a session's end but who ended it.
func (n *naming) record(w *ended, offset int64) history.Record {
	at := func(ns uint64) time.Time { return time.Unix(0, int64(ns)+offset).UTC().Truncate(time.Millisecond) }
	r := history.Record{
		ID: w.ID, Protocol: protocolName(w.Proto), Client: w.Client, Edge: w.Front, Server: w.Server, Proof: w.Proof,
		Start: at(w.Began), End: at(w.Last), DurationMS: time.Duration(w.Last - min(w.Last, w.Began)).Milliseconds(),
		Up: wayKept(w.Up, w.UpFine), Down: wayKept(w.Down, w.DownFine), Drops: dropsKept(w.UpFine, w.DownFine),
	}
	if w.player != "" {
		r.Player = &w.player
	}
	r.Service, r.Game, r.ServerName = n.place(w.Service, w.Server.Addr(), w.named)
	return r
}

// place is a session's service, game and server as they are called; named is its game by its first packets.
func (n *naming) place(number uint16, server netip.Addr, named string) (service, title, serverName string) {
	if int(number) < len(n.services) {
		service = n.services[number]
	}
	c := n.configs[service]
	if c == nil {
		return service, named, ""
	}
	if p, ok := game.Lookup(c.Game); ok && p.Open() && named != "" {
		return service, named, n.servers[serverKey{c.Pool, server}]
	}
	return service, c.Game, n.servers[serverKey{c.Pool, server}]
}

// gone tells whether a session's server, or its service, is in the configuration no more.
func (n *naming) gone(r *history.Record) bool {
	c := n.configs[r.Service]
	return c == nil || c.Pool != "" && r.ServerName == ""
}

// A player in a match sends several packets a second; what bpftool denies is heard within two.
const (
	deniedBefore = time.Second
	deniedAfter  = 3 * time.Second
)

// deniedAt tells whether an entry that keeps an address out was made as its last packet passed.
func (e *Engine) deniedAt(a netip.Addr, service uint16, last time.Time) bool {
	all, err := e.lists.l.Find(loader.Deny, a, []uint16{service})
	if err != nil {
		return false
	}
	for _, b := range all {
		if since := last.Sub(b.Added); since > -deniedBefore && since < deniedAfter {
			welcome, err := e.lists.l.Find(loader.Allow, a, []uint16{service})
			return err == nil && len(welcome) == 0
		}
	}
	return false
}
