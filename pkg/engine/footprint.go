// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"parry/loader"
	"parry/pkg/config"
	"parry/pkg/nexthop"
)

// Footprint is what of a host an edge changes and the kernel does not undo by itself, as it was before.
type Footprint struct {
	absent, empty []string // folders
	forwarding    loader.Forwarding
	filtered      []int // interfaces
}

// TakeFootprint looks at the host before an edge touches it.
func TakeFootprint(c *config.Config) (*Footprint, error) {
	f := &Footprint{forwarding: loader.ReadForwarding()}
	for _, dir := range []string{c.State, filepath.Dir(c.API.Socket)} {
		entries, err := os.ReadDir(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			f.absent = append(f.absent, dir)
		case err != nil:
			return nil, fmt.Errorf("look at %s: %w", dir, err)
		case len(entries) == 0:
			f.empty = append(f.empty, dir)
		}
	}
	var err error
	f.filtered, err = loader.Filtered()
	return f, err
}

// Restore makes the host as it was, once no edge is attached any more. Folders that had something in them stay as they are.
func (f *Footprint) Restore() error {
	var errs []error
	for _, dir := range f.absent {
		errs = append(errs, os.RemoveAll(dir))
	}
	for _, dir := range f.empty {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if _, err := nexthop.Purge(); err != nil {
		errs = append(errs, fmt.Errorf("remove the neighbours that were kept: %w", err))
	}
	return errors.Join(append(errs, f.forwarding.Restore(), loader.RemoveFilters(f.filtered))...)
}
