// SPDX-License-Identifier: Apache-2.0

package top

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"parry/pkg/api"
	"parry/pkg/show"
)

// What the terminal is told: another screen without a cursor and without wrapped lines, and all of it back.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// errQuit says that the user has had enough.
var errQuit = errors.New("quit")

// onScreen redraws one screen until the user quits.
func onScreen(ctx context.Context, in io.Reader, out io.Writer, opt Options) (err error) {
	keys, err := newKeys(ctx, in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.close()) }()
	if _, err := io.WriteString(out, enterScreen); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer func() {
		_, werr := io.WriteString(out, leaveScreen)
		err = errors.Join(err, werr)
	}()
	var prev *api.Status
	for shown := 0; opt.Count == 0 || shown < opt.Count; {
		next := time.Now().Add(opt.Interval)
		var frame bytes.Buffer
		st, err := opt.Status(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			fmt.Fprintf(&frame, "%s\n\ntrying again every %s; q quits\n", opt.Style.Bad(err.Error()), show.Duration(opt.Interval))
			prev = nil
		} else {
			f := Between(prev, &st)
			if err := draw(&frame, opt.Style, &st, &f); err != nil {
				return err
			}
			if prev != nil {
				shown++
			}
			prev = &st
		}
		if _, err := out.Write(fit(frame.Bytes(), height(out))); err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
		if err := keys.wait(next); errors.Is(err, errQuit) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// fit turns a frame into a redraw of the screen: no more lines than there are, each cleared to its end. In raw mode
// a new line needs its carriage return.
func fit(frame []byte, lines int) []byte {
	b := []byte("\x1b[H")
	n := 0
	for line := range bytes.Lines(frame) {
		if n++; n >= lines {
			break
		}
		b = append(append(b, bytes.TrimRight(line, "\n")...), "\x1b[K\r\n"...)
	}
	return append(b, "\x1b[J"...)
}

func height(out io.Writer) int {
	if f, ok := out.(*os.File); ok {
		if _, h, err := term.GetSize(int(f.Fd())); err == nil && h > 1 {
			return h
		}
	}
	return 24
}

// keys waits for the next frame, and meanwhile for q, Ctrl-C or the end of ctx. It polls rather than reads, so no
// goroutine is left behind in a read that nothing ends.
type keys struct {
	in     *os.File    // nil: no keyboard
	before *term.State // to go back to
	wake   *os.File    // written when ctx ends
	woken  *os.File
	cancel func() bool
}

func newKeys(ctx context.Context, in io.Reader) (*keys, error) {
	k := &keys{}
	var err error
	if k.woken, k.wake, err = os.Pipe(); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_, _ = k.wake.Write([]byte{0}) // nobody waits any more if that fails
	})
	k.cancel = func() bool {
		stopped := stop()
		if !stopped {
			<-done
		}
		return stopped
	}
	if show.IsTerminal(in) {
		k.in = in.(*os.File)
		if k.before, err = term.MakeRaw(int(k.in.Fd())); err != nil {
			return nil, errors.Join(fmt.Errorf("terminal: %w", err), k.close())
		}
	}
	return k, nil
}

// close gives the terminal back as it was.
func (k *keys) close() error {
	k.cancel()
	err := errors.Join(k.wake.Close(), k.woken.Close())
	if k.before != nil {
		err = errors.Join(err, term.Restore(int(k.in.Fd()), k.before))
	}
	return err
}

// wait returns nil at the time, errQuit if it is over.
func (k *keys) wait(until time.Time) error {
	fds := []unix.PollFd{{Fd: int32(k.woken.Fd()), Events: unix.POLLIN}}
	if k.in != nil {
		fds = append(fds, unix.PollFd{Fd: int32(k.in.Fd()), Events: unix.POLLIN})
	}
	for {
		left := max(0, time.Until(until))
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait for a key: %w", err)
		case n == 0:
			return nil
		case fds[0].Revents != 0:
			return errQuit
		case k.quits():
			return errQuit
		}
	}
}

// quits reads what was typed: q, Ctrl-C, Ctrl-D or a keyboard that is gone.
func (k *keys) quits() bool {
	var typed [32]byte
	n, err := unix.Read(int(k.in.Fd()), typed[:])
	return err == nil && n == 0 || err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) ||
		bytes.ContainsAny(typed[:max(0, n)], "qQ\x03\x04")
}
