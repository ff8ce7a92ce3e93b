// SPDX-License-Identifier: Apache-2.0

package pcap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
)

// Each has one look at each capture in turn ("-" is standard input), and out get what it writes. What is wrong with a capture doesn't keep
// it from the next; the end of ctx does. All errors are returned, joined.
func Each(ctx context.Context, paths []string, out io.Writer, one func(path string, out io.Writer) error) error {
	w := bufio.NewWriter(out)
	var wrong error
	for _, path := range paths {
		if wrong = errors.Join(wrong, one(path, w)); ctx.Err() != nil {
			break
		}
	}
	if err := w.Flush(); err != nil && wrong == nil {
		wrong = fmt.Errorf("write what captures hold: %w", err)
	}
	return wrong
}
