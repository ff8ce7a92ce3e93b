// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func pool(weights ...uint32) []Weighted {
	servers := make([]Weighted, len(weights))
	for i, w := range weights {
		servers[i] = Weighted{Name: fmt.Sprintf("eu-%d", i+1), Weight: w}
	}
	return servers
}

func equal(n int, weight uint32) []Weighted {
	weights := make([]uint32, n)
	for i := range weights {
		weights[i] = weight
	}
	return pool(weights...)
}

func build(t testing.TB, servers []Weighted, size int) []uint32 {
	t.Helper()
	table, err := Table(servers, size)
	if err != nil {
		t.Fatalf("Table of %d servers, %d slots: %v", len(servers), size, err)
	}
	if len(table) != size {
		t.Fatalf("%d slots, want %d", len(table), size)
	}
	return table
}

func slots(t testing.TB, servers []Weighted, table []uint32) []int {
	t.Helper()
	counts := make([]int, len(servers))
	for i, s := range table {
		if int(s) >= len(servers) {
			t.Fatalf("slot %d holds server %d of %d", i, s, len(servers))
		}
		counts[s]++
	}
	return counts
}

func TestSharesFollowWeights(t *testing.T) {
	for _, tc := range []struct {
		name    string
		servers []Weighted
	}{
		{"one", pool(7)},
		{"equal", equal(10, 1)},
		{"equal, heavy numbers", equal(10, 4_000_000_000)},
		{"doubled", pool(1, 2, 1, 2)},
		{"spread", pool(1, 2, 3, 5, 8, 13, 21)},
		{"drained", pool(3, 0, 3, 0, 4)},
		{"many", equal(600, 3)},
		{"coprime", pool(97, 89, 83, 79)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const size = 65521
			var sum float64
			for _, s := range tc.servers {
				sum += float64(s.Weight)
			}
			for i, got := range slots(t, tc.servers, build(t, tc.servers, size)) {
				want := size * float64(tc.servers[i].Weight) / sum
				// 1 % of its share, and never finer than a slot.
				if tolerance := max(1.0, want*0.01); math.Abs(float64(got)-want) > tolerance {
					t.Errorf("%s: %d slots, want %.1f +- %.1f", tc.servers[i].Name, got, want, tolerance)
				}
			}
		})
	}
}

func TestLightestServerStillGetsASlot(t *testing.T) {
	servers := pool(10_000, 1, 10_000)
	if counts := slots(t, servers, build(t, servers, 251)); counts[1] != 1 {
		t.Errorf("slots %v: the light server should have exactly one", counts)
	}
}

func TestSizeKeepsEqualSharesWithinAPercent(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 50, 333, 4095} {
		servers := equal(n, 1)
		size := Size(n)
		for i, got := range slots(t, servers, build(t, servers, size)) {
			want := float64(size) / float64(n)
			if math.Abs(float64(got)-want) > max(1, want*0.01) {
				t.Fatalf("%d servers in %d slots: server %d has %d, want %.1f", n, size, i, got, want)
			}
		}
	}
}

func TestOrderOfServersDoesNotMatter(t *testing.T) {
	servers := pool(1, 2, 3, 4, 5, 6, 7, 8)
	want := build(t, servers, 2039)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		shuffled := slices.Clone(servers)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for slot, index := range build(t, shuffled, 2039) {
			if got := shuffled[index].Name; got != servers[want[slot]].Name {
				t.Fatalf("slot %d: %s, in the other order %s", slot, got, servers[want[slot]].Name)
			}
		}
	}
}

// The assignment is shared between edges of different versions, so it may never change: this
// pins it.
func TestAssignmentIsStableOverReleases(t *testing.T) {
	table := build(t, pool(1, 2, 3), 251)
	sum := crc32.NewIEEE()
	for _, s := range table {
		_, _ = sum.Write([]byte{byte(s)})
	}
	if got, want := sum.Sum32(), uint32(0xedfec9c9); got != want {
		t.Errorf("table changed: crc %#x, want %#x", got, want)
	}
}

// moved counts the slots that changed hands: those of the server that came or went, and
// those between others.
func moved(before, after []Weighted, b, a []uint32, changed string) (own, others int) {
	for i := range b {
		from, to := before[b[i]].Name, after[a[i]].Name
		switch {
		case from == to:
		case from == changed || to == changed:
			own++
		default:
			others++
		}
	}
	return own, others
}

func TestRemovalMovesLittleMoreThanItsShare(t *testing.T) {
	for _, tc := range []struct {
		name    string
		servers []Weighted
		size    int
		limit   float64 // slots that move between others, as a part of the table
	}{
		// Roomy tables: over 300 slots a server. Measured: at most 1.11 %.
		{"3 equal, roomy", equal(3, 1), 16381, 0.02},
		{"10 equal, roomy", equal(10, 1), 16381, 0.02},
		{"50 equal, roomy", equal(50, 1), 16381, 0.02},
		{"10 weighted, roomy", pool(1, 2, 3, 4, 5, 5, 4, 3, 2, 1), 16381, 0.02},
		{"one dominates, roomy", pool(1, 1, 2, 20), 16381, 0.02},
		// The least that Size gives, a hundred slots a server. Measured: at most 3.04 %.
		{"5 equal, tight", equal(5, 1), Size(5), 0.04},
		{"20 equal, tight", equal(20, 1), Size(20), 0.04},
		{"81 equal, tight", equal(81, 1), Size(81), 0.04},
	} {
		t.Run(tc.name, func(t *testing.T) {
			size, limit := tc.size, tc.limit
			before := build(t, tc.servers, size)
			shares := slots(t, tc.servers, before)
			for i, gone := range tc.servers {
				rest := slices.Delete(slices.Clone(tc.servers), i, i+1)
				own, others := moved(tc.servers, rest, before, build(t, rest, size), gone.Name)
				if own != shares[i] {
					t.Errorf("%s removed: %d of its %d slots moved", gone.Name, own, shares[i])
				}
				if part := float64(others) / float64(size); part > limit {
					t.Errorf("%s removed: %.2f %% of the table moved between the others, limit %.2f %%", gone.Name, part*100, limit*100)
				}
			}
		})
	}
}

func TestDrainingEqualsRemoval(t *testing.T) {
	all, drained := pool(2, 3, 4), pool(2, 0, 4)
	without := []Weighted{all[0], all[2]}
	a, b := build(t, drained, 1021), build(t, without, 1021)
	for i := range a {
		if x, y := drained[a[i]].Name, without[b[i]].Name; x != y {
			t.Fatalf("slot %d: drained %s, removed %s", i, x, y)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name    string
		servers []Weighted
		size    int
		want    string
	}{
		{"no servers", nil, 251, ErrNoServers.Error()},
		{"all drained", pool(0, 0), 251, ErrNoServers.Error()},
		{"not a prime", pool(1), 256, "maglev table of 256 slots: not a prime up to 1048576"},
		{"zero", pool(1), 0, "maglev table of 0 slots: not a prime up to 1048576"},
		{"negative", pool(1), -7, "maglev table of -7 slots: not a prime up to 1048576"},
		{"too large", pool(1), 2147483647, "maglev table of 2147483647 slots: not a prime up to 1048576"},
		{"too small", equal(8, 1), 7, "maglev table of 7 slots: too small for 8 servers"},
		{"twice", []Weighted{{"a", 1}, {"b", 1}, {"a", 2}}, 251, `maglev table: server "a" is there twice`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table, err := Table(tc.servers, tc.size)
			if table != nil || err == nil || err.Error() != tc.want {
				t.Errorf("got %d slots, error %v; want error %q", len(table), err, tc.want)
			}
		})
	}
	if _, err := Table(nil, 251); !errors.Is(err, ErrNoServers) {
		t.Errorf("%v is not ErrNoServers", err)
	}
}

func TestTinyTables(t *testing.T) {
	for _, tc := range []struct {
		servers []Weighted
		size    int
		want    []int
	}{{pool(1), 2, []int{2}}, {pool(1, 1), 2, []int{1, 1}}, {pool(1, 1, 1), 3, []int{1, 1, 1}}} {
		if diff := cmp.Diff(tc.want, slots(t, tc.servers, build(t, tc.servers, tc.size))); diff != "" {
			t.Errorf("%d servers, %d slots (-want +got):\n%s", len(tc.servers), tc.size, diff)
		}
	}
}

func TestSizesArePrime(t *testing.T) {
	for _, s := range sizes {
		if !isPrime(s) || s > MaxSize {
			t.Errorf("%d is not a prime up to %d", s, MaxSize)
		}
	}
}

func BenchmarkTable(b *testing.B) {
	for _, n := range []int{2, 10, 100, 600} {
		servers := equal(n, 1)
		for _, size := range []int{Size(n), 65521} {
			b.Run(fmt.Sprintf("servers=%d/size=%d", n, size), func(b *testing.B) {
				for b.Loop() {
					build(b, servers, size)
				}
			})
		}
	}
}
