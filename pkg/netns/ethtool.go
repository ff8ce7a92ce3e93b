// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The single-feature commands of linux/ethtool.h.
const (
	ethtoolSetTxChecksum = 0x17
	ethtoolSetSG         = 0x19
	ethtoolSetTSO        = 0x1f
	ethtoolSetGSO        = 0x24
	ethtoolSetFlags      = 0x26
	ethtoolSetGRO        = 0x2c

	ethtoolFlagsVLAN = 1<<7 | 1<<8 // ETH_FLAG_TXVLAN, ETH_FLAG_RXVLAN
)

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct{ command, data uint32 }

// ifreqData is struct ifreq with its data pointer, padded to the kernel's 40 bytes.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// SetOffloads switches what lets a packet leave unfinished (transmit checksums, scatter-gather, TSO, GSO, VLAN tags
// kept beside the packet) on or off.
func (i *Interface) SetOffloads(on bool) error {
	if on { // the others rest on the checksum
		return i.fail("switch offloads on", i.ethtool(ethtoolValue{ethtoolSetTxChecksum, 1}, ethtoolValue{ethtoolSetSG, 1},
			ethtoolValue{ethtoolSetTSO, 1}, ethtoolValue{ethtoolSetGSO, 1}, ethtoolValue{ethtoolSetFlags, ethtoolFlagsVLAN}))
	}
	return i.fail("switch offloads off", i.ethtool(ethtoolValue{ethtoolSetTSO, 0}, ethtoolValue{ethtoolSetGSO, 0},
		ethtoolValue{ethtoolSetSG, 0}, ethtoolValue{ethtoolSetTxChecksum, 0}, ethtoolValue{ethtoolSetFlags, 0}))
}

// SetGRO switches receive aggregation; on a veth it also gives the NAPI context that XDP's senders need.
func (i *Interface) SetGRO(on bool) error {
	var v uint32
	if on {
		v = 1
	}
	return i.fail("switch gro", i.ethtool(ethtoolValue{ethtoolSetGRO, v}))
}

func (i *Interface) ethtool(values ...ethtoolValue) error {
	if len(i.Name) >= unix.IFNAMSIZ {
		return fmt.Errorf("the name is longer than %d bytes", unix.IFNAMSIZ-1)
	}
	return i.Host.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		var errs []error
		for n := range values {
			req := &ifreqData{data: unsafe.Pointer(&values[n])}
			copy(req.name[:], i.Name)
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(req)))
			runtime.KeepAlive(values)
			if errno != 0 {
				errs = append(errs, fmt.Errorf("ethtool command %#x: %w", values[n].command, errno))
			}
		}
		return errors.Join(append(errs, unix.Close(fd))...)
	})
}
