// SPDX-License-Identifier: Apache-2.0

package trial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"parry/pkg/api"
	"parry/pkg/show"
)

// quietTick is how often it is told how it goes where nobody looks at a terminal.
const quietTick = 10 * time.Second

// socket is the flag that other commands need to find this edge, "" where they find it by themselves.
func (o *Options) socket() string {
	if o.Config.API.Socket == api.DefaultSocket {
		return ""
	}
	return " --socket " + o.Config.API.Socket
}

func (t *trial) tellReady() error {
	confirm := "parry confirm" + t.socket()
	typed := ""
	if t.In != nil {
		typed = ", or type confirm here"
	}
	_, err := fmt.Fprintf(t.Out, `attached to %s. It detaches by itself after %v, and at once at Ctrl-C, or when this terminal or its connection dies.
  look at it: parry status%s (from another terminal)
  keep it:    %s (from a second ssh connection: that shows that new ones get in)%s
`, strings.Join(t.Interfaces, ", "), t.For, t.socket(), confirm, typed)
	return gone(err)
}

// tellProgress writes one line, over the last one at a terminal.
func (t *trial) tellProgress(ctx context.Context, left time.Duration) error {
	left = left.Round(time.Second)
	if !t.terminal && (left == 0 || left%quietTick != 0) {
		return nil
	}
	text := fmt.Sprintf("%v left: %s", left, t.counts(ctx))
	format := "%s\n"
	if t.terminal {
		format = "\r\x1b[K%s"
	}
	_, err := fmt.Fprintf(t.Out, format, text)
	return gone(err)
}

// counts is what the edge has seen.
func (t *trial) counts(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, tick)
	defer cancel()
	st, err := t.Client.Status(ctx)
	if err != nil {
		return "parry does not answer"
	}
	var packets, sessions, dropped, would uint64
	for _, s := range st.Services {
		packets += s.Packets
		sessions += s.Sessions
	}
	for _, n := range st.Drops {
		dropped += n
	}
	for _, n := range st.WouldDrop {
		would += n
	}
	text := fmt.Sprintf("%s packets for services, %s sessions, %s dropped", show.Count(packets), show.Count(sessions), show.Count(dropped))
	if would > 0 {
		text += fmt.Sprintf(", %s would have been", show.Count(would))
	}
	return text
}

// gone makes a terminal that takes nothing any more the reason to end.
func gone(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errHangup, err)
}

func (t *trial) tellKept() error {
	pid := t.p.proc.Pid
	_, err := fmt.Fprintf(t.Out, "%skept: parry runs on as process %d; its log is %s\n%s", t.fresh(), pid, t.p.log.Name(), Permanent(pid, t.File))
	return err
}

// Permanent says how an edge that was confirmed is run for good.
func Permanent(pid int, file string) string {
	return fmt.Sprintf(`It runs until this machine restarts. To have it always (play goes on meanwhile, nothing is lost):
  install -D -m 640 %s /etc/parry/parry.yaml
  kill %d && systemctl enable --now parry      (the unit: scripts/parry.service, docs/getting-started.md)
To end it: kill %d && parry detach -c %s
`, file, pid, pid, file)
}

// fresh ends the line that progress is written over.
func (t *trial) fresh() string {
	if t.terminal && !t.began.IsZero() {
		return "\n"
	}
	return ""
}

// tellOver says why the trial ended; the error is nil where all went as it was meant to.
func (t *trial) tellOver(why, ended error) error {
	text, name := t.p.said(), t.p.log.Name()
	switch {
	case errors.Is(why, errDied) && t.began.IsZero():
		return fmt.Errorf("it could not be attached, and nothing is left of it (%s):\n%s", name, text)
	case errors.Is(why, errDied):
		return fmt.Errorf("%w (%w); it is detached. Its last words (all are in %s):\n%s", why, orSilent(ended), name, text)
	case ended != nil:
		return fmt.Errorf("%w: %w (%s):\n%s", why, ended, name, text)
	}
	var o over
	if !errors.As(why, &o) {
		return errors.Join(fmt.Errorf("%w: detached, nothing is left", why), t.p.removeLog())
	}
	_, _ = fmt.Fprintf(t.Out, "%s%s: detached, nothing is left\n", t.fresh(), o) // nobody may be there to read it
	return t.p.removeLog()
}

func orSilent(err error) error {
	if err == nil {
		return errors.New("without a word")
	}
	return err
}
