// SPDX-License-Identifier: Apache-2.0

package diff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"parry/loader"
	"parry/test/model"
	"parry/test/need"
)

// open makes an edge of a kind. object is the build of bpf/ that it runs; nil: the one that is checked in.
func open(t *testing.T, kind string, object io.ReaderAt, gates ...loader.Gate) *world {
	t.Helper()
	w, err := openWorld(kind, object, gates...)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// wanted is the build that the user names, or nil.
func wanted(t *testing.T) io.ReaderAt {
	t.Helper()
	name := os.Getenv("PARRY_OBJECT")
	if name == "" {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(data)
}

// Sequences that the edge and its model once came apart by, and those that mutants are caught by: on the edge as it is they
// show nothing.
func TestSeeds(t *testing.T) {
	need.Root(t)
	files, err := filepath.Glob("testdata/*.seq")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sequences are kept: %v", err)
	}
	more, err := filepath.Glob("testdata/mutants/*.seq")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, more...)
	worlds := map[string]*world{}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".seq"), func(st *testing.T) {
			kind, steps := load(st, name)
			if worlds[kind] == nil {
				worlds[kind] = open(t, kind, wanted(t))
			}
			if err := worlds[kind].replay(steps); err != nil {
				st.Error(err)
			}
		})
	}
}

func load(t *testing.T, name string) (kind string, steps []step) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if kind, steps, err = readSequence(bytes.NewReader(data)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return kind, steps
}

// turns are which kinds of edge a fuzzer works on, in turn, for a while each; PARRY_FUZZ_KINDS names others.
func turns() []string {
	if s := os.Getenv("PARRY_FUZZ_KINDS"); s != "" {
		return strings.Split(s, ",")
	}
	return []string{"all", "gates", "rules", "shaken", "strict", "strangers", "full", "brief", "wide", "shaken-brief", "watch", "strangers", "wide", "shaken-full", "plain"}
}

// duration is how long to fuzz, by PARRY_FUZZ; without it, 0: so many packets as a test of the same each time takes.
func duration(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("PARRY_FUZZ")
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		t.Fatalf("PARRY_FUZZ: %q is no duration", s)
	}
	return d
}

// firstSeed is 1, so that a test is the same each time; PARRY_FUZZ_SEED chooses another, `now` one that nobody had before.
func firstSeed(t *testing.T) uint64 {
	t.Helper()
	switch s := os.Getenv("PARRY_FUZZ_SEED"); s {
	case "":
		return 1
	case "now":
		return uint64(time.Now().UnixNano())
	default:
		n, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			t.Fatalf("PARRY_FUZZ_SEED: %v", err)
		}
		return n
	}
}

const (
	fuzzers       = 2 // worlds that are worked on at a time
	quickTurn     = 3 // sequences of a turn, where no duration is given
	longEnough    = 50 * time.Second
	shrinkingTime = 2 * time.Minute
)

// The edge and its model agree in whatever happens to them: a turn on each kind of edge, or turns for as long as they are given.
func TestFuzz(t *testing.T) {
	need.Root(t)
	whole, seed, object := duration(t), firstSeed(t), wanted(t)
	began := time.Now()
	all := make([]fuzzer, fuzzers)
	var wg sync.WaitGroup
	for i := range all {
		all[i] = fuzzer{first: i, seed: seed + uint64(i)<<56, object: object, worlds: map[string]*world{}}
		wg.Go(func() { all[i].failure = all[i].work(whole) })
	}
	wg.Wait()
	seen, differences := newCoverage(), 0
	for _, f := range all {
		for _, w := range f.worlds {
			seen.add(w.seen)
		}
		if f.failure != nil {
			differences++
			report(t, f.worlds, f.failure)
		}
		f.close(t)
	}
	took := time.Since(began)
	t.Logf("seed %d: %d packets in %d sequences, %d differences, %.0f packets/s\n%s", seed, seen.Packets, seen.Sequences, differences,
		float64(seen.Packets)/took.Seconds(), seen)
	if os.Getenv("PARRY_FUZZ_KINDS") == "" && (whole == 0 || whole >= longEnough) {
		wantReached(t, seen)
	}
}

// fuzzer works on edges of its own, which it opens when their turn comes.
type fuzzer struct {
	first   int // of the turns; it takes every fuzzers-th
	seed    uint64
	object  io.ReaderAt
	worlds  map[string]*world
	failure error
}

// work takes turns for a while, or (0) one each, and ends at the first failure.
func (f *fuzzer) work(whole time.Duration) error {
	all := turns()
	slice := min(whole/time.Duration(len(all)), 10*time.Second)
	end := time.Now().Add(whole)
	for n := f.first; whole == 0 && n < len(all) || time.Now().Before(end); n += fuzzers {
		w, err := f.world(all[n%len(all)])
		if err != nil {
			return err
		}
		ctx, cancel, most := context.Background(), func() {}, quickTurn
		if whole > 0 {
			ctx, cancel = context.WithDeadline(ctx, earlier(end, time.Now().Add(slice)))
			most = math.MaxInt
		}
		err = w.fuzz(ctx, f.seed+uint64(n)<<40, most)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fuzzer) world(kind string) (*world, error) {
	if w := f.worlds[kind]; w != nil {
		return w, nil
	}
	w, err := openWorld(kind, f.object)
	if err == nil {
		f.worlds[kind] = w
	}
	return w, err
}

func (f *fuzzer) close(t *testing.T) {
	t.Helper()
	for _, w := range f.worlds {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// report cuts a failing sequence down and keeps it as a seed.
func report(t *testing.T, worlds map[string]*world, err error) {
	t.Helper()
	var f *failure
	if !errors.As(err, &f) {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), shrinkingTime)
	defer cancel()
	w := worlds[f.kind]
	t.Logf("a difference after %d moves: %v\ncutting them down", len(f.moves), f.why)
	small, err := w.shrink(ctx, f)
	if err != nil {
		t.Errorf("cutting down: %v", err)
	}
	var b bytes.Buffer
	if err := writeSequence(&b, small.kind, explained(w, small.steps), small.why.Error()); err != nil {
		t.Fatal(err)
	}
	h := fnv.New32a()
	h.Write(b.Bytes())
	name := fmt.Sprintf("testdata/found-%08x.seq", h.Sum32())
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Error(err)
	}
	t.Errorf("the edge and its model differ (%s, replayed by TestSeeds):\n%s", name, b.String())
}

// explained are steps with a word on what each frame is and what the model says of it.
func explained(w *world, steps []step) []step {
	out := slices.Clone(steps)
	if err := w.reset(); err != nil {
		return out
	}
	for i := range out {
		s := &out[i]
		err := w.do(*s)
		if s.frame != nil {
			s.comment = fmt.Sprintf("%s: %s %s", describe(s.frame), w.last.Verdict, w.last.Reason)
		}
		if err != nil {
			return out
		}
	}
	return out
}

func (c *coverage) String() string {
	var b strings.Builder
	line := func(what string, m map[string]uint64) {
		fmt.Fprintf(&b, "%s:", what)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if k != "" {
				fmt.Fprintf(&b, " %s %d", k, m[k])
			}
		}
		b.WriteByte('\n')
	}
	line("verdicts", words(c.Verdicts))
	line("dropped for", words(c.Reasons))
	line("not dropped, as policy only watched, for", words(c.Shadows))
	line("what this host sent was dropped for", words(c.Sent))
	fmt.Fprintf(&b, "strangers: %+v, lasting %d, shaken %d, watched %d\n", c.Strangers, c.Regulars, c.Shaken, c.Watched)
	return b.String()
}

func words[K ~string](m map[K]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for k, n := range m {
		out[string(k)] = n
	}
	return out
}

// unreached are reasons that no packet of the fuzzer's is dropped for: a gate is missing, nobody reads the daemon's queries, and what a
// sweep says of a session.
var unreached = map[string]bool{"gate_missing": true, "answer_busy": true, "silent": true}

// wantReached fails where the fuzzer has gone blind: it must reach every verdict, every reason that there is, and every reason
// that policy may only watch.
func wantReached(t *testing.T, seen *coverage) {
	t.Helper()
	for _, v := range []model.Verdict{model.Pass, model.Drop, model.TX, model.Redirect, model.Abort} {
		if seen.Verdicts[v] == 0 {
			t.Errorf("no packet's verdict was %s", v)
		}
	}
	names, err := loader.ReadNames()
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range names.Reasons {
		if i > 0 && r != "" && !unreached[r] && seen.Reasons[model.Reason(r)] == 0 {
			t.Errorf("no packet was dropped for %s", r)
		}
	}
	for _, r := range []model.Reason{model.Denied, model.NotAllowed, model.PacketSize, model.FragmentRefused, model.RatePackets, model.RateBytes,
		model.RateSessions, model.TooManySessions, model.HostRate, model.HostSourceRate, model.HostLinkRate, model.GateRefused, model.StrangerRate, model.Greylisted,
		model.StrangersFull, model.UnprovenRate, model.AnswerBudget, model.Reflection, model.ImpossibleSource, model.RuleDropped, model.RuleLimited} {
		if seen.Shadows[r] == 0 {
			t.Errorf("no packet would have been dropped for %s", r)
		}
	}
	if s := seen.Strangers; s.Returned == 0 || s.Strong == 0 || s.Weak == 0 || s.Answered == 0 || s.Asked == 0 || s.Evicted == 0 || seen.Regulars == 0 || seen.Shaken == 0 {
		t.Errorf("strangers did not try everything: %+v, regulars %d, shaken %d", s, seen.Regulars, seen.Shaken)
	}
	if seen.Watched == 0 {
		t.Error("no session was watched")
	}
	for _, r := range []model.Reason{model.Denied, model.SessionKilled} {
		if seen.Sent[r] == 0 {
			t.Errorf("nothing that this host sent was dropped for %s", r)
		}
	}
}
