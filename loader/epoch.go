// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

const bumpInterval = 40 * time.Millisecond // 25 a second, whoever asks

// Bump has every flow check its policy and its way again at its next packet.
func (l *Lists) Bump() error { return l.bump() }

// bump is a move of the policy epoch that several changes wait for.
type bump struct {
	done chan struct{}
	err  error // valid once done is closed
}

// bump moves the policy epoch. Changes that come within bumpInterval of the last move share the next, so that a storm
// of changes costs each flow at most 25 checks a second.
func (l *Lists) bump() error {
	l.bumping.Lock()
	if b := l.next; b != nil {
		l.bumping.Unlock()
		<-b.done
		return b.err
	}
	wait := bumpInterval - time.Since(l.bumped)
	if wait <= 0 || l.edge != nil && l.edge.opts.Injected { // whose time stands still meanwhile
		defer l.bumping.Unlock()
		l.bumped = time.Now()
		return bumpEpoch(l.maps[bpfMapEpoch])
	}
	b := &bump{done: make(chan struct{})}
	l.next = b
	l.bumping.Unlock()
	time.Sleep(wait)
	l.bumping.Lock()
	defer l.bumping.Unlock()
	l.next, l.bumped = nil, time.Now()
	b.err = bumpEpoch(l.maps[bpfMapEpoch])
	close(b.done)
	return b.err
}

// bumpEpoch: two writers at once may write the same number, but each made its change before it read, so a flow that
// sees the number sees both changes.
func bumpEpoch(m *ebpf.Map) error {
	var n uint32
	if err := m.Lookup(uint32(0), &n); err != nil {
		return fmt.Errorf("read map epoch: %w", err)
	}
	if err := m.Put(uint32(0), n+1); err != nil {
		return fmt.Errorf("write map epoch: %w", err)
	}
	return nil
}

// epochSection is where the programs have the epoch that they read. C has no name for the value of a map.
const epochSection = ".data.epoch"

// layEpoch has the programs read the value of the map where they name the section. Both are arrays of one value.
func layEpoch(spec *ebpf.CollectionSpec) error {
	section, m := spec.Maps[epochSection], spec.Maps[bpfMapEpoch]
	if section == nil || m == nil || section.ValueSize != m.ValueSize || section.Type != m.Type || m.MaxEntries != 1 {
		return errors.New("the object's epoch is not the map's")
	}
	for _, p := range spec.Programs {
		for i, ins := range p.Instructions {
			if ins.Reference() == epochSection {
				p.Instructions[i] = ins.WithReference(bpfMapEpoch)
			}
		}
	}
	delete(spec.Maps, epochSection)
	delete(spec.Variables, bpfVarEpochNow)
	return nil
}
