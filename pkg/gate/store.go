// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const suffix = ".o"

// Store is the folder that an operator's gates are kept in, as NAME.o. Names are checked by who calls.
type Store struct {
	Dir string
	Max int // bytes of a gate
}

// Names are the gates that are there, in order. No folder is no gates.
func (s Store) Names() ([]string, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for gates: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok && name != "" && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Read returns a gate's object. What others than root and this process's user could have written is not for the kernel.
func (s Store) Read(name string) ([]byte, error) {
	if err := trusted(s.Dir); err != nil {
		return nil, err
	}
	path := filepath.Join(s.Dir, name+suffix)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	if err := safe(path, info); err != nil {
		return nil, err
	}
	object, err := io.ReadAll(io.LimitReader(f, int64(s.Max)+1))
	if err == nil && len(object) > s.Max {
		err = fmt.Errorf("%s is too large: at most %d bytes", path, s.Max)
	}
	return object, err
}

// trusted looks at the folder itself: who may write there may put a file in another's place.
func trusted(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	return safe(dir, info)
}

func safe(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others: `chmod go-w %s` if what is in there is yours", path, path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d: code for the kernel comes from root alone", path, st.Uid)
	}
	return nil
}

// Staged is a gate that is written down but not yet in its place.
type Staged struct{ from, to string }

// Stage writes a gate down, so that Commit can't fail for want of room.
func (s Store) Stage(name string, object []byte) (_ Staged, err error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return Staged{}, fmt.Errorf("make the folder of gates: %w", err)
	}
	if err := trusted(s.Dir); err != nil {
		return Staged{}, err
	}
	f, err := os.OpenFile(filepath.Join(s.Dir, "."+name+".new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return Staged{}, fmt.Errorf("keep gate %s: %w", name, err)
	}
	_, err = f.Write(object)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return Staged{}, errors.Join(fmt.Errorf("keep gate %s: %w", name, err), os.Remove(f.Name()))
	}
	return Staged{from: f.Name(), to: filepath.Join(s.Dir, name+suffix)}, nil
}

// Commit puts it into its place, over what was there.
func (s Staged) Commit() error {
	if err := os.Rename(s.from, s.to); err != nil {
		return fmt.Errorf("keep the gate: %w", err)
	}
	return syncDir(filepath.Dir(s.to))
}

// Abandon forgets it.
func (s Staged) Abandon() error { return os.Remove(s.from) }

// Remove forgets a gate.
func (s Store) Remove(name string) error {
	if err := os.Remove(filepath.Join(s.Dir, name+suffix)); err != nil {
		return err
	}
	return syncDir(s.Dir)
}

// syncDir makes what was renamed or removed in a folder outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
