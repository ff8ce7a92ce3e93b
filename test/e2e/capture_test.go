// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"parry/pkg/pcap"
)

// A capture of one client holds both ways of its play in every mode, as the packets came in, and nothing of others; play goes on
// while it begins and ends.
func TestCaptureOfAnAddress(t *testing.T) {
	t.Parallel()
	s := newSite(t, "capture", siteOptions{})
	s.edge.run(everyMode(unlimited))
	for _, w := range s.ways() {
		s.udpServer(w.host, w.server, "")
	}
	other := s.udpPlayer(s.players, s.playerAt(9), s.ways()[0].vip).play(2 * time.Millisecond)
	other.more(20)
	for i, w := range s.ways() {
		t.Run(w.name, func(t *testing.T) {
			s := s.of(t)
			p := s.udpPlayer(s.players, s.playerLike(w.player, i+1), w.vip)
			p.join(patience)
			file := filepath.Join(t.TempDir(), "c.pcapng")
			c := s.startCapture("all", "--address", p.addr().Addr().String(), "-w", file, "--for", "30s", "--count", "6")
			for range 3 {
				p.echo(100)
			}
			c.ends(t, "6 packets in "+file, "0 lost; ended at 6 packets")
			got := readCapture(t, file)
			seen := w.seen // the edge by nat, else the player
			if w.seen == w.player {
				seen = p.addr().Addr()
			}
			from, back := p.addr().Addr().String()+" > "+w.vip.Addr().String(), w.server.Addr().String()+" > "+seen.String()
			for i, line := range got {
				want := []string{from, back}[i%2]
				if !strings.HasPrefix(line, want) {
					t.Errorf("packet %d is %s, want %s…", i, line, want)
				}
			}
			if len(got) != 6 {
				t.Errorf("%d packets: %s", len(got), strings.Join(got, "\n"))
			}
			wants := []string{"direction=up client=" + p.addr().Addr().String(), "direction=down client=" + p.addr().Addr().String(), "service=" + w.name, "verdict="}
			comments := tsharkComments(t, file)
			for _, want := range wants {
				if !strings.Contains(comments, want) {
					t.Errorf("no comment says %q:\n%s", want, comments)
				}
			}
		})
	}
	if sum := other.noLoss(); sum.lost == 0 {
		t.Logf("the other player: %v", sum)
	}
}

// capturing is a `parry capture` that runs.
type capturing struct {
	done chan output
	stop func()
}

// capture starts one, which may end at once.
func (s *site) capture(args ...string) *capturing {
	s.t.Helper()
	cmd := exec.Command(s.edge.bin, append([]string{"capture"}, args...)...)
	cmd.Env = append(os.Environ(), "PARRY_SOCKET="+s.edge.socket)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	p, err := s.gate.Start(cmd)
	must(s.t, err)
	c := &capturing{done: make(chan output, 1), stop: func() { must(s.t, p.Signal(syscall.SIGINT)) }}
	go func() {
		<-p.Done()
		c.done <- output{out: stdout.String(), err: stderr.String(), code: cmd.ProcessState.ExitCode()}
	}()
	return c
}

// startCapture starts one, and waits until packets are taken.
func (s *site) startCapture(args ...string) *capturing {
	s.t.Helper()
	before := strings.Count(s.edge.said(), "a capture begins")
	c := s.capture(args...)
	await(s.t, startPatience, "the capture to begin", func() bool {
		select {
		case o := <-c.done:
			s.t.Fatalf("parry capture ended: exit code %d\n%s%s", o.code, o.out, o.err)
		default:
		}
		return strings.Count(s.edge.said(), "a capture begins") > before
	})
	return c
}

// ends waits for its end, and wants these words of it.
func (c *capturing) ends(t *testing.T, want ...string) output {
	t.Helper()
	select {
	case o := <-c.done:
		for _, w := range want {
			if !strings.Contains(o.err, w) {
				t.Errorf("parry capture (exit code %d) says %q, not %q", o.code, o.err, w)
			}
		}
		return o
	case <-time.After(startPatience):
		t.Fatal("parry capture goes on")
		return output{}
	}
}

// readCapture lists who sent each packet to whom.
func readCapture(t *testing.T, file string) []string {
	t.Helper()
	r, err := pcap.Open(file)
	must(t, err)
	defer r.Close()
	var all []string
	for {
		p, err := r.Next()
		if err == io.EOF {
			return all
		}
		must(t, err)
		all = append(all, ipEnds(p.Data))
	}
}

// ipEnds is "source > destination" of a frame.
func ipEnds(frame []byte) string {
	at, n := 26, 4
	if frame[12] == 0x86 {
		at, n = 22, 16
	}
	src, _ := netip.AddrFromSlice(frame[at : at+n])
	dst, _ := netip.AddrFromSlice(frame[at+n : at+2*n])
	return fmt.Sprintf("%v > %v", src, dst)
}

// tsharkComments are the comments as Wireshark's own tool reads them.
func tsharkComments(t *testing.T, file string) string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed (scripts/setup-debian test)")
	}
	out, err := exec.Command("tshark", "-r", file, "-T", "fields", "-e", "frame.comment").Output()
	must(t, err)
	return string(out)
}

// Drops: whose they are, and why, with a filter by reason; ^C leaves a whole file, and so does a disk without room.
func TestCaptureOfDrops(t *testing.T) {
	t.Parallel()
	s := newSite(t, "drops", siteOptions{})
	s.edge.run(everyMode(unlimited))
	w := s.ways()[0]
	s.udpServer(w.host, w.server, "")
	s.edge.ok("block", "add", w.player.String())
	file := filepath.Join(t.TempDir(), "c.pcapng")
	c := s.startCapture("--reason", "denied", "--service", w.name, "-w", file)
	p := s.udpPlayer(s.players, w.player, w.vip)
	for range 5 {
		p.silent([]byte("let me in"), time.Millisecond)
	}
	await(t, patience, "five packets in the file", func() bool {
		f, err := os.ReadFile(file)
		return err == nil && strings.Count(string(f), "reason=denied") == 5
	})
	c.stop()
	if o := c.ends(t, "5 packets in "+file, "ended by you"); o.code != 0 {
		t.Errorf("exit code %d", o.code)
	}
	if got := readCapture(t, file); len(got) != 5 || got[0] != w.player.String()+" > "+w.vip.Addr().String() {
		t.Errorf("read %v", got)
	}
	want := fmt.Sprintf("parry verdict=drop reason=denied service=%s direction=up client=%v\n", w.name, w.player)
	if comments := tsharkComments(t, file); comments != strings.Repeat(want, 5) {
		t.Errorf("comments: %s", comments)
	}
	full := s.capture("-w", "/dev/full")
	if o := full.ends(t, "no room for more", "what is in /dev/full is whole"); o.code != 1 {
		t.Errorf("on a full disk: exit code %d: %s", o.code, o.err)
	}
	await(t, patience, "the fast path to tell no more than always", func() bool {
		return strings.Count(s.edge.said(), "a capture ends") == strings.Count(s.edge.said(), "a capture begins")
	})
	for what, args := range map[string][]string{
		"there is no service nosuch": {"--service", "nosuch"}, "there is no session 00": {"--session", "00"}, "there is no drop reason nosuch": {"--reason", "nosuch"},
	} {
		if o := s.edge.cli("", append([]string{"capture", "-w", file}, args...)...); o.code != 1 || !strings.Contains(o.err, what) {
			t.Errorf("%v: exit code %d, %s", args, o.code, o.err)
		}
	}
	if got := readCapture(t, file); len(got) != 5 {
		t.Error("a capture that was refused emptied the file")
	}
	var held []*capturing
	for range 4 {
		held = append(held, s.startCapture("-w", filepath.Join(t.TempDir(), "held.pcapng")))
	}
	if o := s.edge.cli("", "capture", "-w", file); o.code != 1 || !strings.Contains(o.err, "4 captures go on already") {
		t.Errorf("a fifth: exit code %d, %s", o.code, o.err)
	}
	for _, c := range held {
		c.stop()
		c.ends(t, "ended by you")
	}
}
