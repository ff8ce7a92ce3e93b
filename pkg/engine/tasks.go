// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"sync"
)

// tasks are goroutines that end together.
type tasks struct {
	wg  sync.WaitGroup
	mu  sync.Mutex // guards err
	err error
}

// start runs fn; when it fails, stop is called so that the others end too.
func (t *tasks) start(stop func(), fn func() error) {
	t.wg.Go(func() {
		if err := fn(); err != nil && !errors.Is(err, context.Canceled) {
			t.mu.Lock()
			t.err = errors.Join(t.err, err)
			t.mu.Unlock()
			stop()
		}
	})
}

func (t *tasks) wait() error {
	t.wg.Wait()
	return t.err
}
