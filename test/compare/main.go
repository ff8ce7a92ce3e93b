// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted; the worlds are removed")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(errOut)
	asJSON := f.Bool("json", false, "write one JSON document")
	asMarkdown := f.Bool("markdown", false, "write a table for a README")
	binary := f.String("parry", "bin/parry", "the program under test")
	l := load{}
	f.IntVar(&l.rounds, "rounds", 25, "how often each way is measured")
	packets := f.Uint("packets", 100_000, "packets of a flood")
	f.IntVar(&l.pings, "pings", 500, "round trips of a round")
	if err := f.Parse(args); err != nil {
		return err
	}
	l.packets = uint32(min(*packets, 100_000_000))
	if l.rounds < 1 || l.packets < 1 || l.pings < 1 {
		return errors.New("-rounds, -packets and -pings are at least 1")
	}
	if os.Geteuid() != 0 {
		return errors.New("network namespaces and BPF need root: run it with sudo")
	}
	dir, err := os.MkdirTemp("", "parry-compare-")
	if err != nil {
		return err
	}
	progress := func(what string) { fmt.Fprintln(errOut, what) }
	r, err := compare(ctx, ways(*binary, dir), l, progress)
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		return err
	}
	switch {
	case *asJSON:
		return r.writeJSON(out)
	case *asMarkdown:
		return r.writeMarkdown(out)
	}
	return r.writeText(out)
}

// compare sets all ways up, measures, and removes what it made.
func compare(ctx context.Context, all []way, l load, progress func(string)) (_ *Report, err error) {
	var runners []*runner
	var skipped []string
	defer func() {
		for _, r := range slices.Backward(runners) {
			err = errors.Join(err, r.site.Close())
		}
	}()
	for _, w := range all {
		progress("setting up: " + w.name)
		s, err := newSite(ctx, w.key, w.target)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		err = w.set(ctx, s)
		if errors.Is(err, errAbsent) {
			skipped = append(skipped, fmt.Sprintf("%s: %v", w.name, err))
			if err := s.Close(); err != nil {
				return nil, err
			}
			continue
		}
		runners = append(runners, &runner{way: w, site: s})
		if err == nil && !w.rig {
			err = s.warm()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if err := measure(ctx, runners, l, progress); err != nil {
		return nil, err
	}
	return report(runners, skipped, l.rounds), nil
}
