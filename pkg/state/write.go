// SPDX-License-Identifier: Apache-2.0

package state

import "context"

// write writes what is new as it comes. A store that fails is tried again by look.
func (h *Hub) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		}
		for ctx.Err() == nil {
			more, err := h.writeSome(ctx)
			if err != nil {
				h.tell("keep what was decided: it is enforced, and kept as soon as that is possible", err)
			}
			if !more || err != nil {
				break
			}
		}
	}
}

// writeSome writes what is next, and tells whether there is more.
func (h *Hub) writeSome(ctx context.Context) (more bool, err error) {
	h.writing.Lock() // what is written later is to be the later
	defer h.writing.Unlock()
	d, err := h.open()
	if err != nil {
		return false, nil // said when it failed
	}
	h.mu.Lock()
	entries, more := h.next(h.unwritten)
	h.mu.Unlock()
	if len(entries) == 0 {
		return false, nil
	}
	n, err := d.write(ctx, messages(entries, sharedPrefix))
	h.mu.Lock()
	h.stats.Written += uint64(n)
	h.back(h.unwritten, entries[n:])
	h.mu.Unlock()
	h.wrote(err)
	return more, err
}

// next takes entries off a set of registers: as they are now. h.mu is held.
func (h *Hub) next(set map[register]struct{}) (entries []*Entry, more bool) {
	for r := range set {
		if len(entries) == 4*atOnce {
			return entries, true
		}
		delete(set, r)
		if both := h.all[r.ref]; both != nil {
			if e := *both.of(r.author); e != nil {
				entries = append(entries, e)
			}
		}
	}
	return entries, false
}

// back puts them back. h.mu is held.
func (h *Hub) back(set map[register]struct{}, entries []*Entry) {
	for _, e := range entries {
		set[e.register()] = struct{}{}
	}
}

// messages are entries as they are kept. Those in memory were checked: their JSON is good.
func messages(entries []*Entry, prefix string) []message {
	all := make([]message, len(entries))
	for i, e := range entries {
		doc, _ := e.encode()
		all[i] = message{subject: e.register().subject(prefix), data: doc}
	}
	return all
}

// Flush waits until what was put so far is kept, and says why it is not.
func (h *Hub) Flush(ctx context.Context) error {
	for {
		if _, err := h.open(); err != nil {
			return err
		}
		more, err := h.writeSome(ctx)
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

// wrote notes how writing went.
func (h *Hub) wrote(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Failing = ""
	if err != nil {
		h.stats.WriteFailures++
		h.stats.Failing = err.Error()
	}
}
