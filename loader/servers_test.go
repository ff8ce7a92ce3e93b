// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"parry/test/need"
)

// What the daemon learned of a server is found again by the next generation's maker, and by the next daemon.
func TestServersTCPIsFoundAgain(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	must(t, unix.Mount("bpf", dir, "bpf", 0, "mode=0700"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	o := Options{Pin: filepath.Join(dir, "parry"), Sizes: smallSizes(), Injected: true, Log: slog.New(slog.DiscardHandler)}
	e, err := Open(o)
	must(t, err)
	defer func() { must(t, e.Close()) }()
	if err := e.SetServerTCP("p", "a", nil); err == nil {
		t.Error("a server of no generation was told of")
	}
	p := featurePlan(true, false, true, true, true, false, false, false, false, false)
	s := p.Pools[0].Servers[0]
	here := netip.AddrPortFrom(s.Addr, s.Port)
	want := func(what string, want map[netip.AddrPort]TCPOptions) {
		t.Helper()
		if got, err := e.ServerTCP(); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", what, got, err, want)
		}
	}
	want("nothing is there", nil)
	install := func() {
		t.Helper()
		g, err := e.Prepare(p)
		must(t, err)
		must(t, e.Install(g, nil))
	}
	install()
	want("nothing is known", map[netip.AddrPort]TCPOptions{})
	full := TCPOptions{MSS: 1460, WindowScale: 7, SACK: true, Timestamps: true}
	must(t, e.SetServerTCP(p.Pools[0].Name, s.Name, &full))
	want("it was told", map[netip.AddrPort]TCPOptions{here: full})
	must(t, e.Close())
	if e, err = Open(o); err != nil {
		t.Fatal(err)
	}
	want("of the daemon before", map[netip.AddrPort]TCPOptions{here: full})
	bare := TCPOptions{MSS: 536, WindowScale: NoWindowScale}
	p.Pools[0].Servers[0].TCP = &bare
	install()
	want("of a plan", map[netip.AddrPort]TCPOptions{here: bare})
	must(t, e.SetServerTCP(p.Pools[0].Name, s.Name, nil))
	want("it was forgotten", map[netip.AddrPort]TCPOptions{})
	if err := e.SetServerTCP(p.Pools[0].Name, "nobody", &full); err == nil {
		t.Error("nobody was told of")
	}
}
