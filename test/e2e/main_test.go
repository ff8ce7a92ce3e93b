// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"parry/pkg/netns"
	"parry/test/need"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(standInEnv); spec != "" {
		standIn(spec)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if built != "" {
			_ = os.RemoveAll(built) // a folder under TMPDIR: nothing rests on it
		}
		os.Exit(code)
	}))
}

// built is the folder of a program that this run built, "" if it was given one.
var built string

// program is the parry that the tests run.
var program = sync.OnceValues(func() (string, error) {
	if os.Getenv("PARRY_BIN") == "" {
		dir, err := os.MkdirTemp("", "parry-e2e-")
		if err != nil {
			return "", err
		}
		built = dir
	}
	return need.Parry(built)
})

var discard = slog.New(slog.DiscardHandler)

// needProgram skips where a program that a test drives is missing; a run that asked for end-to-end tests fails.
func needProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/games"} { // where root's PATH may not lead
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	missing(t, name+" is not installed")
	return ""
}

// missing says that a test can't run: that fails it where PARRY_E2E asks for the test.
func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("PARRY_E2E") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// must fails the test at the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// world is a set of namespaces that goes with its test.
type world struct {
	t   *testing.T
	net *netns.World
}

func newWorld(t *testing.T, name string) *world {
	t.Helper()
	need.Root(t)
	n, err := netns.NewWorld(t.Context(), name, discard)
	must(t, err)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return &world{t: t, net: n}
}

func (w *world) host(name string) *netns.Host {
	w.t.Helper()
	h, err := w.net.Host(name)
	must(w.t, err)
	return h
}

func (w *world) link(a, b netns.End, o netns.LinkOptions) (*netns.Interface, *netns.Interface) {
	w.t.Helper()
	ia, ib, err := w.net.Link(a, b, o)
	must(w.t, err)
	for _, i := range []*netns.Interface{ia, ib} {
		w.settle(i)
	}
	return ia, ib
}

// settle waits until the kernel takes a new link for running (until then its queue drops what is sent) and has given it
// its link-local address.
func (w *world) settle(i *netns.Interface) {
	w.t.Helper()
	await(w.t, patience, i.Name+" of "+i.Host.Name()+" to run", func() bool {
		settled := false
		must(w.t, i.Host.Do(func() error {
			l, err := net.InterfaceByName(i.Name)
			if err != nil || l.Flags&net.FlagRunning == 0 {
				return err
			}
			addrs, err := l.Addrs()
			settled = slices.ContainsFunc(addrs, func(a net.Addr) bool { return strings.HasPrefix(a.String(), "fe80:") })
			return err
		}))
		return settled
	})
}

// run runs a command in a host to its end.
func (w *world) run(h *netns.Host, argv ...string) string {
	w.t.Helper()
	out, err := h.Exec(w.t.Context(), argv...)
	must(w.t, err)
	return out
}

// diff is what two texts differ in, by lines.
func diff(a, b string) string { return cmp.Diff(strings.Split(a, "\n"), strings.Split(b, "\n")) }
