// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// A file is lines of JSON: a header, and an object for each entry in the order of the keys. The header's sum is of all that
// follows its line, so half a file is told from a whole one.
const version = 1

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

func encode(bucket string, all []Entry) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	for _, e := range all {
		if err := enc.Encode(line(e)); err != nil {
			return nil, fmt.Errorf("encode state %s/%s: %w", bucket, e.Key, err)
		}
	}
	sum := sha256.Sum256(body.Bytes())
	head, err := json.Marshal(header{Parry: "state", Version: version, Bucket: bucket, Entries: len(all), SHA256: hex.EncodeToString(sum[:])})
	if err != nil {
		return nil, fmt.Errorf("encode state %s: %w", bucket, err)
	}
	return slices.Concat(head, []byte{'\n'}, body.Bytes()), nil
}

func decode(bucket string, doc []byte) ([]Entry, error) {
	first, body, _ := bytes.Cut(doc, []byte{'\n'})
	var h header
	if err := json.Unmarshal(first, &h); err != nil || h.Parry != "state" {
		return nil, errors.New("it doesn't begin with a state file's header")
	}
	if h.Version != version {
		return nil, fmt.Errorf("it is of version %d and this parry reads version %d", h.Version, version)
	}
	if h.Bucket != bucket {
		return nil, fmt.Errorf("it is the file of %q", h.Bucket)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != h.SHA256 {
		return nil, errors.New("its checksum is wrong: it was damaged, cut short or edited")
	}
	all := make([]Entry, 0, min(max(h.Entries, 0), bytes.Count(body, []byte{'\n'})))
	for text := range bytes.Lines(body) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(all)+1, err)
		}
		e := Entry(l)
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
