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
	"parry/pkg/gate"
)

// wire gives the commands what they run on.
func wire() deps {
	v := buildVersion(version)
	return deps{
		Version: v,
		Run: func(ctx context.Context, o RunOptions) error {
			log, lost := newLogger(o, os.Stderr)
			return engine.Run(ctx, engine.Options{Config: o.Config, Version: v, Log: log, LostLines: lost, Getenv: os.Getenv})
		},
		Check: func(_ context.Context, path string, host bool) error {
			return engine.Check(path, host, func(s string) { fmt.Fprintln(os.Stderr, "note:", s) })
		},
		Detach: func(_ context.Context, pin string) error {
			log, _ := newLogger(RunOptions{LogLevel: slog.LevelWarn}, os.Stderr)
			return engine.Detach(pin, log)
		},
		Replay: func(ctx context.Context, o ReplayOptions, out io.Writer) error {
			return engine.Replay(ctx, engine.ReplayOptions(o), out)
		},
		OpenLists:   engine.OpenLists,
		CompileGate: gate.Compile,
		TryGate:     engine.TryGate,
		Way:         engine.Way,
		Commands:    []func() *cobra.Command{newLabCommand, newBenchCommand, func() *cobra.Command { return newDoctorCommand(os.Getenv) }, newInitCommand, newTryCommand, newTrialCommand},
		Getenv:      os.Getenv,
		Now:         time.Now,
	}
}
