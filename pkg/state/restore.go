// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// triesFile counts openings that were begun and not ended: a store that takes the daemon down with it is set aside the third time.
const (
	triesFile = "nats.opening"
	maxTries  = 3
)

// openStore opens the folder's store and takes what is in it into memory. A damaged one is set aside whole, and a new one begun.
func (h *Hub) openStore(ctx context.Context) (*disk, error) {
	if _, err := os.Stat(h.folder()); errors.Is(err, fs.ErrNotExist) { // a full disk takes half a store, and not its end
		if err := room(h.o.Dir); err != nil {
			return nil, err
		}
	}
	tries := filepath.Join(h.o.Dir, triesFile)
	n := 0
	if text, err := os.ReadFile(tries); err == nil {
		n, _ = strconv.Atoi(strings.TrimSpace(string(text))) // what is no number is none
	}
	if n >= maxTries {
		if err := h.setAside(fmt.Errorf("parry ended %d times while it opened it", n)); err != nil {
			return nil, err
		}
		n = 0
	}
	marked := os.WriteFile(tries, []byte(strconv.Itoa(n+1)), 0o600)
	d, err := h.startAndRead(ctx)
	if err != nil && !h.isRoom(err) {
		if err = h.setAside(err); err == nil {
			d, err = h.startAndRead(ctx)
		}
	}
	if marked == nil {
		if gone := os.Remove(tries); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			h.tell("take back the mark of the opening", gone)
		}
	}
	return d, err
}

func (h *Hub) startAndRead(ctx context.Context) (*disk, error) {
	if err := os.MkdirAll(h.folder(), 0o700); err != nil {
		return nil, fmt.Errorf("make the store's folder: %w", err)
	}
	d, err := startDisk(ctx, h.folder(), h.o.Log)
	if err != nil {
		return nil, err
	}
	n, err := h.read(ctx, d)
	said := d.heard.worst()
	if err != nil {
		d.close()
		return nil, errors.Join(err, said)
	}
	if said != nil { // as a rule because it was not closed, and nothing is lost
		h.o.Log.Warn("state: the store was not closed in order, or is damaged: what can be read of it is kept", "entries", n, "why", said)
	}
	d.heard.opened()
	return d, nil
}

// isRoom tells trouble with the file system from a damaged store.
func (h *Hub) isRoom(err error) bool {
	for _, no := range []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EACCES, unix.EPERM, unix.EMFILE, unix.ENFILE, errFull} {
		if errors.Is(err, no) || strings.Contains(err.Error(), no.Error()) {
			return true
		}
	}
	return room(h.o.Dir) != nil
}

// setAside moves the store away, in words.
func (h *Hub) setAside(why error) error {
	aside := h.aside(h.folder())
	if err := os.Rename(h.folder(), aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the store %s can't be used: %w; and it can't be set aside: %w", h.folder(), why, err)
	}
	h.mu.Lock()
	h.stats.SetAside = fmt.Sprintf("%s: %v", aside, why)
	h.mu.Unlock()
	h.o.Log.Error("the store can't be used: it is set aside and a new one begun; what it kept is forgotten until another edge tells it or somebody mends it",
		"store", h.folder(), "why", why, "now", aside)
	return nil
}

// read takes a store's entries into memory and says how many there are, and notes what memory has that the store has not: it may be a new
// one. Of a damaged store what can be read is taken, too: the one that takes its place gets it.
func (h *Hub) read(ctx context.Context, d *disk) (int, error) {
	known, err := h.readEntries(ctx, d)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range known {
		if _, _, many := h.keep(e); many != nil {
			return len(known), many
		}
	}
	if err != nil {
		clear(known) // they are to be written, to another store
	}
	for r, both := range h.all {
		for _, e := range []*Entry{both.person, both.detector} {
			if e == nil {
				continue
			}
			if on := known[e.register()]; on == nil || order(e, on) != 0 {
				h.unwritten[e.register()] = struct{}{}
			} else {
				delete(h.unwritten, e.register())
			}
		}
		h.unsettled[r] = struct{}{}
	}
	poke(h.wake)
	poke(h.apply)
	return len(known), err
}

// readEntries reads the entries of a store. They are decoded beside the reading, which takes as long.
func (h *Hub) readEntries(ctx context.Context, d *disk) (map[register]*Entry, error) {
	known := map[register]*Entry{}
	var bad error
	raw := make(chan []message, 4)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for some := range raw {
			for _, m := range some {
				e, err := decodeEntry(m.data)
				if err == nil && e.register().subject(sharedPrefix) != m.subject {
					err = errors.New("it is about something else than its subject")
				}
				if err != nil {
					bad = fmt.Errorf("%.100s: %w", m.subject, err)
					continue
				}
				known[e.register()] = e
			}
		}
	}()
	var some []message
	err := load(ctx, d.shared, sharedPrefix+">", func(subject string, data []byte) {
		if some = append(some, message{subject: subject, data: data}); len(some) == atOnce {
			raw <- some
			some = make([]message, 0, atOnce)
		}
	})
	raw <- some
	close(raw)
	<-done
	if bad != nil {
		h.tell("read an entry of the store, which is left out", bad)
	}
	return known, err
}
