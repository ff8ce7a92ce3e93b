// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// serverLog is what the embedded server says: warnings and worse go to parry's log, and the last bad word is kept, for who tells why the
// store failed.
type serverLog struct {
	log *slog.Logger
	mu  sync.Mutex // guards bad
	bad string
}

func (l *serverLog) note(format string, args []any) {
	text := fmt.Sprintf(format, args...)
	l.log.Warn("the store's server says: " + text)
	l.mu.Lock()
	l.bad = text
	l.mu.Unlock()
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
