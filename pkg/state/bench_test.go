// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

// blockAt is a detector's block as the engine tells it.
func blockAt(n int) Entry {
	return Entry{
		Kind: Block, Key: fmt.Sprintf("arena/198.%d.%d.%d/32", 18+n>>16, n>>8&255, n&255), Author: Detector, Expires: time.Now().Add(time.Hour),
		Value: json.RawMessage(`{"reason":"flood","source":"detect","confidence":0.97}`),
	}
}

const many = 100_000

// BenchmarkPublish puts 100,000 blocks: what a decision waits for Put, and how many a second are kept on disk behind it.
func BenchmarkPublish(b *testing.B) {
	for b.Loop() {
		e := openEdge(b, "a", filepath.Join(b.TempDir(), "s")).run()
		waits := make([]time.Duration, 0, many)
		began := time.Now()
		for n := range many {
			block, at := blockAt(n), time.Now()
			must(b, e.hub.Put(block))
			waits = append(waits, time.Since(at))
		}
		must(b, e.hub.Flush(b.Context()))
		took := time.Since(began)
		slices.Sort(waits)
		b.ReportMetric(many/took.Seconds(), "kept/s")
		b.ReportMetric(float64(waits[many*99/100].Nanoseconds())/1e3, "Put-p99-µs")
		b.ReportMetric(float64(waits[many-1].Nanoseconds())/1e6, "Put-max-ms")
		e.close()
	}
}

// BenchmarkRestore opens a store of 100,000 blocks and gives all of them to be applied: after a daemon that closed it, and one that was killed.
func BenchmarkRestore(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "s")
	e := openEdge(b, "a", dir)
	for n := range many {
		e.put(blockAt(n))
	}
	must(b, e.hub.Flush(b.Context()))
	e.close()
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		began := time.Now()
		e := openEdge(b, "a", dir)
		opened := time.Since(began)
		if n := len(e.hub.Snapshot(Block)); n != many {
			b.Fatalf("%d blocks are there", n)
		}
		snapped := time.Since(began)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(opened.Seconds(), "s-to-open")
		b.ReportMetric(snapped.Seconds(), "s-to-snapshot")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
		e.close()
	}
}

// BenchmarkSpread has one of three edges decide 1,000 blocks a second for two seconds: how long until another has them applied.
func BenchmarkSpread(b *testing.B) {
	for b.Loop() {
		spread(b, 1000, 2000)
	}
}

// BenchmarkSpreadFast is the same with 10,000 a second.
func BenchmarkSpreadFast(b *testing.B) {
	for b.Loop() {
		spread(b, 10_000, 20_000)
	}
}

func spread(b *testing.B, rate, total int) {
	w := newWorld(b, 3, nil)
	made := make([]time.Time, total)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; n < total; {
		<-tick.C
		for range rate / 100 {
			block := blockAt(n)
			made[n] = time.Now()
			must(b, w.edges[0].hub.Put(block))
			n++
		}
	}
	var all []time.Duration
	for _, e := range w.edges[1:] {
		e.await("all of it", func() bool { return e.count() == total })
		e.mu.Lock()
		for n := range total {
			all = append(all, e.times[ref{Block, blockAt(n).Key}].Sub(made[n]))
		}
		e.mu.Unlock()
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1e3, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1e3, "p99-ms")
	b.ReportMetric(float64(all[len(all)-1].Microseconds())/1e3, "max-ms")
}

func (e *edge) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.applied)
}
