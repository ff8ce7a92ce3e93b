// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
)

// Doubt is a source (an IPv4 address or a /64) or a network (a /24 or /48) whose address is doubted: what comes from it has to prove
// that strongly before it gets in.
type Doubt struct {
	Prefix  netip.Prefix
	Service uint32        // its number; 0 = all
	For     time.Duration // from now
}

// AddDoubt has the fast path doubt a source or network; one of the same prefix and service ends when this one does. ErrFull: there is
// no room.
func (e *Edge) AddDoubt(d Doubt) error {
	k, err := doubtKey(d.Prefix, d.Service)
	if err != nil {
		return err
	}
	now, err := e.time()
	if err != nil {
		return err
	}
	until := now + uint64(d.For)
	err = e.state[bpfMapDoubt].Put(k, until)
	if errors.Is(err, syscall.E2BIG) {
		return fmt.Errorf("%w: sources that are doubted", ErrFull)
	}
	if err != nil {
		return fmt.Errorf("write map doubt: %w", err)
	}
	first, last := d.Service, d.Service
	if d.Service == 0 {
		first, last = 1, uint32(len(e.ServiceNames()))-1
	}
	for n := first; n <= last; n++ {
		if err := e.setMode(uint16(n), func(w *bpfServiceMode) { w.DoubtUntil = max(w.DoubtUntil, until) }); err != nil {
			return err
		}
	}
	return nil
}

// DelDoubt takes a doubt back; one that is not held is none.
func (e *Edge) DelDoubt(p netip.Prefix, service uint32) error {
	k, err := doubtKey(p, service)
	if err != nil {
		return err
	}
	if err := e.state[bpfMapDoubt].Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete from map doubt: %w", err)
	}
	return nil
}

// SweepDoubts removes what has expired, which is none since: it makes room. Returns how many are left.
func (e *Edge) SweepDoubts() (int, error) {
	now, err := e.time()
	if err != nil {
		return 0, err
	}
	n := 0
	var over []bpfSourceKey
	err = e.eachSource(bpfMapDoubt, func(k *bpfSourceKey, until uint64) {
		if int64(until-now) > 0 {
			n++
		} else {
			over = append(over, *k)
		}
	})
	for i := range over {
		if err != nil {
			break
		}
		if err = e.state[bpfMapDoubt].Delete(over[i]); errors.Is(err, ebpf.ErrKeyNotExist) {
			err = nil
		}
	}
	if err != nil {
		err = fmt.Errorf("sweep map doubt: %w", err)
	}
	return n, err
}

func doubtKey(p netip.Prefix, service uint32) (bpfSourceKey, error) {
	switch {
	case p.Addr().Is4() && (p.Bits() == 32 || p.Bits() == 24), p.Addr().Is6() && (p.Bits() == 64 || p.Bits() == 48):
		k := regularKey(Regular{Addr: p.Masked().Addr(), Service: service})
		k.Family |= uint32(p.Bits()) << 8
		return k, nil
	}
	return bpfSourceKey{}, fmt.Errorf("%v can't be doubted: it is neither a source (/32, /64) nor a network (/24, /48)", p)
}
