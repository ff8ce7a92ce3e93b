// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/netns"
)

const (
	startPatience = 20 * time.Second
	stopPatience  = 10 * time.Second
)

// unlimited switches per-source limits off: most tests send more than one player would.
const unlimited = "limits: {source: {packets_per_second: 0, new_sessions: 0, sessions: 0}}\n"

// edge is a parry daemon and its command line in a namespace.
type edge struct {
	t                           *testing.T
	host                        *netns.Host
	bin, pin, file, socket, log string
	state, metrics              string // a folder; an address, "" = none
	node                        string // its name
	interfaces                  []string
	client                      *api.Client
	proc                        *netns.Process
}

func newEdge(w *world, host *netns.Host, interfaces ...string) *edge {
	w.t.Helper()
	bin, err := program()
	must(w.t, err)
	mount, err := w.net.MountBPF("bpf")
	must(w.t, err)
	if len(interfaces) == 0 {
		interfaces = []string{"players", "servers"}
	}
	dir := w.net.Dir()
	e := &edge{
		t: w.t, host: host, bin: bin, pin: filepath.Join(mount, "parry"), file: filepath.Join(dir, "parry.yaml"), state: dir,
		socket: filepath.Join(dir, "parry.sock"), log: filepath.Join(dir, "parry.log"), interfaces: interfaces, node: "e2e",
	}
	e.client = api.Dial(e.socket)
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("the daemon's log:\n%s", e.said())
			if st, err := e.client.Status(context.WithoutCancel(w.t.Context())); err == nil {
				w.t.Logf("dropped %v, tables %v", st.Drops, st.Tables)
			}
		}
	})
	return e
}

// said is what the daemon has logged.
func (e *edge) said() string {
	text, err := os.ReadFile(e.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// configure writes the file: what every world has, then the test's own keys.
func (e *edge) configure(text string) {
	e.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "node: %s\ninterfaces:\n", e.node)
	for _, name := range e.interfaces {
		fmt.Fprintf(&b, "  - {name: %s}\n", name)
	}
	fmt.Fprintf(&b, "pin: %s\nstate: %s\napi: {socket: %s, group: \"\"}\nmetrics: %q\n", e.pin, e.state, e.socket, e.metrics)
	if !strings.Contains(text, "sizes:") {
		b.WriteString("sizes: {sessions: 32768, unproven: 16384, blocks: 65536, prefixes: 4096, sources: 32768, fragments: 1024}\n")
	}
	if !strings.Contains(text, "detect:") { // the players of these tests are machines, and keep the intervals of such
		b.WriteString("detect: {mode: watch}\n")
	}
	b.WriteString(text)
	must(e.t, os.WriteFile(e.file, []byte(b.String()), 0o600))
}

// launch runs the daemon.
func (e *edge) launch() {
	e.t.Helper()
	log, err := os.OpenFile(e.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(e.t, err)
	defer log.Close() // the daemon has its own
	cmd := exec.Command(e.bin, "run", "-c", e.file, "--log-level", "debug")
	cmd.Stdout, cmd.Stderr = log, log
	e.proc, err = e.host.Start(cmd)
	must(e.t, err)
}

// start runs the daemon and waits until it answers.
func (e *edge) start() {
	e.t.Helper()
	e.launch()
	e.await(startPatience, "the daemon to answer", func() bool {
		select {
		case <-e.proc.Done():
			e.t.Fatalf("parry run ended: %v\n%s", e.proc.Err(), e.said())
		default:
		}
		return e.client.Ping(e.t.Context()) == nil
	})
	_ = e.status()
}

// run configures and starts.
func (e *edge) run(text string) {
	e.t.Helper()
	e.configure(text)
	e.start()
}

// await polls until ok says yes: for what gives no event to wait for. Returns how long it took.
func (e *edge) await(patience time.Duration, what string, ok func() bool) time.Duration {
	e.t.Helper()
	return await(e.t, patience, what, ok)
}

func await(t *testing.T, patience time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	took, done := eventually(patience, ok)
	if !done {
		t.Fatalf("waited %v for %s", patience, what)
	}
	return took
}

func eventually(patience time.Duration, ok func() bool) (took time.Duration, done bool) {
	began := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(began) > patience {
			return patience, false
		}
		<-tick.C
	}
	return time.Since(began), true
}

// kill ends the daemon as kill -9 does.
func (e *edge) kill() {
	e.t.Helper()
	must(e.t, e.proc.Stop(0))
}

// term asks the daemon to end and wants it to, with exit code 0.
func (e *edge) term() {
	e.t.Helper()
	must(e.t, e.proc.Signal(syscall.SIGTERM))
	select {
	case <-e.proc.Done():
		must(e.t, e.proc.Err())
	case <-time.After(stopPatience):
		e.t.Fatalf("the daemon goes on %v after SIGTERM", stopPatience)
	}
}

func (e *edge) status() api.Status {
	e.t.Helper()
	st, err := e.client.Status(e.t.Context())
	must(e.t, err)
	return st
}

func (e *edge) drops(reason string) uint64 {
	e.t.Helper()
	return e.status().Drops[reason]
}

func (e *edge) sessions(f api.Filter) []api.Session {
	e.t.Helper()
	all, err := e.client.Sessions(e.t.Context(), f)
	must(e.t, err)
	return all
}

// output is what a command line gave.
type output struct {
	out, err string
	code     int
}

// cli runs `parry ARGS` in the edge's namespace, with input on stdin.
func (e *edge) cli(input string, args ...string) output {
	e.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(e.bin, args...)
	cmd.Env = append(os.Environ(), "PARRY_SOCKET="+e.socket)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	p, err := e.host.Start(cmd)
	must(e.t, err)
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		must(e.t, p.Stop(0))
		e.t.Fatalf("parry %s doesn't end\n%s", strings.Join(args, " "), stderr.String())
	}
	o := output{out: stdout.String(), err: stderr.String()}
	var exit *exec.ExitError
	if errors.As(p.Err(), &exit) {
		o.code = exit.ExitCode()
	} else {
		must(e.t, p.Err())
	}
	return o
}

// ok runs `parry ARGS`, which must succeed.
func (e *edge) ok(args ...string) string {
	e.t.Helper()
	o := e.cli("", args...)
	if o.code != 0 {
		e.t.Fatalf("parry %s: exit code %d\n%s%s", strings.Join(args, " "), o.code, o.out, o.err)
	}
	return o.out
}
