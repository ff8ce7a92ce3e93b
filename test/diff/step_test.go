// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const someSteps = `# why
edge all
clock 1
receive 0200000000ed # a frame
flood 90 0200000000ed
send 2 0200000000ed
pass 1.5s
kill tcp 192.0.2.1:40000 203.0.113.10:27960
deny 192.0.2.0/24 0 0s
allow 2001:db8::/64 3 1m0s unlimited
quietly deny 192.0.2.1/32 0 300ms
undeny 192.0.2.0/24 0
unallow 2001:db8::/64 3
sweep
bump
route 3
hop 4
plan 5
`

// What is written is what is read.
func TestSequencesAreText(t *testing.T) {
	kind, steps, err := readSequence(strings.NewReader(someSteps))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := writeSequence(&b, kind, steps, "why"); err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(someSteps, " # a frame", ""); b.String() != want {
		t.Errorf("wrote\n%s\nnot\n%s", b.String(), want)
	}
	for _, bad := range []string{"edge", "edge all\nreceive", "edge all\nreceive xyz", "edge all\nleap 3", "edge all\ndeny 192.0.2.0 0 0s", "edge all\nquietly",
		"edge all\nquietly sweep 1 2 3", "edge all\nkill tcp 1 2"} {
		if _, _, err := readSequence(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is a sequence", bad)
		}
	}
}

// Whatever a file holds: an error, or steps that are written as they are read.
func FuzzReadSequence(f *testing.F) {
	f.Add(someSteps)
	files, err := filepath.Glob("testdata/*.seq")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, in string) {
		kind, steps, err := readSequence(strings.NewReader(in))
		if err != nil || kind == "" {
			return
		}
		var once, twice strings.Builder
		if err := writeSequence(&once, kind, steps, ""); err != nil {
			t.Fatal(err)
		}
		kind, steps, err = readSequence(strings.NewReader(once.String()))
		if err != nil {
			t.Fatalf("what was written can't be read: %v\n%s", err, once.String())
		}
		if err := writeSequence(&twice, kind, steps, ""); err != nil || once.String() != twice.String() {
			t.Fatalf("%v\n%s\n%s", err, once.String(), twice.String())
		}
		for _, s := range steps {
			if len(s.frame) > 0 {
				describe(s.frame)
			}
		}
	})
}
