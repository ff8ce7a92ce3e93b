// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// encodeLegacy writes a bucket's file as earlier parries did.
func encodeLegacy(t testing.TB, bucket string, all []Item) []byte {
	t.Helper()
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	for _, e := range all {
		must(t, enc.Encode(line(e)))
	}
	sum := sha256.Sum256(body.Bytes())
	head, err := json.Marshal(header{Parry: "state", Version: legacyVersion, Bucket: bucket, Entries: len(all), SHA256: hex.EncodeToString(sum[:])})
	must(t, err)
	return slices.Concat(head, []byte{'\n'}, body.Bytes())
}

// An earlier parry's files are taken over once, and kept by another name.
func TestEarlierFilesAreTakenOver(t *testing.T) {
	dir := t.TempDir()
	file := encodeLegacy(t, "calm", []Item{{"a.b", json.RawMessage(`{"n":1}`)}, {"c", json.RawMessage(`2`)}})
	path := filepath.Join(dir, "calm.state")
	must(t, os.WriteFile(path, file, 0o600), os.WriteFile(filepath.Join(dir, "rules.state"), encodeLegacy(t, "rules", nil), 0o600))
	e := openEdge(t, "a", dir)
	holds(t, e.hub.Local(), "calm", `a.b={"n":1}`, "c=2")
	must(t, e.hub.Local().Put(t.Context(), "calm", "c", json.RawMessage(`3`)))
	if kept, err := os.ReadFile(path + legacyTaken); err != nil || !bytes.Equal(kept, file) {
		t.Errorf("the file is %q, %v", kept, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) || !strings.Contains(e.said.String(), "taken over") {
		t.Errorf("the file is still there, %v; it said %s", err, e.said)
	}
	must(t, e.hub.Close())
	holds(t, openEdge(t, "a", dir).hub.Local(), "calm", `a.b={"n":1}`, "c=3")
}

// A file that can't be understood is set aside whole, in words, and never written over.
func TestDamagedFilesAreSetAside(t *testing.T) {
	good := encodeLegacy(t, "b", []Item{{"k", json.RawMessage(`1`)}, {"l", json.RawMessage(`2`)}})
	change := func(old, now string) string { return strings.Replace(string(good), old, now, 1) }
	for _, row := range []struct{ name, text, why string }{
		{"empty", "", "header"},
		{"not ours", "hello\n", "header"},
		{"zeros", string(make([]byte, 4096)), "header"},
		{"cut short", string(good[:len(good)-5]), "checksum"},
		{"a bit flipped", change(`"value":2`, `"value":3`), "checksum"},
		{"edited", string(good) + "{\"key\":\"m\",\"value\":3}\n", "checksum"},
		{"a newer one", change(`"version":1`, `"version":2`), "version 2"},
		{"another bucket", change(`"bucket":"b"`, `"bucket":"c"`), "file of"},
		{"too few entries", change(`"entries":2`, `"entries":3`), "says 3"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "b.state")
			must(t, os.WriteFile(path, []byte(row.text), 0o600))
			e := openEdge(t, "a", dir)
			holds(t, e.hub.Local(), "b")
			if said := e.said.String(); !strings.Contains(said, row.why) || !strings.Contains(said, path) {
				t.Errorf("it said %q", said)
			}
			aside, err := filepath.Glob(path + ".unreadable-*")
			if err != nil || len(aside) != 1 {
				t.Fatalf("set aside: %v, %v", aside, err)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != row.text {
				t.Errorf("what was set aside is %q, %v", kept, err)
			}
		})
	}
}

// What can't be read, rather than understood, stays.
func TestWhatCannotBeReadStays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b.state")
	must(t, os.Mkdir(path, 0o700))
	e := openEdge(t, "a", dir)
	if info, err := os.Stat(path); err != nil || !info.IsDir() || !strings.Contains(e.said.String(), "earlier parry") {
		t.Errorf("it is gone: %v; it said %s", err, e.said)
	}
}

func FuzzDecodeLegacy(f *testing.F) {
	f.Add(encodeLegacy(f, "b", []Item{{"k", json.RawMessage(`1`)}, {"l/m", json.RawMessage(`{"a":[1,2]}`)}}))
	f.Add([]byte(`{"parry":"state","version":1,"bucket":"b","entries":-1,"sha256":""}` + "\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		all, err := decodeLegacy("b", doc)
		if err != nil {
			return
		}
		if same, err := decodeLegacy("b", encodeLegacy(t, "b", all)); err != nil || len(all) != len(same) {
			t.Errorf("what was read can't be written: %v", err)
		}
	})
}
