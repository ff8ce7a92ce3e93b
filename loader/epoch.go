// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

const bumpInterval = 40 * time.Millisecond // 25 a second, whoever asks

// Bump has every flow check its policy and its way again at its next packet, and every denial be judged anew.
func (l *Lists) Bump() error { return l.bump(looser) }

// Recheck does so with flows alone: for ways that changed, which are nothing to who is denied.
func (l *Lists) Recheck() error { return l.bump(stricter) }

// What a change of policy does: a stricter one leaves denials as they are.
const (
	stricter = false
	looser   = true
)

// bump is a move of the policy epoch that several changes wait for.
type bump struct {
	done   chan struct{}
	looser bool
	err    error // valid once done is closed
}

// bump moves the policy epoch. Changes that come within bumpInterval of the last move share the next, so that a storm
// of changes costs each flow at most 25 checks a second.
func (l *Lists) bump(looser bool) error {
	l.bumping.Lock()
	if b := l.next; b != nil {
		b.looser = b.looser || looser
		l.bumping.Unlock()
		<-b.done
		return b.err
	}
	wait := bumpInterval - time.Since(l.bumped)
	if wait <= 0 || l.edge != nil && l.edge.opts.Injected { // whose time stands still meanwhile
		defer l.bumping.Unlock()
		l.bumped = time.Now()
		return l.moveEpoch(looser)
	}
	b := &bump{done: make(chan struct{}), looser: looser}
	l.next = b
	l.bumping.Unlock()
	time.Sleep(wait)
	l.bumping.Lock()
	defer l.bumping.Unlock()
	l.next, l.bumped = nil, time.Now()
	b.err = l.moveEpoch(b.looser)
	close(b.done)
	return b.err
}

func (l *Lists) moveEpoch(looser bool) error {
	if looser {
		if err := l.moveWord(bpfMapLoosened); err != nil {
			return err
		}
	}
	return l.moveWord(bpfMapEpoch)
}

// loosen has denials be judged anew, and flows left alone.
func (l *Lists) loosen() error {
	l.bumping.Lock()
	defer l.bumping.Unlock()
	return l.moveWord(bpfMapLoosened)
}

// moveWord: two processes at once may write the same number, but each made its change before it read, so a flow that
// sees the number sees both changes. Within one process l.bumping is held: a writer that stood still between reading and
// writing would turn the number back, and what was believed before others' changes would be believed again.
func (l *Lists) moveWord(name string) error {
	m := l.maps[name]
	var n uint32
	if err := m.Lookup(uint32(0), &n); err != nil {
		return fmt.Errorf("read map %s: %w", name, err)
	}
	if err := m.Put(uint32(0), n+1); err != nil {
		return fmt.Errorf("write map %s: %w", name, err)
	}
	return nil
}

// layWords has the programs read the values of the maps `epoch` and `loosened` where they name a section of that name: C has no
// name for the value of a map. All four are arrays of one value.
func layWords(spec *ebpf.CollectionSpec) error {
	for _, name := range []string{bpfMapEpoch, bpfMapLoosened} {
		if err := layOver(spec, ".data."+name, name); err != nil {
			return err
		}
	}
	delete(spec.Variables, bpfVarEpochNow)
	delete(spec.Variables, bpfVarLoosenedNow)
	return nil
}

func layOver(spec *ebpf.CollectionSpec, name, over string) error {
	section, m := spec.Maps[name], spec.Maps[over]
	if section == nil || m == nil || section.ValueSize != m.ValueSize || section.Type != m.Type || m.MaxEntries != 1 {
		return fmt.Errorf("the object's %s is not the map's", over)
	}
	for _, p := range spec.Programs {
		for i, ins := range p.Instructions {
			if ins.Reference() == name {
				p.Instructions[i] = ins.WithReference(over)
			}
		}
	}
	delete(spec.Maps, name)
	return nil
}
