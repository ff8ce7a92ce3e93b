// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/cilium/ebpf"
)

const (
	denialNear  = 8
	settleBatch = 128
	denialOver  = 3 * time.Second // by then no cell of now lives
)

// settle has cells tell their entries of the packets that they stand for (bpf/stage/denial.h), and frees them.
func (e *Edge) settle() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.gen == nil {
		return nil
	}
	return settle(e.gen.coll.Programs[bpfProgSettle], e.state[bpfMapDenial].MaxEntries())
}

// settle has the edge's running generation do it, or the pinned one. Where there is none there are no cells.
func (l *Lists) settle() error {
	if l.edge != nil {
		return l.edge.settle()
	}
	all, err := generations(l.pin)
	if err != nil {
		return err
	}
	for _, n := range slices.Backward(all) {
		p, err := ebpf.LoadPinnedProgram(filepath.Join(l.pin, generationPrefix+strconv.Itoa(n), "prog_"+bpfProgSettle), nil)
		if errors.Is(err, os.ErrNotExist) { // its daemon died while it pinned it
			continue
		}
		if err != nil {
			return fmt.Errorf("open the pinned %s: %w", bpfProgSettle, err)
		}
		return errors.Join(settle(p, l.maps[bpfMapDenial].MaxEntries()), p.Close())
	}
	return nil
}

func settle(p *ebpf.Program, lines uint32) error {
	frame := make([]byte, 64)
	binary.NativeEndian.PutUint32(frame[4:], settleBatch)
	for first := uint32(0); first < lines; first += settleBatch {
		binary.NativeEndian.PutUint32(frame, first)
		if _, err := p.Run(&ebpf.RunOptions{Data: frame}); err != nil {
			return fmt.Errorf("run %s: %w", bpfProgSettle, err)
		}
	}
	return nil
}

func addHost4(f *filterBits, k bpfHostKey4) { f.add4(bpfNetKey4{Prefixlen: 32 + 32, Addr: k.Addr}) }

// markAllowed adds the bits of hosts that are about to be allowed.
func (l *Lists) markAllowed(keys []bpfHostKey4) error {
	f := newFilterBits(16)
	for _, k := range keys {
		addHost4(f, k)
	}
	return f.merge(l.maps[bpfMapAllowHosts4], &l.allowHosts)
}

// NoticeAllowed looks whether hosts were allowed or not any more, by bpftool perhaps, and derives their filter anew: a look
// that costs next to nothing unless they were. Where the kernel can't tell (before 6.4), the filter says that there may be some
// everywhere. The fast path relies on the filter for two seconds since the last look.
func (l *Lists) NoticeAllowed() error {
	looked, err := l.time() // as it was before: what comes meanwhile is for the next look
	if err == nil {
		err = l.deriveAllowed()
	}
	if err != nil {
		return err
	}
	if err := l.maps[bpfMapAllowLooked].Put(uint32(0), looked); err != nil {
		return fmt.Errorf("write map %s: %w", bpfMapAllowLooked, err)
	}
	return nil
}

func (l *Lists) deriveAllowed() error {
	l.asked.Do(func() { l.counted = memoryIsCounted() })
	l.allowing.Lock()
	defer l.allowing.Unlock()
	f, now := newFilterBits(16), uint64(1)
	var err error
	if f.all = !l.counted; l.counted {
		if now, err = memlock(l.maps[bpfMapAllowHost4]); err != nil {
			return err
		}
	}
	swept := l.swept
	if l.edge != nil {
		swept = l.edge.unallowed.Load()
	}
	if now == l.allowed && swept == l.swept && time.Since(l.derived) < knownFor { // one more and one less, by bpftool, look the same
		return nil
	}
	if l.counted {
		err = batchEach(l.maps[bpfMapAllowHost4], func(k *bpfHostKey4, _ *bpfListEntry) bool { addHost4(f, *k); return true })
		if err != nil {
			return fmt.Errorf("read the allowed hosts: %w", err)
		}
	}
	if err := f.replace(l.maps[bpfMapAllowHosts4], &l.allowHosts); err != nil {
		return err
	}
	l.allowed, l.swept, l.derived = now, swept, time.Now()
	return l.loosen()
}
