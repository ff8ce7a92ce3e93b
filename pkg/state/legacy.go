// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Until JetStream came, each bucket was a file: lines of JSON, a header, and an object for each item in the order of the keys. The
// header's sum is of all that follows its line, so half a file is told from a whole one. They are taken over once, and kept by another name.
const (
	legacyVersion = 1
	legacySuffix  = ".state"
	legacyTaken   = ".imported"
	maxLegacy     = 256 << 20 // bytes of a bucket
)

type header struct {
	Parry   string `json:"parry"` // always "state"
	Version int    `json:"version"`
	Bucket  string `json:"bucket"`
	Entries int    `json:"entries"`
	SHA256  string `json:"sha256"`
}

type line struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// takeLegacy moves what files of an earlier parry hold into a store. A file that can't be used is set aside, in words; after an error
// (a full disk) the file is there still, and the next start tries again.
func (h *Hub) takeLegacy(ctx context.Context, store Store) error {
	files, err := filepath.Glob(filepath.Join(h.o.Dir, "*"+legacySuffix))
	if err != nil {
		return fmt.Errorf("look for an earlier parry's state: %w", err)
	}
	for _, path := range files {
		bucket := strings.TrimSuffix(filepath.Base(path), legacySuffix)
		items, err := readLegacy(bucket, path)
		if errors.Is(err, errDamaged) {
			aside := h.aside(path)
			if moved := os.Rename(path, aside); moved != nil {
				return fmt.Errorf("state file %s: %w; and it can't be set aside: %w", path, err, moved)
			}
			h.o.Log.Error("a state file can't be used: it is set aside, and what it kept is forgotten until somebody mends it", "file", path, "why", err, "now", aside)
			continue
		}
		if err != nil {
			return err
		}
		changes := make([]Change, len(items))
		for i := range items {
			changes[i] = Change(items[i])
		}
		if err := store.Apply(ctx, bucket, changes); err != nil {
			return fmt.Errorf("take over %s: %w", path, err)
		}
		if err := os.Rename(path, path+legacyTaken); err != nil {
			return fmt.Errorf("put %s away, it was taken over: %w", path, err)
		}
		h.o.Log.Info("an earlier parry's state file is taken over", "file", path, "entries", len(items), "now", path+legacyTaken)
	}
	return nil
}

var errDamaged = errors.New("it can't be understood")

func readLegacy(bucket, path string) ([]Item, error) {
	doc, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	items, err := decodeLegacy(bucket, doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return items, checkBucket(bucket)
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	doc, err := io.ReadAll(io.LimitReader(file, maxLegacy+1))
	if err == nil && len(doc) > maxLegacy {
		err = fmt.Errorf("%s has more than %d bytes", path, maxLegacy)
	}
	return doc, err
}

func decodeLegacy(bucket string, doc []byte) ([]Item, error) {
	first, body, _ := bytes.Cut(doc, []byte{'\n'})
	var h header
	if err := json.Unmarshal(first, &h); err != nil || h.Parry != "state" {
		return nil, errors.New("it doesn't begin with a state file's header")
	}
	if h.Version != legacyVersion {
		return nil, fmt.Errorf("it is of version %d and this parry reads version %d", h.Version, legacyVersion)
	}
	if h.Bucket != bucket {
		return nil, fmt.Errorf("it is the file of %q", h.Bucket)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != h.SHA256 {
		return nil, errors.New("its checksum is wrong: it was damaged, cut short or edited")
	}
	all := make([]Item, 0, min(max(h.Entries, 0), bytes.Count(body, []byte{'\n'})))
	for text := range bytes.Lines(body) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(all)+1, err)
		}
		e := Item(l)
		if err := Change(e).check(); err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(all)+1, err)
		}
		if n := len(all); n > 0 && all[n-1].Key >= e.Key {
			return nil, fmt.Errorf("entry %d is out of order", n+1)
		}
		all = append(all, e)
	}
	if len(all) != h.Entries {
		return nil, fmt.Errorf("it has %d entries and says %d", len(all), h.Entries)
	}
	return all, nil
}
