// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// serverLog is what the embedded server says: warnings and worse. The last bad word is kept for who tells why the store failed; once the
// store is open each goes to parry's log, too.
type serverLog struct {
	log  *slog.Logger
	mu   sync.Mutex // guards the rest
	open bool
	bad  string
}

func (l *serverLog) note(format string, args []any) {
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad = text
	if l.open {
		l.log.Warn("state: the store's server says: " + text)
	}
}

func (l *serverLog) opened() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = true
}

// worst is the last bad word since it was last asked; nil: there was none.
func (l *serverLog) worst() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bad == "" {
		return nil
	}
	err := errors.New(l.bad)
	l.bad = ""
	return err
}

// The server's own levels. What is below a warning is of no use to who runs an edge.
func (l *serverLog) Noticef(string, ...any)            {}
func (l *serverLog) Debugf(string, ...any)             {}
func (l *serverLog) Tracef(string, ...any)             {}
func (l *serverLog) Warnf(format string, args ...any)  { l.note(format, args) }
func (l *serverLog) Errorf(format string, args ...any) { l.note(format, args) }
func (l *serverLog) Fatalf(format string, args ...any) { l.note(format, args) }
