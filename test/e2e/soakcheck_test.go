// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"parry/pkg/api"
)

const (
	moreFiles  = 4        // that a daemon may have open beyond those that it had open at first
	moreMemory = 48 << 20 // bytes, the same; the collector's own rhythm moves it by half of that
)

// usage is what the daemon holds.
type usage struct {
	files  int
	memory uint64 // bytes, resident
	pins   string
}

func (u usage) String() string { return fmt.Sprintf("%d files, %d MiB", u.files, u.memory>>20) }

func (k *soak) measure() usage {
	k.t.Helper()
	e := k.s.edge
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", e.proc.PID()))
	must(k.t, err)
	u := usage{files: len(files)}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.proc.PID()))
	must(k.t, err)
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	_, err = fmt.Sscan(after, &u.memory)
	must(k.t, err)
	u.memory <<= 10
	var pins []string
	must(k.t, filepath.WalkDir(e.pin, func(path string, _ fs.DirEntry, err error) error {
		pins = append(pins, regexp.MustCompile(`/gen-\d+`).ReplaceAllString(strings.TrimPrefix(path, e.pin), "/gen-N"))
		return err
	}))
	u.pins = strings.Join(pins, "\n")
	return u
}

// check holds the crowd still and compares what everybody counts: the links, the edge, its metrics, its tables.
func (k *soak) check() {
	k.t.Helper()
	k.meet()
	k.hold.Store(true)
	defer k.hold.Store(false)
	k.sum = k.s.books.balance(k.began, "so far")
	k.counters()
	k.tables()
	now := k.measure()
	if now.files > k.first.files+moreFiles || now.memory > k.first.memory+moreMemory {
		k.t.Errorf("the daemon holds %v; it was %v at first", now, k.first)
	}
	if now.pins != k.first.pins {
		k.t.Errorf("other things are pinned than at first:\n%s", diff(k.first.pins, now.pins))
	}
	k.now = now
	k.generations()
}

// counters wants each service to have counted what came in for it, and the metrics to say the same.
func (k *soak) counters() {
	k.t.Helper()
	in, page, status := k.stillness()
	at := func(port, six, down int) uint64 { // UDP and TCP together
		i := port*cellsOfPort + six*4 + down
		return in[i].packets + in[i+2].packets
	}
	for _, v := range status.Services {
		port := slices.IndexFunc([]string{"nat", "transparent", "local", "later"}, func(p string) bool { return strings.HasPrefix(v.Name, p) })
		if port < 0 {
			continue // a target: strangers' packets are in no books
		}
		six := 0
		if strings.HasSuffix(v.Name, "6") {
			six = 1
		}
		for down, got := range []uint64{v.Up.Packets, v.Down.Packets} {
			if want := at(port, six, down); got != want {
				k.t.Errorf("%s has counted %d packets (down: %d), %d came in", v.Name, got, down, want)
			}
			series := fmt.Sprintf(`parry_service_traffic_packets_total{direction=%q,service=%q}`, []string{"up", "down"}[down], v.Name)
			if page[series] != got {
				k.t.Errorf("%s is %d on the page of metrics and %d in the status", series, page[series], got)
			}
		}
		if len(v.Drops) > 0 {
			k.t.Errorf("%s has dropped %v", v.Name, v.Drops)
		}
	}
	for series, n := range page {
		if strings.HasPrefix(series, "parry_daemon_errors_total") && n > 0 && !strings.Contains(series, "contended") {
			k.t.Errorf("%s is %d", series, n)
		}
	}
}

// stillness reads everybody's counters while nothing moves: a packet may still be on its way when the crowd is told to hold
// still.
func (k *soak) stillness() (in []cell, page map[string]uint64, status api.Status) {
	k.t.Helper()
	await(k.t, patience, "the links to be still", func() bool {
		before := k.s.books.read().since(k.began)
		page, status = k.s.edge.page(), k.s.edge.status()
		after := k.s.books.read().since(k.began)
		in = after.in
		return after.balanced() && slices.Equal(before.in, after.in)
	})
	return in, page, status
}

// page reads the metrics: whole numbers by series.
func (e *edge) page() map[string]uint64 {
	e.t.Helper()
	dial := func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = errors.Join(e.host.Do(func() error { c, err = new(net.Dialer).DialContext(ctx, network, address); return err }))
		return c, err
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, "http://"+e.metrics+"/metrics", nil)
	must(e.t, err)
	resp, err := transport.RoundTrip(req)
	must(e.t, err)
	defer resp.Body.Close()
	all := map[string]uint64{}
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		if i := strings.LastIndexByte(in.Text(), ' '); i > 0 {
			if n, err := strconv.ParseFloat(in.Text()[i+1:], 64); err == nil {
				all[in.Text()[:i]] = uint64(n)
			}
		}
	}
	return all
}

// tables wants every entry to be a listed session's, and every NAT port that is not free too. Both change every second
// while strangers' sessions end, so they are compared until they agree.
func (k *soak) tables() {
	k.t.Helper()
	var want, got map[string]uint64
	_, same := eventually(2*patience, func() bool {
		want = map[string]uint64{"flow4": 0, "flow6": 0, "nat4_ports": 0, "nat6_ports": 0}
		for _, v := range k.s.edge.sessions(api.Filter{}) {
			family := "6"
			if v.Client.Addr().Is4() {
				family = "4"
			}
			want["flow"+family]++
			if v.NAT != nil {
				want["nat"+family+"_ports"]++
			} else {
				want["flow"+family]++
			}
		}
		got = k.entries(want)
		return maps.Equal(want, got)
	})
	if !same {
		k.t.Errorf("the tables hold %v; the sessions that are listed make %v", got, want)
	}
}

// entries are how many of the named tables' entries are taken.
func (k *soak) entries(names map[string]uint64) map[string]uint64 {
	k.t.Helper()
	got := map[string]uint64{}
	for _, v := range k.s.edge.status().Tables {
		if _, ok := names[v.Name]; ok {
			got[v.Name] = v.Entries
		}
	}
	return got
}

// generations wants the program that runs to be the only one that is left of all that ran.
func (k *soak) generations() {
	k.t.Helper()
	for name, id := range k.s.attached() {
		if k.programs == nil {
			k.programs = map[uint32]bool{}
		}
		k.programs[id] = true
		for old := range k.programs {
			if old == id {
				continue
			}
			gone := func() bool {
				p, err := ebpf.NewProgramFromID(ebpf.ProgramID(old))
				if err == nil {
					err = errors.Join(p.Close(), errIsThere)
				}
				return errors.Is(err, os.ErrNotExist)
			}
			if _, ok := eventually(patience, gone); !ok {
				k.t.Errorf("program %d still is in the kernel, %s carries %d now", old, name, id)
			}
			delete(k.programs, old)
		}
	}
}

var errIsThere = errors.New("it is there")

// finish has everybody leave. Nothing of them may stay: no session, source or port, no list entry, nothing pinned.
func (k *soak) finish() {
	k.t.Helper()
	e := k.s.edge
	k.victim.stop(0)
	k.end()
	for _, p := range k.pulses {
		_ = p.p.conn.Close()
	}
	_, err := e.client.EndSessions(k.t.Context(), api.Filter{})
	must(k.t, err)
	none := map[string]uint64{
		"flow4": 0, "flow6": 0, "nat4_ports": 0, "nat6_ports": 0, "source": 0,
		"deny_host4": 0, "deny_host6": 0, "allow_host4": 0, "allow_host6": 0,
	}
	var left map[string]uint64
	if _, ok := eventually(90*time.Second, func() bool { left = k.entries(none); return maps.Equal(left, none) }); !ok {
		k.t.Errorf("the tables still hold %v", left)
	}
	for v, err := range e.client.Entries(k.t.Context(), api.Block) {
		must(k.t, err)
		k.t.Errorf("%v is still blocked", v.Prefix)
	}
	ports, used := k.ports()
	if used > 0 {
		k.t.Errorf("%d of %d NAT ports are not free", used, ports)
	}
	e.ok("detach", "-c", e.file)
	if _, err := os.Stat(e.pin); !errors.Is(err, fs.ErrNotExist) {
		k.t.Errorf("%s is still there (%v)", e.pin, err)
	}
	if k.t.Failed() {
		return
	}
	k.t.Logf("everybody has left: no session, no source, no list entry, none of %d NAT ports is taken, nothing is pinned", ports)
}
