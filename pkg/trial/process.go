// SPDX-License-Identifier: Apache-2.0

package trial

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// process is the edge on trial. It leads a session of its own, so that neither Ctrl-C nor the terminal's end reaches it
// but by its lifeline; and it has mounts of its own, in which its pins are.
type process struct {
	proc     *os.Process
	lifeline *os.File    // its end is the trial's
	words    chan string // that the edge says; closed when it has ended
	ended    chan error  // how it ended, once
	log      *os.File
}

// start runs this very program as the edge on trial.
func start(o Options) (p *process, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	p = &process{words: make(chan string, 1), ended: make(chan error, 1)}
	if p.log, err = os.CreateTemp("", "parry-try-*.log"); err != nil {
		return nil, fmt.Errorf("make a log for the trial: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, errors.Join(err, p.removeLog())
	}
	defer null.Close()
	held, lifeline, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, p.removeLog())
	}
	defer held.Close()
	said, words, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, lifeline.Close(), p.removeLog())
	}
	defer words.Close()
	p.lifeline = lifeline
	p.proc, err = os.StartProcess(exe, append(append([]string{exe}, o.Args...), "--log", p.log.Name()), &os.ProcAttr{
		Dir: "/", Env: environ(), Files: []*os.File{null, p.log, p.log, held, words},
		Sys: &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the trial in a mount namespace of its own: %w", err), lifeline.Close(), said.Close(), p.removeLog())
	}
	go p.follow(said)
	return p, nil
}

// environ is this process's, without what ties it to a session or a service.
func environ() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "NOTIFY_SOCKET=") && !strings.HasPrefix(v, "SSH_") {
			env = append(env, v)
		}
	}
	return env
}

// follow hands on what the edge says until it says no more.
func (p *process) follow(said *os.File) {
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		p.words <- lines.Text()
	}
	_ = said.Close()
	close(p.words)
	state, err := p.proc.Wait()
	if err == nil && !state.Success() {
		err = errors.New(state.String())
	}
	p.ended <- err
}

// endPatience is how long an edge may take to let go of its interfaces.
const endPatience = 15 * time.Second

// end cuts the lifeline and waits until the process is gone, at the last by killing it: the kernel detaches then.
func (p *process) end() error {
	_ = p.lifeline.Close()
	patience := time.NewTimer(endPatience)
	defer patience.Stop()
	for words := p.words; ; {
		select {
		case _, ok := <-words: // whatever it still says
			if !ok {
				words = nil
			}
		case err := <-p.ended:
			return err
		case <-patience.C:
			return p.kill()
		}
	}
}

func (p *process) kill() error {
	_ = p.proc.Kill()
	<-p.ended
	return fmt.Errorf("parry did not end within %v and was killed: the kernel detached it", endPatience)
}

// said is the end of the log: what went wrong stands there.
func (p *process) said() string {
	const most = 4096
	info, err := p.log.Stat()
	if err != nil {
		return ""
	}
	from := max(info.Size()-most, 0)
	text, err := io.ReadAll(io.NewSectionReader(p.log, from, most))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// removeLog removes the log; the edge may have done so itself, for the case that nobody is left to do it.
func (p *process) removeLog() error {
	err := os.Remove(p.log.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(p.log.Close(), err)
}
