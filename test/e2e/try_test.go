// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"parry/pkg/api"
	"parry/pkg/netns"
)

// tried is a `parry try` that runs in a site's edge host.
type tried struct {
	*site
	proc   *netns.Process
	out    *lockedBuffer
	before string
}

// lockedBuffer is written by one and read by another.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newTried makes a world whose edge keeps its state and socket in folders that are not there yet, and remembers how it looks.
func newTried(t *testing.T, name, config string) *tried {
	t.Helper()
	s := newSite(t, name, siteOptions{})
	s.edge.state = filepath.Join(s.net.Dir(), "state")
	s.edge.socket = filepath.Join(s.net.Dir(), "run", "parry.sock")
	s.edge.client = api.Dial(s.edge.socket)
	s.edge.configure(config)
	r := &tried{site: s, out: &lockedBuffer{}}
	t.Cleanup(func() {
		if t.Failed() {
			log, err := os.ReadFile(r.log())
			t.Logf("parry try said:\n%s\nits log (%v):\n%s", r.out, err, log)
		}
	})
	r.before = r.looks()
	return r
}

// looks is what a trial may change of a host.
func (r *tried) looks() string {
	var b strings.Builder
	for _, argv := range [][]string{
		{"ip", "-d", "-o", "link", "show"}, {"ip", "-o", "addr"}, {"ip", "route", "show", "table", "all"}, {"ip", "-6", "route", "show", "table", "all"},
		{"ip", "neigh", "show", "proto", "112"}, {needProgram(r.t, "bpftool"), "net", "show"},
	} {
		fmt.Fprintln(&b, argv, "\n", r.run(r.gate, argv...))
	}
	for _, path := range []string{"/proc/sys/net/ipv4/conf/lo/forwarding", "/proc/sys/net/ipv6/conf/lo/forwarding"} {
		must(r.t, r.gate.Do(func() error {
			text, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%s %s", path, text)
			return err
		}))
	}
	for _, dir := range []string{r.edge.state, filepath.Dir(r.edge.socket), r.edge.pin} {
		_, err := os.Stat(dir)
		fmt.Fprintf(&b, "%s is not there: %v\n", dir, errors.Is(err, fs.ErrNotExist))
	}
	return b.String()
}

// start runs the trial, and waits until the edge is attached.
func (r *tried) start(lasts time.Duration, change func(*exec.Cmd)) {
	r.t.Helper()
	cmd := exec.Command(r.edge.bin, "try", "-c", r.edge.file, "--for", lasts.String())
	cmd.Stdout, cmd.Stderr, cmd.Env = r.out, r.out, append(os.Environ(), "TMPDIR="+r.net.Dir())
	if change != nil {
		change(cmd)
	}
	var err error
	r.proc, err = r.gate.Start(cmd)
	must(r.t, err)
	r.edge.await(startPatience, "the edge to be tried", func() bool {
		select {
		case <-r.proc.Done():
			r.t.Fatalf("parry try ended: %v\n%s", r.proc.Err(), r.out)
		default:
		}
		return strings.Contains(r.out.String(), "attached to players, servers")
	})
	if r.attached()["players"] == 0 {
		r.t.Fatal("it says that it is attached, and nothing is")
	}
}

// daemon is the process of the edge on trial.
func (r *tried) daemon() int {
	r.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", r.proc.PID(), r.proc.PID()))
	must(r.t, err)
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", r.proc.PID()))
	must(r.t, err)
	for _, f := range all {
		if more, err := os.ReadFile(f); err == nil {
			text = append(append(text, ' '), more...)
		}
	}
	words := strings.Fields(string(text))
	if len(words) == 0 {
		r.t.Fatal("parry try has no child")
	}
	pid, err := strconv.Atoi(words[0])
	must(r.t, err)
	return pid
}

// ends waits until the trial's command has ended, and gives its exit code.
func (r *tried) ends() int {
	r.t.Helper()
	select {
	case <-r.proc.Done():
	case <-time.After(30 * time.Second):
		r.t.Fatalf("parry try does not end\n%s", r.out)
	}
	var exit *exec.ExitError
	if errors.As(r.proc.Err(), &exit) {
		return exit.ExitCode()
	}
	must(r.t, r.proc.Err())
	return 0
}

// log is what the trial logs to, "" if it is there no more.
func (r *tried) log() string {
	all, err := filepath.Glob(filepath.Join(r.net.Dir(), "parry-try-*.log"))
	must(r.t, err)
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// leavesNothing waits until the host looks as it did.
func (r *tried) leavesNothing() {
	r.t.Helper()
	if _, ok := eventually(stopPatience, func() bool { return r.looks() == r.before }); !ok {
		r.t.Errorf("left behind:\n%s\n%s", diff(r.before, r.looks()), r.out)
	}
}

func TestTryUndoesItself(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, says string
		code       int
		end        func(*tried)
	}{
		{"time", "the time is up and nobody confirmed: detached, nothing is left", 0, func(*tried) {}},
		{"interrupt", "you ended it: detached, nothing is left", 0, func(r *tried) { must(r.t, r.proc.Signal(os.Interrupt)) }},
		{"hangup", "this terminal is gone: detached, nothing is left", 1, func(r *tried) { must(r.t, r.proc.Signal(syscall.SIGHUP)) }},
		{"killed", "", -1, func(r *tried) { must(r.t, r.proc.Signal(syscall.SIGKILL)) }},
		{"daemonkilled", "parry ended by itself (signal: killed); it is detached", 1, func(r *tried) { must(r.t, syscall.Kill(r.daemon(), syscall.SIGKILL)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newTried(t, "try"+c.name, everyMode(unlimited))
			lasts := time.Hour
			if c.name == "time" {
				lasts = 5 * time.Second
			}
			r.start(lasts, nil)
			for _, w := range r.ways() {
				r.udpServer(w.host, w.server, "")
				r.udpPlayer(r.players, w.player, w.vip).echo(10)
			}
			c.end(r)
			if code := r.ends(); code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, r.out)
			}
			r.leavesNothing()
			if log := r.log(); (log != "") != (c.name == "daemonkilled") { // that one is to be read
				t.Errorf("its log: %q", log)
			}
			if !strings.Contains(r.out.String(), c.says) {
				t.Errorf("it does not say %q:\n%s", c.says, r.out)
			}
			t.Logf("\n%s", r.out)
		})
	}
}

// Both processes at once, as when a session is killed with all that is in it: the kernel alone is left to undo it.
func TestTryThatIsKilledWholeIsDetachedByTheKernel(t *testing.T) {
	r := newTried(t, "trykilled", everyMode(unlimited))
	r.start(time.Hour, nil)
	daemon := r.daemon()
	must(t, syscall.Kill(daemon, syscall.SIGSTOP), r.proc.Signal(syscall.SIGKILL), syscall.Kill(daemon, syscall.SIGKILL))
	r.ends()
	await(t, stopPatience, "the kernel to detach it", func() bool {
		on := r.attached()
		return on["players"] == 0 && on["servers"] == 0
	})
	if _, err := os.Stat(r.edge.pin); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left (%v)", r.edge.pin, err)
	}
	r.edge.start() // what little is left of it is in nobody's way
	r.edge.term()
	r.edge.ok("detach", "-c", r.edge.file)
}

// Confirmed, it is an edge like any other: it outlives the command and the daemon, and another adopts it.
func TestTryThatIsConfirmedStays(t *testing.T) {
	t.Parallel()
	r := newTried(t, "tryconfirmed", everyMode(unlimited))
	r.start(30*time.Second, nil)
	w := r.ways()[0]
	r.udpServer(w.host, w.server, "")
	game := r.udpPlayer(r.players, w.player, w.vip).play(2 * time.Millisecond)
	game.more(50)
	daemon := r.daemon()
	if second := r.edge.cli("", "try", "-c", r.edge.file); second.code != 1 || !strings.Contains(second.err, "a parry runs already") {
		t.Errorf("a second trial: exit code %d, %s", second.code, second.err)
	}
	said := r.edge.ok("confirm")
	if !strings.Contains(said, fmt.Sprintf("process %d", daemon)) || !strings.Contains(said, "systemctl enable") {
		t.Errorf("confirm says %s", said)
	}
	if code := r.ends(); code != 0 || !strings.Contains(r.out.String(), "kept: parry runs on") {
		t.Errorf("exit code %d\n%s", code, r.out)
	}
	t.Cleanup(func() { _ = syscall.Kill(daemon, syscall.SIGKILL) }) // it is nobody's child any more
	game.more(50)
	r.edge.ok("confirm") // once more changes nothing
	r.edge.ok("reload")
	if o := r.edge.cli("", "run", "-c", r.edge.file); o.code != 1 || !strings.Contains(o.err, "stop it first") {
		t.Errorf("a second daemon: exit code %d, %s", o.code, o.err)
	}
	if o := r.edge.cli("", "detach", "-c", r.edge.file); o.code != 1 || !strings.Contains(o.err, "owns what is pinned") {
		t.Errorf("detach while it runs: exit code %d, %s", o.code, o.err)
	}
	must(t, syscall.Kill(daemon, syscall.SIGKILL))
	r.edge.await(stopPatience, "the daemon to end", func() bool { return r.edge.client.Ping(t.Context()) != nil })
	game.more(50)
	r.edge.start()
	if !strings.Contains(r.edge.said(), "adopted=true") {
		t.Error("the next daemon does not say that it adopted what it found")
	}
	game.more(50)
	game.noLoss()
	if o := r.edge.cli("", "confirm"); o.code != 1 || !strings.Contains(o.err, "nothing is on trial") {
		t.Errorf("confirm with nothing on trial: exit code %d, %s", o.code, o.err)
	}
	r.edge.term()
	r.edge.ok("detach", "-c", r.edge.file)
	if !strings.Contains(r.out.String(), "its log is "+r.log()) {
		t.Errorf("it does not say where its log is:\n%s", r.out)
	}
	must(t, os.RemoveAll(r.edge.state), os.RemoveAll(filepath.Dir(r.edge.socket)))
	r.leavesNothing()
}

// At a real terminal: confirm is typed there, or the terminal closes.
func TestTryAtATerminal(t *testing.T) {
	t.Parallel()
	script := needProgram(t, "script")
	var stdin io.WriteCloser
	atTerminal := func(cmd *exec.Cmd) {
		line := strings.Join(cmd.Args, " ")
		cmd.Path, cmd.Args = script, []string{script, "--quiet", "--return", "--flush", "--command", line, os.DevNull}
		var err error
		stdin, err = cmd.StdinPipe()
		must(t, err)
	}
	t.Run("confirm", func(t *testing.T) {
		r := newTried(t, "trytyped", everyMode(unlimited))
		r.start(30*time.Second, atTerminal)
		_, err := io.WriteString(stdin, "what now?\nconfirm\n")
		must(t, err)
		if code := r.ends(); code != 0 || !strings.Contains(r.out.String(), "kept: parry runs on") || !strings.Contains(r.out.String(), "type confirm to keep it") {
			t.Errorf("exit code %d\n%s", code, r.out)
		}
		words := strings.Fields(r.out.String()[strings.Index(r.out.String(), "as process ")+len("as process "):])
		pid, err := strconv.Atoi(strings.TrimSuffix(words[0], ";"))
		must(t, err, syscall.Kill(pid, syscall.SIGTERM))
		r.edge.await(stopPatience, "the daemon to end", func() bool { return syscall.Kill(pid, 0) != nil })
		r.edge.ok("detach", "-c", r.edge.file)
		must(t, os.RemoveAll(r.edge.state), os.RemoveAll(filepath.Dir(r.edge.socket)))
		r.leavesNothing()
	})
	t.Run("closed", func(t *testing.T) {
		r := newTried(t, "tryclosed", everyMode(unlimited))
		r.start(30*time.Second, atTerminal)
		must(t, r.proc.Signal(syscall.SIGKILL))
		r.ends()
		r.leavesNothing()
		if log := r.log(); log != "" {
			t.Errorf("%s is left", log)
		}
	})
}

// sshLine opens the connection that an operator would type in: sshd's part is played by the test.
func (r *tried) sshLine(port uint16) (client, server net.Conn, told string) {
	r.t.Helper()
	to := at(addr("192.0.2.1"), port)
	var l net.Listener
	must(r.t, r.gate.Do(func() (err error) { l, err = net.Listen("tcp", to.String()); return err }))
	defer l.Close()
	must(r.t, r.players.Do(func() (err error) { client, err = net.Dial("tcp", to.String()); return err }))
	server, err := l.Accept()
	must(r.t, err)
	r.t.Cleanup(func() { client.Close(); server.Close() })
	from := netip.MustParseAddrPort(client.LocalAddr().String())
	return client, server, fmt.Sprintf("SSH_CONNECTION=%s %d %s %d", from.Addr(), from.Port(), to.Addr(), to.Port())
}

// The connection that the person hangs on stops to be acknowledged: the trial ends long before its time.
func TestTryEndsWhenTheConnectionIsCut(t *testing.T) {
	t.Parallel()
	r := newTried(t, "trycut", everyMode(unlimited))
	_, server, told := r.sshLine(22)
	r.start(10*time.Minute, func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, told)
		cmd.Stdout = writers{r.out, server} // what sshd would carry to the person
	})
	if !strings.Contains(r.out.String(), "your ssh connection (192.0.2.2:") {
		t.Errorf("it does not know the connection:\n%s", r.out)
	}
	must(t, r.atPlayers.SetUp(false))
	_, err := server.Write([]byte("are you there?"))
	must(t, err)
	if code := r.ends(); code != 1 || !strings.Contains(r.out.String(), "is cut") {
		t.Errorf("exit code %d\n%s", code, r.out)
	}
	if id := r.attached()["servers"]; id != 0 {
		t.Errorf("program %d is left", id)
	}
	t.Logf("\n%s", r.out)
}

// writers writes to all, whatever becomes of any.
type writers []interface{ Write([]byte) (int, error) }

func (w writers) Write(p []byte) (int, error) {
	for _, v := range w {
		_, _ = v.Write(p)
	}
	return len(p), nil
}

// A file that would cut the connection is refused, with its place and what to write.
func TestTryRefusesWhatWouldCutTheConnection(t *testing.T) {
	r := newTried(t, "tryrefused", everyMode(unlimited))
	_, _, told := r.sshLine(2222)
	try := func(config string) output {
		r.edge.configure(config)
		var out bytes.Buffer
		cmd := exec.Command(r.edge.bin, "try", "-c", r.edge.file)
		cmd.Env, cmd.Stderr = append(os.Environ(), told), &out
		p, err := r.gate.Start(cmd)
		must(t, err)
		<-p.Done()
		var exit *exec.ExitError
		errors.As(p.Err(), &exit)
		return output{err: out.String(), code: exit.ExitCode()}
	}
	for _, c := range []struct{ config, says string }{
		{everyMode(unlimited), "write host: {always: [tcp/22, tcp/2222]}"},
		{unlimited + "host: {always: [tcp/2222]}\n" + yaml(service{name: "x", listen: `"192.0.2.1:2000-3000"`, forward: "local", protocol: "tcp"}),
			`service "x" takes tcp 192.0.2.1:2000-3000, by which the ssh connection of 192.0.2.2 comes in`},
	} {
		if o := try(c.config); o.code != 2 || !strings.Contains(o.err, c.says) || !strings.HasPrefix(o.err, r.edge.file+":") {
			t.Errorf("exit code %d, %s; want %q", o.code, o.err, c.says)
		}
	}
	r.leavesNothing()
}
