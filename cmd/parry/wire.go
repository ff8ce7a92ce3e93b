// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/api"
)

// wire gives the commands what they run on.
func wire() deps {
	without := errors.New("this build has no edge in it")
	return deps{
		Version:   buildVersion(version),
		Run:       func(context.Context, RunOptions) error { return without },
		Check:     func(context.Context, string, bool) error { return without },
		Detach:    func(context.Context, string) error { return without },
		Replay:    func(context.Context, ReplayOptions, io.Writer) error { return without },
		OpenLists: func(string) (api.Lists, io.Closer, error) { return nil, nil, without },
		Commands:  []func() *cobra.Command{newLabCommand},
		Getenv:    os.Getenv,
		Now:       time.Now,
	}
}
