// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

func isFull(err error) bool { return errors.Is(err, syscall.E2BIG) || errors.Is(err, syscall.ENOSPC) }

const (
	filterWords      = 1 << 18
	allowFilterWords = 1 << 10
	filterMin6       = 32 // an IPv6 prefix shorter than this covers too many /48s to mark each: it marks all
)

// filterBits is one filter's contents, to be merged into the map: a bit for each IPv4 /24 (of the allow filter, /16), or
// hashed IPv6 /48, that some prefix list covers (bpf/stage/deny.h, net_filtered; bpf/stage/denial.h, filter4).
type filterBits struct {
	words map[uint32]uint64
	grain uint32 // IPv4: how long the prefixes are that have a bit each
	all   bool
}

func newFilterBits(grain uint32) *filterBits {
	return &filterBits{words: map[uint32]uint64{}, grain: grain}
}

// filters are those of all lists together.
type filters struct{ v4, v6, allow4 *filterBits }

func newFilters() filters { return filters{newFilterBits(24), newFilterBits(0), newFilterBits(16)} }

func (f filters) add4(which List, k bpfNetKey4) {
	f.v4.add4(k)
	if which == Allow {
		f.allow4.add4(k)
	}
}

// eachFilter hands out every filter with its map and what that was last written to hold.
func (l *Lists) eachFilter(f filters, do func(*filterBits, *ebpf.Map, *written) error) error {
	return errors.Join(
		do(f.v4, l.maps[bpfMapNetFilter4], &l.filter4), do(f.v6, l.maps[bpfMapNetFilter6], &l.filter6),
		do(f.allow4, l.maps[bpfMapAllowFilter4], &l.allowFilter4))
}

func (f *filterBits) mark(bit uint32) { f.words[bit>>6] |= 1 << (bit & 63) }

func (f *filterBits) add4(k bpfNetKey4) {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], k.Addr)
	bits := k.Prefixlen - 32
	first := binary.BigEndian.Uint32(b[:]) >> (32 - f.grain)
	n := uint32(1)
	if bits < f.grain {
		n = 1 << (f.grain - bits)
		first &^= n - 1
	}
	for i := range n {
		f.mark(first + i)
	}
}

func (f *filterBits) add6(k bpfNetKey6) {
	bits := k.Prefixlen - 32
	if bits < filterMin6 {
		f.all = true
		return
	}
	first, n := binary.BigEndian.Uint64(k.Addr[:8])>>16, uint64(1)
	if bits < 48 {
		n = 1 << (48 - bits)
		first &^= n - 1
	}
	for i := range n {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], (first+i)<<16)
		f.mark(uint32(hashMix(binary.NativeEndian.Uint64(b[:])) >> 40))
	}
}

// hashMix is hash_mix of bpf/lib/hash.h.
func hashMix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}

// markFilters adds the bits of prefixes that are about to be listed.
func (l *Lists) markFilters(which List, keys4 []bpfNetKey4, keys6 []bpfNetKey6) error {
	f := newFilters()
	for _, k := range keys4 {
		f.add4(which, k)
	}
	for _, k := range keys6 {
		f.v6.add6(k)
	}
	return l.eachFilter(f, (*filterBits).merge)
}

const (
	fewWords  = 4096        // of a filter, that are written one by one
	knownFor  = time.Minute // another process may write, too
	everyWord = ^uint64(0)
)

// written is what a filter was last written to hold: a whole filter takes tens of milliseconds to write, in which
// nobody can be listed.
type written struct {
	words []uint64 // nil = not known
	since time.Time
}

func (f *filterBits) merge(m *ebpf.Map, have *written) error {
	if f.all {
		return f.replace(m, have)
	}
	for w, bits := range f.words {
		var now uint64
		if err := m.Lookup(w, &now); err != nil {
			return fmt.Errorf("read a prefix filter: %w", err)
		}
		if now|bits != now {
			if err := m.Put(w, now|bits); err != nil {
				return fmt.Errorf("write a prefix filter: %w", err)
			}
		}
		if have.words != nil {
			have.words[w] = now | bits
		}
	}
	return nil
}

func (f *filterBits) word(i uint32) uint64 {
	if f.all {
		return everyWord
	}
	return f.words[i]
}

func (f *filterBits) replace(m *ebpf.Map, have *written) error {
	if have.words == nil || time.Since(have.since) > knownFor {
		return f.replaceAll(m, have)
	}
	var differ []uint32
	for i, now := range have.words {
		if now != f.word(uint32(i)) {
			if differ = append(differ, uint32(i)); len(differ) > fewWords {
				return f.replaceAll(m, have)
			}
		}
	}
	for _, i := range differ {
		if err := m.Put(i, f.word(i)); err != nil {
			return fmt.Errorf("write a prefix filter: %w", err)
		}
		have.words[i] = f.word(i)
	}
	return nil
}

func (f *filterBits) replaceAll(m *ebpf.Map, have *written) error {
	keys, words := make([]uint32, m.MaxEntries()), make([]uint64, m.MaxEntries())
	for i := range keys {
		keys[i], words[i] = uint32(i), f.word(uint32(i))
	}
	have.words = nil
	if _, err := m.BatchUpdate(keys, words, nil); err != nil {
		return fmt.Errorf("write a prefix filter: %w", err)
	}
	have.words, have.since = words, time.Now()
	return nil
}

// Refilter derives the filters anew from the prefix lists, so that bpftool's entries take effect and bits of
// entries that went are cleared; expired prefixes are removed, and those that bpftool wrote learn their own length.
// Returns how many prefixes there are.
func (l *Lists) Refilter() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := newFilters()
	n := 0
	now, err := l.time()
	if err != nil {
		return 0, err
	}
	for _, which := range []List{Deny, Allow} {
		s := l.set(which)
		n4, err4 := tend(s.net4, now, func(k bpfNetKey4) { f.add4(which, k) }, func(k *bpfNetKey4) uint32 { return k.Prefixlen })
		n6, err6 := tend(s.net6, now, f.v6.add6, func(k *bpfNetKey6) uint32 { return k.Prefixlen })
		if err := errors.Join(err4, err6); err != nil {
			return 0, fmt.Errorf("read the prefix lists: %w", err)
		}
		n += n4 + n6
	}
	return n, errors.Join(l.eachFilter(f, (*filterBits).replace), l.loosen())
}

// tend walks one prefix list: what has expired goes, what lives is handed to add.
func tend[K any](m *ebpf.Map, now uint64, add func(K), prefixlen func(*K) uint32) (int, error) {
	var expired []K
	n := 0
	err := batchEach(m, func(k *K, v *bpfListEntry) bool {
		if v.Expires != 0 && v.Expires <= now {
			expired = append(expired, *k)
			return true
		}
		if bits := uint8(prefixlen(k) - 32); v.Bits != bits {
			v.Bits = bits
			if err := m.Update(k, v, ebpf.UpdateExist); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return false
			}
		}
		add(*k)
		n++
		return true
	})
	for i := range expired {
		if derr := m.Delete(&expired[i]); derr != nil && !errors.Is(derr, ebpf.ErrKeyNotExist) {
			err = errors.Join(err, derr)
		}
	}
	return n, err
}

// NetCount tells how many prefixes are listed, from the memory that the kernel says the tries take (6.4 and newer;
// ok is false before): a look that costs nothing, so that bpftool's writing is noticed within a second.
func (l *Lists) NetCount() (n uint64, ok bool) {
	l.asked.Do(func() { l.counted = memoryIsCounted() })
	if !l.counted {
		return 0, false
	}
	for _, name := range []string{bpfMapDenyNet4, bpfMapDenyNet6, bpfMapAllowNet4, bpfMapAllowNet6} {
		b, err := memlock(l.maps[name])
		if err != nil {
			return 0, false
		}
		n = n*1_000_003 + b // a fingerprint of the four, not a sum: one more here and one less there is a change
	}
	return n, true
}

// memoryIsCounted asks the kernel whether what it says of a trie's memory follows its entries. Before 6.4 that is what the
// trie would take if it were full.
func memoryIsCounted() bool {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 4, MaxEntries: 1024, Flags: unix.BPF_F_NO_PREALLOC})
	if err != nil {
		return false
	}
	defer m.Close()
	empty, err := memlock(m)
	if err != nil || m.Put([8]byte{}, uint32(0)) != nil {
		return false
	}
	one, err := memlock(m)
	return err == nil && one != empty
}

func memlock(m *ebpf.Map) (uint64, error) {
	f, err := os.Open("/proc/self/fdinfo/" + strconv.Itoa(m.FD()))
	if err != nil {
		return 0, fmt.Errorf("read a map's fdinfo: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "memlock:"); ok {
			return strconv.ParseUint(strings.TrimSpace(v), 10, 64)
		}
	}
	return 0, errors.New("a map's fdinfo says nothing of memory")
}
