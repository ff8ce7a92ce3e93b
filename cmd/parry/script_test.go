// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"parry/pkg/api"
	"parry/pkg/api/apitest"
	"parry/pkg/config"
	"parry/pkg/gate"
	"parry/pkg/guard"
)

var update = flag.Bool("update", false, "rewrite the sessions in testdata with what the commands say now")

func TestMain(m *testing.M) {
	flag.Parse()
	time.Local = time.UTC // `top` shows local times
	goleak.VerifyTestMain(m)
}

// A session is a text file: what is typed, and what must come out of it.
//
//	# a comment
//	$ parry block add 203.0.113.7 < file     what is typed; $? runs it with no daemon
//	| a line of stdout
//	! a line of stderr
//	exit 1                                   unless it is 0
//	file list.txt                            makes a file of the lines that begin with >
//	> 203.0.113.7
//
// -update writes what came out into the file. Sockets and temporary folders show as SOCKET and DIR.
func TestSessions(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sessions: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			path, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newSessionRunner(t).run(string(want))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the session went otherwise; -update accepts it (-want +got):\n%s", diff)
			}
		})
	}
}

// runner plays one session against a daemon that is a fake edge.
type runner struct {
	t      *testing.T
	dir    string
	socket string
	edge   *apitest.Edge // behind the daemon
	pinned *apitest.Edge // what it left pinned, for when no daemon runs
}

func newSessionRunner(t *testing.T) *runner {
	r := &runner{t: t, dir: t.TempDir(), edge: apitest.World(), pinned: apitest.World()}
	r.socket = filepath.Join(r.dir, "parry.sock")
	r.edge.Step = traffic
	r.edge.Kept = api.Confirmed{PID: 1234, Config: "/root/parry.yaml", Pin: defaultPin}
	t.Chdir(r.dir)
	log := slog.New(slog.DiscardHandler)
	l, err := api.Listen(t.Context(), r.socket, "", log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- api.NewHTTPServer(r.edge, api.HTTPOptions{SpoolDir: r.dir, Now: apitest.Epoch}, log).Serve(ctx, l)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// traffic is what happens in the second between two statuses.
func traffic(st *api.Status) {
	up := *st.Services[0].Up
	up.Packets += 12_000
	up.Bytes += 1_000_000
	st.Services[0].Up = &up
	st.Drops = map[string]uint64{"rate_src": st.Drops["rate_src"] + 900_000, "denied": 89, "bad_ihl": 2}
	st.Services[0].Drops = map[string]uint64{"rate_src": st.Drops["rate_src"], "denied": 89}
	st.Time = st.Time.Add(time.Second)
	st.UptimeMS += 1000
}

// deps are the fakes that the commands run on.
func (r *runner) deps(daemon bool) deps {
	return deps{
		Version: "v0.1.0",
		Run: func(_ context.Context, opt RunOptions) error {
			return fmt.Errorf("ran %+v", opt)
		},
		Check: func(_ context.Context, path string, host bool) error {
			if host {
				return errors.New("attaching needs root: run it with sudo")
			}
			_, err := config.Load(path)
			return err
		},
		Detach: func(_ context.Context, pin string) error {
			if pin == "/nothing" {
				return errors.New("nothing is pinned in /nothing")
			}
			return nil
		},
		Replay: func(_ context.Context, opt ReplayOptions, out io.Writer) error {
			_, err := fmt.Fprintf(out, "replayed %+v\n", opt)
			return err
		},
		OpenLists: func(pin string) (api.Lists, io.Closer, error) {
			if pin != defaultPin {
				return nil, nil, fmt.Errorf("%s: no such folder", pin)
			}
			return r.pinned, io.NopCloser(nil), nil
		},
		CompileGate: func(_ context.Context, source string, diagnostics io.Writer) ([]byte, error) {
			text, err := os.ReadFile(source)
			if err == nil && !strings.Contains(string(text), "PARRY_GATE") {
				fmt.Fprintf(diagnostics, "%s:1:1: error: expected identifier\n", source)
				err = fmt.Errorf("%s: %w", source, gate.ErrCompile)
			}
			return []byte("\x7fELF compiled " + strings.TrimSuffix(filepath.Base(source), ".c")), err
		},
		TryGate: func(object []byte) (gate.Trial, error) {
			words := strings.Fields(string(object))
			t := gate.Trial{Name: words[len(words)-1], Proof: "none", About: "a gate", Instructions: 41, Tried: daemon, Verified: 1087, MachineCode: 512}
			if t.Name == "loops" {
				return t, errors.New("gate loops: the kernel's verifier refuses it at loops.c:7: `for (;;)`: it may loop without end")
			}
			return t, nil
		},
		Way: func(server netip.Addr) (guard.Way, error) {
			w := guard.Way{Source: netip.MustParseAddr("10.0.1.1"), Link: "eth1", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
			if server == netip.MustParseAddr("10.9.1.12") {
				w.Gateway = netip.MustParseAddr("10.0.1.254")
			}
			return w, nil
		},
		Commands: []func() *cobra.Command{
			func() *cobra.Command { return newDoctorCommand(func(string) string { return "" }) }, newInitCommand, newTryCommand, newTrialCommand,
		},
		Getenv: func(k string) string {
			if k != "PARRY_SOCKET" {
				return ""
			}
			if daemon {
				return r.socket
			}
			return r.socket + ".none"
		},
		Now: apitest.Epoch,
	}
}

// run plays the session and returns it with what came out.
func (r *runner) run(session string) string {
	var got strings.Builder
	var file string
	for line := range strings.Lines(session) {
		line = strings.TrimSuffix(line, "\n")
		mark, rest, _ := strings.Cut(line, " ")
		switch mark {
		case "$", "$?":
			got.WriteString(line + "\n" + r.command(rest, mark == "$"))
		case "file":
			file = rest
			r.write(file, "", os.O_TRUNC)
			got.WriteString(line + "\n")
		case ">":
			r.write(file, rest+"\n", os.O_APPEND)
			got.WriteString(line + "\n")
		case "|", "!", "exit":
		default:
			got.WriteString(line + "\n")
		}
	}
	return got.String()
}

func (r *runner) write(name, text string, flag int) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|flag, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		r.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// command runs one line and returns what came out in the session's form.
func (r *runner) command(line string, daemon bool) string {
	args, input := words(line)
	var in io.Reader = strings.NewReader("")
	if input != "" {
		f, err := os.Open(input)
		if err != nil {
			r.t.Fatal(err)
		}
		defer f.Close()
		in = f
	}
	if len(args) == 0 || args[0] != "parry" {
		r.t.Fatalf("%q is no parry command", line)
	}
	var out, errs bytes.Buffer
	code := execute(r.t.Context(), r.deps(daemon), args[1:], streams{in: in, out: &out, err: &errs})
	text := marked("|", r.plain(out.String())) + marked("!", r.plain(errs.String()))
	if code != 0 {
		text += fmt.Sprintf("exit %d\n", code)
	}
	return text
}

// plain takes out what differs from run to run.
func (r *runner) plain(s string) string {
	s = strings.ReplaceAll(s, r.socket, "SOCKET")
	s = strings.ReplaceAll(s, r.dir, "DIR")
	s = regexp.MustCompile(`"id":"[A-Z2-7]{8}-`).ReplaceAllString(s, `"id":"RUN-`)
	return regexp.MustCompile(`go1\.\S+ linux/\w+|"(go|arch)": "\w[^"]*"`).ReplaceAllString(s, "GO")
}

func marked(mark, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSuffix(mark+" "+strings.TrimSuffix(line, "\n"), " ") + "\n")
	}
	return b.String()
}

// words splits a command line at blanks outside quotes; < names the input.
func words(line string) (args []string, input string) {
	for _, m := range regexp.MustCompile(`"([^"]*)"|'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1) {
		args = append(args, m[1]+m[2]+m[3])
	}
	if n := len(args); n > 2 && args[n-2] == "<" {
		return args[:n-2], args[n-1]
	}
	return args, ""
}
