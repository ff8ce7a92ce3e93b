// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"encoding/binary"
	"fmt"
	"time"

	"parry/loader"
	"parry/test/model"
)

// list puts an entry on a list: with the daemon's words, or, quietly, as bpftool writes one. Its expiry is then made exact.
func (w *world) list(s step) error {
	e := model.Entry{Unlimited: s.free}
	l := loader.Entry{EntryKey: loader.EntryKey{Prefix: s.entry.Prefix, Service: uint32(s.entry.Service)}, Unlimited: s.free}
	if s.ttl > 0 {
		e.Expires = w.model.Now + uint64(s.ttl)
		l.Expires = time.Now().Add(s.ttl)
	}
	unheard := s.op == "quietly" && (s.list == model.Allow || w.model.Has(s.list, s.entry))
	w.model.Put(s.list, s.entry, e)
	if s.op == "list" {
		w.model.Bump()
		if err := w.lists.Add(which(s.list), []loader.Entry{l}); err != nil {
			return err
		}
		if s.ttl == 0 {
			return nil
		}
	}
	name, key := rawKey(s)
	value := make([]byte, 72)
	if s.op == "list" {
		var err error
		if value, err = w.real.Peek(name, key); err != nil {
			return fmt.Errorf("read back an entry: %w", err)
		}
		if d := int64(e.Expires - binary.NativeEndian.Uint64(value)); d < 0 || d > int64(10*time.Second) {
			return differ("an entry for %v expires %v too early", s.ttl, time.Duration(d))
		}
	} else if s.free {
		value[30] = 1
	}
	binary.NativeEndian.PutUint64(value, e.Expires)
	if err := w.real.Poke(name, key, value); err != nil || !unheard {
		return err
	}
	w.model.Now += uint64(believed)
	return w.setEnv()
}

// believed is how long a denial may be believed where nothing says that policy was loosened: bpftool's word is heard by then.
// One that denies is heard at once, unless it shortens another.
const believed = 2 * time.Second

// rawKey is where bpftool finds an entry.
func rawKey(s step) (name string, key []byte) {
	p := s.entry.Prefix
	name, family := listName(s.list)+"_host", "6"
	if p.Addr().Is4() {
		family = "4"
	}
	if !p.IsSingleIP() {
		name = listName(s.list) + "_net"
		key = binary.NativeEndian.AppendUint32(key, 32+uint32(p.Bits()))
	}
	key = binary.NativeEndian.AppendUint32(key, uint32(s.entry.Service))
	return name + family, append(key, p.Addr().AsSlice()...)
}
