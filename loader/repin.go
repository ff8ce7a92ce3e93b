// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Repin pins all that is pinned under the edge's folder again, on the file system that comes to light when reveal takes
// away the one that hides it. Between the two everything is held open, so that no link lets go of its interface. When
// it fails, what was pinned is gone or in part there: the caller ends the edge.
func (e *Edge) Repin(reveal func() error) error {
	pins, err := openPins(e.opts.Pin)
	defer closePins(pins)
	if err != nil {
		return err
	}
	if err := reveal(); err != nil {
		return err
	}
	for _, p := range pins {
		if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
			return fmt.Errorf("make the pin folder: %w", err)
		}
		if err := bpfPath(unix.BPF_OBJ_PIN, p.path, &p.fd); err != nil {
			return fmt.Errorf("pin %s: %w", p.path, err)
		}
	}
	lock, err := lockPin(e.opts.Pin)
	if err != nil {
		return err
	}
	e.lock, lock = lock, e.lock
	return lock.Close()
}

// pin is a pinned object, held open.
type pin struct {
	path string
	fd   int
}

// openPins opens every object below a folder, whatever its kind.
func openPins(dir string) ([]pin, error) {
	var pins []pin
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		p := pin{path: path}
		if err := bpfPath(unix.BPF_OBJ_GET, path, &p.fd); err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		pins = append(pins, p)
		return nil
	})
	return pins, err
}

func closePins(pins []pin) {
	for _, p := range pins {
		_ = unix.Close(p.fd) // a descriptor of a BPF object has nothing to write
	}
}

// bpfPath opens the object that is pinned at path into fd, or pins that of fd there: what the library does for one kind
// at a time.
func bpfPath(cmd uintptr, path string, fd *int) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	attr := struct {
		path  uint64
		fd    uint32
		flags uint32
	}{path: uint64(uintptr(unsafe.Pointer(name)))}
	if cmd == unix.BPF_OBJ_PIN {
		attr.fd = uint32(*fd)
	}
	got, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(name)
	if errno != 0 {
		return errno
	}
	if cmd == unix.BPF_OBJ_GET {
		*fd = int(got)
	}
	return nil
}
