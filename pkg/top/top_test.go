// SPDX-License-Identifier: Apache-2.0

package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBetween(t *testing.T) {
	at := apitest.Epoch()
	was := api.Status{
		Time: at, Drops: map[string]uint64{"rate_src": 100}, Host: api.Traffic{Packets: 10, Bytes: 1000},
		Services: []api.Service{
			{Name: "arena", Up: &api.Traffic{Packets: 1000, Bytes: 100_000}, Down: &api.Traffic{Packets: 500}, Drops: map[string]uint64{"rate_src": 100}},
			{Name: "reset", Up: &api.Traffic{Packets: 1000, Bytes: 9000}},
		},
	}
	now := api.Status{
		Time: at.Add(2 * time.Second), Drops: map[string]uint64{"rate_src": 300, "denied": 8}, Host: api.Traffic{Packets: 14, Bytes: 1500},
		Services: []api.Service{
			{Name: "arena", State: "attack", Sessions: 3, Up: &api.Traffic{Packets: 3000, Bytes: 350_000}, Down: &api.Traffic{Packets: 500}, Drops: map[string]uint64{"rate_src": 300}},
			{Name: "reset", Up: &api.Traffic{Packets: 20, Bytes: 4000}},
			{Name: "new", Sessions: 1, Up: &api.Traffic{Packets: 20, Bytes: 2000}, Drops: map[string]uint64{"denied": 8}},
		},
	}
	none := map[string]float64{}
	want := Frame{
		Time: now.Time, IntervalMS: 2000, Sessions: 4,
		Services: []Service{
			{Name: "arena", State: "attack", Sessions: 3, Up: &Rate{1000, 1_000_000}, Down: &Rate{}, Drops: map[string]float64{"rate_src": 100}, WouldDrop: none},
			{Name: "reset", Up: &Rate{10, 16_000}, Drops: none, WouldDrop: none},
			{Name: "new", Sessions: 1, Drops: none, WouldDrop: none},
		},
		Drops: map[string]float64{"rate_src": 100, "denied": 4}, WouldDrop: none, Host: &Rate{2, 2000},
	}
	if diff := cmp.Diff(want, Between(&was, &now)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, prev := range map[string]*api.Status{"first": nil, "clock went back": &now} {
		f := Between(prev, &was)
		if f.IntervalMS != 0 || f.Services[0].Up != nil || f.Host != nil || len(f.Drops) != 0 {
			t.Errorf("%s: rates from nothing: %+v", name, f)
		}
	}
}

// played is an edge on which each second brings traffic.
func played() *apitest.Edge {
	edge := apitest.World()
	edge.Step = func(st *api.Status) {
		up := *st.Services[0].Up
		up.Packets += 12_000
		up.Bytes += 1_000_000
		st.Services[0].Up = &up
		st.Drops = map[string]uint64{"rate_src": st.Drops["rate_src"] + 900_000, "denied": 89}
		st.Services[0].Drops = st.Drops
		st.Time = st.Time.Add(time.Second)
	}
	return edge
}

func TestWithoutATerminalEachIntervalIsAFrame(t *testing.T) {
	var out bytes.Buffer
	opt := Options{Status: played().Status, Interval: time.Millisecond, Count: 2, JSON: true}
	if err := Run(t.Context(), strings.NewReader(""), &out, opt); err != nil {
		t.Fatal(err)
	}
	frames := 0
	for dec := json.NewDecoder(&out); ; frames++ {
		var f Frame
		if err := dec.Decode(&f); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if f.IntervalMS != 1000 || f.Services[0].Up.PacketsPerSecond != 12_000 || f.Services[0].Up.BitsPerSecond != 8_000_000 || f.Drops["rate_src"] != 900_000 {
			t.Errorf("frame %+v", f)
		}
		if f.Services[2].Down != nil {
			t.Error("a direction that the edge doesn't see has a rate")
		}
	}
	if frames != 2 {
		t.Errorf("%d frames", frames)
	}

	opt.JSON = false
	if err := Run(t.Context(), nil, &out, opt); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12.0 kpkt/s  8.00 Mbit/s", "rate_src         900 kpkt/s", "eth1 is unprotected"} {
		if strings.Count(out.String(), want) != 2 {
			t.Errorf("not two of %q in\n%s", want, out.String())
		}
	}
}

func TestADaemonThatGoesAwayEndsAPlainTop(t *testing.T) {
	gone := errors.New("no daemon answers")
	calls := 0
	opt := Options{Interval: time.Millisecond, Status: func(context.Context) (api.Status, error) {
		if calls++; calls > 2 {
			return api.Status{}, gone
		}
		return api.Status{Time: apitest.Epoch().Add(time.Duration(calls) * time.Second)}, nil
	}}
	if err := Run(t.Context(), nil, io.Discard, opt); !errors.Is(err, gone) || calls != 3 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

// pty gives both ends of a pseudo-terminal.
func pty(t *testing.T) (user, tty *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { user.Close(); tty.Close() }) // in this order: the first wakes who still writes
	return user, tty
}

// readUntil reads the screen until it shows text.
func readUntil(t *testing.T, user *os.File, text string) string {
	t.Helper()
	var all []byte
	buf := make([]byte, 4096)
	for begin := time.Now(); !bytes.Contains(all, []byte(text)); {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("no %q on the screen:\n%q", text, all[:min(len(all), 4096)])
		}
		fds := []unix.PollFd{{Fd: int32(user.Fd()), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, 10_000); n == 0 || err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatalf("no %q on the screen: %v\n%q", text, err, all)
		}
		n, err := user.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, buf[:n]...)
	}
	return string(all)
}

func TestOnATerminalTheScreenIsRedrawnAndGivenBack(t *testing.T) {
	for name, quit := range map[string]func(user *os.File, cancel func()){
		"q":      func(user *os.File, _ func()) { _, _ = user.Write([]byte("xq")) },
		"ctrl-c": func(user *os.File, _ func()) { _, _ = user.Write([]byte{3}) },
		"signal": func(_ *os.File, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			user, tty := pty(t)
			before, err := term.GetState(int(tty.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				done <- Run(ctx, tty, tty, Options{Status: played().Status, Interval: 5 * time.Millisecond})
			}()
			screen := readUntil(t, user, "12.0 kpkt/s")
			if !strings.HasPrefix(screen, enterScreen) {
				t.Errorf("the screen begins with %q", screen[:min(40, len(screen))])
			}
			quit(user, cancel)
			readUntil(t, user, leaveScreen)
			if err := <-done; err != nil {
				t.Error(err)
			}
			after, err := term.GetState(int(tty.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			if *before != *after {
				t.Error("the terminal is not as it was")
			}
		})
	}
}

func TestOnATerminalADaemonMayGoAndReturn(t *testing.T) {
	user, tty := pty(t)
	edge := played()
	calls := 0
	status := func(ctx context.Context) (api.Status, error) {
		if calls++; calls == 2 {
			return api.Status{}, errors.New("no daemon answers")
		}
		return edge.Status(ctx)
	}
	done := make(chan error, 1)
	go func() {
		done <- Run(t.Context(), tty, tty, Options{Status: status, Interval: time.Millisecond, Count: 1})
	}()
	screen := readUntil(t, user, leaveScreen)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.Contains(screen, "no daemon answers") || !strings.Contains(screen, "12.0 kpkt/s") {
		t.Errorf("screen %q", screen)
	}
}

func TestAFrameFitsTheScreen(t *testing.T) {
	got := string(fit([]byte("a\nb\nc\nd\n"), 3))
	if want := "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
