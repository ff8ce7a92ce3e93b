// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"parry/pkg/engine"
)

// wire gives the commands what they run on.
func wire() deps {
	v := buildVersion(version)
	return deps{
		Version: v,
		Run: func(ctx context.Context, o RunOptions) error {
			return engine.Run(ctx, engine.Options{Config: o.Config, Version: v, Log: logger(o), Getenv: os.Getenv})
		},
		Check: func(_ context.Context, path string, host bool) error {
			return engine.Check(path, host, func(s string) { fmt.Fprintln(os.Stderr, "note:", s) })
		},
		Detach: func(_ context.Context, pin string) error {
			return engine.Detach(pin, logger(RunOptions{LogLevel: slog.LevelWarn}))
		},
		Replay: func(ctx context.Context, o ReplayOptions, out io.Writer) error {
			return engine.Replay(ctx, engine.ReplayOptions(o), out)
		},
		OpenLists: engine.OpenLists,
		Commands:  []func() *cobra.Command{newLabCommand},
		Getenv:    os.Getenv,
		Now:       time.Now,
	}
}

func logger(o RunOptions) *slog.Logger {
	opts := &slog.HandlerOptions{Level: o.LogLevel}
	if o.LogJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}
